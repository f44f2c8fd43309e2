"""What radiologists also call CheXpert's findings: data, to be read and extended by people who read reports.

A star stands for any run of the words in GAP, none included: "heart * enlarged" is also "heart size is mildly enlarged".
Names without a star are read in lists as well as in sentences, names with one in sentences only.
"""

from __future__ import annotations

from chexreason.labels import FINDINGS

SYNONYMS: dict[str, tuple[str, ...]] = {
    "No Finding": (
        "normal", "wnl", "nad", "normal study", "normal chest", "normal examination", "normal exam", "normal chest radiograph",
        "normal chest x-ray", "no findings", "no acute findings", "no abnormality", "no abnormalities",
        "no abnormal findings", "no acute abnormality", "no acute cardiopulmonary abnormality",
        "no acute cardiopulmonary process", "normal * study", "normal * chest", "normal * radiograph",
        "normal * film", "normal * x-ray", "normal * examination", "unremarkable * chest",
        "unremarkable * radiograph", "unremarkable * study", "negative * chest", "negative chest x-ray", "normal cxr",
        "unremarkable cxr", "cxr * normal", "cxr * unremarkable", "everything * normal", "unremarkable * examination",
        "unremarkable * x-ray", "unremarkable * film", "chest * normal", "radiograph * normal", "x-ray * normal",
        "study * normal", "film * normal", "examination * normal", "chest * unremarkable",
        "radiograph * unremarkable", "x-ray * unremarkable", "study * unremarkable", "examination * unremarkable",
        "exam * unremarkable", "exam * normal", "chest * within normal limits",
        "radiograph * within normal limits", "x-ray * within normal limits", "no * abnormality", "no * abnormalities",
        "no * findings", "no * finding", "no * cardiopulmonary disease", "no * cardiopulmonary process",
        "no * cardiopulmonary abnormality", "no * cardiopulmonary abnormalities", "no * cardiopulmonary findings",
        "no * cardiopulmonary finding", "no * pulmonary disease", "no * chest disease", "no * intrathoracic process",
        "no * intrathoracic abnormality", "no * pathology", "no * abnormal findings", "no * disease",
        "without * abnormality", "without * cardiopulmonary abnormality", "without * cardiopulmonary disease",
        "negative for * cardiopulmonary disease", "negative for * cardiopulmonary abnormality", "nothing abnormal",
        "no * process", "within normal limits", "unremarkable", "negative study", "negative exam",
        "negative examination", "study * negative", "examination * negative",
    ),
    "Enlarged Cardiomediastinum": (
        "enlarged mediastinum", "widened mediastinum", "wide mediastinum", "mediastinal widening",
        "mediastinal enlargement", "widened cardiomediastinum", "enlarged cardiomediastinal silhouette",
        "widened cardiomediastinal silhouette", "mediastinum * widened", "mediastinum * enlarged",
        "mediastinum * wide", "mediastinal contour * widened",
        "mediastinal contours * widened", "mediastinal silhouette * widened",
        "widened mediastinal silhouette", "enlarged mediastinal silhouette", "widened mediastinal contour",
        "widened mediastinal contours",
        "cardiomediastinal silhouette * enlarged", "cardiomediastinal silhouette * widened",
        "enlargement of * cardiomediastinal silhouette", "widening of * mediastinum",
    ),
    "Cardiomegaly": (
        "cardiac enlargement", "enlarged heart", "heart enlargement", "enlarged cardiac silhouette",
        "enlarged heart size", "enlargement cardiac silhouette", "enlargement of * heart",
        "enlargement of * cardiac silhouette", "megacardia", "heart * enlarged", "cardiac silhouette * enlarged",
        "heart * large", "cardiac silhouette * large", "large heart", "cardiac contour * enlarged",
        "cardiac contours * enlarged", "cardiac shadow * enlarged", "heart shadow * enlarged",
        "enlarged cardiac contour", "cardiac enlarged",
        "cardiac size * enlarged", "heart * increased in size", "big heart", "heart * big", "heart size * increased",
        "increased heart size", "cardiothoracic ratio * increased", "increased cardiothoracic ratio",
        "ctr * increased", "cardiac silhouette * increased", "kardiomegalie", "herzvergrößerung",
    ),
    "Lung Opacity": (
        "lung opacities", "opacity", "opacities", "airspace opacity", "airspace opacities", "pulmonary opacity",
        "pulmonary opacities", "infiltrate", "infiltrates", "airspace disease", "opacification", "opacifications",
        "interstitial opacities", "infiltration", "verschattung", "verschattungen", "infiltrat", "opacité", "opacités",
        "opacidad", "opacidades", "opacidade", "opacità",
    ),
    "Lung Lesion": (
        "lung lesions", "lung nodule", "lung nodules", "lung mass", "pulmonary nodule", "pulmonary nodules",
        "pulmonary mass", "nodule", "nodules", "mass", "masses", "cavitary lesion", "nodular opacity",
        "nodular opacities", "nodular density", "lung tumor", "lung tumour",
    ),
    "Edema": (
        "ödem", "lungenödem", "œdème", "œdème pulmonaire",
        "oedema", "pulmonary edema", "pulmonary oedema", "interstitial edema", "alveolar edema", "lung edema",
        "edematous",
    ),
    "Consolidation": (
        "consolidations", "konsolidierung", "konsolidierungen", "konsolidation",
        "airspace consolidation", "lobar consolidation", "lung consolidation", "consolidative",
        "consolidated",
    ),
    "Pneumonia": (
        "pneumonias", "pna", "bronchopneumonia", "lobar pneumonia", "pneumonic", "pneumonitis", "pneumonie", "neumonía",
        "polmonite",
    ),
    "Atelectasis": (
        "atelectases", "atelectatic", "atelectatic change", "atelectatic changes", "lung collapse", "lobar collapse",
        "atelektase", "atelektasen", "atélectasie", "atélectasies", "atelettasia",
        "subsegmental atelectasis", "collapsed lung", "collapsed lobe", "lobe collapse", "collapse of * lung",
        "collapse of * lobe", "collapse of * lobes", "collapsed * lobe", "collapsed * lung",
        "lung * collapsed", "lobe * collapsed",
    ),
    "Pneumothorax": ("neumotórax", "pneumotórax", "pneumotorace", "pneumothoraces", "ptx", "pneumothoraxes"),
    "Pleural Effusion": (
        "effusion", "effusions", "pleural effusions", "pleural fluid", "hydrothorax", "hemothorax", "haemothorax",
        "pleural * effusion", "fluid in * pleural space", "efusion", "pleural efusion", "pleuraerguss",
        "pleuraergüsse", "derrame pleural",
        "épanchement pleural", "versamento pleurico", "pleura-erguss",
    ),
    "Pleural Other": (
        "pleural thickening", "pleural plaque", "pleural plaques", "pleural scarring", "apical cap",
        "pleural calcification", "fibrothorax", "pleural fibrosis", "calcified pleural plaques", "thickened pleura",
        "thickening of * pleura",
    ),
    "Fracture": (
        "fraktur", "frakturen", "rippenfraktur", "rippenfrakturen", "fractura", "fracturas", "fratura", "frattura",
        "fractures", "rib fracture", "rib fractures", "clavicle fracture", "fractured rib", "fractured ribs",
        "fractured", "fx", "compression fracture", "compression fractures",
    ),
    "Support Devices": (
        "support device", "devices", "herzschrittmacher", "schrittmacher", "zvk", "marcapasos",
        "lines and tubes", "tubes and lines", "endotracheal tube",
        "central venous catheter", "central venous line", "central line", "pacemaker", "chest tube",
        "nasogastric tube", "et tube", "ng tube", "picc", "picc line", "port-a-cath", "tracheostomy tube",
        "tracheostomy", "feeding tube", "enteric tube", "swan-ganz catheter", "icd", "aicd", "defibrillator", "pacer",
        "dual lead pacemaker", "catheter", "catheters", "port", "ports", "ij sheath",
        "venous sheath", "support lines", "medical devices", "medical device", "ett", "ngt",
        "cvc", "ij line", "ij catheter", "jugular line",
        "subclavian line", "dialysis catheter", "iabp", "intra-aortic balloon pump",
        "chest drain", "pleural drain", "chest tubes", "pigtail catheter", "dobhoff tube", "dobbhoff tube", "dobhoff",
        "nasogastric tubes", "mediport", "port-a-caths", "portacath", "prosthetic valve",
        "prosthetic aortic valve", "prosthetic mitral valve", "prosthetic heart valve",
        "valve replacement", "mechanical valve", "thoracostomy tube", "tube thoracostomy", "pacemakers", "pacemaker leads",
        "pacing leads", "picc lines", "central lines", "ecmo cannula", "lvad", "pacing wires", "implantable device",
        "spinal hardware", "orthopedic hardware", "surgical hardware",
    ),
}  # fmt: skip

# Named like a finding, but none of the 14: read before them, so that "pericardial effusion" is no pleural one.
OTHERS: frozenset[str] = frozenset((
    "pericardial effusion", "pericardial effusions", "pericardial fluid", "soft tissue edema", "subcutaneous edema",
    "mediastinal mass", "soft tissue mass", "cardiomediastinal mass", "joint effusion", "calcified granuloma",
    "nipple shadow", "old pneumonia", "chest wall mass", "breast mass", "pneumonia vaccine", "mass effect",
    "mass-like", "masslike", "mass like", "nodule-like",
    "pulmonary edema protocol", "peripheral edema", "cerebral edema", "body wall edema", "chest wall edema",
    "leg edema", "breast edema", "bone lesion", "bone lesions", "liver mass", "abdominal mass",
))  # fmt: skip

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
