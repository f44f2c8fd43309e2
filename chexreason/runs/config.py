"""The typed schema of every config group: a misspelt or mistyped override fails before any work.

Hydra composes plain YAML; this module converts each composed group to a dataclass, which validates its own values. The
dataclasses of closed groups are in `groups`. Open groups (a stage's `Settings`, a reward, a site, a teacher) name theirs as
`_target_`, so that a new one can be added without editing any other file.
"""

from __future__ import annotations

import copy
import os
import pickle
import re
import threading
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass, fields, is_dataclass
from functools import lru_cache
from math import inf
from pathlib import Path
from typing import Any, get_type_hints

from hydra import compose as hydra_compose
from hydra import initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.utils import get_class
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from chexreason.errors import ChexReasonError, suggestion
from chexreason.prompts import Prompt
from chexreason.runs.explain import explained
from chexreason.runs.groups import Checkpoint, Engine, Model, Scale, Sweep, Tracker, Variant, World
from chexreason.runs.identity import CONTENT
from chexreason.runs.imports import refuse_import, walk
from chexreason.runs.overrides import BUNDLES, VALUE, literal, quoted

PACKAGE = Path(__file__).resolve().parents[1]
# The wheel carries conf/ inside the package; a checkout keeps it visible at the top.
CONF = next((path for path in (PACKAGE / "conf", PACKAGE.parent / "conf") if path.is_dir()), PACKAGE / "conf")


@dataclass(frozen=True)
class Config:
    """One composed and validated configuration; open groups have type Any, since `_target_` names their class."""

    stage: Any
    model: Model
    prompt: Prompt
    reward: Any
    dataset: Any
    teacher: Any
    tracker: Tracker
    engine: Engine
    checkpoint: Checkpoint
    variant: Variant
    scale: Scale
    world: World
    sweep: Sweep
    source: str
    runs: str
    seed: int
    force: bool
    make_missing: bool
    dry_run: bool
    mixed_worlds: bool
    processes: int

    def __post_init__(self) -> None:
        if not 0 <= self.seed < 2**32:
            raise ChexReasonError(f"seed={self.seed}: a number from 0 to {2**32 - 1} is wanted")
        if not self.runs.strip():
            raise ChexReasonError("runs=: the folder that run folders go into is wanted")
        place = str(Path(self.runs).absolute())
        if re.search("[\ud800-\udfff]", place):  # bytes that Python could not decode
            shown = place.encode("utf-8", "backslashreplace").decode()
            raise ChexReasonError(f"runs={shown}: this name is no UTF-8, or the locale is none: rename it, or set PYTHONUTF8=1")
        there = next(one for one in (place, *map(str, Path(place).parents)) if os.path.exists(one))
        if not os.path.isdir(there):
            raise ChexReasonError(f"runs={place}: {there} is a file, and run folders cannot be written there: set runs=FOLDER")
        if self.source not in (sources := choice_names("dataset")):
            raise ChexReasonError(f"source={self.source}: there is no such dataset.{suggestion(self.source, set(sources))}")
        unit = self.reward.unit  # training divides rewards by it
        if not isinstance(unit, int | float) or not 0 < unit < inf:
            raise ChexReasonError(f"reward.unit={unit}: a finite number above 0 is wanted")
        if self.processes < 1:
            raise ChexReasonError(f"processes={self.processes}: one process at least is wanted")
        if self.stage is None:
            raise ChexReasonError(f"stage=NAME is wanted, or experiment=NAME. Stages: {', '.join(choice_names('stage'))}")


KEYS = get_type_hints(Config)
# The dataclass of each group; None for open groups, whose `_target_` names it.
GROUPS = {key: None if kind is Any else kind for key, kind in KEYS.items() if kind not in (str, int, bool)}
# The protocol that a class named by `_target_` must satisfy, also a user's own. For stages, see runs/stage.py.
BASES = {
    "dataset": "chexreason.data.records.Dataset",
    "reward": "chexreason.rewards.scored.Reward",
    "teacher": "chexreason.teacher.reply.Teacher",
}
# Environment variables treated as secrets: a value of SHORTEST characters or more must not appear in a config.
SECRET, SHORTEST = re.compile(r"(KEY|TOKEN|SECRET|PASSWORD)$", re.IGNORECASE), 12
FOLDERS = "CHEXREASON_CHOICES"  # environment variable that passes the user's config folders to a stage's process


def described_by(group: str, values: dict[str, Any]) -> type:
    """The dataclass of a composed group: a built-in one, or the one that its `_target_` names."""
    closed = GROUPS[group]
    if closed is not None:
        return closed
    if "_target_" in values:
        refuse_import(str(values["_target_"]), f"{group}._target_")
    try:
        found = get_class(str(values.get("_target_")))
    except Exception as error:  # Hydra wraps whatever an import raises
        why = " ".join(str(error).split()) if "_target_" in values else "its file must name the class that describes it"
        raise ChexReasonError(f"{group}._target_: {values.get('_target_')!r} cannot be imported: {why}") from None
    _refuse_unfit(group, found)
    return found


