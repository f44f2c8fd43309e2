"""How people word findings: what a loosely written list claims, what it denies, and what it leaves open.

The tables are data, to be read and extended by people who know how radiologists write. An item is claimed only when nothing
is left of it but a finding's name and words that say where, how much or that it is there, or a remark that describes it; a
denial ("no pneumothorax"), a possibility ("edema?", "pneumonia or atelectasis") and a lone word that nobody listed here never
make a claim.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from chexreason.labels import FINDINGS, NO_FINDING, SUPPORT_DEVICES

# What radiologists also call CheXpert's findings.
SYNONYMS: dict[str, tuple[str, ...]] = {
    "No Finding": (
        "normal", "normal study", "normal chest", "normal chest radiograph", "no findings", "no acute findings",
        "no abnormality", "no abnormalities", "no acute abnormality", "no acute cardiopulmonary abnormality",
        "no acute cardiopulmonary process",
    ),
    "Enlarged Cardiomediastinum": (
        "enlarged mediastinum", "widened mediastinum", "wide mediastinum", "mediastinal widening",
        "widened cardiomediastinum", "enlarged cardiomediastinal silhouette", "widened cardiomediastinal silhouette",
    ),
    "Cardiomegaly": (
        "cardiac enlargement", "enlarged heart", "heart enlargement", "enlarged cardiac silhouette",
        "enlarged heart size", "enlargement cardiac silhouette",
    ),
    "Lung Opacity": (
        "lung opacities", "opacity", "opacities", "airspace opacity", "airspace opacities", "pulmonary opacity",
        "pulmonary opacities", "infiltrate", "infiltrates",
    ),
    "Lung Lesion": (
        "lung lesions", "lung nodule", "lung nodules", "lung mass", "pulmonary nodule", "pulmonary nodules",
        "pulmonary mass", "nodule", "nodules", "mass", "masses", "cavitary lesion",
    ),
    "Edema": ("oedema", "pulmonary edema", "pulmonary oedema", "interstitial edema", "alveolar edema", "lung edema"),
    "Consolidation": ("consolidations", "airspace consolidation", "lobar consolidation", "lung consolidation"),
    "Pneumonia": ("pneumonias", "bronchopneumonia", "lobar pneumonia"),
    "Atelectasis": ("atelectases", "atelectatic changes", "lung collapse", "lobar collapse", "subsegmental atelectasis"),
    "Pneumothorax": ("pneumothoraces", "ptx"),
    "Pleural Effusion": ("effusion", "effusions", "pleural effusions", "pleural fluid"),
    "Pleural Other": ("pleural thickening", "pleural plaque", "pleural plaques", "pleural scarring", "apical cap"),
    "Fracture": ("fractures", "rib fracture", "rib fractures", "clavicle fracture", "fractured rib", "fractured ribs"),
    "Support Devices": (
        "support device", "devices", "lines and tubes", "tubes and lines", "endotracheal tube", "central venous catheter",
        "central venous line", "central line", "pacemaker", "chest tube", "nasogastric tube",
    ),
}  # fmt: skip
NAMES = {name.casefold(): name for name in FINDINGS} | {
    synonym: finding for finding, synonyms in SYNONYMS.items() for synonym in synonyms
}

# Words that place or grade a finding, and words that only say that it is there.
QUALIFIERS = frozenset(
    "trace tiny small mild minimal slight moderate large marked severe massive extensive diffuse focal patchy dense hazy "
    "faint subtle linear streaky loculated layering acute chronic old new stable unchanged multiple scattered displaced "
    "left right bilateral both unilateral lateral medial left-sided right-sided sided upper middle mid lower basal basilar "
    "r l rt lt r>l l>r rul rml rll lul lll bibasal bibasilar base bases basis apical apex perihilar retrocardiac peripheral "
    "lobe lobes lung lungs zone zones field fields hemithorax side costophrenic angle angles".split()
)
FILLERS = frozenset(
    "a an the is are was were there be of in on at with evidence sign signs seen noted present identified visible "
    "demonstrated shown shows show image radiograph film finding findings also yes positive out but following patient "
    "has have i see".split()
)
GRADES = frozenset("change changes displacement displaced tension shift interval".split())  # "no change": it is there
DENIALS = frozenset(
    "no not none nor neither never without absent absence negative denies denied excludes excluded exclude free lack lacks "
    "lacking resolved ruled rule unlikely cannot can't isn't aren't wasn't false".split()
)
HEDGES = frozenset(
    "possible possibly probable probably perhaps maybe may might could suspected suspicious questionable question equivocal "
    "uncertain unclear indeterminate likely versus vs or if consider considered differential unsure ?".split()
)
# Said of a finding after a colon or in parentheses: it is not there; of a device, some of them only that it lies well.
ABSENT = frozenset("0 zero n f nil - \u2212 \u2013 \u2717 \u2718 \u274c \u2610".split())
SOUND = frozenset("normal unremarkable clear intact".split())
# It may or may not be; it is; and what a number beside it is called.
FAINT = frozenset("low doubtful inconclusive improbable unknown null na n/a nan".split())
SURE = frozenset("yes y true x + 1 high definite certain \u2713 \u2714 \u2611 \u2705".split())
MEASURES = frozenset("confidence probability likelihood score certainty p very".split())
# Headings under which claims are listed. Under any other ("Considered:") nothing is claimed; a denying one denies.
CLAIMING = frozenset(
    "finding findings label labels answer solution conclusion impression diagnosis diagnoses present positive "
    "abnormalities final predicted prediction chexpert list the is are my image shows".split()
)

_ASIDE = re.compile(r"\([^()\n]*+\)|\[[ xX]?\]")  # a remark in parentheses, or a box to tick
_LINE = re.compile("[\n\r\v\f\u2028\u2029]")
# A sentence ends after a number only where that is a value: "Edema: 0. Fracture: 1." and not "1. Edema".
_VALUED = "(?:(?<!\\d)|(?<=[:=]\\d)|(?<=[:=] \\d)|(?<=[:=] \\d\\d)|(?<=\\.\\d)|(?<=\\.\\d\\d))"
_CLAUSE = re.compile(rf"[;\u2022]|{_VALUED}(?<!vs)\.\s")
_COMMA = re.compile("[,\u3001\uff0c]")
_TURN = re.compile(r" but (?=no |not |without )| (?=without |with no )")  # what follows is said of something else
_PAIR = re.compile(r" and | & | plus | or | nor |/")
_VALUE = re.compile(r"\s*[:=|]\s*|\s+[-\u2013\u2014]+>?\s+")
_MARK = re.compile(r"[\s:=|]([-\u2212\u2013+\u2713\u2714\u2611\u2705\u2717\u2718\u274c])[\s|*]*+\Z")  # a sign for a value
_NO_VALUE = re.compile(r"(?:[:=]|\|\s?\|)[\s*|]*+\Z")
_BLANKS = re.compile(r"[^\S\n\r\v\f\u2028\u2029]{2,}")
_UNTICKED = re.compile("[\\s*-]*+[\u2717\u2718\u274c\u2610]")
_BULLETS = "+\u2022\u25e6\u2023\u25aa\u2713\u2714\u2611\u2705\u00b7"
_EDGES = " \t\"'`*_#>[]{}()<.:|-\u2013\u2014" + _BULLETS
_NUMBERED = re.compile(r"\A\s*+\(?(?:\d{1,3}[.)]|[A-Za-z]\))\s+")
_NEXT_NUMBER = re.compile(r"\s(?=\(?\d{1,2}[.)]\s+[A-Za-z])")  # "1. Edema 2. Fracture"
_NUMBER = re.compile(r"[<>~\u2264\u2265]?\s*(\d+(?:\.\d+)?|\.\d+)\s*(%?)")


@dataclass(frozen=True)
class Mention:
    """One item of a list: the finding that it names, if any, and whether it is claimed (None: neither yes nor no)."""

    text: str
    finding: str | None
    claimed: bool | None


def mentions(body: str) -> list[Mention]:
    """What a loosely written list says, item by item. Linear in the length of `body`."""
    found: list[Mention] = []
    scope: bool | None = True  # what the last heading on a line of its own makes of the items under it
    lines = [line for line in _LINE.split(_ASIDE.sub(_aside, _BLANKS.sub(" ", body))) if line.strip()]
    for number, line in enumerate(lines, start=1):
        words = _plain(line).split()
        if number < len(lines) and _is_heading(words):
            scope = _said_by(words)
            continue
        rows = _NEXT_NUMBER.split(line) if _NUMBERED.match(line) else [line]
        for raw in (part for row in rows for part in _CLAUSE.split(row) if part.strip()):
            clause = _NUMBERED.sub("", raw)
            head, colon, tail = clause.partition(":")
            said = scope
            if colon and _finding(head) is None:
                said = _said_by(_plain(head).split())
                clause = tail
                if not tail.strip(_EDGES):
                    scope = said
                    continue
            _read_clause(clause, said, found)
    return found


def _is_heading(words: list[str]) -> bool:
    """Whether a line without a colon still speaks of the lines under it: "Absent", "None of the following"."""
    known = DENIALS | HEDGES | CLAIMING | FILLERS
    return 0 < len(words) <= 6 and " ".join(words) not in NAMES and known.issuperset(words)


def _said_by(heading: list[str]) -> bool | None:
    """What a heading makes of the items under it."""
    words = " ".join(heading).replace("-", " ").split()
    if not DENIALS.isdisjoint(words):
        return False
    return True if CLAIMING.union(FILLERS).issuperset(words) else None


def _read_clause(clause: str, said: bool | None, found: list[Mention]) -> None:
    """Add the items of one sentence or line; `said` is what its heading makes of them."""
    items = [part for item in _COMMA.split(clause) for part in _TURN.split(item)]
    # "No effusion, pneumothorax, or edema": the denial reaches to the end. "No edema, Fracture": it does not.
    linked = len(items) > 1 and any(_PAIR.search(f" {item.strip()} ") for item in items)
    denying = bare = False
    for item in map(str.strip, items):
        joined = f" {item}"  # "Edema, and Fracture": an item may begin with what joins it to the one before
        pieces = [item] if _plain(item) in NAMES else [part for one in _PAIR.split(joined) for part in _companions(one)]
        open_choice = len(pieces) > 1 and (" or " in joined or "/" in item)
        for piece in pieces:
            words = _plain(piece).split()
            if not words:
                continue
            remark = _remark(words)
            if remark is not True:
                if found and found[-1].claimed:  # "Edema, absent", "Edema, possible"
                    found[-1] = replace(found[-1], claimed=remark)
                else:
                    found.append(Mention(piece.strip(), None, remark))
                    said = said if remark is False else None
                if remark is False:
                    denying = linked = bare = True
                continue
            finding, claimed = _read(piece)
            if denying and (bare or linked or len(pieces) > 1 or item not in FINDINGS):
                claimed = False
            elif claimed:
                claimed = None if open_choice else said
            found.append(Mention(piece.strip(), finding, claimed))
            denying = denying or (claimed is False and words[0] in DENIALS)


def _companions(piece: str) -> list[str]:
    """ "Cardiomegaly with edema" and "Edema | Fracture" as two items; "consistent with edema" and "Edema | yes" are one."""
    cells = [cell for cell in piece.split("|") if cell.strip()]
    if len(cells) > 1 and all(map(_finding, cells)):
        return cells
    head, joint, tail = piece.partition(" with ")
    return [head, tail] if joint and _finding(head) else [piece]


def _remark(words: list[str]) -> bool | None:
    """What an item with no name in it ("absent", "not seen", "possibly", "0") makes of the item before it; True: it is none."""
    if len(words) > 4 or " ".join(words) in NAMES:
        return True
    if len(words) == 1 and (share := _share(words[0])) is not None:
        return share
    if not (DENIALS | HEDGES | FILLERS).issuperset(words):
        return True
    return False if not DENIALS.isdisjoint(words) else None if not HEDGES.isdisjoint(words) else True


def _read(item: str) -> tuple[str | None, bool | None]:
    """The finding that one item names and whether it claims it."""
    if _UNTICKED.match(item) and (finding := _finding(_UNTICKED.sub("", item, count=1))):
        return finding, False
    if (mark := _MARK.search(item)) and (finding := _finding(item[: mark.start()])):
        return finding, mark.group(1) in SURE
    if (empty := _NO_VALUE.search(item)) and (finding := _finding(item[: empty.start()])):
        return finding, None
    plain = _plain(item)
    if plain in NAMES:
        return NAMES[plain], True
    head, *tail = _VALUE.split(item.strip(" \t\"'`*_#>|"), maxsplit=1)
    if tail and (finding := _finding(head)):
        return finding, _verdict(tail[0], finding)
    words = plain.replace("?", " ? ").split()
    denied, hedged = not DENIALS.isdisjoint(words), not HEDGES.isdisjoint(words)
    left = " ".join(word for word in words if word not in DENIALS and word not in HEDGES)
    return _finding(left, bare=denied), False if denied else None if hedged else True


def _finding(phrase: str, bare: bool = False) -> str | None:
    """The finding that `phrase` names, place and degree aside; `bare` when denials were already taken out of it."""
    plain = _plain(phrase)
    if plain in NAMES:
        # "no abnormality" denied once more, or a bare "normal" out of "not normal", is no finding's name.
        return None if bare and NAMES[plain] == NO_FINDING else NAMES[plain]
    words = [word for word in plain.split() if word not in FILLERS]
    # What is normal may be one lung: only of a finding is its place left aside.
    named = (
        NAMES.get(" ".join(word for word in words if word not in aside)) for aside in ((), CLAIMING, QUALIFIERS | CLAIMING)
    )
    placed = next(filter(None, named), None)
    return None if placed == NO_FINDING else placed


def _verdict(remark: str, finding: str | None = None) -> bool | None:
    """What a remark on a finding ("absent", "0.9", "small, left") makes of it; in a table's row, its last plain cell does."""
    cells = [cell for cell in remark.split("|") if cell.strip()]
    if len(cells) > 1:
        plain = (_plain_value(cell) for cell in reversed(cells))
        decided = next((value for value in plain if value != "no value"), None)
        return decided if isinstance(decided, bool) else None
    parts = [_said_of(part, finding) for part in _COMMA.split(remark.replace(";", ",")) if part.strip()]
    return False if False in parts else None if None in parts or not parts else True


