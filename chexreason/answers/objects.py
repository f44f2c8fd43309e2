"""Answers written as JSON or as a Python literal: lists of names, names with values, records, groups."""

from __future__ import annotations

import ast
import json
import re
import warnings
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from chexreason.answers import lists, markup
from chexreason.answers.headings import heading, is_place
from chexreason.answers.items import names_a_finding
from chexreason.answers.lexicon import GROUPS, MAYBE, NAME_KEYS, NUMBER_KEYS, REMARK_KEYS
from chexreason.answers.mentions import Mention, under
from chexreason.answers.records import key_of, said_by, status_of
from chexreason.answers.values import named, named_beside, status, unscaled, words_of
from chexreason.labels import NO_FINDING

_WRAPPERS = frozenset("data content payload study items classes categories tags concepts detections objects".split())
_INDICES = frozenset("index indices indexes idx".split())
_BRACKET = re.compile(r"\"[^\"]*\"|'[^'\n]*'(?=\s*[,:\]})])|[\[\]{}()]")
_LONGEST = 20_000  # characters of a Python literal; a longer one is no answer, and slow to parse


def read(text: str) -> list[Mention] | None:
    """What the objects in `text` say, and the lines around them; None where there is no object that names a finding."""
    starts = [at for at in (text.find("{"), text.find("["), text.find("('"), text.find('("')) if at >= 0]
    if not starts:
        return None
    first, last = min(starts), max(map(text.rfind, "}])")) + 1
    inside = text[first:last] if last > first else text[first:]
    values = _values(inside)
    if not values and (end := markup.closed_at(_BRACKET, text, first, first + _LONGEST)):  # "['Edema']\nprint(labels)"
        inside = text[first:end]
        values = _values(inside)
    if not values:
        values = _values(_closed(text[first:])) or _values(_closed(text[first : text.rfind(",") + 1]))
        inside, values = text[first:], list(map(_without_cut, values))
    try:
        found = [mention for value in values for mention in _walk(value, True, 0)]
    except RecursionError:  # nested deeper than any answer is
        return None
    if not found:
        return None
    around = (text[:first], text[first + len(inside) :])
    before, after = (lists.read(markup.plain(part)) if names_a_finding(part) else [] for part in around)
    return before + found + after


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
        with warnings.catch_warnings(action="ignore"):  # Python's warnings on a model's text are noise
            return [ast.literal_eval(text)]
    except (ValueError, SyntaxError, RecursionError, MemoryError, TypeError):
        return []


def _closed(text: str) -> str:
    """A truncated object, completed with the closing brackets that it lacks."""
    whole = text[:_LONGEST].rstrip(", \n")
    opened: list[str] = []
    for sign in re.findall(r'"[^"]*"|[\[\]{}]', whole):
        if sign in "{[":
            opened.append("}" if sign == "{" else "]")
        elif sign in "}]" and opened:
            opened.pop()
    return whole + "".join(reversed(opened))


def _without_cut(value: Any) -> Any:
    """A truncated value without its last record, if that lacks a key of the record before it (so it was cut off)."""
    records = list(value.values()) if isinstance(value, dict) else value if isinstance(value, list) else []
    if not records:
        return value
    *_, before, last = {}, *records
    cut = isinstance(before, dict) and isinstance(last, dict) and not before.keys() <= last.keys()
    kept = [*records[:-1]] if cut else [*records[:-1], _without_cut(last)]
    return dict(zip(value, kept, strict=False)) if isinstance(value, dict) else kept