@lru_cache
def _refuse_unfit(group: str, described: type) -> None:
    """Raises ChexReasonError if a class is not a dataclass, or lacks an attribute of the group's protocol."""
    path = f"{described.__module__}.{described.__qualname__}"
    if not is_dataclass(described):
        raise ChexReasonError(f"{group}._target_: {path} is no dataclass, and the settings of a {group} are one")
    if group not in BASES:
        return
    base = get_class(BASES[group])
    wanted = [*base.__annotations__, *vars(base)]
    # Annotations without a value, of the class and its bases: `splits: ClassVar[tuple[str, ...]]`, or an abstract method.
    wanted += [one for kind in described.__mro__ for one in vars(kind).get("__annotations__", ())]
    unwritten: frozenset[str] = getattr(described, "__abstractmethods__", frozenset())
    has = {one.name for one in fields(described)} | {*dir(described)} - unwritten
    wanted = [one for one in wanted if not one.startswith("_")] + sorted(unwritten)
    if lacking := [one for one in dict.fromkeys(wanted) if one not in has]:
        raise ChexReasonError(f"{group}._target_: {path} has no {', '.join(lacking)}; {BASES[group]} says what a {group} has")


def group(name: str, values: dict[str, Any]) -> Any:
    """Convert the values of a composed group to its dataclass.

    Raises:
        ChexReasonError: a key that the class lacks (with the nearest one it has), a missing key, a wrong type or range.
    """
    if not isinstance(values, dict):
        raise ChexReasonError(
            f"{name}={values}: the keys of a choice are wanted. A file of one's own chooses by `override /{name}: {values}` "
            "among its defaults"
        )
    return build(described_by(name, values), {key: value for key, value in values.items() if key != "_target_"}, name)


_BUILT: dict[tuple[type, str], Any] = {}  # the plans of a sweep check the same few groups many times


def build(described: type, values: dict[str, Any], where: str) -> Any:
    """`values` as an instance of the dataclass `described`, checked by OmegaConf and by the class itself."""
    key = described, repr(values)
    if key not in _BUILT:
        _BUILT[key] = _build(described, values, where)
    return copy.deepcopy(_BUILT[key])


def _build(described: type, values: dict[str, Any], where: str) -> Any:
    for one in fields(described) if is_dataclass(described) else ():
        given = values.get(one.name)
        if isinstance(given, str) and not given.strip() and (one.metadata == CONTENT or str(one.type) == "str | None"):
            none = ", or null for none" if "None" in str(one.type) else ""
            raise ChexReasonError(f"{where}.{one.name}=: nothing stands there; a value is wanted{none}")
        # OmegaConf would convert a list to text.
        listed = given.values() if isinstance(given, dict) else given if isinstance(given, list) else ()
        if str(one.type).startswith(("list[str]", "dict[str, str")) and any(isinstance(each, list | dict) for each in listed):
            raise ChexReasonError(f"{where}.{one.name}={given}: each of its entries is a text")
    try:
        return OmegaConf.to_object(OmegaConf.merge(OmegaConf.structured(described), _literal(values)))
    except OmegaConfBaseException as error:
        key, message = str(error.full_key or ""), str(error.msg or error).splitlines()[0]
        parts = [part for part in re.split(r"[.\[\]]", key) if part]
        if "not in" in message and error.object_type is not None and parts:
            known = {field.name for field in fields(error.object_type)}
            raise ChexReasonError(f"{where}.{key}: there is no such key.{suggestion(parts[-1], known)}") from None
        if "missing mandatory value" in message:
            file = choice_files(where).get(str(values.get("name")), "its file")
            raise ChexReasonError(f"{where}.{key} is wanted, and {file} does not say it") from None
        if kind := re.match(r"Incompatible value 'None' for field of type '(\w+)'", message):
            raise ChexReasonError(f"{where}.{key}=null: a value of type {kind[1]} is wanted") from None
        if "is not a subclass of" in message or "is not Optional" in message:
            inner: Any = described
            for part in parts:
                inner = get_type_hints(inner).get(part) if is_dataclass(inner) else None
            if is_dataclass(inner):
                named = ", ".join(one.name for one in fields(inner))
                raise ChexReasonError(
                    f"{where}.{key}: its keys are set one by one, as {where}.{key}.KEY=VALUE: {named}"
                ) from None
        if "is not a ListConfig" in message or "Invalid value assigned" in message or "to a ListConfig" in message:
            given = _at(values, parts)
            if not isinstance(given, list | dict):
                raise ChexReasonError(f"{where}.{key}={given}: a list is wanted, such as {where}.{key}=[{given}]") from None
        raise ChexReasonError(f"{where}.{key}: {message.removesuffix('.')}") from None
    except ValueError as error:  # raised by the class for a value out of range
        raise ChexReasonError(f"{where}.{error}") from None


