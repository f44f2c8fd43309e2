"""How people word findings: what a loosely written list claims, what it denies, and what it leaves open.

The tables are data, to be read and extended by people who know how radiologists write. An item is claimed only when nothing
is left of it but a finding's name and words that say where, how much or that it is there; a denial ("no pneumothorax"), a
possibility ("edema?", "pneumonia or atelectasis") and a word that nobody listed here never make a claim.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from chexreason.labels import FINDINGS

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
    "bibasal bibasilar base bases basis apical apex perihilar retrocardiac peripheral lobe lobes lung lungs zone zones field "
    "fields hemithorax side costophrenic angle angles".split()
)
FILLERS = frozenset(
    "a an the is are was were there be of in on at with evidence sign signs seen noted present identified visible "
    "demonstrated shown shows show image radiograph film finding findings also yes positive".split()
)
DENIALS = frozenset(
    "no not none nor neither never without absent absence negative denies denied excludes excluded exclude free lack lacks "
    "lacking resolved ruled rule unlikely cannot can't isn't aren't wasn't false".split()
)
HEDGES = frozenset(
    "possible possibly probable probably perhaps maybe may might could suspected suspicious questionable question equivocal "
    "uncertain unclear indeterminate likely versus vs or if consider considered differential unsure ?".split()
)
# Said of a finding after a colon or in parentheses: it is not there; it may or may not be.
SOUND = frozenset("normal unremarkable clear intact zero n - \u2212 \u2013 \u2717 \u2718 \u274c".split())
FAINT = frozenset("low".split())
# Headings under which claims are listed. Under any other ("Considered:") nothing is claimed; a denying one denies.
CLAIMING = frozenset(
    "finding findings label labels answer solution conclusion impression diagnosis diagnoses present positive "
    "abnormalities final predicted prediction chexpert list the is are my image shows".split()
)

_ASIDE = re.compile(r"\([^()\n]*+\)|\[[ xX]?\]")  # a remark in parentheses, or a box to tick
_CLAUSE = re.compile(r"[\n\r\v\f\u2028\u2029;\u2022]|(?<!\d)(?<!vs)\.\s")
_COMMA = re.compile("[,\u3001\uff0c]")
_TURN = re.compile(r" but (?=no |not |without )| (?=without |with no )")  # what follows is said of something else
_PAIR = re.compile(r" and | & | plus | or | nor |/")
_VALUE = re.compile(r"\s*[:=|]\s*|\s+[-\u2013\u2014]+>?\s+")
_EDGES = " \t\"'`*_#>[]{}()<.:|-\u2013\u2014\u2022\u00b7"
_NUMBERED = re.compile(r"\s*\(?\d{1,3}[.)]\s+")


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
    for raw in _CLAUSE.split(_ASIDE.sub(_aside, body)):
        clause = _NUMBERED.sub("", raw, count=1)
        head, colon, tail = clause.partition(":")
        said = scope
        if colon and _finding(head) is None:
            said = _heading(head)
            clause = tail
            if not tail.strip(_EDGES):
                scope = said
                continue
        _read_clause(clause, said, found)
    return found


def _read_clause(clause: str, said: bool | None, found: list[Mention]) -> None:
    """Add the items of one sentence or line; `said` is what its heading makes of them."""
    items = [part for item in _COMMA.split(clause) for part in _TURN.split(item)]
    # "No effusion, pneumothorax, or edema": the denial reaches to the end. "No edema, Fracture": it does not.
    linked = len(items) > 1 and any(_PAIR.search(f" {item.strip()} ") for item in items)
    last = found[-1] if found else None
    bare = last is not None and last.claimed is False and last.finding is None and _only_denies(_plain(last.text).split())
    denying = bare  # after a line that only says "no"
    for item in map(str.strip, items):
        pieces = [item] if _plain(item) in NAMES else _PAIR.split(item)
        open_choice = len(pieces) > 1 and (" or " in item or "/" in item)
        for piece in pieces:
            words = _plain(piece).split()
            if not words:
                continue
            if _only_denies(words):
                if found and found[-1].claimed:  # "Edema, absent"
                    found[-1] = replace(found[-1], claimed=False)
                else:
                    found.append(Mention(piece.strip(), None, False))
                denying = linked = True
                continue
            finding, claimed = _read(piece)
            if denying and (bare or linked or len(pieces) > 1 or item not in FINDINGS):
                claimed = False
            elif claimed:
                claimed = None if open_choice else said
            found.append(Mention(piece.strip(), finding, claimed))
            denying = denying or (claimed is False and words[0] in DENIALS)


def _only_denies(words: list[str]) -> bool:
    """Whether an item is a bare "absent" or "not seen", said of the item before it."""
    return (
        len(words) <= 4
        and " ".join(words) not in NAMES
        and DENIALS.union(FILLERS).issuperset(words)
        and (not DENIALS.isdisjoint(words))
    )


def _read(item: str) -> tuple[str | None, bool | None]:
    """The finding that one item names and whether it claims it."""
    plain = _plain(item)
    if plain in NAMES:
        return NAMES[plain], True
    head, *tail = _VALUE.split(plain, maxsplit=1)
    if tail and (finding := _finding(head)):
        return finding, _verdict(tail[0])
    words = plain.replace("?", " ? ").split()
    denied, hedged = not DENIALS.isdisjoint(words), not HEDGES.isdisjoint(words)
    left = " ".join(word for word in words if word not in DENIALS and word not in HEDGES)
    return _finding(left, bare=denied), False if denied else None if hedged else True


def _finding(phrase: str, bare: bool = False) -> str | None:
    """The finding that `phrase` names, place and degree aside; `bare` when denials were already taken out of it."""
    plain = _plain(phrase)
    if plain in NAMES:
        # "no abnormality" denied once more, or a bare "normal" out of "not normal", is no finding's name.
        return None if bare and NAMES[plain] == FINDINGS[0] else NAMES[plain]
    words = [word for word in plain.split() if word not in FILLERS]
    return NAMES.get(" ".join(words)) or NAMES.get(" ".join(word for word in words if word not in QUALIFIERS))


def _verdict(remark: str) -> bool | None:
    """What a remark on a finding ("absent", "0.9", "small, left") makes of it."""
    words = remark.casefold().replace("?", " ? ").replace(",", " ").split()
    if not DENIALS.isdisjoint(words) or not SOUND.isdisjoint(words):
        return False
    if not HEDGES.isdisjoint(words) or FAINT.issuperset(words):
        return None
    try:
        share = float(remark.strip(" %"))
    except ValueError:
        return True
    return (share / 100 if "%" in remark or share > 1 else share) >= 0.5  # a share, or of a hundred


def _heading(head: str) -> bool | None:
    words = _plain(head).replace("-", " ").split()
    if not DENIALS.isdisjoint(words):
        return False
    return True if CLAIMING.issuperset(words) else None


def _aside(aside: re.Match[str]) -> str:
    """A remark in parentheses as the one word that matters to the item it belongs to; an empty box denies.

    "(no pneumothorax)" speaks of a finding of its own, and becomes a clause of its own.
    """
    remark = aside.group()[1:-1]
    before = aside.string[max(0, aside.start() - 9) : aside.start()].rstrip(" \t")
    if aside.group().startswith("["):
        verdict: bool | None = remark in ("x", "X")
    elif remark.strip().isdigit() and before[-1:] in ("", "\n", ";", ","):
        return " "  # "(2) Edema" is numbered
    elif not before.strip() and aside.start() < 9:
        return remark  # the list itself stands in parentheses
    elif _read(remark)[0]:
        return f"; {remark};" if _read(remark)[1] is False else " "
    else:
        verdict = _verdict(remark)
    return " " if verdict else " absent " if verdict is False else " possible "


def _plain(text: str) -> str:
    """`text` in lower case, single spaces, no decoration."""
    bare = _NUMBERED.sub("", text.strip(_EDGES), count=1).strip(_EDGES).rstrip("!")
    return " ".join(bare.casefold().replace("_", " ").replace("**", " ").split())
