"""Items: what stands between the commas of a list.

An item is a finding's name with place and degree, a sign or a status before or after it, a remark in parentheses. A denial
or a doubt that begins an item reaches to the end of its sentence: "no edema, fracture".
"""

from __future__ import annotations

import itertools
import re
from dataclasses import replace

from chexreason.answers.lexicon import FILLERS, MAYBE, NO, NOT_CLAIMED, SEEN, SURE, TICKMARKS, TICKS, UNSPACED, YES
from chexreason.answers.mentions import Mention, together
from chexreason.answers.synonyms import NAMES
from chexreason.answers.values import OPTION, named, share, status, verdict, words_of
from chexreason.labels import NO_FINDING

_DOTS = "\u2022\u25e6\u2023\u25aa\u25cf\u25a0\u2219\u00b7"
BULLET = re.compile(rf"\s*(?:(?:--|[-\u2013\u2014*{_DOTS}\u25cb>#+])\s+|[{_DOTS}])")
NUMBERED = re.compile(
    r"\s*(?:\(?(?!0\b)\d{1,2}[.):]\)?\s*(?=[^\s\d])|\(?[A-Za-z][.)]\s*(?=[A-Z\"'(\[])|\(?[ivx]{1,4}[.)]\s+"
    r"|\[(?!0\])\d{1,2}\]\s*)"
)
MARK = re.compile(
    rf"\s*(?:\[\s?([^\s\[\]()]?)\s?\]|\(\s?([-+xX*0\u2212{TICKMARKS}]?)\s?\)|([{TICKMARKS}+\u2212]|~(?=\s)|!(?=[A-Za-z])))\s*"
)
MARKED = re.compile(rf"[{TICKMARKS}]|\[\s?[^\s\[\]()]?\s?\]|\(\s?[-+xX*0\u2212{TICKMARKS}]?\s?\)")  # a sign or a box anywhere
NEXT_MARK = re.compile(
    rf"\s(?=(?:\[.?\]|\([-+xX*\s\u2212{TICKMARKS}]?\)|[{TICKMARKS}])\s*[A-Za-z])"
)  # "(-) Edema (+) Fracture"
ASIDE = re.compile(r"\(([^()]*)\)|\[([^\[\]]*)\]")
_CERTAIN = YES.union(
    SURE, "mild moderate severe small large trace minimal marked stable unchanged worsening new persistent".split()
)
_SENTENCE = FILLERS | {word for word in YES if not word.isalpha()}  # with one of these, a denial is a sentence and no item
_SCARCE = frozenset("little minimal slight weak scant faint subtle".split())  # evidence
_ITEM = re.compile(r"(?:\([^()]*\)|[^,])+")
_JOIN = re.compile(r"(?i)\s+(?:and/or|and|plus|with|along with|as well as)\s+|\s*[&/]\s*")
_CHOICE = re.compile(r"(?i)\s*(?:or|versus|vs\.?)\s")
_INSTEAD = re.compile(r"(?i)\b(?:instead of|rather than|and not|as opposed to)\b")
_ALL = re.compile(r"(?i)\((?:both|all|each|neither|none of (?:them|these))\b")
_LEADING = re.compile(r"(?i)\s*(and|or|but|plus|with|also|&|versus|vs\.?|nor)\s+")
_VALUE = re.compile(r"\s*(?::|=(?!\d*>)|\||\u2014|\u2026|\.{3,})\s*|\s+[-\u2013~\u2248]+>?\s+|\?\s*(?=[^\s,;])")
_DASHED = re.compile(r"\A[-\u2013\u2014]\s+(?=[A-Za-z])")  # "Edema? - Yes"
_TRAILING_SIGN = re.compile(rf"[\s:=|]?\s?([-\u2212\u2013+{TICKMARKS}]+)\s*\Z")
_LEADING_NUMBER = re.compile(r"(\d[\d.]*\s*%|[01]?\.\d+)\s+(\D+)")
_TRAILING_NUMBER = re.compile(r"(.*[A-Za-z])\s+([<>~\u2248\u2264\u2265]?\s?(?:\d[\d.]*\s*%|\d?\.\d+|\d+\s*/\s*\d+))")
_NO_FINDINGS = re.compile(
    r"(?i)(?:there (?:is|are|was|were)|i see) no (?:abnormal )?findings?(?: (?:in|on) (?:this|the) [\w-]+)?\W*"
    r"|no (?:abnormal )?findings? (?:is|are|was|were|have been) (?:seen|identified|noted|detected|present|visible|found)"
    r"(?: (?:in|on) (?:this|the) [\w-]+)?\W*"
)
# The longest first, by the letters that they begin with: else each of hundreds would be tried at each word.
_LONGEST_FIRST = sorted(NAMES.keys() - {"normal"}, key=lambda name: (name[0], -len(name), name))
_NAMES = "|".join(
    letter + "(?:" + "|".join(re.escape(name[1:]).replace("\\ ", r"[\s_]") for name in names) + ")"
    for letter, names in itertools.groupby(_LONGEST_FIRST, lambda name: name[0])
)
NAME = re.compile(rf"\b(?:{_NAMES})\b", re.IGNORECASE)
PAIR = re.compile(  # a name before its value: "Edema: 0 Fracture: 1"
    rf"(?i)\b(?:{_NAMES})\b(?=\s*(?:[:=]|\?(?!\s*(?:[,;]|\Z))"
    rf"|[\[(][tTfFyYnN][\])]|\((?:[-yYnN+{TICKMARKS}]|\d|yes|no|present|absent|true|false)|[-\u2013]?\s*[01]\b|[{TICKMARKS}]"
    r"|(?:positive|negative|present|absent)\b))"
)
_DENIAL = re.compile(r"(?i)(?<=[^\s:=?|\u2013\u2014-])\s+(?:no|not|without|nor)(?: an?| the)?\s+\Z")  # no value before it
_GLOSS = re.compile(rf"{UNSPACED}(?:{UNSPACED}|\s)*")
_LONGEST = 300  # characters of an item; a longer one is a sentence, and what is short is read in no time
EDGES = " \t\"'`*_#<>{}[]|"