def _literal(node: Any) -> Any:
    """Escape resolved values, so that OmegaConf does not interpolate them again."""
    if isinstance(node, dict):
        return {key: _literal(value) for key, value in node.items()}
    return [_literal(value) for value in node] if isinstance(node, list) else literal(node) if isinstance(node, str) else node


def _at(values: Any, parts: Sequence[str]) -> Any:
    for part in parts:
        values = values.get(part) if isinstance(values, dict) else None
    return values


def every(name: str) -> list[Any]:
    """Every choice of a group as an instance of its dataclass, sorted by name."""
    return choices(name, choice_names(name))


def own_folders() -> tuple[list[str], list[str]]:
    """The user's config folders that a command names: by --config-dir, and by hydra.searchpath.

    In a stage's process, outside the Hydra application, all of them are returned as if given by hydra.searchpath.
    """
    hydra = GlobalHydra.instance()
    if not hydra.is_initialized():
        return [], list(filter(None, os.environ.get(FOLDERS, "").split(os.pathsep)))
    brought = [one.path for one in hydra.config_loader().get_search_path().get_path() if one.provider == "command-line"]
    searched = list(HydraConfig.get().searchpath) if HydraConfig.initialized() else []
    return [path.removeprefix("file://") for path in brought], [path.removeprefix("file://") for path in searched]


def choice_names(name: str) -> list[str]:
    """The names of a group's choices (their file stems), including those in the user's config folders.

    A file whose name begins with _ is not a choice, but a part that several choices share.
    """
    return sorted(choice_files(name))


def choice_files(name: str) -> dict[str, Path]:
    """The choices of a group by name, as in `choice_names`, with their files."""
    brought, searched = own_folders()
    folders = [CONF, *map(Path, (*brought, *searched))]
    files = {path.stem: path for folder in folders for path in (folder / name).glob("*.yaml")}
    return {one: path for one, path in files.items() if not one.startswith("_")}


def choices(name: str, chosen: Sequence[str]) -> list[Any]:
    """The `chosen` choices of a group as instances of its dataclass; raises ChexReasonError if one does not exist."""
    found = []
    for choice in chosen:
        try:
            found.append(group(name, _alone(name, choice)))
        except ChexReasonError as error:  # the user may not have chosen it: name its file
            file = choice_files(name).get(choice)
            raise ChexReasonError(f"{name}={choice}, whose file is {file}: {error}" if file else str(error)) from None
    return found


def check(plain: dict[str, Any]) -> Config:
    """Convert the resolved config to dataclasses; raises ChexReasonError at the first wrong key."""
    _refuse_secrets(plain)
    for key in (key for key in plain if key not in KEYS):
        raise ChexReasonError(f"{key}: there is no such key.{suggestion(key, {*KEYS})}")
    groups = {name: group(name, plain[name]) for name in GROUPS if name in plain}
    rest = {key: plain[key] for key in KEYS if key not in GROUPS}
    for key, value in rest.items():
        if type(value) is not KEYS[key]:
            raise ChexReasonError(f"{key}={value!r}: a value of type {KEYS[key].__name__} is wanted")
    return Config(**{"stage": None} | groups | rest)


def _refuse_secrets(plain: dict[str, Any]) -> None:
    """Raises ChexReasonError if a config, which is stored in files, contains a password or an API key; the message omits it."""
    secrets = [(name, value) for name, value in os.environ.items() if SECRET.search(name) and len(value) >= SHORTEST]
    for key, text in ((".".join(place), value) for place, value in walk(plain) if isinstance(value, str)):
        if "://" in text and re.search(r"://[^/\s]*:[^/\s]*@", text):
            raise ChexReasonError(f"{key}: a password stands in its address, and what a config says is kept in files")
        if found := next((name for name, secret in secrets if secret in text), None):
            raise ChexReasonError(f"{key}: what the environment's {found} holds stands in it, and is kept in no file")


def as_dict(cfg: DictConfig) -> dict[str, Any]:
    """The resolved config as plain Python containers."""
    try:
        return OmegaConf.to_container(cfg, resolve=True)  # type: ignore[return-value]
    except OmegaConfBaseException as error:
        raise ChexReasonError(f"{error.full_key}: {str(error).splitlines()[0]}") from None


