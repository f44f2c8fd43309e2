"""What a heading (of a section, a column, a JSON key) makes of what stands under it."""

from __future__ import annotations

import re

from chexreason.answers.values import FILLERS, LIKELINESS, MAYBE, NO, NOT_CLAIMED, SINCE, share, status, words_of

CLAIMING = frozenset(
    "finding findings label labels answer answers solution conclusion conclusions impression diagnosis diagnoses present "
    "positive positives abnormal abnormality abnormalities final predicted prediction predictions chexpert list detected "
    "identified shows show showing demonstrate does exhibit exhibits contain contains display displays dx old arguments "
    "choice ranked ranking elimination supporting supports report radiology result results summary output assessment "
    "following follows include includes including visible confirmed reveals demonstrates conditions pathologies observations "
    "interpretation overview response same remaining classification active true yes current acute observation main key "
    "conclude concluding summarize included probabilities table matrix json breakdown primary secondary associated "
    "incidental additional chronic sure confident top selected chosen picked kept keep now currently today overall high "
    "certain definite after reviewing here here's let let's sum summing short bottom imp step looking consistent compatible "
    "suggestive indicates indicating etiquetas etiquettes étiquettes etiketten etichette rótulos new persistent persisting "
    "unchanged stable increased decreased worsened worsening improved improving important "
    "flag flagged mark marked tick ticked indicator binary boolean applies assigned annotation labelled labeled tagged "
    "change changes interval score scores rating ratings probability prominent notable foremost verdict "
    "selection selections decision outcome pick picks tag tags "
    "présents présentes vorhandene positivos positivas positifs presentes achados identifican observan "
    "befund befunde beurteilung diagnose sicher "
    "hallazgos impresión diagnóstico 结论 诊断 答案 结果".split()
)
# Under a part of the body stand claims of that part.
PLACES = frozenset(
    "heart lung lungs pleura pleural mediastinum mediastinal cardiac cardiovascular cardiomediastinal cardiomediastinum "
    "bones bone skeleton skeletal osseous airways airway airspace diaphragm hila hilum hilar chest thorax devices device "
    "lines tubes hardware support soft tissues tissue vessels vasculature vascular ribs spine parenchyma pulmonary left "
    "right r l bilateral zones zone upper lower bases respiratory silhouette musculoskeletal thoracic cavity abdomen spaces "
    "space parenchymal other everything else breathing circulation disability respiration ventilation fields".split()
)
LOOKED_AT = frozenset("checked evaluated assessed screened reviewed considered".split())  # found or not
# Under these, nothing is claimed of this film.
OPEN = LOOKED_AT.union(
    "differentials ddx history indication comparison technique recommendation recommendations plan follow "
    "followup clinical reason possibilities considerations consideration alternatives alternative risk "
    "limitations limitation quality exam examination view views information previous prior example examples "
    "definition definitions criteria options choices candidates legend note notes check "
    "monitor watch think thinking thought thoughts reasoning rationale explanation analysis todo "
    "previously formerly earlier available candidate choose select truth gold "
    "reference allowed valid initial initially draft preliminary "
    "provisional working asked task please defined form format instruction instructions".split()
)
DENYING = frozenset(
    "negatives excluding missing unseen unremarkable normal wnl "
    "absents absentes descartan descartados non against distractor distractors".split()
)
CHOSEN = frozenset("selected chosen picked correct accepted supported applicable confirmed".split())  # of options
GROUPS = {"p": "present", "a": "absent", "u": "uncertain"}  # letters that stand for them where there is more than one
_UNDONE = frozenset(f"un{word}" for word in CLAIMING | CHOSEN) - MAYBE  # "Unselected"
# What a heading in a language without spaces says where something is shown.
_SHOWN = re.compile("标签|显示|提示|发现|结论|诊断|答|结果|包括|如下|所見|診断|結果|소견|진단")
_FRAME = frozenset(
    "q what which you my your our with from by as so thus therefore based provided given would can we all only".split()
)
_RULED_IN = re.compile(r"\bruled[ -]in\b", re.IGNORECASE)
_VALUED = re.compile(  # "Labels with value 0:", "-1:"
    r"(?:^[^\w\u2212-]{0,3}|\s(?=[-\u2212])"
    r"|\b(?:with (?:the )?(?:value|label|score)|valued?|marked|that are|equal to|set to|scored)(?: ?[:=])? ?)"
    r"([-\u2212]?[01])(?:\.0)?\W*$",
    re.IGNORECASE,
)
_CHOOSING = re.compile(r"\bI(?:'d|'ll| would| will)? (?:choose|select|pick|go with|opt for)\b(?! (?:from|between|among))")
_NOTED = re.compile(
    r"\bnote (?:that|the following)\b|\bhere(?:'s| is) (?:my|the|an) analysis\b"
    r"|\b(?:evaluat|assess|review|check|consider|look|go)\w*(?: at| through| over)? (?:each|every)\b"
    r"[\w ]{0,20}\b(?:labels?|findings?)\b",
    re.IGNORECASE,
)
_EXCEPT = re.compile(r"\b(?:except(?: for)?|apart from|aside from|other than|save for)\W*\Z", re.IGNORECASE)  # "Nil except:"
_MIDDLING = frozenset("moderate medium intermediate".split())  # probability
_CHANGES = frozenset("change changes changed".split())


def heading(text: str) -> bool | None:
    """True where what follows is claimed, False where it is denied, None where it is neither."""
    text = _NOTED.sub("the following", _CHOOSING.sub("chosen", _RULED_IN.sub("confirmed", text))).rpartition(" but")[2]
    text = SINCE.sub("", text)
    words = words_of(text)
    if _SHOWN.search(text):
        return None if NOT_CLAIMED.search(text) else True
    if _EXCEPT.search(text):
        return True
    if words & LIKELINESS and words & _MIDDLING:
        return None
    if number := _VALUED.search(text):
        return {"0": False, "1": True}.get(number[1])
    bare = text.strip(" :")
    said = [status(bare.strip("-") or bare), share(bare)]
    if said != [None, None]:  # "0:", "Applies:", "5%:", "-:"
        return False not in said
    if not words.isdisjoint(NO) and not words.isdisjoint(_CHANGES):  # "No significant change:"
        return True
    if not words.isdisjoint(DENYING) or not words.isdisjoint(NO) or not words.isdisjoint(_UNDONE):
        return False
    if not words.isdisjoint(CHOSEN) and words.isdisjoint(MAYBE):
        return True
    words = words_of(text.rstrip(",").rpartition(",")[2])  # "considering the analysis, the answer is": the end of it decides
    if not words.isdisjoint(OPEN) or not words.isdisjoint(MAYBE):
        return None
    if not words.isdisjoint(CLAIMING) or not words.isdisjoint(PLACES):
        return True
    return True if FILLERS.union(_FRAME).issuperset(words) else None


def is_plain_heading(text: str) -> bool:
    """Whether a line without a colon is a heading all the same: "Absent", "There is no evidence of"."""
    words = words_of(text)
    known = NO | MAYBE | CLAIMING | FILLERS | OPEN | _FRAME | {"out"}
    return (
        ":" not in text
        and 0 < len(words) <= 8
        and known.issuperset(words)
        and not words.isdisjoint(NO | MAYBE | CLAIMING | OPEN)
    )


def is_place(text: str) -> bool:
    """Whether a heading names a part of the chest: what is normal under it is no whole film."""
    return not words_of(text).isdisjoint(PLACES - {"chest", "thorax"})