def _plain_value(cell: str) -> bool | str:
    """A cell that holds a number, a yes or a no."""
    words = cell.casefold().strip(_EDGES).split() or [cell.strip()]
    if (share := _share(cell.strip())) is not None:
        return share
    if SURE.issuperset(words) or words in (["present"], ["positive"]):
        return True
    return False if (ABSENT | DENIALS).issuperset(words) and words != ["none"] else "no value"


def _said_of(part: str, finding: str | None) -> bool | None:
    """What one part of a remark makes of the finding that it is made on."""
    lowered = re.sub(r"(?<=[a-z])-(?=[a-z])", " ", part.casefold()) if " " not in part.strip() else part.casefold()
    words = [word.strip("*_.!\"'") or word for word in lowered.replace("?", " ? ").replace("=", " ").split()]
    if not HEDGES.isdisjoint(words) or not FAINT.isdisjoint(words):
        return None
    rest = [word for word in words if word not in MEASURES]
    if rest and (share := _share(" ".join(rest))) is not None:
        return share
    if ABSENT.issuperset(words):
        return False
    content = [word for word in words if word not in FILLERS and word not in DENIALS]
    if not DENIALS.isdisjoint(words):
        if not content:
            return False
        other = _finding(" ".join(content))
        if other:  # "no pneumothorax", said of an effusion
            return other != finding
        # "not severe" and "no change" grade what is there; "not seen on the left" does not.
        graded = (QUALIFIERS | GRADES).issuperset(content) and words[0] in DENIALS and words[1] not in FILLERS
        return True if graded else False if QUALIFIERS.issuperset(content) else None
    if not SOUND.isdisjoint(content):
        if finding == SUPPORT_DEVICES:  # they lie well
            return True
        return False if (SOUND | QUALIFIERS).issuperset(content) else None
    unlisted = [word for word in content if word not in QUALIFIERS | SURE | MEASURES and NAMES.get(word) is None]
    # A description ("blurred vessels") is of something that is there; what a lone strange word means, nobody has said.
    return None if len(unlisted) == 1 and len(words) == 1 else True