def _alone(name: str, choice: str) -> dict[str, Any]:
    """Compose one choice of a group. For some closed groups, a file without defaults is read without Hydra."""
    file = CONF / name / f"{choice}.yaml"
    if not file.is_file() or GROUPS[name] not in (Prompt, Scale, Checkpoint, Engine, Variant):
        return as_dict(compose((f"{name}={choice}",)))[name]
    with explained((), compose, CONF):
        values = _read(file)
    # Every plan on the phantom world needs all prompts: composing one takes Hydra some 40 ms, reading its file takes 1 ms.
    return as_dict(compose((), f"{name}/{choice}"))[name] if "defaults" in values else values


@lru_cache
def _read(file: Path) -> dict[str, Any]:
    return as_dict(OmegaConf.load(file))  # type: ignore[arg-type]


_COMPOSING = threading.Lock()  # Hydra's state is global to the process


def compose(overrides: Sequence[str], name: str = "config", with_hydra: bool = False) -> DictConfig:
    """Compose conf/config.yaml (or another file) with overrides, inside a running Hydra application or without one."""
    refuse_words(overrides)
    brought, searched = own_folders()
    _refuse_shadows((*brought, *searched))
    if searched and not any(word.startswith("hydra.searchpath") for word in overrides):
        overrides = [*overrides, f"hydra.searchpath=[{','.join(map(quoted, searched))}]"]
    with explained(overrides, compose, CONF), _COMPOSING:  # in this order, since explaining an error composes again
        return pickle.loads(_composed(tuple(overrides), name, with_hydra, GlobalHydra.instance().is_initialized()))


@lru_cache
def _refuse_shadows(folders: tuple[str, ...]) -> None:
    """Raises ChexReasonError if a user's folder repeats a file of an earlier folder or of this product: Hydra uses the first.

    Also raised if one of the folders does not exist.
    """
    own = dict.fromkeys(Path(one).resolve() for one in folders if "://" not in one)  # `pkg://` and the like are not folders
    taken: dict[Path, str] = {}
    for folder in (one for one in own if one != CONF.resolve()):
        if not folder.is_dir():
            raise ChexReasonError(f"{folder}: there is no such folder of choices (--config-dir, hydra.searchpath)")
        for file in sorted(file for place in CONF.iterdir() for file in (folder / place.name).rglob("*.yaml")):
            name = file.relative_to(folder)
            if (CONF / name).exists():
                taken[name] = f"{name} is a file of this product, too"
            if name in taken:
                raise ChexReasonError(f"{file}: {taken[name]}, and that one would be taken: give yours another name")
            taken[name] = f"{file} is there before it"


def refuse_words(overrides: Sequence[str]) -> None:
    """Raises ChexReasonError for an override that has no key, deletes a required key, or whose choice is not a name."""
    kept = {*KEYS, *BUNDLES}
    for word in overrides:
        key, _, value = word.partition("=")
        bare = key.lstrip("+~")
        chooses = bare in (*GROUPS, *BUNDLES)
        # Deleting a key (~group.key) would silently replace the choice's value by the dataclass's default.
        if not bare or "@" in key or key.startswith("~") and (bare in kept or bare.count(".") == 1 or bare.endswith(".name")):
            raise ChexReasonError(
                f"{word}: an override is key=value, a choice keeps its name, and this key can neither be taken away nor moved"
            )
        if bare == "stage.name":
            raise ChexReasonError(f"{word}: a stage keeps its name; another stage is chosen by stage=NAME")
        if chooses and any(one in ("", "null") or one.startswith("_") for one in value.split(",")):
            raise ChexReasonError(f"{word}: a choice is wanted. Valid: {', '.join(choice_names(bare))}")
        if chooses and (odd := next(filter(VALUE.fullmatch, value.split(",")), None)):
            raise ChexReasonError(f"{bare}={odd}: there is no such choice.{suggestion(odd, set(choice_names(bare)))}")
        if chooses and (named := re.search(r"[\w-]+(?=\.ya?ml\b)", value)):
            raise ChexReasonError(f"{word}: a choice goes by its file's name alone: {bare}={named[0]}")
        if bare == "experiment" and "(" in value:
            raise ChexReasonError(
                f"{word}: experiments are named one by one, with commas between them: experiment=table1,table2"
            )
        if chooses and ("/" in value or value.startswith(("[", "{"))):
            raise ChexReasonError(f"{word}: one choice is wanted, by its name. Valid: {', '.join(choice_names(bare))}")


@lru_cache(maxsize=1024)  # the jobs of a sweep have the same few parents
def _composed(overrides: tuple[str, ...], name: str, with_hydra: bool, inside_application: bool) -> bytes:
    """A composed config as a pickle: unpickling it takes a sixth of the time of copying the config."""
    with nullcontext() if inside_application else initialize_config_dir(str(CONF), version_base="1.3"):
        return pickle.dumps(hydra_compose(name, list(overrides), return_hydra_config=with_hydra))
