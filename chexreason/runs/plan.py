"""Plans a run before it is executed: checks its config, names its folder and plans its parent runs.

A run is identified by its recipe: a digest of its defining keys, the content of its inputs, and the recipes of its parents. So
its folder is known, and a sweep can be planned, before anything is executed. Whether a complete run was made from its parents'
present outputs is checked by the output digests in its manifest.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from chexreason.errors import ChexReasonError, suggestion
from chexreason.runs import config as schema
from chexreason.runs import costs, machine, refuse
from chexreason.runs.folders import SCHEMA, changed, complete_manifest, kind, outputs_digest
from chexreason.runs.identity import DIGESTS, by_name, defining, descriptions, digest
from chexreason.runs.lines import chosen, command, makers_of, parent_config
from chexreason.runs.overrides import root
from chexreason.runs.stage import Stage

NAMED = ("model", "prompt", "checkpoint", "reward", "dataset", "teacher")  # part of the folder's name, if used


@dataclass(frozen=True)
class Plan:
    """One planned run: `manifest` is what will be written to its folder, `lacking` says what prevents its execution."""

    does: Stage
    folder: Path
    recipe: str
    manifest: dict[str, Any]
    parents: dict[str, Plan]
    lacking: tuple[str, ...]
    worlds: frozenset[tuple[str, str]]  # ("model=medgemma", "clinical"): choices of the run and its parents, with their worlds
    processes: int
    reusable: bool  # a complete run may be reused instead of executed again
    forced: bool  # make it even if it is complete
    descriptions: dict[str, dict[str, Any]]  # by group: current descriptive keys, to update an older manifest
    bill: costs.Bill | None  # the most that it may ask of a paid service
    gigabytes: float  # disk space that it takes

    @property
    def stage(self) -> str:
        return str(self.manifest["stage"])

    @property
    def kind(self) -> str:
        """The category in which the run is counted and timed."""
        return kind(self.manifest)

    @property
    def is_complete(self) -> bool:
        """Whether its folder holds a complete run that was made from its parents' present outputs."""
        found = complete_manifest(self.folder)
        if not self.reusable or found is None:
            return False
        made_from = {role: outputs_digest(plan.folder) for role, plan in self.parents.items()}
        return all(plan.is_complete for plan in self.parents.values()) and found.get("made_from") == made_from

    @cached_property
    def lost(self) -> list[str]:
        """Images named by the complete run that are missing now; its child runs would read them."""
        return self.does.lost(self.folder) if self.is_complete else []

    @property
    def harmed(self) -> str | None:
        """A message about the first output or input of the complete run that has changed since; None if unchanged."""
        if not self.is_complete:
            return None
        if name := changed(self.folder):
            return f"{self.folder / name} is not what its run left there"
        return self.does.outdated(self.folder)

    def every(self) -> list[Plan]:
        """The run and all its ancestors, each once, parents first."""
        below = {one.recipe: one for parent in self.parents.values() for one in parent.every()}
        return [*below.values(), self]

    def missing(self) -> list[Plan]:
        """The runs that would be executed, each once, parents first."""
        if self.is_complete and not self.forced:
            return []
        below = {one.recipe: one for parent in self.parents.values() for one in parent.missing()}
        return [*below.values(), self]

    def lacks_but_disk(self) -> list[str]:
        """Messages about what prevents executing this run or its missing ancestors, without duplicates; disk space aside."""
        return list(dict.fromkeys(lack for one in self.missing() for lack in one.lacking))

    def every_lack(self) -> list[str]:
        """As `lacks_but_disk`, plus a message if the disk space for all missing runs is insufficient."""
        return [*self.lacks_but_disk(), *machine.lacks_disk(sum(one.gigabytes for one in self.missing()), self.folder.parent)]

    def needs(self) -> str | None:
        """The first missing parent and how to make it, as a message; None if all parents are complete."""
        first = next(iter(self.missing()), self)
        if first is self:
            return None
        return (
            f"stage={self.stage} needs a complete run in {first.folder}, and there is none.\n"
            f"  make it:      {first.manifest['command']}\n"
            "  or have missing runs made first: add make_missing=true"
        )

    def describe(self) -> Iterator[str]:
        """The lines that a dry run prints: the folder, whether it is complete, missing runs, costs and unmet requirements."""
        yield f"folder:   {self.folder}"
        complete = "yes" if self.is_complete else "no"
        if self.is_complete and self.forced:
            complete = "yes, and made again: force=true"
        elif harmed := self.harmed:
            complete = f"no: {harmed}"
        yield f"complete: {complete}"
        missing = self.missing()
        for one in missing[:-1]:
            yield f"missing:  {one.folder.name}"
        for cost in costs.lines(missing, costs.seconds_by_kind(self.folder.parent)):
            yield f"costs:    {cost}"
        for lack in self.every_lack():
            yield f"not at hand: {lack}"