def unmarked(text: str) -> str:
    """`text` without a bullet and a number, in either order."""
    for _ in range(2):
        mark = BULLET.match(text) or NUMBERED.match(text)
        text = text[mark.end() :] if mark and mark.end() < len(text) else text
    return text


def read(clause: str) -> list[Mention] | None:
    """The items of a clause that is a list, or None where it is prose."""
    pairs = [_begin(clause, match.start()) for match in PAIR.finditer(clause)]
    if len(pairs) > 1:
        starts = [0, *pairs[1:]]
        pieces = [
            clause[start:end].strip(" ,;&\u2013\u2014") for start, end in zip(starts, [*pairs[1:], len(clause)], strict=True)
        ]
        runs = [[one] if (one := _item(piece)) else _listed(piece) for piece in pieces]
        return None if None in runs else [one for run in runs if run for one in run]
    head, value = split(clause)
    if value and named(head) is None:
        over = [named(one) for part in _ITEM.findall(head) for one in _JOIN.split(part)]
        if len(over) > 1 and all(over):  # "Edema, Fracture: absent"
            return [Mention(clause.strip(), finding, verdict(value, finding), "list") for finding in over]
    return _listed(clause)


def _begin(clause: str, name: int) -> int:
    """The start of the item whose name starts at `name`, its denial included: "Edema (0.8), no fracture (0.6)"."""
    denial = _DENIAL.search(clause[max(0, name - 20) : name])
    return name - len(denial[0]) if denial else name


