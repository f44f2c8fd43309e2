"""The only entry point: compose, check, find the parent runs, then hand over to the stage.

    python -m chexreason.run stage=sft model=medgemma prompt=free_reasoning
    python -m chexreason.run --multirun stage=evaluate dataset=phantom_chexpert,phantom_nih stage.checkpoint=base,sft

Heavy imports happen inside stages, so help, composing and reuse answer in under a second.
"""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import hydra
from filelock import FileLock, Timeout
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, open_dict

import chexreason
from chexreason.errors import ChexReasonError
from chexreason.runs import config as schema
from chexreason.runs import files
from chexreason.runs import folders as runs
from chexreason.runs.execute import perform

COMMAND = "python -m chexreason.run"
# glibc gives the memory of large tensors back after every operation; keeping up to 4 GiB saves a tenth of a step on a CPU.
KEEP_MEMORY = {"MALLOC_MMAP_THRESHOLD_": str(2**25), "MALLOC_TRIM_THRESHOLD_": str(2**32)}


@dataclass(frozen=True)
class Plan:
    """A checked run before it is executed: where it will live and what it stands on."""

    config: schema.Config
    order: dict[str, Any]  # all that a process needs to execute it: written to run.json
    folder: Path
    torch: bool  # needs a process of its own
    processes: int  # that share its work
    reusable: bool  # a complete run is as good as a new one


def main() -> None:
    """Console entry point."""
    os.environ.setdefault("HYDRA_FULL_ERROR", "1")  # Hydra then raises, and the message below is ours
    arguments = sys.argv[1:]
    overrides = [word for word in arguments if not word.startswith("-")]
    try:
        with schema.readable_errors(overrides):
            if {"-c", "--cfg"} & set(arguments):
                schema.check(schema.compose([word for word in overrides if "=" in word]))
            _application()
    except ChexReasonError as error:
        sys.exit(f"chexreason: {error}")
    except OSError as error:
        sys.exit(f"chexreason: {error.filename}: {error.strerror} (runs=FOLDER says where run folders go)")
    except KeyboardInterrupt:
        print("chexreason: interrupted; the same command goes on from there", file=sys.stderr)
        sys.exit(130)


@hydra.main(config_path=str(schema.CONF), config_name="config", version_base="1.3")
def _application(cfg: DictConfig) -> None:
    execute(cfg, list(HydraConfig.get().overrides.task))


def execute(cfg: DictConfig, overrides: Sequence[str]) -> Path:
    """Execute one composed run, or reuse it where it is complete.

    Returns:
        The complete run's folder.

    Raises:
        ChexReasonError: a wrong key, a missing parent run, or a failed run.
    """
    plan = plan_run(cfg, overrides)
    lock = FileLock(plan.folder / ".lock")
    try:
        plan.folder.mkdir(parents=True, exist_ok=True)
        lock.acquire(timeout=0)
    except Timeout:
        print(f"[{plan.config.stage.name}] another process has {plan.folder}; waiting", file=sys.stderr, flush=True)
        lock.acquire()
    except OSError as error:
        raise ChexReasonError(f"runs={cfg.runs}: {plan.folder} cannot be written ({error}): set runs=FOLDER") from None
    with lock:
        _execute(plan)
    # What a person waits for at the end, whether it was made now or before.
    getattr(schema.stage_module(plan.config.stage.name), "show", lambda folder: None)(plan.folder)
    return plan.folder


def _execute(plan: Plan) -> None:
    stage = plan.config.stage
    if plan.reusable and runs.is_complete(plan.folder) and not plan.config.force:
        print(f"[{stage.name}] reused {plan.folder}", file=sys.stderr, flush=True)
        return
    if plan.config.force:
        _clear(plan.folder)
    files.write_json(plan.folder / runs.ORDER, plan.order)
    if plan.torch:
        environment = KEEP_MEMORY | os.environ | {"TOKENIZERS_PARALLELISM": "false"}
        code = subprocess.run(_command(plan), env=environment).returncode
    else:
        code = perform(plan.folder, _launch, _ahead)
    if code != 0:
        raise ChexReasonError(f"{plan.folder.name} did not finish (see above and {plan.folder}/error.txt)")


def _command(plan: Plan) -> list[str]:
    if plan.processes == 1:
        return [sys.executable, "-m", "chexreason.stages", str(plan.folder)]
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={plan.processes}"]
    return [*launcher, "-m", "chexreason.stages", str(plan.folder)]


