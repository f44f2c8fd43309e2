"""The output grammars and the parser: from what a model wrote to the answer it gave.

One `Grammar` per format (section 3.2, 3.2.2 and 4.1): tags `<think>...</think><solution>...</solution>`, braces
`{analysis: ..., conclusion: ...}`, or the labels alone. A strict parse asks what equation 3 asks of a valid output and
serves the rewards; a tolerant one forgives how a model writes (case, bullets, synonyms, text around the blocks) and serves
evaluation. Neither reads a label that the model did not claim, crashes, or takes more than linear time.
"""

from __future__ import annotations

from dataclasses import dataclass

from chexreason.errors import ChexReasonError
from chexreason.labels import FINDINGS, NO_FINDING, in_order

# Why no answer could be read.
EMPTY, NO_THINK, NO_SOLUTION, REPEATED, UNCLOSED, NO_VALID_LABEL = (
    "empty",
    "no_think",
    "no_solution",
    "repeated_block",
    "unclosed",
    "no_valid_label",
)

# What radiologists also call CheXpert's findings; read by the tolerant parse only.
SYNONYMS: dict[str, str] = {
    "normal": "No Finding",
    "normal study": "No Finding",
    "no findings": "No Finding",
    "no acute findings": "No Finding",
    "no abnormality": "No Finding",
    "widened mediastinum": "Enlarged Cardiomediastinum",
    "mediastinal widening": "Enlarged Cardiomediastinum",
    "enlarged mediastinum": "Enlarged Cardiomediastinum",
    "cardiac enlargement": "Cardiomegaly",
    "enlarged heart": "Cardiomegaly",
    "enlarged cardiac silhouette": "Cardiomegaly",
    "airspace opacity": "Lung Opacity",
    "lung opacities": "Lung Opacity",
    "opacity": "Lung Opacity",
    "opacities": "Lung Opacity",
    "lung lesions": "Lung Lesion",
    "lung nodule": "Lung Lesion",
    "pulmonary nodule": "Lung Lesion",
    "lung mass": "Lung Lesion",
    "nodule": "Lung Lesion",
    "mass": "Lung Lesion",
    "pulmonary edema": "Edema",
    "pulmonary oedema": "Edema",
    "oedema": "Edema",
    "consolidations": "Consolidation",
    "atelectases": "Atelectasis",
    "collapse": "Atelectasis",
    "pneumothoraces": "Pneumothorax",
    "effusion": "Pleural Effusion",
    "effusions": "Pleural Effusion",
    "pleural effusions": "Pleural Effusion",
    "pleural thickening": "Pleural Other",
    "pleural plaque": "Pleural Other",
    "fractures": "Fracture",
    "rib fracture": "Fracture",
    "rib fractures": "Fracture",
    "support device": "Support Devices",
    "lines and tubes": "Support Devices",
    "devices": "Support Devices",
}
_NAMES = {name.casefold(): name for name in FINDINGS} | SYNONYMS
_DENIALS = ("no ", "not ", "without ", "absent ", "negative for ", "denies ", "free of ", "ruled out ", "rule out ")
_DENIED = (" absent", " negative", " none", " no", " not present", " not seen", " excluded", " ruled out")
_BULLETS = "-*\u2022\u2013\u2014#>0123456789.) \t\"'`[]({"
_ENDINGS = " \t.\"'`])};:*_"


@dataclass(frozen=True)
class Answer:
    """What the parser read from a completion."""

    labels: tuple[str, ...] = ()  # claimed findings, once each, in CheXpert's order
    unknown: tuple[str, ...] = ()  # items that name no finding
    duplicates: tuple[str, ...] = ()  # findings named again, as often as they were
    negated: tuple[str, ...] = ()  # findings named to be denied
    extraneous: str = ""  # text outside the blocks
    failure: str | None = None  # why no answer could be read


@dataclass(frozen=True)
class Grammar:
    """A format: the markers around the reasoning (if any) and around the labels."""

    name: str
    think: tuple[str, str] | None
    solution: tuple[str, str] | None  # None: the whole completion is the list of labels

    def write(self, thoughts: str, labels: list[str]) -> str:
        """A completion of this grammar, labels in CheXpert's order."""
        listed = ", ".join(in_order(labels))
        answer = listed if self.solution is None else listed.join(self.solution)
        return answer if self.think is None else f"{thoughts.join(self.think)}\n{answer}"


TAGS = Grammar("tags", ("<think>", "</think>"), ("<solution>", "</solution>"))
BRACES = Grammar("braces", ("{analysis:", ","), ("conclusion:", "}"))
LABELS = Grammar("labels", None, None)
GRAMMARS = {grammar.name: grammar for grammar in (TAGS, BRACES, LABELS)}