def plan(cfg: DictConfig, typed: Sequence[str], known: dict[str, Plan] | None = None) -> Plan:
    """Check a composed config and plan its run and, recursively, its parents; executes and writes nothing.

    `known`: cache of plans by config digest, since the jobs of a sweep share the same few parents.

    Raises:
        ChexReasonError: a wrong key or value, a mixture of worlds, or a dataset that nothing would read.
    """
    refuse.unread_files(tuple(one for kind in schema.own_folders() for one in kind))
    refuse.misnamed(cfg, typed)
    refuse.empty_variant(cfg.variant.name)
    planned = _plan(cfg, typed, {} if known is None else known)
    refuse.unread(cfg, typed, planned)
    refuse.unused_source(cfg, typed, planned)
    return planned


def refuse_visible_mixture(config: schema.Config, typed: Sequence[str]) -> None:
    """Raises ChexReasonError if the choices that a stage uses itself, or that were typed, belong to several worlds.

    It does not check the parent runs, which takes `plan` a second.
    """
    seen = {*_uses(config), *(schema.GROUPS.keys() & set(map(root, typed)))}
    refuse.mixture(config, _worlds(config, {name: getattr(config, name) for name in seen - {"stage"}}, typed, {}))


def _uses(config: schema.Config) -> Sequence[str]:
    """The groups that a stage uses itself."""
    uses = Stage.of(config.stage).groups(config)
    if odd := next((name for name in uses if name not in schema.GROUPS), None):
        raise ChexReasonError(
            f"stage={config.stage.name}: USES names {odd!r}, which is no group.{suggestion(odd, {*schema.GROUPS})}"
        )
    return uses


def _plan(cfg: DictConfig, typed: Sequence[str], known: dict[str, Plan]) -> Plan:
    plain = schema.as_dict(cfg)
    config = schema.check(plain)
    uses = _uses(config)
    used = {name: getattr(config, name) for name in uses}
    makers = makers_of(config, used, typed)
    # With parents, every group counts: a parent may use one that this stage does not (the reward, for an evaluation).
    key = digest({name: plain[name] for name in plain if makers or name not in schema.GROUPS or name in ("stage", *uses)})
    if key not in known:
        refuse.bad_names(plain, uses)
        parents = _parents(cfg, typed, uses, makers, known)
        does = Stage.of(config.stage)
        refuse.wrong_parents(config, does, parents)
        known[key] = _alone(config, plain, used, typed, does, parents)
    return known[key]


def _parents(
    cfg: DictConfig, typed: Sequence[str], uses: Sequence[str], makers: dict[str, str], known: dict[str, Plan]
) -> dict[str, Plan]:
    """Plan the parent runs: the override lines in `makers`, by role."""
    below, parents = chosen(cfg, typed), {}
    for role, line in makers.items():
        parent_cfg, said = parent_config(cfg, below, uses, line)
        parents[role] = _plan(parent_cfg, said, known)
        refuse.unread(parent_cfg, shlex.split(line), parents[role])
    return parents


def _alone(
    config: schema.Config,
    plain: dict[str, Any],
    used: dict[str, Any],
    typed: Sequence[str],
    does: Stage,
    parents: dict[str, Plan],
) -> Plan:
    """Plan one run, given the plans of its parents."""
    worlds = _worlds(config, used, typed, parents)
    refuse.mixture(config, worlds)
    drawn = does.draws(config.stage)  # if not, the result is independent of the seed
    groups = {"stage": config.stage, **used}
    defined, lacking = _defined(groups, config.runs, drawn)
    recipe = digest(
        {
            "schema": SCHEMA,
            "seed": config.seed if drawn else 0,
            **defined,
            "parents": {role: one.recipe for role, one in parents.items()},
        }
    )
    names = [used[name].name for name in NAMED if name in used]
    folder = Path(config.runs).absolute() / "-".join([config.stage.name, *names, recipe[:8]])
    # If no run reads the dataset, `dataset=` was typed for the child run and does not belong to this command.
    is_read = f"dataset={config.dataset.name}" in {choice for choice, _ in worlds}
    manifest = {
        "schema": SCHEMA,
        "name": folder.name,
        "stage": config.stage.name,
        "status": "planned",
        "recipe": recipe,
        "config": {**{name: plain[name] | asdict(one) for name, one in groups.items()}, "seed": config.seed},
        "tracker": plain["tracker"],
        "experiment": config.sweep.name,
        "parents": {role: one.folder.name for role, one in parents.items()},
        "inputs": _inputs(defined),
        "command": command([word for word in typed if root(word) != "dataset" or is_read]),
    }
    return Plan(
        does=does,
        folder=folder,
        recipe=recipe,
        manifest=manifest,
        parents=parents,
        lacking=tuple(dict.fromkeys([*lacking, *_lacks(config, used, does, parents)])),
        worlds=frozenset(worlds),
        processes=config.processes if does.TRAINS else 1,
        reusable=does.reusable(config.stage),
        forced=config.force,
        descriptions={name: descriptions(one) for name, one in used.items()},
        bill=does.bill(config.stage, used, parents),
        gigabytes=config.scale.run_gigabytes if does.MODEL else 0.0,
    )


