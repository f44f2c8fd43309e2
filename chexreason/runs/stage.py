"""The interface of a stage's module: the names it may define besides `Settings`, and their defaults."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from chexreason.errors import ChexReasonError

if TYPE_CHECKING:
    from chexreason.runs.config import Config
    from chexreason.runs.costs import Bill
    from chexreason.runs.folders import Run
    from chexreason.runs.plan import Plan

Used = dict[str, Any]  # the groups that a run uses, by name
Planned = dict[str, "Plan"]  # the plans of its parent runs, by role


@dataclass(frozen=True)
class Stage:
    """A stage's module. `execute` writes its results to the run's folder and returns the run's metrics."""

    module: str
    execute: Callable[[Run], dict[str, Any]]
    USES: Sequence[str]  # the groups that a run uses besides the stage's own settings
    uses: Callable[[Config], Sequence[str]] | None = None  # the same, if it depends on the config
    PARENTS: Mapping[str, Sequence[str]] | None = None  # for each role in settings.parents, the stages whose runs may fill it
    SEVERAL: Sequence[str] = ()  # roles that several parents may fill (curated, curated_chexpert)
    OPTIONAL: Sequence[str] = ()  # roles that may be left unfilled
    TORCH: bool = False  # it imports torch, so its runs get a process of their own
    MODEL: bool = False  # it runs a model: count scale.run_gigabytes of disk for it
    TRAINS: bool = False  # it trains: needs scale.gpu_gigabytes on each GPU, may use several `processes`
    draws: Callable[[Any], bool] = lambda settings: True  # whether the seed affects the result
    reusable: Callable[[Any], bool] = lambda settings: True  # whether a complete run may be reused
    lacks: Callable[[Any, Used, Planned], list[str]] = lambda settings, used, parents: []  # what prevents a run from being made
    bill: Callable[[Any, Used, Planned], Bill | None] = lambda settings, used, parents: None  # maximum use of a paid service
    lost: Callable[[Path], list[str]] = lambda folder: []  # images named by a complete run that are missing now
    outdated: Callable[[Path], str | None] = lambda folder: None  # an input of a complete run that has changed since
    headline: Callable[[dict[str, Any]], str] = lambda metrics: ""  # the result in one line
    show: Callable[[Path], None] = lambda folder: None  # prints the result, also of a reused run
    deliver: Callable[[Path, Path], None] | None = None  # copies the result to `stage.output`

    def groups(self, config: Config) -> Sequence[str]:
        """The groups that a run with this config uses."""
        return self.uses(config) if self.uses else self.USES

    @classmethod
    def of(cls, settings: Any) -> Stage:
        """The stage whose settings these are."""
        module = sys.modules[type(settings).__module__]
        said = {one.name: getattr(module, one.name) for one in fields(cls) if hasattr(module, one.name)}
        if lacking := [name for name in ("USES", "execute") if name not in said]:
            raise ChexReasonError(
                f"stage={settings.name}: {module.__file__} says no {' and no '.join(lacking)}, which a stage has"
            )
        return cls(module=module.__name__.rpartition(".")[2], **said)