def _walk(value: Any, said: bool | None, depth: int) -> Iterator[Mention]:
    """The mentions in `value`, under a heading with the status `said`."""
    if depth > 20:
        return
    if isinstance(value, dict):
        if all(str(key).isdigit() and isinstance(each, str) for key, each in value.items()):  # {"0": "Edema", "1": "Fracture"}
            yield from _walk(list(value.values()), said, depth + 1)
            return
        if len(value) > 1 and GROUPS.keys() >= {str(key).casefold() for key in value}:  # {"P": ["Edema"], "A": ["Fracture"]}
            value = {GROUPS[str(key).casefold()]: each for key, each in value.items()}
        keys = {key_of(key): each for key, each in value.items()}
        subject = next(
            (keys[key] for key in keys if key in NAME_KEYS and isinstance(keys[key], str) and named(keys[key])), None
        )
        if subject is not None:
            yield _mention(subject, under(said, status_of(keys, True)))
            return
        value = _scaled(value)
        if beside := _beside(value):
            yield from (_mention(name, under(said, said_by(each, named(name)))) for name, each in beside)
            return
        if any(_are_indices(str(key), each) for key, each in value.items()):  # indices of names beside them are not read
            said = None
        for numbers in (False, True):  # certainties count only if nothing else is said
            groups = [pair for pair in value.items() if bool(words_of(str(pair[0])) & NUMBER_KEYS) == numbers]
            found = [mention for key, each in groups for mention in _entry(str(key), each, said, depth)]
            yield from found
            if any(mention.finding for mention in found):
                return
    elif (
        isinstance(value, list | tuple)
        and len(value) == 2
        and isinstance(value[0], str)
        and named(value[0])
        and (not isinstance(value[1], str) or _is_plain(value[1]))  # two names of findings are two names
    ):
        yield _mention(value[0], under(said, said_by(value[1], named(value[0]))))
    elif isinstance(value, list | tuple | set | frozenset):
        for each in value:
            yield from _walk(each, said, depth + 1)
    elif isinstance(value, str) and value.strip():
        for mention in lists.read(value):
            how = "prose" if mention.how == "prose" else "json"
            yield Mention(mention.text, mention.finding, under(said, mention.claimed), how)


def _beside(record: dict[Any, Any]) -> list[tuple[str, Any]]:
    """Names with values where those are lists of one length: {"labels": ["Edema", "Fracture"], "scores": [0.9, 0.1]}."""
    lists = {str(key): each for key, each in record.items() if isinstance(each, list) and each}
    named_by = (key for key, each in lists.items() if all(isinstance(one, str) and named(one) for one in each))
    names = next((lists[key] for key in named_by if key.casefold() in _WRAPPERS or heading(key)), [])
    values = {key: each for key, each in lists.items() if each is not names and len(each) == len(names)}
    sure = [key for key in values if words_of(key) & NUMBER_KEYS]
    plain = [key for key in values if key not in sure and all(map(_is_plain, values[key]))]
    return list(zip(names, values[(plain + sure)[0]], strict=True)) if plain or sure else []


def _scaled(record: dict[Any, Any]) -> dict[Any, Any]:
    """`record` with the whole numbers beside names as shares of a hundred, or as unknown."""
    points = {key: each for key, each in record.items() if type(each) is int and named(str(key))}
    most = max(points.values(), default=0)
    return record | {key: unscaled(each, most) for key, each in points.items() if most > 1}


def _are_indices(key: str, value: Any) -> bool:
    """Whether a list holds indices that select names beside it: "predicted_indices": [1]."""
    numbers = isinstance(value, list) and bool(value) and all(type(each) is int for each in value)
    return numbers and not named(key) and (heading(key) is True or not words_of(key).isdisjoint(_INDICES))


def _is_plain(value: Any) -> bool:
    """Whether `value` is a yes, a no or a maybe, a CheXpert label (1, 0, -1) or a share of one."""
    if isinstance(value, str):
        return not named_beside(value) and (status(value) is not None or MAYBE.issuperset(value.casefold().split()))
    return value is None or isinstance(value, int | float) and -1 <= value <= 1


def _entry(key: str, value: Any, said: bool | None, depth: int) -> Iterator[Mention]:
    key = re.sub(r"^(?:is|has)[_ ]", "", key.strip().casefold())
    if named(key):
        yield _mention(key, under(said, said_by(value, named(key))))
    elif not words_of(key) & REMARK_KEYS:
        value = f"{key}: {value}" if is_place(key) and isinstance(value, str) else value  # "heart": "enlarged"
        for mention in _walk(value, under(said, key in _WRAPPERS or heading(key)), depth + 1):
            normal_part = mention.finding == NO_FINDING and is_place(key)  # "heart": "normal"
            yield replace(mention, claimed=None) if normal_part else mention


def _mention(name: str, claimed: bool | None) -> Mention:
    return Mention(name, named(name), claimed, "json")