def _listed(clause: str) -> list[Mention] | None:
    """The items between commas and "and", or None where one of them is none ("edema or fracture" is prose)."""
    found: list[Mention] = []
    alone: Mention | None = None  # a status without a name, which applies to what stands before the clause
    reaching: bool | None = True  # the status that a leading denial or doubt gives to the items after it
    settled = False  # whether a status alone has followed the last name
    group = 0  # index of the first finding that the last raw item names
    bare: list[int] = []  # indices of items that are bare names
    raws = [raw for raw in _ITEM.findall(clause) if raw.strip(EDGES)]
    denials = sum(1 for _ in itertools.takewhile(lambda raw: _first_word(raw) in NO, raws))  # leading items with a denial
    chosen = any(map(_CHOICE.match, raws))  # "no edema, large effusion, or fracture" denies all three
    signed = any(raw.lstrip()[0] == "+" for raw in raws)
    for place, raw in enumerate(raws):
        if 1 < place == denials and not _LEADING.match(raw):
            # "no edema, no effusion, mild cardiomegaly" or "..., cardiomegaly, no fracture": each denial applies to one item
            denied_again = place + 1 < len(raws) and _first_word(raws[place + 1]) in NO
            reaching = reaching if raw.strip(EDGES + ".").casefold() in NAMES and not denied_again else True
        raw = re.sub(r"^\s*([-+])\s?(?=\w)", r"(\1) ", raw) if signed else raw  # "+Edema, -Fracture"
        leading = _LEADING.match(raw)
        openly = _CHOICE.match(raw)
        reaching = True if leading and leading[1].casefold() in ("but", "with") else reaching
        raw = raw[leading.end() :] if leading else raw
        whole = _item(raw)
        pieces = [piece for piece in ([raw] if whole else _JOIN.split(raw)) if piece.strip(EDGES)]
        group = len(found) if any(map(named, pieces)) else group
        for piece in pieces:
            item = _item(piece)
            if item is None:
                return None
            if item.finding is None and piece is pieces[0] and len(pieces) > 1:  # "likely with edema": of what follows
                reaching = item.claimed
                continue
            if item.finding is None:  # a status alone applies to the item before it; a number beside one is only a confidence
                if settled and share(piece.strip(EDGES)) is not None:
                    continue
                settled = True
                if found and found[-1].claimed and item.claimed is not True:  # "edema and fracture, no"
                    found[group:] = [replace(one, claimed=item.claimed) for one in found[group:]]
                alone = None if found else item
                continue
            own, settled = item.claimed, False
            if item.claimed and not _CERTAIN.isdisjoint(piece.casefold().split()):  # "no edema, mild effusion"
                reaching = True if not chosen else reaching
            if reaching is not True and item.claimed:
                item = replace(item, claimed=reaching)
            elif openly and item.claimed:
                item = replace(item, claimed=None)
                found = [replace(one, claimed=None) if one.claimed and len(raws) == 2 else one for one in found]
            first = _first_word(piece)
            if item.claimed is not True and first.isalpha() and first in NO | MAYBE:  # a sign applies to its own item only
                reaching = item.claimed
            elif own is not True and piece is not pieces[0] and first.isalpha() and piece.rstrip()[-1] != ")":
                # "edema, fracture and pneumonia absent"
                found = [replace(one, claimed=item.claimed) if at in bare else one for at, one in enumerate(found)]
            if named(piece) and (SEEN | YES).isdisjoint(piece.casefold().split()):
                bare.append(len(found))
            found.append(item)
            if _ALL.search(raw):  # "Edema, fracture (both absent)"
                found = [replace(one, claimed=item.claimed) for one in found]
    if clause.rstrip().endswith("?") and "?" not in clause.rstrip(" ?"):
        found = [replace(one, claimed=None) if one.claimed else one for one in found]
    return found or ([alone] if alone else None)


def names_a_finding(text: str) -> bool:
    """Whether any finding's name stands in `text`."""
    return bool(NAME.search(text))


def is_told(line: str) -> bool:
    """Whether a line is a name followed by a plain yes or no: "Edema 0", "Edema: absent"."""
    pair = PAIR.match(line)
    return pair is not None and status(line[pair.end() :].strip(" :=-()[]")) is not None


def ticked(mark: re.Match[str]) -> bool | None:
    """Whether a MARK ticks its item; None if it is undecided: "[?]", "~"."""
    sign = mark[1] or mark[2] or mark[3]
    return None if sign in ("?", "~") else sign in TICKS


def _first_word(text: str) -> str:
    return text.casefold().split()[0].strip(EDGES)


def _item(raw: str) -> Mention | None:
    """Read one item; None if its words do not form an item."""
    if len(raw) > _LONGEST:
        return None
    told: bool | None = True
    text = unmarked(raw.strip(" \t\"'`{}<>"))
    box = MARK.match(text)
    if box and box.end() < len(text) and not named(text):
        text, told = text[box.end() :], ticked(box)
    text = text.strip(" \t\"'`{}<>.")
    if (text[:1] == "(" and text[-1:] == ")" and text.count("(") == 1) or (text[:1] == "[" and text[-1:] == "]"):
        text = text[1:-1].strip()
    finding = named(text)
    if finding:
        return Mention(raw.strip(), finding, told, "list")
    found = _with_remarks(text) if ASIDE.search(text) and len(OPTION.findall(text)) < 2 else _valued(text) or _worded(text)
    if found is None or (found.finding is None and not told):
        return None
    return replace(found, text=raw.strip(), claimed=False if told is False else found.claimed)