def _clear(folder: Path) -> None:
    import shutil

    for path in folder.iterdir():
        if path.name != ".lock":
            shutil.rmtree(path) if path.is_dir() else path.unlink()


def plan_run(cfg: DictConfig, overrides: Sequence[str]) -> Plan:
    """Check a composed config, find its parent runs and give it its folder."""
    config = schema.check(cfg)
    module = schema.stage_module(config.stage.name)
    plain = schema.as_dict(cfg)
    used = {name: plain[name] for name in module.USES}
    if "inherited" in plain["stage"]:
        _prepare_pipeline(plain["stage"], cfg, overrides)
    if "model" in used and config.model.made_by is None:
        from chexreason.models.weights import require_weights

        require_weights(config.model)

    parents = {role: parent_run(cfg, overrides, line) for role, line in parent_lines(config, used).items()}
    for name, key in (("model", "weights"), ("dataset", "root")):
        if name in parents:
            used[name] = used[name] | {key: str(parents[name] / used[name][key])}

    identity = {
        "version": chexreason.__version__,
        "stage": _defining(plain["stage"], config.stage, {"output", "workers"}),
        # A group's content defines a run, not the place where it lies.
        "groups": {name: _defining(plain[name], getattr(config, name), {"root", "table"}) for name in used},
        "seed": config.seed,
        "parents": {role: _vouched(folder) for role, folder in parents.items()},
        "inputs": _input_digests(config.stage, used.get("dataset")),
    }
    names = [plain[name]["name"] for name in used]
    folder = Path(config.runs).absolute() / runs.folder_name(config.stage.name, names, identity)
    order = {
        "name": folder.name,
        "stage": plain["stage"],
        "groups": used,
        "tracker": plain["tracker"],
        "seed": config.seed,
        "parents": {role: str(path) for role, path in parents.items()},
        "inputs": identity["inputs"],
        "command": shlex.join([*COMMAND.split(), *overrides]),
    }
    # A stage that writes where the user said, or says so itself, must run each time.
    reusable = not getattr(config.stage, "output", None) and getattr(module, "reusable", lambda _: True)(config.stage)
    processes = config.processes if getattr(module, "DISTRIBUTED", False) else 1
    if processes > 1 and config.stage.accumulation % processes:
        raise ChexReasonError(
            f"processes={processes} share stage.accumulation={config.stage.accumulation}: a multiple of {processes} is wanted"
        )
    return Plan(config, order, folder, module.TORCH, processes, reusable)


def _prepare_pipeline(stage: dict[str, Any], cfg: DictConfig, overrides: Sequence[str]) -> None:
    """A line with commas is the lines of its sweep, and each of them inherits what the command line says."""
    stage["steps"] = {name: [one for line in lines for one in schema.expand(line)] for name, lines in stage["steps"].items()}
    typed = _inherited(overrides, {"stage", "experiment"})
    given = [*stage["inherited"], f"tracker.group={cfg.experiment.name}"]
    said = {_root(word) for word in typed}
    stage["inherited"] = [*(word for word in given if _root(word) not in said), *typed]


def parent_lines(config: schema.Config, used: dict[str, Any]) -> dict[str, str]:
    """The override lines that make the runs which a run stands on, by their role."""
    lines = {role: line for role, line in dict(getattr(config.stage, "parents", {})).items() if line}
    makers = {name: used.get(name, {}).get("made_by") for name in ("model", "dataset")}
    # The stage that makes a group is its own maker: it needs no parent for it.
    return lines | {name: line for name, line in makers.items() if line and f"stage={config.stage.name}" not in line.split()}


def parent_run(cfg: DictConfig, overrides: Sequence[str], line: str) -> Path:
    """The complete run that `line` makes, everything that it does not say inherited from `cfg`.

    Raises:
        ChexReasonError: it is not there (naming the command that makes it), unless make_missing=true makes it.
    """
    parent, retyped = parent_config(cfg, overrides, line)
    if cfg.make_missing:
        return execute(parent, retyped)
    folder = plan_run(parent, retyped).folder
    if not runs.is_complete(folder):
        raise ChexReasonError(
            f"stage={cfg.stage.name} needs a complete run of `{line}`, and {folder} is not one.\n"
            f"  make it:      {COMMAND} {shlex.join(retyped)}\n"
            "  or have missing runs made first: add make_missing=true"
        )
    return folder


