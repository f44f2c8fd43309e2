"""Rearranges lines: a value or a sentence below, above or beside a name is joined to it as `name: value`."""

from __future__ import annotations

import re

from chexreason.answers import items, prose, tables
from chexreason.answers.headings import is_plain_heading
from chexreason.answers.items import EDGES, names_a_finding
from chexreason.answers.lexicon import DENSE, DENSITIES, MAYBE, NO, NUMBER_KEYS, QUALIFIERS, SOUND, STATUS_KEYS, TICKMARKS
from chexreason.answers.phrasing import phrased
from chexreason.answers.values import decides, named, named_beside, share, status, words_of
from chexreason.labels import NO_FINDING

_REST = re.compile(  # than what stands above
    r"(?i)\b(?:other|otherwise|further|additional|remaining|remainder|else|rest|everything)\b"
)
_LUNGS = "lung lungs parenchyma parenchymal airspaces"
_ORGANS = {  # whose being normal denies what is named above it
    finding: frozenset(organs.split())
    for finding, organs in {
        "Enlarged Cardiomediastinum": "heart cardiac mediastinum mediastinal cardiomediastinal aorta",
        "Cardiomegaly": "heart cardiac cardiomediastinal",
        **dict.fromkeys(("Lung Opacity", "Lung Lesion", "Consolidation", "Pneumonia", "Atelectasis"), _LUNGS),
        "Edema": f"{_LUNGS} vessels vasculature vascular interstitium",
        "Pneumothorax": f"{_LUNGS} pleura pleural",
        "Pleural Effusion": "pleura pleural costophrenic diaphragm hemidiaphragm sulci",
        "Pleural Other": "pleura pleural",
        "Fracture": "bone bones rib ribs osseous skeletal skeleton clavicle clavicles spine",
    }.items()
}
_EVERY_ORGAN = frozenset().union(*_ORGANS.values())
_SENTENCED = re.compile(rf"(?i)({items.NAME.pattern})\.\s+(?=[A-Z])")
_LEAD = re.compile(r"[:,;]|\s[-\u2013\u2014]\s|\.(?=\s|\Z)")
_CLAUSE = re.compile(r"[,;]|\.(?=\s|\Z)")
_LEGEND = re.compile(rf"(?<![\w.-])(-?\d|[A-Z]|[?{TICKMARKS}])\s?(?:=|means|:)\s?([A-Za-z][A-Za-z ]{{1,20}})")
_NUMBER = re.compile(r"([:=|]\s?)(-?\d|[A-Z])(?![\w.%/])")
_BETWEEN, _CELL = re.compile(r"[\s,;#|\[\]()\"']+"), re.compile(r"[^\s,;|\[\]()\"']+")


def arranged(text: str) -> list[str]:
    """The lines of `text` that hold anything. Linear in the length of `text`."""
    lines = [line for line in phrased(text).split("\n") if line.strip(EDGES + "-=")]
    if len(lines) > 1 and all(_SENTENCED.match(bare_line(line)) for line in lines):  # "Edema. The vessels are sharp."
        lines = [_SENTENCED.sub(r"\1: ", bare_line(line), count=1) for line in lines]
    return _paired(_sections(_cells(_columns(_spelt_out(lines)))))


def _spelt_out(lines: list[str]) -> list[str]:
    """Replace numbers and letters by words if one of the lines defines them: "0 = absent, 1 = unsure, 2 = present"."""
    at, legend = next(((at, found) for at, found in enumerate(map(_legend, lines)) if len(found) > 1), (None, {}))
    if at is None:
        return lines
    others = lines[:at] + lines[at + 1 :]
    return [_NUMBER.sub(lambda number: f"{number[1]}{legend.get(number[2], number[2])}", line) for line in others]


def _legend(line: str) -> dict[str, str]:
    """The meanings that a line defines for numbers and letters; empty if it says anything else as well."""
    legend = {number: word.strip() for number, word in _LEGEND.findall(line)}
    known = all(
        status(word) is not None or not (MAYBE | QUALIFIERS | SOUND).isdisjoint(words_of(word)) for word in legend.values()
    )
    return legend if known and not names_a_finding(line) else {}


def _columns(lines: list[str]) -> list[str]:
    """Lines with names over as many values, or values over names, as names with values: "Edema, Fracture" over "0, 1"."""
    found: list[str] = []
    for line in lines:
        above = found[-1] if found and "|" not in found[-1] + line else ""
        pairs = _pairs(line, above) or _pairs(above, line)
        found[len(found) - bool(pairs) :] = pairs or [line]
    return found


def _pairs(names: str, values: str) -> list[str]:
    """`name: value` for each name, if `names` holds nothing but names and `values` as many values; else empty."""
    given, cells = items.NAME.findall(names), _CELL.findall(values)
    if len(given) < 2 or len(given) != len(cells) or _BETWEEN.sub("", items.NAME.sub("", names)):
        return []
    plain = all(status(cell) is not None or share(cell) is not None for cell in cells)
    return [f"{name}: {cell}" for name, cell in zip(given, cells, strict=True)] if plain else []


def _cells(lines: list[str]) -> list[str]:
    """Lines with bars for whatever divides the cells of a table, and without the bars between headings of their own."""
    lines = [line.replace("\t", " | ") if "\t" in line.strip() else line for line in lines]
    sign = next((sign for sign in ";," if len(lines) > 1 and tables.is_delimited(lines, sign)), None)
    if sign:
        return [line.replace(sign, " | ") for line in lines]
    divided = []
    for line in lines:
        heads = [cell.partition(":") for cell in line.split("|")]
        headings = len(heads) > 1 and all(colon and not names_a_finding(head) for head, colon, _ in heads)
        divided += line.split("|") if headings and sum(names_a_finding(tail) for *_, tail in heads) > 1 else [line]
    return divided


