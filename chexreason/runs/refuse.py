"""Checks of a plan for choices that would have an unintended effect. Each raises ChexReasonError with a suggestion."""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig, OmegaConf

from chexreason.errors import ChexReasonError, suggestion
from chexreason.runs import config as schema
from chexreason.runs.lines import SIZED
from chexreason.runs.overrides import root
from chexreason.runs.stage import Stage

if TYPE_CHECKING:
    from chexreason.runs.plan import Plan


def bad_names(plain: dict[str, Any], uses: Sequence[str]) -> None:
    """Names that become part of a run folder's name must be valid in a path."""
    for name in ("stage", *uses):
        if not re.fullmatch(r"[A-Za-z0-9][\w.-]*", str(plain[name]["name"])):
            raise ChexReasonError(
                f"{name}.name={plain[name]['name']!r}: letters, digits, _, - and . are wanted: it names a folder"
            )


def misnamed(cfg: DictConfig, typed: Sequence[str]) -> None:
    """A user's own choice whose file is empty or a list, or has the name of another choice.

    Run folders, tables and the settings in conf/sized would confuse it with that choice.
    """
    said = dict(word.split("=", 1) for word in typed if "=" in word)
    for group in (group for group in schema.GROUPS if OmegaConf.is_config(cfg.get(group))):
        choice, name = said.get(group), cfg[group].get("name") if isinstance(cfg[group], DictConfig) else None
        file = schema.choice_files(group).get(choice or "")
        if name is None and choice and isinstance(cfg[group], DictConfig) and cfg[group]:
            raise ChexReasonError(f"{group}={choice}: its name is wanted in its file, too: name: {choice} in {file or group}")
        if name is None:
            raise ChexReasonError(
                f"{group}={choice or ''}: keys are wanted in its file {file or f'in {group}/'}, its name among them; "
                "see those of the other choices"
            )
        if file and choice != name and f"{group}.name" not in said:
            raise ChexReasonError(
                f"{group}={choice}: its file calls it {name}, which folders go by: set name: {choice} in {group}/{choice}.yaml"
            )


def empty_variant(variant: str) -> None:
    """A variant without any file of settings: it would be the published training under another title."""
    found = [schema.choice_names(f"{name}/{variant}") for name in ("varied", "varied/sized")]
    for stage in found[0]:
        if not _varies(stage):
            raise ChexReasonError(
                f"variant={variant}: varied/{variant}/{stage}.yaml is of stage={stage}, which has no variants"
            )
    if variant != "published" and not any(found):
        raise ChexReasonError(
            f"variant={variant} changes nothing: varied/{variant}/grpo.yaml, say, is wanted beside its own file"
        )


@lru_cache
def _varies(stage: str) -> bool:
    config = schema.check(schema.as_dict(schema.compose([f"stage={stage}"])))
    return "variant" in Stage.of(config.stage).groups(config)


@lru_cache
def unread_files(folders: tuple[str, ...]) -> None:
    """A file that nothing reads, since its group, scale, variant or stage does not exist."""
    groups = {place.name for place in schema.CONF.iterdir() if place.is_dir()}
    scales, variants, stages = ({*schema.choice_names(group)} for group in ("scale", "variant", "stage"))
    sizes = {f"{scale}_{stage}" for scale in scales for stage in stages}
    for folder in (schema.CONF, *(Path(one) for one in folders if "://" not in one)):
        for file in sorted(folder.glob("*/**/*.yaml")):
            group, *names = file.relative_to(folder).with_suffix("").parts
            if group not in groups and difflib.get_close_matches(group, groups, n=1, cutoff=0.7):
                raise ChexReasonError(f"{file}: there is no group {group}.{suggestion(group, groups)}")
            if group not in ("sized", "varied"):
                continue
            at, last = (group, *names)[-2:]
            known = scales if group == "sized" else variants
            if at not in known:
                raise ChexReasonError(f"{file}: {at} is none of those that there are.{suggestion(at, known)}")
            varied = sizes if names[0] == "sized" else stages
            if group == "varied" and last not in varied:
                raise ChexReasonError(f"{file}: it is of no stage.{suggestion(last, varied)}")
            of, _, choice = last.partition("_")
            if group == "sized" and (of not in ("stage", *SIZED) or choice not in schema.choice_names(of)):
                raise ChexReasonError(
                    f"{file}: a scale changes {', '.join(('stage', *SIZED))}, by files called stage_sft.yaml, say"
                )