def grammar_named(name: str) -> Grammar:
    """The grammar that a prompt names."""
    if name not in GRAMMARS:
        raise ChexReasonError(f"prompt.grammar={name!r}: one of {', '.join(GRAMMARS)} is wanted")
    return GRAMMARS[name]


def parse(text: str, grammar: str) -> Answer:
    """Tolerant parse, for evaluation: any answer that a reader would take from `text`."""
    return _parse(text, grammar_named(grammar), strict=False)


def parse_strict(text: str, grammar: str) -> Answer:
    """Strict parse, for rewards (equation 3): exactly one reasoning block, then one solution block."""
    return _parse(text, grammar_named(grammar), strict=True)


def _parse(text: str, grammar: Grammar, strict: bool) -> Answer:
    if not text.strip():
        return Answer(failure=EMPTY)
    if grammar.solution is None:
        body, extraneous, failure = text, "", None
    else:
        body, extraneous, failure = _blocks(text, grammar, strict)
    if failure:
        return Answer(extraneous=extraneous, failure=failure)
    return _read_items(body, extraneous, strict)


def _blocks(text: str, grammar: Grammar, strict: bool) -> tuple[str, str, str | None]:
    """The solution's body, the text outside the blocks, and the failure if there is one."""
    assert grammar.solution is not None
    seen = text if strict else text.lower()
    opened, closed = grammar.solution
    cursor = 0
    outside = []
    if grammar.think is not None:
        start = seen.find(grammar.think[0])
        if grammar is BRACES:
            end = seen.find(opened, max(start, 0))
            end = seen.rfind(",", max(start, 0), end) if end >= 0 else -1
        else:
            end = seen.find(grammar.think[1], start + 1) if start >= 0 else -1
        if strict:
            if start < 0:
                return "", text, NO_THINK
            if end < 0:
                return "", text, UNCLOSED if seen.find(opened) < 0 or grammar is not BRACES else NO_THINK
            if seen.find(grammar.think[0], start + 1) >= 0 or (
                grammar is not BRACES and seen.find(grammar.think[1], end + 1) >= 0
            ):
                return "", text, REPEATED
        if start >= 0 and end >= 0:
            outside.append(text[:start])
            cursor = end + len(grammar.think[1])
    # What a model writes last is what it answers: an earlier block may be a draft.
    start = seen.find(opened, cursor) if strict else seen.rfind(opened, cursor)
    if start < 0:
        return "", text, NO_SOLUTION
    end = seen.find(closed, start + len(opened))
    if strict:
        if end < 0:
            return "", text, UNCLOSED
        if seen.find(opened) != start or seen.find(opened, start + 1) >= 0 or seen.find(closed, end + 1) >= 0:
            return "", text, REPEATED
    outside.append(text[cursor:start])
    body = text[start + len(opened) : end if end >= 0 else len(text)]
    if end >= 0:
        outside.append(text[end + len(closed) :])
    return body, " ".join(part.strip() for part in outside if part.strip()), None


def _read_items(body: str, extraneous: str, strict: bool) -> Answer:
    labels: list[str] = []
    unknown: list[str] = []
    duplicates: list[str] = []
    negated: list[str] = []
    for raw in body.replace("\n", ",").replace(";", ",").split(","):
        item = raw.strip()
        if not item:
            continue
        name, denied = (item if item in FINDINGS else None, False) if strict else _read_item(item)
        if name is None:
            unknown.append(item)
        elif denied:
            negated.append(name)
        elif name in labels:
            duplicates.append(name)
        else:
            labels.append(name)
    failure = None
    if not labels:
        failure = NO_VALID_LABEL if unknown or negated else EMPTY
    return Answer(
        tuple(in_order(labels)), tuple(unknown), tuple(duplicates), tuple(negated), extraneous, failure
    )


def _read_item(item: str) -> tuple[str | None, bool]:
    """The finding that one list item names, and whether it denies it."""
    plain = " ".join(item.casefold().lstrip(_BULLETS).rstrip(_ENDINGS).replace("*", "").replace("_", " ").split())
    plain = plain.split("(")[0].rstrip(_ENDINGS)
    if plain in _NAMES:
        return _NAMES[plain], False
    for denial in _DENIALS:
        if plain.startswith(denial):
            rest = plain[len(denial) :].removeprefix("evidence of ").removeprefix("sign of ").removeprefix("acute ")
            return _NAMES.get(rest), True
    head, colon, tail = plain.partition(":")
    if colon and head.strip() in _NAMES:
        value = " " + tail.strip()
        return _NAMES[head.strip()], not value.startswith((" yes", " present", " positive", " true", " 1"))
    for denied in _DENIED:
        if plain.endswith(denied) and plain.removesuffix(denied) in _NAMES:
            return _NAMES[plain.removesuffix(denied)], True
    return None, False


def is_normal(labels: list[str] | tuple[str, ...]) -> bool:
    """Whether an answer says that there is nothing to find."""
    return NO_FINDING in labels