def _sections(lines: list[str]) -> list[str]:
    """Join what stands below a name that is a heading to it: a sentence, or the line that gives the verdict."""
    names = [named_beside(bare_line(line).rstrip(":")) for line in lines]
    heads = [at for at, name in enumerate(names) if name]
    if not heads or any(names[at + 1] for at in heads if at + 1 < len(lines)):
        return lines
    each = heads[-1] + 1 < len(lines)  # has something below it
    under_heading = heads[0] > 0 and is_plain_heading(lines[heads[0] - 1])
    over = len(heads) > (1 if each else 2) and not under_heading  # the names are headings themselves
    found = lines[: heads[0]]
    for at, end in zip(heads, [*heads[1:], len(lines)], strict=True):
        block, name = lines[at + 1 : end], bare_line(lines[at]).rstrip(":")
        fields = [bare_line(line).partition(":") for line in block]
        verdicts = [value for key, _, value in fields if key.casefold() in STATUS_KEYS and status(value) is not None]
        verdicts = verdicts or [value for key, _, value in fields if key.casefold() in NUMBER_KEYS and share(value) is not None]
        if len(verdicts) == 1:
            found.append(f"{name}: {verdicts[0]}")
        elif block and (
            over
            and not _is_of_its_own(block[0], names[at], end == len(lines))
            or _denies(block[0], names[at])
            or each
            and (_leads(bare_line(block[0])) or _is_sound(block[0], names[at]))
        ):
            found += [f"{name}: {bare_line(block[0])}", *block[1:]]
        else:
            found += lines[at:end]
    return found


def _is_of_its_own(line: str, finding: str | None, last: bool) -> bool:
    """Whether a line is a heading, begins with another finding's name, or (if `last`) is about the rest of the film."""
    return (
        line.rstrip().endswith(":") or bool(last and _REST.search(line)) or _other(_CLAUSE.split(line, maxsplit=1)[0], finding)
    )


def _of_another(line: str, finding: str | None) -> bool:
    """Whether a line is about the rest of the film, or about an organ that `finding` does not belong to."""
    organs = words_of(line) & _EVERY_ORGAN
    return bool(_REST.search(line)) or bool(organs) and organs.isdisjoint(_ORGANS.get(str(finding), frozenset()))


def _is_sound(line: str, finding: str | None) -> bool:
    """Whether a line is a sentence that says that the same organ is normal: "The ribs are intact." below a fracture."""
    return (
        not _of_another(line, finding)
        and line.rstrip().endswith(".")
        and not words_of(line).isdisjoint(SOUND)
        and not names_a_finding(line)
    )


def _leads(line: str) -> bool:
    """Whether a line that names nothing begins with a plain status or doubt: "No: heart size is normal"."""
    if names_a_finding(line) or line.endswith(":"):
        return False
    first = _LEAD.split(line, maxsplit=1)[0]
    return status(first) is not None or bool(first.split()) and MAYBE.issuperset(first.casefold().split())


def _denies(line: str, finding: str | None) -> bool:
    """Whether a line is a sentence that denies something, and nothing but `finding` or a sign of it."""
    if not line.rstrip().endswith(".") or words_of(line).isdisjoint(NO) or _REST.search(line) or is_plain_heading(line):
        return False
    named_in_it = {mention.finding for mention in prose.read(line)} - {finding}
    return not named_in_it or finding in DENSE and named_in_it <= DENSITIES


def _paired(lines: list[str]) -> list[str]:
    """Join a value on the line below a name to it: "Edema:" and "Absent" are "Edema: Absent"."""
    bare = [bare_line(line).rstrip(" ?") for line in lines]
    names = [named(line.rstrip(":")) for line in bare]
    plain = len(lines) > 2 or len(lines) == 2 and (status(bare[1]) is not None or MAYBE.issuperset(bare[1].casefold().split()))
    alternate = (
        plain
        and len(lines) % 2 == 0
        and all(
            names[i] and names[i + 1] in (None, names[i]) and decides(bare[i + 1]) and not _other(bare[i + 1], names[i])
            for i in range(0, len(lines), 2)
        )
    )
    paired: list[str] = []
    at = 0
    while at < len(lines):
        below = bare[at + 1] if at + 1 < len(lines) else ""
        told = decides(below) and (status(below) is not None or not _of_another(below, names[at]))
        bulleted = at + 1 < len(lines) and items.BULLET.match(lines[at + 1]) and not items.BULLET.match(lines[at])
        hangs = bare[at].endswith(":") or bulleted and status(below) is not None
        if names[at] and not below.endswith(":") and (alternate or told and hangs and not names[at + 1]):
            paired.append(f"{bare[at].rstrip(':')}: {bare_line(lines[at + 1])}")
            at += 2
        else:
            paired.append(lines[at])
            at += 1
    return paired


def _other(line: str, finding: str | None) -> bool:
    return any(named(name) not in (finding, NO_FINDING) for name in items.NAME.findall(line))


def bare_line(line: str) -> str:
    """A line without bullet, number and quotation marks."""
    line = line.strip(EDGES.replace("[", "").replace("]", "").replace("#", ""))
    return items.unmarked(line).strip()