def _share(text: str) -> bool | None:
    """A number as a share of one or of a hundred, at least half of it; None where `text` is no number."""
    number = _NUMBER.fullmatch(text.strip())
    if not number:
        return None
    share = float(number.group(1)[:20])
    return (share / 100 if number.group(2) or share > 1 else share) >= 0.5


def _aside(aside: re.Match[str]) -> str:
    """A remark in parentheses as the one word that matters to the item it belongs to; an empty box denies.

    "(no pneumothorax)" speaks of a finding of its own, and becomes a clause of its own.
    """
    remark = aside.group()[1:-1]
    before = aside.string[max(0, aside.start() - 60) : aside.start()].rstrip(" \t")
    item = re.split(r"[,;\n]", before)[-1]
    if aside.group().startswith("["):
        verdict: bool | None = remark in ("x", "X")
    elif remark.strip().isdigit() and not item.strip():
        return " "  # "(2) Edema" is numbered
    elif not before.strip() and aside.start() < 60:
        return remark  # the list itself stands in parentheses
    else:
        finding, (named, claimed) = _finding(item), _read(remark)
        if named and named != finding:
            return f"; {remark};" if claimed is False else " "
        verdict = claimed if named else _verdict(remark, finding)
    return " " if verdict else " absent " if verdict is False else " possible "


def _plain(text: str) -> str:
    """`text` in lower case, single spaces, no decoration."""
    bare = _NUMBERED.sub("", text.strip(_EDGES)).strip(_EDGES).rstrip("!")
    return " ".join(bare.casefold().replace("_", " ").replace("**", " ").split())
