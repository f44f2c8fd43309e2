"""The Hydra override lines that make runs: a run's own command, and the lines of its parents."""

from __future__ import annotations

import pickle
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf, flag_override

from chexreason.errors import ChexReasonError
from chexreason.runs import config as schema
from chexreason.runs.overrides import BUNDLES, key_of, literal, quoted, root, written

COMMAND = "python -m chexreason.run"
OF_ONE_RUN = ("stage", "force", "make_missing", "dry_run")
SIZED = ("model", "dataset", "teacher")  # groups besides the stage whose settings depend on the scale (conf/sized)
# The key with the path inside the maker's run folder, for each group that a run can make.
PLACES = {"model": "weights", "dataset": "root", "checkpoint": "adapter"}
NOT_INHERITED = (*OF_ONE_RUN, "hydra")  # keys that a parent run's command does not inherit


def makers_of(config: schema.Config, used: dict[str, Any], typed: Sequence[str]) -> dict[str, str]:
    """The override lines that make a run's parents, by role: `parents` of its stage, and `made_by` of its groups."""
    found = dict(getattr(config.stage, "parents", {}))
    said = {f"stage.parents.{role}": line for role, line in found.items()}
    makers = {name: getattr(one, "made_by", None) for name, one in used.items()}
    said |= {f"{name}.made_by": line for name, line in makers.items()}
    for key, line in said.items():
        if line is not None:
            refuse_no_line(key, line)
    for name, line in makers.items():
        if line is not None and hasattr(used[name], PLACES.get(name, "")):  # a user's own class may have no such key
            set_apart = name == "model" and any(word.lstrip("+").startswith("model.weights=") for word in typed)
            _refuse_outside(name, PLACES[name], getattr(used[name], PLACES[name]), set_apart)
    found |= {name: line for name, line in makers.items() if line and not _makes(config.stage.name, name, line)}
    return {role: line for role, line in found.items() if line}


def refuse_no_line(key: str, line: str) -> None:
    """Raises ChexReasonError if `line` is not a line of overrides that makes a run."""
    try:
        words = shlex.split(line)
    except ValueError as error:
        raise ChexReasonError(f"{key}={line}: no line of overrides ({error})") from None
    odd = next((f"{word} has no =" for word in words if "=" not in word), None)
    if odd is None and "stage" not in map(root, words):
        odd = f"it names no stage (null: {key} makes nothing)"
    if odd is not None:
        raise ChexReasonError(f"{key}={line}: must be a line of overrides that makes a run, such as 'stage=sft seed=1': {odd}")


def _refuse_outside(group: str, key: str, place: str | None, set_apart: bool) -> None:
    """Raises ChexReasonError if a group that a run makes does not give its place inside that run's folder."""
    path = None if place is None else Path(place)
    # `set_apart`: the user set model.weights, and a stand-in's weights are always in one place in its run.
    if path is None or path.is_absolute() or ".." in path.parts or set_apart:
        raise ChexReasonError(
            f"{group}.{key}={'null' if place is None else place}: its place inside the run that {group}.made_by makes is "
            f"wanted; for one from outside, set {group}.made_by=null"
        )


def _makes(stage: str, group: str, line: str) -> bool:
    """Whether `line` makes a run of this same stage and choice; the stage that makes a group needs no parent for it."""
    words = shlex.split(line)
    return f"stage={stage}" in words and not any(word.startswith(f"{group}=") for word in words)


