"""The typed schema of every config group: a misspelt or mistyped override fails before any work.

Hydra composes plain YAML; here each composed group becomes the plain dataclass that describes it. Closed groups (model,
tracker) are described below. Open groups are described where they are implemented, so that adding one edits nothing
else: a stage by `Settings` in chexreason/stages/<name>.py, a reward, a site or a teacher by the class its `_target_` names.
"""

from __future__ import annotations

import copy
import difflib
import importlib
import itertools
import json
import re
import shlex
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields, is_dataclass, make_dataclass
from functools import lru_cache
from pathlib import Path
from types import ModuleType
from typing import Any, get_origin, get_type_hints

from hydra import compose as hydra_compose
from hydra import initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from chexreason.errors import ChexReasonError
from chexreason.prompts import Prompt

PACKAGE = Path(__file__).resolve().parents[1]
# The wheel carries conf/ inside the package; a checkout keeps it visible at the top.
CONF = next((path for path in (PACKAGE / "conf", PACKAGE.parent / "conf") if path.is_dir()), PACKAGE / "conf")
GROUPS = ("model", "prompt", "reward", "dataset", "teacher")


@dataclass(frozen=True)
class Model:
    """A vision-language model: where its weights are and how they are loaded."""

    name: str
    family: str  # gemma3 | qwen2_5_vl: transformers' model_type, which decides processor and visual-token bounds
    made_by: str | None  # override line of the run that makes the weights; None for weights from outside
    weights: str  # a folder (inside that run, when made_by is set) or a hub id
    dtype: str
    attention: str  # transformers' attn_implementation
    min_visual_tokens: int
    max_visual_tokens: int
    image_size: int | None  # pixels of the longer side at which images are kept decoded; None: read anew at full size


@dataclass(frozen=True)
class Tracker:
    """Where metrics go besides the run folder."""

    name: str
    mode: str  # offline | online | disabled
    project: str
    group: str


@dataclass(frozen=True)
class World:
    """Which models and datasets an experiment's lines mean: phantom or clinical."""

    name: str
    models: str  # several choices, separated by commas
    medical: str
    general: str
    source: str
    validation: str
    chexpert: str
    nih: str
    teacher: str
    second_site: int


@dataclass(frozen=True)
class Config:
    """One composed, checked configuration; the groups are dataclasses of their own."""

    stage: Any
    model: Model
    prompt: Prompt
    reward: Any
    dataset: Any
    teacher: Any
    tracker: Tracker
    world: World
    source: str
    runs: str
    seed: int
    force: bool
    make_missing: bool
    processes: int


def stage_module(name: str) -> ModuleType:
    """The Python module that implements a stage."""
    try:
        return importlib.import_module(f"chexreason.stages.{name}")
    except ModuleNotFoundError as error:
        if error.name != f"chexreason.stages.{name}":
            raise
        have = sorted(path.stem for path in (PACKAGE / "stages").glob("[a-z]*.py"))
        raise ChexReasonError(f"stage.name={name}: there is no chexreason/stages/{name}.py; stages: {have}") from None


def build(cls: type, values: dict[str, Any], where: str) -> Any:
    """`values` as an instance of dataclass `cls`.

    Raises:
        ChexReasonError: a key that `cls` lacks (with the nearest one it has), a missing key, or a wrong type.
    """
    kinds = {field.name: get_type_hints(cls)[field.name] for field in fields(cls) if field.init}
    values = {key: value for key, value in values.items() if key != "_target_"}
    for key in values:
        if key not in kinds:
            raise ChexReasonError(f"{where}.{key}: there is no such key.{_suggest(key, set(kinds))}")
    inner = {key: value for key, value in values.items() if is_dataclass(kinds[key]) and isinstance(value, dict)}
    plain = {key: value for key, value in values.items() if key not in inner}
    flat = make_dataclass("Flat", [(key, kinds[key]) for key in plain])
    try:
        typed: Any = OmegaConf.to_container(OmegaConf.merge(OmegaConf.structured(flat), plain))
    except OmegaConfBaseException as error:
        key, message = str(error.full_key or ""), str(error.msg or error).splitlines()[0]
        wanted = kinds.get(re.split(r"[.\[]", key)[0], cls)
        if get_origin(wanted) is list and not isinstance(values[key], list):
            raise ChexReasonError(
                f"{where}.{key}={values[key]}: a list is wanted, such as {where}.{key}=[{values[key]}]"
            ) from None
        raise ChexReasonError(
            f"{where}.{key}: {message.removesuffix('.')}. Wanted: {getattr(wanted, '__name__', wanted)}"
        ) from None
    nested = {key: build(kinds[key], value, f"{where}.{key}") for key, value in inner.items()}
    try:
        return cls(**typed, **nested)
    except TypeError as error:
        raise ChexReasonError(f"{where}: {error}") from None