def _worlds(
    config: schema.Config, used: dict[str, Any], typed: Sequence[str], parents: dict[str, Plan]
) -> set[tuple[str, str]]:
    """The choices of a run and its parents, each with the world that it belongs to."""
    worlds = {(f"{name}={one.name}", one.world) for name, one in used.items() if hasattr(one, "world")}
    if {"model", "teacher"} & used.keys() or "world" in map(root, typed):
        worlds.add((f"world={config.world.name}", config.world.name))
    if "reward" in used:  # the settings of a reward depend on the model's scale
        worlds.add((f"model={config.model.name}", config.model.world))
    return worlds.union(*(parent.worlds for parent in parents.values()))


def _defined(groups: dict[str, Any], runs: str, drawn: bool) -> tuple[dict[str, Any], list[str]]:
    """The values that define a run, by group, and messages about inputs that are missing."""
    remembered = Path(runs) / DIGESTS
    store = remembered if remembered.exists() else None  # planning must not create it; the first complete run does
    lacking, defined = [], {}
    for name, one in groups.items():
        try:
            if hasattr(one, "require"):
                one.require()
            defined[name] = defining(one, name, store, drawn)
        except ChexReasonError as error:
            lacking.append(str(error))
            defined[name] = by_name(one, drawn)
    return defined, lacking


def _lacks(config: schema.Config, used: dict[str, Any], does: Stage, parents: dict[str, Plan]) -> list[str]:
    """What prevents the execution of a run whose own inputs are available."""
    lacks = [*_other_checkpoints(parents, used), *_other_models_adapter(used), *does.lacks(config.stage, used, parents)]
    lacks += [lack for one in parents.values() for lack in one.lost]
    if not does.TRAINS:  # inference is possible without the GPU that training needs
        return lacks
    lacks += machine.lacks_gpu(config.scale.gpu_gigabytes, config.scale.name)
    processes, accumulation = config.processes, config.stage.accumulation
    if accumulation % processes:
        lacks.append(
            f"processes={processes} share stage.accumulation={accumulation} of stage={config.stage.name}: "
            f"a multiple of {processes} is wanted"
        )
    if processes > 1 and "engine" in used and config.engine.name == "vllm":
        lacks.append(
            f"processes={processes}: with engine=vllm, one process writes the completions and trains on them. "
            "Set processes=1, or engine=transformers"
        )
    return lacks


def _other_checkpoints(parents: dict[str, Plan], used: dict[str, Any]) -> list[str]:
    """Messages about parents that should provide a checkpoint of this model and do not."""
    lacks = []
    for role in ("checkpoint", "policy"):
        if role not in parents:
            continue
        trained, model = parents[role].manifest["config"].get("model", {}), used["model"].name
        if parents[role].stage not in ("sft", "grpo") or trained["name"] != model:
            lacks.append(f"{role}: {parents[role].kind} makes no checkpoint of model={model}; name a run that does")
    return lacks


def _other_models_adapter(used: dict[str, Any]) -> list[str]:
    """A message about an external adapter that was trained for another model; its weights might fit nevertheless."""
    model, checkpoint = used.get("model"), used.get("checkpoint")
    if model is None or checkpoint is None or checkpoint.made_by or checkpoint.adapter is None:
        return []
    from chexreason.models.weights import trained_for

    said = trained_for(Path(checkpoint.adapter))
    if said in (None, model.name, model.weights):
        return []
    if said not in schema.choice_names("model") and said not in {one.weights for one in schema.every("model")}:
        return []  # an unknown name may refer to this model
    return [
        f"checkpoint.adapter={checkpoint.adapter}: it was trained for {said}, and model={model.name} is another; where that is "
        "meant, take base_model_name_or_path out of its adapter_config.json"
    ]


def _inputs(defined: dict[str, Any]) -> dict[str, Any]:
    """The digests of external inputs, by group and key."""
    found = {f"{group}.{key}": value for group, values in defined.items() for key, value in values.items()}
    return {key: value for key, value in found.items() if _is_digest(value)}


def _is_digest(value: Any) -> bool:
    if isinstance(value, dict | list):
        return bool(value) and all(map(_is_digest, value.values() if isinstance(value, dict) else value))
    return isinstance(value, str) and re.fullmatch(r"[0-9a-f]{40,64}", value) is not None
