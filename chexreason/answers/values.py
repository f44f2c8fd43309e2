"""What a cell, a sign or a remark says about the finding beside it: present, absent, or neither.

Text that is on none of the word lists makes no claim.
"""

from __future__ import annotations

import re
from functools import cache, lru_cache

from chexreason.answers import lexicon
from chexreason.answers.lexicon import DENSE, DENSITIES, FILLERS, MAYBE, NO, QUALIFIERS, SEEN, SIGNS, SOUND, TICKS, YES
from chexreason.answers.synonyms import NAMES, OTHERS
from chexreason.labels import FINDINGS, NO_FINDING, SUPPORT_DEVICES

_ASIDES = (QUALIFIERS, QUALIFIERS - lexicon.ANATOMY, FILLERS)  # "larger lung lesion": words of place may belong to a name
_NUMBER = re.compile(r"[<>~\u2248\u2264\u2265=]?\s*(\d+(?:\.\d+)?|\.\d+)\s*(?:(%)|/\s*(100?|[1-9])(?:\.0)?)?")
_SHARE = re.compile(r"(?<![\w.])(?:0?\.\d+|1\.0+|\d{1,3} ?%)(?![\w.%]|\s?[cm]m\b)")
_THRESHOLD = r"\b(?:threshold|cut-?off)\b"
_AT = r"(?:[<>\u2264\u2265]?=? ?|\b(?:using|with|at|above|below|over|for) )?(?:\b(?:an?|the) )?"
_LEAST = r"(0?\.\d+|\d{1,2} ?%)"
_NAMED_LEAST = (
    rf"{_AT}(?:\b(?:decision|probability|confidence|score) )?[\"']?{_THRESHOLD}[\"']?"
    rf"(?: (?:of|is|at|was|set|to|used))* ?[:=]? ?[\"']?{_LEAST}"
)
_GIVEN = re.compile(rf"(?i) ?\({_NAMED_LEAST}\)|{_NAMED_LEAST}|{_AT}{_LEAST} {_THRESHOLD}")
_RANGE = re.compile(r"(?<=\d)\s?%?\s?(?:-|\u2013|\bto\b)\s?\d[\d.]*")  # "0.5-0.6": at least the first of them
OPTION = re.compile(rf"(?:\[(.?)\]|\((.?)\)|([{lexicon.TICKMARKS}]))\s*([A-Za-z]+(?:\s[A-Za-z]+)*)")
SINCE = re.compile(r"(?i)\b(?:since|from|compared (?:to|with)) (?:the )?(?:prior|previous|last)(?: \w{1,12})?")
_CROSSES = frozenset("\u2717\u2718\u274c")
_COUNT = re.compile(r"[<>]?[\d.x]+%?")
_MEASURED = re.compile(r"(?i)\d+(?:\.\d+)?(?:st|nd|rd|th|[cm]m)|[cm]m|[tlc]\d{1,2}")  # "6th", "2cm", "T12"
_RATIO = re.compile(  # of the heart's width to the chest's: "CTR 0.6", "heart > 50 %"
    r"(?i)\b(?:ctr|cardio-?thoracic ratio|heart(?: width| size)?)\b[^\d.<]{0,20}(?:(0?\.\d{1,3})|(\d\d)(?: ?%| percent))"
)
_GRADE = re.compile(r"(?i)\b(?:grade|level|stage)\s*(\d|i{1,3}|iv)\b")
_KEY = re.compile(r"(?<=\w)[_.](?:present|presence|status|value|flag|label)\s*\Z")  # "edema_present"
_OWN = re.compile(r"(?i)no[\s_-]?finding")
_CLOSED = {name.casefold().replace(" ", ""): name for name in FINDINGS}
_MARKINGS = re.compile(r"(?i)\b(?:no|without|absent|absence of|loss of) (?:\w+ )?(?:lung|vascular|pulmonary) markings\b")
_TIP = re.compile(r"(?i)\s*(?:with )?(?:its |the )?tips?\b")  # of a device
_TO_COME = re.compile(r"(?i)\bto be (?:confirmed|determined|excluded|assessed|evaluated|ruled)")
_PART = re.compile(r"[,;:()\[\]|]|\s[-\u2013\u2014]\s|\.(?=\s|\Z)")
_SO = re.compile(
    r"(?i)(?:\b(?:so|therefore|thus|hence|making|now|currently)|=>)\s(?:(?:this|it|the|label|finding|is|i|say) ){0,4}"
    r"(\w+)\W*\Z"
)
_DROPPED = re.compile(r"(?i):\s(?:rejected|dropped|discarded|eliminated|dismissed|excluded|ruled out)\W*\Z")
_LONGEST = 300  # characters of a remark that is read; a longer one makes no claim
_EDGES = " \t*_.!\"'`"
_WORD = re.compile(r"(?:[^\W\d_]|['’/.?-])+")