def unread(cfg: DictConfig, words: Sequence[str], planned: Plan) -> None:
    """A dataset that was chosen or refined but that no run reads: the user must have meant another."""
    read = sorted(choice for choice, _ in planned.worlds if choice.startswith("dataset="))
    said = next((word for word in words if root(word) == "dataset"), None)
    if said is None or not read or f"dataset={cfg.dataset.name}" in read:
        return
    meant = f"source={cfg.dataset.name}" if said.startswith("dataset=") else f"{read[0]} beside it"
    raise ChexReasonError(
        f"{said}: no run of stage={planned.stage} would read dataset={cfg.dataset.name}, but {', '.join(read)}.\n"
        f"  What training draws from is chosen by source, and its keys are set beside its name: source=NAME dataset=NAME "
        f"dataset.KEY=VALUE. Did you mean {meant}?"
    )


def unused_source(cfg: DictConfig, typed: Sequence[str], planned: Plan) -> None:
    """A `source` without a `dataset`, for a stage that reads a dataset and trains nothing."""
    used, words = planned.manifest["config"], {*map(root, typed)}
    if "source" in words and "dataset" not in words and "dataset" in used and "model" not in used:
        raise ChexReasonError(
            f"source={cfg.source}: stage={planned.stage} reads dataset={cfg.dataset.name}, and source is what training draws "
            f"from. Did you mean dataset={cfg.source}?"
        )


def mixture(config: schema.Config, worlds: set[tuple[str, str]]) -> None:
    """Choices of several worlds: real weights on drawn films, or the reverse, are usually a mistake."""
    if config.mixed_worlds or len({world for _, world in worlds}) < 2:
        return
    by_world = {kind: sorted(choice for choice, world in worlds if world == kind) for kind in sorted({w for _, w in worlds})}
    met = " with ".join(f"{', '.join(choices)} ({kind})" for kind, choices in by_world.items())
    models = {kind: [one.name for one in schema.every("model") if one.world == kind] for kind in by_world}
    if config.world.name in by_world:  # the rehearsal world reuses the clinical world's models
        models[config.world.name] = models[config.world.name] or [config.world.medical, config.world.general]
    choose = "; ".join(f"{kind}: model={', '.join(names)}" for kind, names in models.items() if names)
    raise ChexReasonError(
        f"worlds are mixed: {met}.\n  A model brings its world with it. {choose}. Or say that it is meant: mixed_worlds=true"
    )


def wrong_parents(config: schema.Config, does: Stage, parents: dict[str, Plan]) -> None:
    """A parent whose stage or role is not in the stage's PARENTS, or a required parent that is missing.

    A role in SEVERAL may have several parents (curated, curated_chexpert), a role in OPTIONAL none.
    """
    roles, taken = does.PARENTS, {*does.OPTIONAL}
    if not roles:
        return
    for name in config.stage.parents:
        role = name if name in roles else next((one for one in does.SEVERAL if name.startswith(f"{one}_")), None)
        if role is None:
            raise ChexReasonError(f"stage.parents.{name}: there is no such role.{suggestion(name, {*roles})}")
        if name not in parents:
            continue
        taken.add(role)
        if parents[name].does.module not in roles[role]:  # not by the name in its settings
            wanted = " or ".join(f"stage={maker}" for maker in roles[role])
            raise ChexReasonError(f"stage.parents.{name}: its line makes a run of stage={parents[name].stage}, not of {wanted}")
    for role in roles:
        if role not in taken:
            raise ChexReasonError(f"stage.parents.{role}: the line of a run is wanted, such as stage={roles[role][0]}")
