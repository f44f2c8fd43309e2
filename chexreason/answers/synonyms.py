"""What radiologists also call CheXpert's findings: data, to be read and extended by people who read reports.

A star stands for any run of the words in GAP, none included: "heart * enlarged" is also "heart size is mildly enlarged".
Names without a star are read in lists as well as in sentences, names with one in sentences only.
"""

from __future__ import annotations

from chexreason.answers.lexicon import spelt
from chexreason.labels import FINDINGS

SYNONYMS: dict[str, tuple[str, ...]] = {
    "No Finding": spelt("""
        normal | wnl | nad | normal {study, chest, examination, exam, chest radiograph, chest x-ray, * study, * chest,
        * radiograph, * film, * x-ray, * examination, cxr} | no {findings, acute findings, abnormality, abnormalities,
        abnormal findings, acute abnormality, acute cardiopulmonary abnormality, acute cardiopulmonary process, * abnormality,
        * abnormalities, * findings, * finding, * pathology,
        * abnormal findings, * disease, * process} | unremarkable {* chest, * radiograph, * study, cxr, * examination, * x-ray,
        * film} | negative {* chest, chest x-ray, for * cardiopulmonary disease, for * cardiopulmonary abnormality, study, exam,
        examination} | {cxr, everything, chest, radiograph, x-ray, study, film, examination, exam} * normal | {cxr, chest,
        radiograph, x-ray, study, examination, exam} * unremarkable | {chest, radiograph, x-ray} * within normal limits |
        without * abnormality | without * cardiopulmonary disease | nothing abnormal | within normal limits |
        unremarkable | {study, examination} * negative
    """),
    "Enlarged Cardiomediastinum": spelt("""
        {enlarged, widened, wide, widening of *} mediastinum | mediastinal {widening, enlargement, contour * widened,
        contours * widened, silhouette * widened} | widened cardiomediastinum | {enlarged, widened,
        enlargement of *} cardiomediastinal silhouette | mediastinum * {widened, enlarged, wide} |
        widened mediastinal {silhouette, contour, contours} | enlarged mediastinal silhouette |
        cardiomediastinal silhouette * {enlarged, widened}
    """),
    "Cardiomegaly": spelt("""
        cardiac {enlargement, silhouette * large, enlarged, silhouette * increased} | {enlarged, enlargement of *, large,
        big} heart | heart {enlargement, * enlarged, * large, * increased in size, * big, size * increased} |
        {enlarged, enlargement, enlargement of *} cardiac silhouette | {enlarged, increased} heart size | megacardia |
        cardiac {silhouette, contour, contours, shadow, size} * enlarged | enlarged cardiac contour | {cardiothoracic ratio,
        ctr} * increased | increased cardiothoracic ratio | kardiomegalie | herzvergrößerung
    """),
    "Lung Opacity": spelt("""
        {lung, airspace, pulmonary, interstitial} opacities | opacity | opacities | airspace {opacity, disease} |
        pulmonary opacity | infiltrate | infiltrates | opacification | opacifications | infiltration | verschattung |
        verschattungen | infiltrat | opacité | opacités | opacidad | opacidades | opacidade | opacità
    """),
    "Lung Lesion": spelt("""
        lung {lesions, nodule, nodules, mass, tumor, tumour} | pulmonary {nodule, nodules, mass} | nodule | nodules | mass |
        masses | cavitary lesion | nodular {opacity, opacities, density}
    """),
    "Edema": spelt("""
        ödem | lungenödem | œdème | œdème pulmonaire | oedema | {pulmonary, interstitial, alveolar, lung} edema |
        pulmonary oedema | edematous
    """),
    "Consolidation": spelt("""
        consolidations | konsolidierung | konsolidierungen | konsolidation | {airspace, lobar, lung} consolidation |
        consolidative | consolidated
    """),
    "Pneumonia": spelt("""
        pneumonias | pna | bronchopneumonia | lobar pneumonia | pneumonic | pneumonitis | pneumonie | neumonía | polmonite
    """),
    "Atelectasis": spelt("""
        atelectases | atelectatic | atelectatic {change, changes} | {lung, lobar, lobe} collapse | atelektase | atelektasen |
        atélectasie | atélectasies | atelettasia | subsegmental atelectasis | collapsed {lung, lobe, * lobe, * lung} |
        collapse of * {lung, lobe, lobes} | {lung, lobe} * collapsed
    """),
    "Pneumothorax": spelt("""
        neumotórax | pneumotórax | pneumotorace | pneumothoraces | ptx | pneumothoraxes
    """),
    "Pleural Effusion": spelt("""
        effusion | effusions | pleural {effusions, fluid, * effusion, efusion} | hydrothorax | hemothorax | haemothorax |
        fluid in * pleural space | efusion | pleuraerguss | pleuraergüsse | {derrame, épanchement} pleural |
        versamento pleurico | pleura-erguss
    """),
    "Pleural Other": spelt("""
        pleural {thickening, plaque, plaques, scarring, calcification, fibrosis} | apical cap | fibrothorax |
        calcified pleural plaques | {thickened, thickening of *} pleura
    """),
    "Fracture": spelt("""
        fraktur | frakturen | rippenfraktur | rippenfrakturen | fractura | fracturas | fratura | frattura | fractures | {rib,
        clavicle, compression} fracture | {rib, compression} fractures | fractured {rib, ribs} | fractured | fx
    """),
    "Support Devices": spelt("""
        {support, medical, implantable} device | devices | herzschrittmacher | schrittmacher | zvk | marcapasos | {lines and,
        chest, nasogastric} tubes | {tubes and, support, picc, central} lines | {endotracheal, chest, nasogastric, et, ng,
        tracheostomy, feeding, enteric, dobhoff, dobbhoff, thoracostomy} tube | {central venous, swan-ganz, ij, dialysis,
        pigtail} catheter | {central venous, central, picc, ij, jugular, subclavian} line | pacemaker | picc | port-a-cath |
        tracheostomy | icd | aicd | defibrillator | pacer | dual lead pacemaker | catheter | catheters | port | ports | {ij,
        venous} sheath | medical devices | ett | ngt | cvc | iabp | intra-aortic balloon pump | {chest, pleural} drain |
        dobhoff | mediport | port-a-caths | portacath | prosthetic {valve, aortic valve, mitral valve, heart valve} |
        valve replacement | mechanical valve | tube thoracostomy | pacemakers | pacemaker leads | pacing {leads, wires} |
        ecmo cannula | lvad | {spinal, orthopedic, surgical} hardware
    """),
}

