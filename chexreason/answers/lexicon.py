"""Word lists for yes, no and maybe, for headings and for keys: data, to be extended by people who read completions.

The languages besides English are those that models switch to.
"""

from __future__ import annotations

import itertools
import re


def spelt(terms: str) -> tuple[str, ...]:
    """The terms separated by bars; braces hold alternatives: "{is, are} out" is two terms."""
    found: list[str] = []
    for term in terms.split("|"):
        parts = re.split(r"[{}]", " ".join(term.split()))
        found += map("".join, itertools.product(*(part.split(", ") if at % 2 else [part] for at, part in enumerate(parts))))
    return tuple(found)


ANATOMY = frozenset(
    "lobe lobes lung lungs zone zones field fields hemithorax side costophrenic angle angles rib ribs clavicle clavicles "
    "humerus scapula sternum vertebra vertebral spine both".split()
)
# Words for the place, degree and duration of a finding, used of findings that are present.
QUALIFIERS = ANATOMY.union(
    "trace tiny small mild minimal slight moderate large marked severe massive extensive diffuse focal patchy dense hazy "
    "faint subtle linear streaky loculated layering acute chronic old new stable unchanged multiple scattered displaced left "
    "right bilateral bilaterally unilateral lateral medial left-sided right-sided sided upper middle mid lower basal basilar "
    "r l rt lt r>l l>r > < rul rml rll lul lll bibasal bibasilar base bases basis apical apex perihilar retrocardiac "
    "peripheral increasing worsening persistent residual pronounced significant confluent multifocal mildly moderately "
    "severely markedly posterior anterior better worse b/l borderline healed overt frank healing remote improved improving "
    "decreased decreasing increased smaller larger progressed progressive".split()
)
SURE = frozenset("sure definitely certainly absolutely clearly surely indeed".split())
SEEN = frozenset("seen noted identified visible demonstrated detected found appreciated visualized observed".split())
FILLERS = (SURE | SEEN).union(
    "a an the is are was were be been there here of in on at to this that these evidence sign signs shown shows show image "
    "radiograph for film xray x-ray finding findings also but it and any either patient has have i see currently label class "
    "category place situ cxr those do one".split()
)
DEGREES = frozenset(  # used only of findings that are present
    "tension resolving same as before than more least at up still again remains remaining persists persisting positioned well "
    "appropriately".split()
)
GRADES = frozenset("change changes displacement displaced tension shift interval severe".split())  # "no change": it is there
# Signs of disease: a description with one of them is of a finding that is present.
SIGNS = frozenset(
    "haze haziness opacity opacities opacified opacification blunted blunting blurred blurring enlarged enlargement "
    "increased elevated elevation thickened thickening obscured obscuring obliterated obliteration meniscus effacement "
    "effaced widened widening lucency break breaks tubes lines catheters density densities plaque plaques loss collapse "
    "collapsed cephalization congestion congested engorged septal kerley silhouetting bronchogram bronchograms cavity "
    "cavitation nodular reticular interstitial deviated deviation shifted disrupted discontinuity bands fractured plate-like "
    "platelike bandlike prominent prominence fluid device lead leads tube line catheter large exceed exceeds exceeding "
    "exceeded greater above wide wider wires wire batwing".split()
)
YES = frozenset(
    "yes y true t x + ++ +++ +1 +ve 1 present pres positive pos high definite certain confirmed correct applicable applies "
    "apply evident apparent keep kept retained accept accepted supported include included abnormal yep yeah \u2713 \u2714 "
    "\u2611 \u2705 \u2612 sí si ja oui sim presente presentes présent présente vorhanden positivo positiv positif 是 有 有り "
    "存在 あり はい да 阳性 陽性 있음 есть affirmed हाँ हां evet var ada có نعم".split()
)
NO = frozenset(
    "no not none nor neither never without absent absence negative neg denies denied excludes excluded exclude free lack "
    "lacks lacking resolved ruled rule unlikely cannot can't isn't aren't wasn't weren't false n f nil zero 0 - -- -ve \u2212 "
    "\u2013 \u2014 \u2717 \u2718 \u274c \u2610 undetected invisible removed negated don't doesn't gone didn't hasn't haven't "
    "nope nah incorrect inapplicable reject rejected dismissed refuted unsupported wrong dropped discarded eliminated sin "
    "kein keine keinen ohne nicht nein sans aucun aucune niente nessun nessuna senza geen sem não ni ausente ausentes fehlt "
    "negativo negativa negativ assente assenti absente exclu exclue descartado descartada ausgeschlossen отсутствует 否 无 無 "
    "無し 未见 没有 なし いいえ нет 阴性 陰性 없음 不存在 नहीं hayır yok tidak không لا".split()
)
MAYBE = frozenset(
    "possible possibly probable probably perhaps maybe may might could suspected suspicious questionable question equivocal "
    "uncertain unclear indeterminate likely versus vs if consider considered differential unsure ? low doubtful inconclusive "
    "improbable possibility unknown null na n/a nan unable limited undetermined unspecified suspicion tbd \u00b1 +/- "
    "insufficient query presumed presumptive favored favoured unproven proven -1 -1.0 sospecha dudoso douteux fragliche evtl "
    "posible posiblemente probablemente verdacht möglich mögliche wahrscheinlich fraglich possibile 可能 疑似".split()
)
# Languages without blanks: their signs, and what denies or doubts in them.
UNSPACED = "[\u3040-\u30ff\u4e00-\u9fff\uac00-\ud7af]"
NOT_CLAIMED = re.compile("[无無未没沒非否排疑待假]|[阴陰](?!影)|음성|除外|正常|不(?![张張])|可能|なし|ない|없")
SAID = {True: "present", False: "absent", None: "uncertain"}
TICKMARKS = "\u2713\u2714\u2611\u2705\u2612\u2717\u2718\u274c\u2610"
TICKS = frozenset("xX+*\u2713\u2714\u2611\u2705\u2612")  # those of them, and letters, that say yes
SOUND = frozenset(
    "normal wnl unremarkable clear intact sharp preserved maintained symmetric symmetrical smooth crisp less below within "
    "limits well-defined aerated expanded healthy".split()
)
# Under a finding in DENSE, the denial of one in DENSITIES denies the former itself: "Pneumonia: no infiltrate".
DENSE, DENSITIES = frozenset({"Pneumonia", "Consolidation", "Lung Opacity"}), frozenset({"Consolidation", "Lung Opacity"})
# What says how sure a claim is, and what else a number beside a name is.
NUMBER_KEYS = frozenset(
    "confidence confidences probability probabilities score scores certainty likelihood prob probs p conf".split()
)
MEASURES = NUMBER_KEYS.union("very readers votes % percent approximately about ~".split())
LIKELINESS = frozenset("likelihood probability chance".split())  # less than a high one is a doubt
PLACED = frozenset("place situ".split())
ABSENT = frozenset("0 absent negative".split())  # "not" with one of these means present
PAST = frozenset("history prior previous previously risk concern than instead protocol".split())
# Words in parentheses that describe a finding, and words which show that the parentheses are about something else.
DESCRIPTIONS = (QUALIFIERS | DEGREES | SIGNS).union(
    "compressive passive plate subsegmental segmental lobar alveolar cardiogenic non-cardiogenic iatrogenic post-biopsy "
    "postoperative post-op postsurgical post-surgical traumatic spontaneous dependent wedge compression inspiration volumes "
    "granuloma calcified spiculated rounded subpleural nodule wall carina svc pacer port-a-cath confident despite bilat "
    "thorax".split()
)
OTHER_MATTERS = (NO | MAYBE | SOUND | LIKELINESS | PAST).union(
    "would should label labels category class needed option options choice choices".split()
)
VERBS = frozenset("is are was were look looks appear appears seem seems show shows has have nothing".split())
# Words of headings: under these, what follows is claimed.
CLAIMING = frozenset(
    "finding findings label labels answer answers solution conclusion conclusions impression diagnosis diagnoses present "
    "positive positives abnormal abnormality abnormalities final predicted prediction predictions chexpert list detected "
    "identified shows show showing demonstrate does exhibit exhibits contain contains display displays dx old arguments "
    "choice ranked ranking elimination supporting supports report radiology result results summary output assessment "
    "following follows include includes including visible confirmed reveals demonstrates conditions pathologies observations "
    "interpretation overview response same remaining classification active true yes current acute observation main key "
    "conclude concluding summarize included probabilities table matrix json breakdown primary secondary associated incidental "
    "additional chronic sure confident top selected chosen picked kept keep now currently today overall high certain definite "
    "after reviewing here here's let let's sum summing short bottom imp step looking consistent compatible suggestive "
    "indicates indicating etiquetas etiquettes étiquettes etiketten etichette rótulos new persistent persisting unchanged "
    "stable increased decreased worsened worsening improved improving important flag flagged mark marked tick ticked "
    "indicator binary boolean applies assigned annotation labelled labeled tagged change changes interval score scores rating "
    "ratings probability prominent notable foremost verdict selection selections decision outcome pick picks tag tags "
    "présents présentes vorhandene positivos positivas positifs presentes achados identifican observan befund befunde "
    "beurteilung diagnose sicher hallazgos impresión diagnóstico 结论 诊断 答案 结果".split()
)
# Under the name of a body part, claims are about that part.
PLACES = frozenset(
    "heart lung lungs pleura pleural mediastinum mediastinal cardiac cardiovascular cardiomediastinal cardiomediastinum bones "
    "bone skeleton skeletal osseous airways airway airspace diaphragm hila hilum hilar chest thorax devices device lines "
    "tubes hardware support soft tissues tissue vessels vasculature vascular ribs spine parenchyma pulmonary left right r l "
    "bilateral zones zone upper lower bases respiratory silhouette musculoskeletal thoracic cavity abdomen spaces space "
    "parenchymal other everything else breathing circulation disability respiration ventilation fields".split()
)
LOOKED_AT = frozenset("checked evaluated assessed screened reviewed considered".split())  # whether found or not
# Under these, nothing is claimed of this film.
OPEN = LOOKED_AT.union(
    "differentials ddx history indication comparison technique recommendation recommendations plan follow followup clinical "
    "reason possibilities considerations consideration alternatives alternative risk limitations limitation quality exam "
    "examination view views information previous prior example examples definition definitions criteria options choices "
    "candidates legend note notes check monitor watch think thinking thought thoughts reasoning rationale explanation "
    "analysis todo previously formerly earlier available candidate choose select truth gold reference allowed valid initial "
    "initially draft preliminary provisional working asked task please defined form format instruction instructions".split()
)
# Under these, it is denied.
DENYING = frozenset(
    "negatives excluding missing unseen unremarkable normal wnl absents absentes descartan descartados non against distractor "
    "distractors".split()
)
CHOSEN = frozenset("selected chosen picked correct accepted supported applicable confirmed".split())  # of options
GROUPS = {"p": "present", "a": "absent", "u": "uncertain"}  # letters that stand for them where there is more than one
# Keys of records and titles of columns: for a finding's name, for its status, and for remarks on it.
NAME_KEYS = frozenset(
    "label finding name disease condition class pathology observation diagnosis abnormality category disorder feature title "
    "key type".split()
)
STATUS_KEYS = frozenset(
    "present status state presence positive detected exists answer prediction value result identified visible finding_status "
    "is_present predicted observed assertion found active polarity yes assessment conclusion decision verdict judgement "
    "judgment opinion evaluation seen noted shown confirmed keep kept include included selected chosen accepted supported "
    "affirmed in_image is_visible is_positive is_detected".split()
)
REMARK_KEYS = frozenset(
    "reason reasoning think thinking thought thoughts rationale explanation evidence comment comments justification location "
    "side".split()
)
SIDES = frozenset("left right bilateral l r".split())
