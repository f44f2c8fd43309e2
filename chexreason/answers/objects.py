"""Answers written as JSON or as a Python literal: lists of names, names with values, records, groups."""

from __future__ import annotations

import ast
import json
import warnings
from collections.abc import Iterator
from typing import Any

from chexreason.answers import lists
from chexreason.answers.headings import heading, words_of
from chexreason.answers.mentions import Mention
from chexreason.answers.synonyms import NAMES
from chexreason.answers.values import named, share, status, verdict

_NAME_KEYS = frozenset(
    "label finding name disease condition class pathology observation diagnosis abnormality category disorder feature "
    "title key".split()
)
_STATUS_KEYS = frozenset(
    "present status state presence positive detected exists answer prediction value result identified visible "
    "finding_status is_present predicted observed assertion found active polarity yes assessment conclusion decision "
    "verdict judgement judgment opinion evaluation".split()
)
_INVERSE_KEYS = frozenset("absent negated negative excluded ruled_out denied uncertain".split())
_NUMBER_KEYS = frozenset("confidence probability score certainty likelihood prob p conf".split())
_NUMBER_GROUPS = frozenset("confidence confidences probability probabilities score scores certainty".split())
_SKIPPED = frozenset(
    "reason reasoning think thinking thought thoughts rationale explanation evidence comment comments justification "
    "location side".split()
)
_LONGEST = 20_000  # characters of a Python literal; more is no answer, and Python's parser takes its time


def read(text: str) -> list[Mention] | None:
    """What the objects in `text` say, or None where there is none or where text around them names findings too."""
    first = min((at for at in (text.find("{"), text.find("[")) if at >= 0), default=-1)
    if first < 0:
        return None
    last = max(text.rfind("}"), text.rfind("]")) + 1
    around = f"{text[:first]} {text[last:]}".casefold()
    if any(name in around for name in NAMES if len(name) > 3):
        return None
    values = _values(text[first:last])
    found = [mention for value in values for mention in _walk(value, True, 0)]
    return found or None


def _values(text: str) -> list[Any]:
    decoder, values, at = json.JSONDecoder(), [], 0
    try:
        while at < len(text):
            value, at = decoder.raw_decode(text, at)
            values.append(value)
            while at < len(text) and text[at] in " \t\n,;":
                at += 1
        return values
    except (ValueError, RecursionError):
        pass
    if len(text) > _LONGEST or not ("'" in text or '"' in text):
        return []
    try:
        with warnings.catch_warnings(action="ignore"):  # Python's remarks on what a model wrote are nobody's concern
            return [ast.literal_eval(text)]
    except (ValueError, SyntaxError, RecursionError, MemoryError, TypeError):
        return []


def _walk(value: Any, said: bool | None, depth: int) -> Iterator[Mention]:
    """Mentions under a heading that makes `said` of them."""
    if depth > 20:
        return
    if isinstance(value, dict):
        keys = {str(key).strip().casefold().replace(" ", "_").replace("-", "_"): each for key, each in value.items()}
        subject = next(
            (keys[key] for key in keys if key in _NAME_KEYS and isinstance(keys[key], str) and named(keys[key])), None
        )
        if subject is not None:
            yield _mention(subject, _and(said, _status(keys, True)))
            return
        for key, each in value.items():
            if len(value) == 1 or not words_of(str(key)) & _NUMBER_GROUPS:
                yield from _entry(str(key), each, said, depth)
    elif (
        isinstance(value, list | tuple)
        and len(value) == 2
        and isinstance(value[0], str)
        and named(value[0])
        and not isinstance(value[1], str)
    ):
        yield _mention(value[0], _and(said, _said_by(value[1], named(value[0]))))
    elif isinstance(value, list | tuple | set | frozenset):
        for each in value:
            yield from _walk(each, said, depth + 1)
    elif isinstance(value, str) and value.strip():
        for mention in lists.read(value):
            how = "prose" if mention.how == "prose" else "json"
            yield Mention(mention.text, mention.finding, _and(said, mention.claimed), how)


def _entry(key: str, value: Any, said: bool | None, depth: int) -> Iterator[Mention]:
    if named(key):
        yield _mention(key, _and(said, _said_by(value, named(key))))
    elif key.strip().casefold() not in _SKIPPED and not words_of(key) & _SKIPPED:
        yield from _walk(value, _and(said, heading(key)), depth + 1)


def _said_by(value: Any, finding: str | None) -> bool | None:
    """What the value beside a finding's name says of it."""
    if isinstance(value, bool):
        return value
    if isinstance(value, int | float):
        return share(str(value)) or False if value >= 0 else None
    if isinstance(value, str):
        return verdict(value, finding)
    if isinstance(value, dict):
        return _status({str(key).strip().casefold().replace(" ", "_"): each for key, each in value.items()}, None)
    if isinstance(value, list | tuple) and value:
        said = [_said_by(each, finding) for each in value]
        return False if False in said else None if None in said else True
    return None


def _status(record: dict[str, Any], otherwise: bool | None) -> bool | None:
    """What a record says of its finding: its status decides, and only where there is none a number does."""
    for keys in (_STATUS_KEYS, _INVERSE_KEYS, _NUMBER_KEYS, frozenset({"label", "severity", "class"})):
        for key in record:
            if key in keys and not isinstance(record[key], dict) and not (isinstance(record[key], str) and named(record[key])):
                said = _said_by(record[key], None)
                if keys is _INVERSE_KEYS:
                    return None if said is None else not said
                return said
    plain = [status(each) if isinstance(each, str) else each for each in record.values() if isinstance(each, str | bool)]
    return next((said for said in plain if said is not None), otherwise)


def _and(outer: bool | None, inner: bool | None) -> bool | None:
    """A claim under a heading that claims; a denial of a denial is nothing."""
    return inner if outer is True else outer if inner is True else None


def _mention(name: str, claimed: bool | None) -> Mention:
    return Mention(name, named(name), claimed, "json")