def verdict(remark: str, finding: str | None = None, aside: bool = False) -> bool | None:
    """What `remark` says of `finding`: there (True), not there (False), neither (None).

    A part that is a plain status ("present", "no", "0") decides, and beside one a number is only a confidence. Only an `aside`
    denies what would be a sign of it: "Pneumonia (no consolidation)", but "Pneumonia: no infiltrate".
    """
    if len(remark) > _LONGEST:
        return None
    end = concluded(remark)
    if end is not None:
        return end
    if remark.lstrip(" *_")[:1] in _CROSSES:
        return False
    options = OPTION.findall(remark)
    if len(options) > 1:  # "[x] yes [ ] no": what is ticked
        ticked = [option[-1] for option in options if TICKS.intersection(option[:-1])]
        return status(ticked[0]) if len(ticked) == 1 else None
    if options and OPTION.match(remark.lstrip()) and TICKS.isdisjoint(options[0][:-1]):  # "[ ] enlarged heart"
        return None if "?" in options[0] else False
    if _TO_COME.search(remark):
        return None
    remark = _MARKINGS.sub("lucency", remark.replace("\u2019", "'"))
    parts = [part for part in _PART.split(remark) if part.strip(_EDGES)]
    parts = [part for part in parts if not _TIP.match(part)] or parts
    if not parts:
        return False if remark.strip(" *_|`") in NO else None
    statuses = [status(part) for part in parts]
    if False in statuses:
        return False
    if True in statuses:
        return True
    numbers = [share(part) for part in parts]
    if True in numbers or False in numbers:
        return False not in numbers
    said = [_said_of(part, finding, aside or len(parts) > 1) for part in parts]
    return False if False in said else None if None in said and not (aside and _describes(remark)) else True


def concluded(remark: str) -> bool | None:
    """The status that a remark ends in: "the vessels are sharp, so this is negative"; None where it ends in none."""
    end = _SO.search(remark[-60:])
    return status(end[1]) if end else False if _DROPPED.search(remark[-30:]) else None


def _describes(remark: str) -> bool:
    """Whether a remark in parentheses is a description, half of its words at least: "(left 6th rib)", "(2 cm)"."""
    words = _words(remark.replace("(", " ").replace(",", " "))
    if not lexicon.VERBS.isdisjoint(words):
        return False
    told = [word for word in words if word not in FILLERS and not _COUNT.fullmatch(word)]
    known = sum(word in lexicon.DESCRIPTIONS or bool(_MEASURED.fullmatch(word)) for word in told)
    return 0 < len(told) <= 2 * known and lexicon.OTHER_MATTERS.isdisjoint(words)


def status(text: str) -> bool | None:
    """A plain yes or no, in words or as a sign; None for anything else, numbers but 0 and 1 included."""
    words = _words(text)
    content = [word for word in words if word not in FILLERS]
    if not content:
        return None if (SEEN | lexicon.SURE | lexicon.PLACED).isdisjoint(words) else True
    if YES.issuperset(content) or content[0] == "not" and len(content) > 1 and lexicon.ABSENT.issuperset(content[1:]):
        return True
    return False if NO.union(YES).issuperset(content) and content[0] in NO else None


def share(text: str) -> bool | None:
    """Whether a number, read as a fraction or a percentage, is at least one half; None if `text` is no number."""
    text = _RANGE.sub("", text)
    words = [
        word
        for word in re.sub(r"[=:]", " ", text.casefold().replace("out of", "/")).split()
        if word.strip(_EDGES) not in lexicon.MEASURES
    ]
    number = _NUMBER.fullmatch(" ".join(words).strip("*_ "))
    if not number:
        return None
    value = float(number.group(1)[:20])
    if number.group(3):  # "8/10"
        return value / float(number.group(3)) >= 0.5
    value = value / 100 if number.group(2) or value > 1 else value
    return value > 0.5 if "<" in text else value >= 0.5


def over_threshold(text: str) -> str:
    """Replace shares by 1 or 0 if the text states a threshold: "cutoff 0.7", "threshold: 30%"."""
    if not re.search(_THRESHOLD, text, re.IGNORECASE) or _RATIO.search(text):
        return text
    given = {_of_one("".join(least)) for least in _GIVEN.findall(text)}
    if len(given) > 1 and "\n" in text:  # each line may have its own
        return "\n".join(map(over_threshold, text.split("\n")))
    if len(given) != 1:
        return text
    text = _GIVEN.sub(lambda one: one[0] if one[0].strip()[0] in "\"'" else "", text)  # a key of an object stays
    return _SHARE.sub(lambda one: str(float(_of_one(one[0]) >= min(given))), text)


def _of_one(share: str) -> float:
    """A share as a part of one: "0.3", "30 %"."""
    return float(share.rstrip(" %")) / (100 if "%" in share else 1)


def unscaled(number: int, most: int) -> float | None:
    """`number`, read as a percentage.

    None (unknown scale) if it exceeds 100, or if `most`, the largest number beside it, does not exceed 10: in "1, 4" the scale
    may be 0-5, so 1 does not mean yes.
    """
    return number / 100 if abs(number) <= 100 and (most > 10 or number == 0) else None