# Named like a finding, but none of the 14: read before them, so that "pericardial effusion" is no pleural one.
OTHERS = frozenset(spelt("""
    {abdominal, breast, cardiomediastinal, chest wall, liver, mediastinal, soft tissue} mass | {body wall, breast, cerebral,
    chest wall, leg, peripheral, soft tissue, subcutaneous} edema | bone {lesion, lesions} | calcified granuloma |
    joint effusion | mass {effect, like} | mass-like | masslike | nipple shadow | nodule-like | old pneumonia |
    pericardial {effusion, effusions, fluid} | pneumonia vaccine | pulmonary edema protocol
"""))  # fmt: skip

GAP = frozenset(
    "'s a an the of and is are was were be appears appear remains remain seen size sized shadow silhouette contour slightly "
    "mildly moderately markedly severely minimally borderline mild moderate marked severe slight somewhat "
    "mildly-to-moderately upper limits stable again also grossly probably frontal lateral pa ap view views portable chest "
    "x-ray x - ray acute significant definite active evidence evident radiographic radiographically cardiopulmonary cardiac "
    "pulmonary intrathoracic thoracic findings finding entirely essentially completely overall 2 two : to visible focal "
    "persistently left right bilateral middle lower base look looks pathological pathologic superior globally diffusely "
    "abnormally in at lungs xxxx film radiograph radiographs study examination exam image".split()
)

NAMES: dict[str, str] = {name.casefold(): name for name in FINDINGS} | {
    synonym: finding for finding, synonyms in SYNONYMS.items() for synonym in synonyms if "*" not in synonym
}
