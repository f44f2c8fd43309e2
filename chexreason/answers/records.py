"""Records: what an object, or lines of `key: value`, say of the finding that they name. A status decides, and only where there
is none a number does."""

from __future__ import annotations

import re
from typing import Any

from chexreason.answers.lexicon import NAME_KEYS, NUMBER_KEYS, QUALIFIERS, SIDES, STATUS_KEYS
from chexreason.answers.mentions import Mention, together
from chexreason.answers.values import named, named_beside, share, status, verdict, words_of

_INVERSE_KEYS = frozenset(
    "absent negated negative excluded ruled_out denied uncertain rejected dismissed dropped discarded removed eliminated "
    "false_positive artifact artefact refuted".split()
)
_NOT_EXCLUDED = frozenset("ruled_out excluded".split())  # if it was not, the finding is left open
_URGENT = frozenset("urgent critical followup follow actionable measurable".split())  # what is to be done about it

_FIELD = r"[ \t\"'*]*(?:is )?({})[ \t\"'*]*[:=][ \t\"'*]*"
_SURE = "|".join(NUMBER_KEYS)
_CERTAINTY = re.compile(rf"\A(?:(?:present|positive)_(?:{_SURE})|(?:{_SURE})_(?:present|positive))\Z")  # "p_present"
_KEYED = re.compile(r"(?i)(?<!\bno )\b((?:label|finding|diagnosis|condition): )")
_START = re.compile(r"(?i)(?:^|[\n,;<{(|-]|<\w+\s)" + _FIELD.format("|".join(NAME_KEYS)) + r"([^\n,;|\"'>:=]{3,40})")
_STATED = "|".join(STATUS_KEYS | _INVERSE_KEYS | NUMBER_KEYS).replace("_", "[_ -]")
_PAIR = re.compile(r"(?i)(?:^|[\n,;|(\"'\s-])" + _FIELD.format(_STATED) + r"([^\n,;|\"'>/)]{1,60})")


def separated(text: str) -> str:
    """`text` with each record of a run on lines of its own: "finding: Edema status: absent finding: Fracture"."""
    return _KEYED.sub(r"\n\1", text) if len(_KEYED.findall(text)) > 1 else text


def key_of(name: object) -> str:
    """A key in the form of the sets above: "Ruled-Out" is "ruled_out"."""
    return str(name).strip().casefold().replace(" ", "_").replace("-", "_")


def written(text: str) -> tuple[int, list[Mention]]:
    """Records written as lines or in a tag, and where they begin: "Finding: Edema", "Status: absent"; none without a status."""
    starts = [(one, name) for one in _START.finditer(text) if (name := one.group(2).strip(" *.")) and named(name)]
    if not starts:
        return 0, []
    found, ends = [], [one.start() for one, _ in starts[1:]] + [len(text)]
    for (start, name), end in zip(starts, ends, strict=True):
        fields = {key_of(one.group(1)): one.group(2).strip(" *.") for one in _PAIR.finditer(text, start.end(), end)}
        if fields:
            found.append(Mention(name, named(name), status_of(fields, None), "list"))
    return (starts[0][0].start(), found) if len(found) == len(starts) else (0, [])


def status_of(record: dict[str, Any], otherwise: bool | None) -> bool | None:
    """What a record says of its finding; `otherwise` where it has neither a status nor a number."""
    record = {_CERTAINTY.sub("probability", key): value for key, value in record.items()}
    for keys in (STATUS_KEYS, _INVERSE_KEYS, NUMBER_KEYS, frozenset({"label", "severity", "class"})):
        for key in record:
            if key in keys and not _names(record[key]):
                said = said_by(record[key], None)
                if keys is _INVERSE_KEYS:
                    return None if said is None or not said and key in _NOT_EXCLUDED else not said
                return said
    sides = [said_by(record[key], None) for key in record if key in SIDES]
    if sides:
        return True if True in sides else None if None in sides else False
    words = [status(value) for value in record.values() if isinstance(value, str) and not _names(value)]
    told = next((one for one in words if one is not None), None)
    flagged = any(isinstance(value, bool) and not _describes(key) for key, value in record.items())
    return None if told is None and flagged else otherwise if told is None else told  # "considered": true tells nothing


def _describes(key: str) -> bool:
    """Whether a key says what kind of a finding it is, and not whether it is there: "acute", "needs_followup"."""
    return not words_of(key).isdisjoint(QUALIFIERS | _URGENT)


def _names(value: Any) -> bool:
    return isinstance(value, str) and named_beside(value) is not None


def said_by(value: Any, finding: str | None) -> bool | None:
    """What the value beside a finding's name says of it."""
    if isinstance(value, bool):
        return value
    if isinstance(value, int | float):
        return share(str(value)) or False if 0 <= value <= 100 else None
    if isinstance(value, str):
        return verdict(value, finding)
    if isinstance(value, dict):
        return status_of({key_of(key): each for key, each in value.items()}, None)
    if isinstance(value, list | tuple) and value:
        return together([said_by(each, finding) for each in value])
    return None