@lru_cache(maxsize=1024)  # a reader asks several times of the same few words
def named(phrase: str) -> str | None:
    """The finding that `phrase` names, ignoring words of place and degree.

    A film is normal only as a whole, so in "normal left lung" the place is not ignored.
    """
    plain = " ".join(_KEY.sub("", phrase.casefold()).replace("_", " ").strip(" \t*\"'`.").split())
    if plain in NAMES:
        return NAMES[plain]
    if plain in OTHERS:
        return None
    if plain.strip("-") == plain and ("-" in plain or " " not in plain):  # "Enlarged-Cardiomediastinum", "LungOpacity"
        found = _CLOSED.get(plain.replace("-", ""))
        if found:
            return found
    for aside in _ASIDES:
        if found := NAMES.get(" ".join(word for word in plain.split() if word not in aside)):
            return None if found == NO_FINDING else found
    return None


def is_sound(phrase: str) -> bool:
    """Whether `phrase` says that something is normal, in other words than CheXpert's own: beside a finding, of that finding."""
    return named(phrase) == NO_FINDING and not _OWN.search(phrase)


def named_beside(phrase: str) -> str | None:
    """The finding that `phrase` names, where it does not say that another one's place is normal."""
    return None if is_sound(phrase) else named(phrase)


@cache
def _naming(finding: str) -> re.Pattern[str]:
    names = (re.escape(name) for name, meant in NAMES.items() if meant == finding)
    return re.compile(rf"(?i)\b(?:{'|'.join(names)})\b")


def _other_than(finding: str | None, part: str) -> bool:
    """Whether a part of a remark names other findings, and not the one that the remark is about."""
    others = (one for one in FINDINGS if one not in (NO_FINDING, finding))
    return finding in FINDINGS and not _naming(finding).search(part) and any(_naming(one).search(part) for one in others)


def decides(text: str) -> bool:
    """Whether a line says anything about the finding above it."""
    return not (YES | NO | MAYBE | SOUND | SIGNS | QUALIFIERS | SEEN).isdisjoint(_words(text)) or share(text) is not None


def words_of(text: str) -> frozenset[str]:
    """The words of a heading or a sentence, in small letters, without numbers and signs."""
    words = [word for part in _WORD.findall(text.casefold().replace("_", " ").replace("-", " ")) if (word := part.strip(".'/"))]
    words = [word if len(word) == 1 else word.rstrip("?") for word in words]
    return frozenset(words).union(*(word.split("/") for word in words if len(word) > 3))


def _words(text: str) -> list[str]:
    text = re.sub(r"(?<=[a-z])-(?=[a-z])", " ", text.casefold()) if " " not in text.strip() else text.casefold()
    words = text.replace("?", " ? ").replace("=", " ").split()
    return [word.strip(_EDGES) or word for word in words]


def _said_of(part: str, finding: str | None, beside: bool) -> bool | None:
    """What one part of a remark, neither status nor number, says of the finding that it is made on."""
    words = _words(SINCE.sub("", part))
    if beside and finding in DENSITIES and words[0] in ("likely", "probably", "probable") and _other_than(finding, part):
        return True
    if not MAYBE.isdisjoint(words) or not lexicon.LIKELINESS.isdisjoint(words) and "high" not in words:
        return None
    content = [word for word in words if word not in FILLERS and word not in NO]
    if not NO.isdisjoint(words):
        other = named(" ".join(content))
        if beside and other is None and _other_than(finding, part):  # "no pneumothorax after insertion", in parentheses
            return True
        if other and SIGNS.isdisjoint(content):  # "no pneumothorax", said of an effusion
            sign = other in DENSITIES and finding in DENSE and not beside
            return not sign and other not in (finding, NO_FINDING)
        # "not severe" and "no change" grade what is there; "not seen on the left" does not.
        graded = (
            (QUALIFIERS | lexicon.GRADES).issuperset(content)
            and words[0] in NO
            and words[1:2] != []
            and words[1] not in FILLERS
        )
        return True if graded else False if (QUALIFIERS | YES).issuperset(content) else None
    if not SOUND.isdisjoint(words):
        return True if finding in (SUPPORT_DEVICES, NO_FINDING) else None
    ratio = _RATIO.search(part)
    if ratio and finding == "Cardiomegaly":
        return float(ratio.group(1) or f"0.{ratio.group(2)}") >= 0.5
    if named(" ".join(content)) or not SIGNS.isdisjoint(content):
        return True
    degree = [word for word in content if word not in lexicon.MEASURES and not _MEASURED.fullmatch(word)]
    if number := _GRADE.search(part):
        return number.group(1) != "0"
    if finding and lexicon.PAST.isdisjoint(words) and _naming(finding).search(part):  # "pacemaker in the left chest wall"
        return True
    return True if degree and (QUALIFIERS | YES | lexicon.DEGREES).issuperset(degree) else None