def described_by(group: str, values: dict[str, Any]) -> type:
    """The dataclass that describes a composed group."""
    closed: dict[str, type] = {"model": Model, "prompt": Prompt, "tracker": Tracker, "world": World}
    if group in closed:
        return closed[group]
    if group == "stage":
        return stage_module(values["name"]).Settings
    target = str(values.get("_target_"))
    module, _, name = target.rpartition(".")
    try:
        return getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise ChexReasonError(f"{group}._target_: {target!r} cannot be imported: {error}") from None


def group(name: str, values: dict[str, Any]) -> Any:
    """A composed group's values as the dataclass that describes it."""
    return build(described_by(name, values), values, name)


def every(name: str) -> list[Any]:
    """Every choice of a group as the dataclass that describes it, in the order of their names."""
    return choices(name, sorted(path.stem for path in (CONF / name).glob("*.yaml")))


def choices(name: str, chosen: Sequence[str]) -> list[Any]:
    """Some choices of a group as the dataclass that describes it; raises ChexReasonError where there is no such one."""
    return [group(name, as_dict(compose((f"{name}={choice}",)))[name]) for choice in chosen]


def check(cfg: DictConfig) -> Config:
    """The composed config as dataclasses; raises ChexReasonError at the first key that is wrong."""
    plain = as_dict(cfg)
    known = {field.name for field in fields(Config)} | {"experiment"}
    for key in plain.keys() - known:
        raise ChexReasonError(f"{key}: there is no such key.{_suggest(key, known)}")
    _check_ranges(plain)
    groups = {name: _checked(name, json.dumps(plain[name])) for name in ("stage", *GROUPS, "tracker", "world")}
    rest = {field.name: plain[field.name] for field in fields(Config) if field.name not in groups}
    kinds = {"source": str, "runs": str, "seed": int, "force": bool, "make_missing": bool, "processes": int}
    for key, kind in kinds.items():
        if type(rest[key]) is not kind:
            raise ChexReasonError(f"{key}={rest[key]!r}: a value of type {kind.__name__} is wanted")
    if not 0 <= rest["seed"] < 2**32:
        raise ChexReasonError(f"seed={rest['seed']}: a number from 0 to {2**32 - 1} is wanted")
    if rest["processes"] < 1:
        raise ChexReasonError(f"processes={rest['processes']}: one process at least is wanted")
    return Config(**groups, **rest)


@lru_cache(maxsize=1024)
def _checked(name: str, values: str) -> Any:
    return group(name, json.loads(values))


# Keys, wherever they are, whose value is a count: 1 at least.
COUNTS = frozenset(
    "limit batch_size accumulation completions steps_per_rollout repeats samples rank resamples attempts concurrency "
    "max_completion_tokens logging_steps save_steps window".split()
)


def _check_ranges(values: dict[str, Any], inside: str = "") -> None:
    for key, value in values.items():
        place = f"{inside}{key}"
        if isinstance(value, dict):
            _check_ranges(value, f"{place}.")
        elif key in COUNTS and isinstance(value, int) and value < 1:
            raise ChexReasonError(f"{place}={value}: 1 at least is wanted")
        elif key == "temperature" and isinstance(value, int | float) and value < 0:
            raise ChexReasonError(f"{place}={value}: 0 (greedy) or more is wanted")