def parent_config(cfg: DictConfig, typed: Sequence[str], uses: Sequence[str], line: str) -> tuple[DictConfig, list[str]]:
    """The config of the parent run that the override `line` makes, and the overrides to type for it.

    Whatever the line leaves open is inherited from the child. If the line makes the same choice for a group as the child, whose
    stage does not use that group, the child's values are kept: so `stage=sft dataset.root=...` reaches the curate run.
    """
    words = shlex.split(line)
    said = _brought(words) | {root(word): word.partition("=")[2] for word in words if "." not in key_of(word)}
    refined = {root(word) for word in words if "." in key_of(word)}
    groups = [name for name in schema.GROUPS if name not in ("stage", "sweep")]
    if said.get("scale", cfg.scale.name) != cfg.scale.name:  # the child's values belong to another scale
        refined |= {*SIZED} - said.keys()
    kept = [
        name for name in groups if said.get(name, cfg[name].name) == cfg[name].name and (name not in said or name not in uses)
    ]
    # Only `told` groups are composed; below, the child's values overwrite all others except the stage (scale and variant
    # change it) and what the line sets. So few distinct configs are composed, and compose() can cache them across a sweep.
    told = [name for name in groups if name not in said and (name in refined or name in ("scale", "variant"))]
    parent = schema.compose((*(f"{name}={cfg[name].name}" for name in told), *words))
    foreign = {"source"} if said.get("world", cfg.world.name) != cfg.world.name else set()  # each world has its own source
    own = pickle.loads(pickle.dumps(cfg))  # one copy whose nodes the parent can share: OmegaConf would copy each
    with flag_override(parent, ["struct", "no_deepcopy_set_nodes"], [False, True]):
        for key in (key for key in cfg if key not in foreign):
            if (key in kept and key not in refined) or (key not in schema.GROUPS and key not in said and key != "force"):
                parent[key] = literal(own[key]) if isinstance(own[key], str) else own[key]  # resolved by now
        parent.sweep = own.sweep

    def inherits(word: str) -> bool:
        name = root(word)
        if name in schema.GROUPS and "." in key_of(word):
            return name in kept and name not in refined
        return name not in said

    return parent, [*words, *(word for word in typed if root(word) not in NOT_INHERITED and inherits(word))]


def _brought(words: Sequence[str]) -> dict[str, str]:
    """The choices implied by those of a line, by group: a model implies its world, scale and data; an arm, its model."""
    if not {"world", "model", *BUNDLES} & set(map(root, words)):
        return {}
    alone, line = (schema.compose(list(some)) for some in ([word for word in words if root(word) == "stage"], words))
    return {name: line[name].name for name in schema.GROUPS if name != "stage" and line[name].name != alone[name].name}


def chosen(cfg: DictConfig, typed: Sequence[str]) -> list[str]:
    """`typed` with an arm or an experiment replaced by its choices, for parent runs, whose stage is another."""
    rest = [word for word in typed if root(word) not in BUNDLES]
    if len(rest) == len(typed):
        return rest
    said = {key_of(word): word for word in rest}
    # `rest` is appended in any case, and choices implied by its world and model need not be repeated.
    bare = schema.compose([said[name] for name in ("world", "model") if name in said])
    groups = [name for name in schema.GROUPS if name not in ("sweep", *said)]
    groups = [name for name in groups if OmegaConf.select(bare, f"{name}.name") != cfg[name].name]
    groups = [name for name in groups if cfg[name].name in schema.choice_names(name)]  # skip a name that the user overrode
    kept = (*schema.GROUPS, *OF_ONE_RUN, "runs", *said)
    keys = [key for key in map(str, bare) if key not in kept and bare[key] != cfg[key]]
    return [*(f"{name}={cfg[name].name}" for name in groups), *(f"{key}={written(cfg[key])}" for key in keys), *rest]


def command(typed: Sequence[str]) -> str:
    """The shell command that makes one run; for a job of an experiment, it makes only that job."""
    brought, searched = schema.own_folders()
    words = [word for folder in brought for word in ("--config-dir", folder)]
    if searched and not any(word.startswith("hydra.searchpath") for word in typed):
        typed = [*typed, f"hydra.searchpath=[{','.join(map(quoted, searched))}]"]
    alone = ["hydra.mode=RUN"] if "experiment" in map(root, typed) else []
    return shlex.join([*COMMAND.split(), *words, *typed, *alone])


def on_the_same(command: str, *words: str) -> str:
    """The override line of another run: the choices of `command`, such as its data, followed by `words`."""
    kept = [word for word in shlex.split(command) if "=" not in word or root(word) not in OF_ONE_RUN]
    return shlex.join([*kept, *words])