def _with_remarks(text: str) -> Mention | None:
    """A name with remarks in parentheses, or with a box behind it: "Edema (0.9)", "Edema: [x]"."""
    head = " ".join(ASIDE.sub(" ", text).split()).rstrip(" :=")
    inner = _item(head)
    if inner is None or inner.finding is None or inner.claimed is not True:
        return inner if inner and inner.finding else None
    remarks = [one.group(1) if one.group(1) is not None else one.group(2) for one in ASIDE.finditer(text)]
    # The name in another language is no remark on it.
    remarks = [remark for remark in remarks if not _GLOSS.fullmatch(remark) or NOT_CLAIMED.search(remark)]
    remarks = [_INSTEAD.sub("no", remark) for remark in remarks]
    own = [one for one in remarks if words_of(one).isdisjoint(("differential", "ddx")) or not names_a_finding(one)]
    own = [remark for remark in own if ":" not in remark or named(split(remark)[0]) in (None, inner.finding)]
    if named(head) is None:  # "Edema: present (0.3)": a status decides, and a number beside it is only a confidence
        said = [None if words_of(one) & (MAYBE - {"low"}) else one != " " and not _denies(one, inner.finding) for one in own]
    else:
        said = [verdict(remark, inner.finding, aside=True) if remark.strip(" *_") else False for remark in own]
    return replace(inner, claimed=together(said))


def _denies(remark: str, finding: str | None) -> bool:
    """Whether a remark denies a finding in words, and not by a number that says how sure that is."""
    return share(remark) is None and verdict(remark, finding, aside=True) is False or status(remark) is False


def _valued(text: str) -> Mention | None:
    """A name with a value behind or before it: "Edema: yes", "Edema - 0", "Edema +", "Edema 0.9", "Y - Edema", "95% Edema"."""
    head, value = split(text)
    if finding := named(head):
        return Mention(text, finding, verdict(value, finding) if value else None, "list")
    sign = _TRAILING_SIGN.search(text)
    if sign and (finding := named(text[: sign.start()])):
        value = sign.group(1)
        return Mention(text, finding, status(value[0] if len(set(value)) == 1 else value), "list")
    if value and (finding := named(value)) and (said := _first(head)) is not None:
        return Mention(text, finding, said, "list")
    number = _LEADING_NUMBER.fullmatch(text)
    if number and (finding := named(number.group(2))):
        return Mention(text, finding, share(number.group(1)), "list")
    number = _TRAILING_NUMBER.fullmatch(text)
    if number and (said := share(number.group(2))) is not None and (finding := named(number.group(1))):
        return Mention(text, finding, said, "list")
    return None


def _first(value: str) -> bool | None:
    """The status that a plain word or a share gives to the name after it: "Y - Edema", "0.95: Edema"."""
    if value.strip().isdigit():  # of a numbered list
        return None
    said = share(value)
    return status(value) if said is None else said


def split(text: str) -> tuple[str, str]:
    """A name and what stands behind it after a colon, a dash, an arrow or a question mark."""
    sign = _VALUE.search(text)
    return (text[: sign.start()], _DASHED.sub("", text[sign.end() :])) if sign else (text, "")


def _worded(text: str) -> Mention | None:
    """An item whose status stands in words: "no edema", "possible edema", "edema absent"; or a status alone: "not seen"."""
    words = text.casefold().replace("?", " ? ").split()
    if not words or len(words) > 12 or "left out" in text.casefold() or "evidence" in words and not _SCARCE.isdisjoint(words):
        return None
    if len(words) == 1 and share(words[0]) is not None:
        return Mention(text, None, share(words[0]), "list")
    denied, doubted = not NO.isdisjoint(words), not MAYBE.isdisjoint(words)
    core = [word for word in words if word not in NO and word not in MAYBE]
    rest = [word for word in core if word not in FILLERS and word not in YES and word != "but"]
    if rest:
        finding = named(" ".join(rest))
        normal_denied = finding == NO_FINDING and (denied or doubted)
        sentence = (denied or doubted) and not _SENTENCE.isdisjoint(core)  # "no evidence of edema"
        claimed = False if denied else None if doubted else True
        return None if finding is None or normal_denied or sentence else Mention(text, finding, claimed, "list")
    if words[-1] in ("of", "for"):  # truncated before the finding that it denies
        return None
    if denied and not doubted and _NO_FINDINGS.fullmatch(text):  # said of the film: "there are no findings"
        return None
    if denied or doubted:
        return Mention(text, None, False if denied else None, "list")
    return None if YES.isdisjoint(words) else Mention(text, None, True, "list")