def as_dict(cfg: DictConfig) -> dict[str, Any]:
    """The resolved config as plain Python containers."""
    try:
        return OmegaConf.to_container(cfg, resolve=True)  # type: ignore[return-value]
    except OmegaConfBaseException as error:
        wanted = re.search(r"Interpolation key '([\w.]+)\.([^.']+)' not found", str(error))
        if wanted and isinstance(node := OmegaConf.select(cfg, wanted.group(1)), DictConfig):
            group, choice = wanted.groups()
            valid = _suggest(choice, {str(name) for name in node})
            raise ChexReasonError(f"{choice!r}, which {error.full_key} asks for, is none of {group}.{valid}") from None
        raise ChexReasonError(f"{error.full_key}: {str(error).splitlines()[0]}") from None


def expand(line: str) -> list[str]:
    """A line of overrides with commas, `prompt=a,b reward=c`, as the lines of its sweep: the last key varies fastest."""
    choices = [
        [f"{one.get_key_element()}={value}" for value in one.sweep_string_iterator()]
        if one.is_sweep_override()
        else [str(one.input_line)]
        for one in OverridesParser.create().parse_overrides(shlex.split(line))
    ]
    return [shlex.join(words) for words in itertools.product(*choices)]


_COMPOSING = threading.Lock()  # Hydra's state is the process's; the pipeline's threads compose too


def compose(overrides: Sequence[str]) -> DictConfig:
    """Compose conf/config.yaml with overrides, inside a running Hydra application or without one."""
    for word in overrides:
        if word.startswith("=") or word.lstrip("~").split(".")[-1] == "name" and word.startswith("~"):
            raise ChexReasonError(f"{word}: an override is key=value, and a choice keeps its name")
    with readable_errors(overrides), _COMPOSING:  # in this order: explaining an error composes again
        return copy.deepcopy(_composed(tuple(overrides), GlobalHydra.instance().is_initialized()))


@lru_cache(maxsize=1024)  # the lines of an experiment stand on the same few runs, over and over
def _composed(overrides: tuple[str, ...], inside_application: bool) -> DictConfig:
    if inside_application:
        return hydra_compose("config", list(overrides))
    with initialize_config_dir(str(CONF), version_base="1.3"):
        return hydra_compose("config", list(overrides))


@contextmanager
def readable_errors(overrides: Sequence[str]) -> Iterator[None]:
    """Turn Hydra's composition errors into one that names the key and the nearest valid one."""
    try:
        yield
    except (HydraException, OmegaConfBaseException) as error:
        raise ChexReasonError(_explain(error, list(overrides))) from None
    except YAMLError as error:
        raise ChexReasonError(f"a YAML file cannot be read: {error}") from None


def _explain(error: Exception, overrides: list[str]) -> str:
    message = str(error)
    refused = re.search(r"Could not override '([^'@]+)", message)
    if refused:
        key = refused.group(1)
        if key == "experiment":
            return "experiment: its lines name their own stages, and it is run by stage=pipeline alone: leave stage=... away"
        others = [line for line in overrides if line.lstrip("+~").split("=")[0] != key]
        try:
            node: Any = compose(others)
        except ChexReasonError:
            return f"{key}: there is no such key."
        for name in key.split("."):  # down to the first name that is wrong
            if not isinstance(node, DictConfig) or name not in node:
                return f"{key}: there is no such key.{_suggest(name, {str(one) for one in node or ()})}"
            node = node[name]
    missing = re.search(r"Could not find '([\w/]+)/([^/']+)'", message)
    if missing:
        folder, choice = missing.groups()
        options = {path.stem for path in (CONF / folder).glob("*.yaml")}
        return f"{folder}={choice}: there is no such choice.{_suggest(choice, options)}"
    if re.search("LexerNoViableAlt|mismatched input|extraneous input|no viable alternative|token recognition", message):
        return f"{message.splitlines()[0]}\n  A value with special characters is quoted twice: \"stage.input='a film (1).png'\""
    return message.strip()


def _suggest(word: str, valid: set[str]) -> str:
    if not valid:
        return ""
    near = difflib.get_close_matches(word, valid, n=1, cutoff=0.5)
    nearest = f" Did you mean {near[0]}?" if near else ""
    return f"{nearest} Valid: {', '.join(sorted(valid))}"