def parent_config(cfg: DictConfig, overrides: Sequence[str], line: str) -> tuple[DictConfig, list[str]]:
    """The config of the run that `line` makes, and that line as one would type it."""
    words = shlex.split(line)
    said = {_root(word) for word in words}
    inherited = [str(key) for key in cfg if key not in said | {"stage", "force"}]
    choices = [f"{key}={cfg[key].name}" for key in inherited if isinstance(cfg[key], DictConfig)]
    typed = _inherited(overrides, said | {"stage", "force", "make_missing"})
    parent = schema.compose((*choices, *words, *(word for word in typed if _root(word) == "reward")))
    with open_dict(parent):
        for key in inherited:
            if key != "reward":  # what a model changes in it depends on the stage
                parent[key] = cfg[key]
    return parent, [*words, *typed]


def missing_runs(cfg: DictConfig, overrides: Sequence[str]) -> tuple[str, dict[str, str]]:
    """What defines a run, and the stages that executing it would execute, itself and what it stands on, each by that."""
    config = schema.check(cfg)
    module = schema.stage_module(config.stage.name)
    plain = schema.as_dict(cfg)
    used = {name: plain[name] for name in module.USES}
    ahead: dict[str, str] = {}
    parents = {}
    for role, line in parent_lines(config, used).items():
        parents[role], missing = missing_runs(*parent_config(cfg, overrides, line))
        ahead |= missing
    recipe = runs.digest([plain["stage"], used, config.seed, parents])
    if not ahead:
        with open_dict(cfg):
            cfg.make_missing = False  # nothing is missing that it stands on
        plan = plan_run(cfg, overrides)
        if plan.reusable and runs.is_complete(plan.folder) and not config.force:
            return recipe, {}
    return recipe, ahead | {recipe: runs.kind_of(config.stage.name, used)}


def _root(override: str) -> str:
    """The first name of an override's key: `stage` for `stage.learning_rate=1e-4`."""
    return override.lstrip("+~").split("=")[0].split("@")[0].split(".")[0]


def _inherited(overrides: Sequence[str], said: set[str]) -> list[str]:
    return [word for word in overrides if _root(word) not in said | {"hydra"}]


def _defining(values: dict[str, Any], described: Any, aside: set[str]) -> dict[str, Any]:
    """A group's values less `aside` and what its own class calls CIRCUMSTANCES, such as a service's prices."""
    return {key: value for key, value in values.items() if key not in aside | getattr(described, "CIRCUMSTANCES", frozenset())}


def _vouched(folder: Path) -> dict[str, Any]:
    manifest = runs.read_manifest(folder)
    return {"name": folder.name, "outputs": manifest["outputs"] if manifest else None}


def _input_digests(stage: Any, dataset: dict[str, Any] | None) -> dict[str, str]:
    """Content digests of what comes from outside: files the stage is given, prompts it names, an external dataset's tables."""
    named = [getattr(stage, key, None) for key in ("input", "against", "reviewed", "frequencies")]
    named += getattr(stage, "filled", ())
    named += [schema.CONF / "prompt" / f"{name}.yaml" for name in getattr(stage, "prompts", ())]
    if dataset and not dataset.get("made_by"):
        named += [dataset["table"]] if dataset["table"] else _tables(Path(dataset["root"]))
        named += [dataset.get("lists")]
    paths = [Path(name) for name in named if name]
    names = [path.name for path in paths]
    return {path.name if names.count(path.name) == 1 else str(path): runs.path_digest(path) for path in paths if path.exists()}


def _tables(root: Path) -> list[Path]:
    """What a published layout holds besides images: tables and lists at its top, CheXpert's test labels a folder below."""
    return sorted(path for pattern in ("*.csv*", "*.txt", "*/*.csv") for path in root.glob(pattern) if path.is_file())


def _launch(line: Sequence[str], inherited: Sequence[str]) -> Path:
    overrides = _line(line, inherited)
    return execute(schema.compose(overrides), overrides)


def _ahead(line: Sequence[str], inherited: Sequence[str]) -> dict[str, str]:
    overrides = _line(line, inherited)
    return missing_runs(schema.compose(overrides), overrides)[1]


def _line(line: Sequence[str], inherited: Sequence[str]) -> list[str]:
    return [*_inherited(inherited, {_root(word) for word in line}), *line]


if __name__ == "__main__":
    main()
