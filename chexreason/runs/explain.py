"""Turns Hydra's composition errors into messages that name the wrong override and the right one."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import ValueType
from hydra.errors import HydraException
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from chexreason.errors import ChexReasonError, suggestion
from chexreason.runs.overrides import BUNDLES, key_of, quoted

PACKAGED = "# @package _global_"
OURS = "chexreason."
GRAMMAR = "LexerNoViableAlt|mismatched input|extraneous input|no viable alternative|token recognition|missing EQUAL"


@contextmanager
def explained(overrides: Sequence[str], compose: Callable[[Sequence[str]], DictConfig], conf: Path) -> Iterator[None]:
    """Turn an error of composing `overrides` into one that names the key and the nearest valid one."""
    try:
        yield
    except (HydraException, OmegaConfBaseException) as error:
        raise ChexReasonError(_meaning(error, list(overrides), compose, conf)) from None
    except YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f"{mark.name}, row {mark.line + 1}" if mark else "a file of configs"
        raise ChexReasonError(f"{where}: it is no YAML: {getattr(error, 'problem', None) or error}") from None


def _meaning(error: Exception, overrides: list[str], compose: Callable[..., DictConfig], conf: Path) -> str:
    message = str(error)
    refused = re.search(r"Could not override '([^'@]+)", message)
    if refused:
        return _no_such_key(refused.group(1), overrides, compose)
    missing = re.search(r"Could not find '([\w/]+)/([^/']+)'", message)
    if missing:
        folder, choice = missing.groups()
        listed = re.search(r"Available options in '[^']+':\n((?:\s+\S+\n?)*)", message)  # in all config folders
        found = listed[1].split() if listed else [path.stem for path in (conf / folder).glob("*.yaml")]
        options = {one for one in found if not one.startswith("_")}
        return f"{folder}={choice}: there is no such choice.{suggestion(choice, options)}"
    if re.search(GRAMMAR, message):
        return _no_override(next((word for word in overrides if not _is_override(word)), message.splitlines()[0]))
    if merged := re.match(r"Error merging override (.*)", message):
        return f"{merged[1]}: that key holds a block, not a single value. Set its keys one by one (--cfg job lists them)"
    key = getattr(error, "full_key", None) or next((word for word in overrides if "${" in word), None)
    return (f"{key}: " if key else "") + re.split(r"\n\s*(?:full_key|object_type|reference_type)[:=]", message.strip())[0]


def _is_override(word: str) -> bool:
    try:
        OverridesParser.create().parse_override(word)
    except HydraException:
        return False
    return True


def _no_override(word: str) -> str:
    if "=~" in word:
        return f"{word}: the shell leaves the ~ as it is there. Write the folder out: {word.replace('=~', '=$HOME')}"
    key, said, value = word.partition("=")
    if not said:
        return f"{word}: an override is key=value"
    if any("\ud800" <= letter <= "\udfff" for letter in value):
        shown = word.encode("utf-8", "backslashreplace").decode()
        return f"{shown}: it has bytes that are no UTF-8. Name the folder that it is in, or rename it"
    twice = shlex.quote(f"{key}={quoted(value)}")
    why = "not valid override syntax. Quote a value with special characters for Hydra and again for the shell"
    return f"{word}: {why}. Did you mean {twice}?"


def _first(word: str) -> list[str]:
    """The override with the first of its swept values; [] for a glob, whose values depend on the files."""
    override = OverridesParser.create().parse_override(word)
    if not override.is_sweep_override():
        return [word]
    values = [] if override.value_type is ValueType.GLOB_CHOICE_SWEEP else list(override.sweep_string_iterator())
    return [f"{word.partition('=')[0]}={value}" for value in values[:1]]


def _no_such_key(key: str, overrides: list[str], compose: Callable[..., DictConfig]) -> str:
    others = [line for line in overrides if key_of(line) != key]
    group = key.split(".")[0]
    if len(others) == len(overrides):  # not set on the command line
        why = "No override sets it, so a config file of yours does; one of an arm or an experiment must begin with"
        return f"{key}: there is no such key. {why} {PACKAGED}"
    swept = next((line for line in others if line.startswith(f"{group}=") and "," in line), None)
    if swept:
        return f"{key}: it belongs to one choice, but {swept} sweeps over several: give each its own sweep"
    try:
        node: Any = compose([word for line in others for word in _first(line)])
    except ChexReasonError:
        return f"{key}: there is no such key."
    if inside := next((one for one in node if isinstance(node[one], DictConfig) and key in node[one]), None):
        return f"{key}: a key of {inside}. Did you mean {inside}.{key}?"
    for name in key.split("."):  # down to the first name that is wrong
        if not isinstance(node, DictConfig) or name not in node:
            valid = {str(one) for one in node or () if one != "_target_"} | ({*BUNDLES} if name == group else set())
            own = isinstance(node, DictConfig) and not str(node.get("_target_", OURS)).startswith(OURS)
            added = f". One that its class has and its file leaves out: +{key}=VALUE" if own else ""
            near = suggestion(name, valid) or f" A block that takes more keys: +{key}=VALUE"
            return f"{key}: there is no such key.{near}{added}"
        node = node[name]
    return f"{key}: it takes no other keys than it has; one that is new to it is added by +{key}.KEY=VALUE"
