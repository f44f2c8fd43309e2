"""One run, executed: what the stage is given, and what its folder says of it while it works and afterwards."""

from __future__ import annotations

import os
import sys
import time
import traceback
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from chexreason.errors import ChexReasonError
from chexreason.runs import config as schema
from chexreason.runs import files
from chexreason.runs import folders as runs
from chexreason.runs.folders import Ahead, Launch


def perform(folder: Path, launch: Launch | None = None, ahead: Ahead | None = None) -> int:
    """Execute the run that folder/run.json describes, in this process; the exit status.

    Of several processes that share one run, the first alone keeps its records. The pipeline is given `launch` and `ahead`.
    """
    order = files.read_json(folder / runs.ORDER)
    module = schema.stage_module(order["stage"]["name"])
    groups = {name: schema.group(name, values) for name, values in order["groups"].items()}
    run = runs.Run(
        settings=schema.build(module.Settings, order["stage"], "stage"),
        folder=folder,
        seed=order["seed"],
        tracker=schema.group("tracker", order["tracker"]),
        parents={role: Path(path) for role, path in order["parents"].items()},
        launch=launch,
        ahead=ahead,
        **groups,
    )
    started, clock = datetime.now(UTC), time.perf_counter()
    manifest = {
        "schema": 1,
        "name": order["name"],
        "stage": order["stage"]["name"],
        "status": "running",
        "started": started.isoformat(timespec="seconds"),
        "config": {"stage": order["stage"], **order["groups"], "seed": order["seed"]},
        "experiment": order["tracker"]["group"],
        "parents": {role: Path(path).name for role, path in order["parents"].items()},
        "inputs": order["inputs"],
        "command": order["command"],
        **runs.provenance(),
    }
    files.write_json(folder / runs.MANIFEST, manifest)
    try:
        metrics = module.execute(run)
    except ChexReasonError as error:
        _fail(folder, manifest, str(error))
        print(f"[{run.settings.name}] {error}", file=sys.stderr, flush=True)
        return 1
    except KeyboardInterrupt:
        _fail(folder, manifest, "interrupted", status="interrupted")
        raise
    except Exception as error:
        _fail(folder, manifest, traceback.format_exc())
        if isinstance(error, OSError) and error.filename:  # a file that cannot be read or written, not a fault of ours
            print(f"[{run.settings.name}] {error.filename}: {error.strerror}", file=sys.stderr, flush=True)
        else:
            traceback.print_exc()
        return 1
    done = {
        "status": "complete",
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
        "wall_seconds": round(time.perf_counter() - clock, 2),
        "device": _device(),
        "peak_memory_bytes": _peak_memory(),
        "outputs": runs.outputs(folder),
        "metrics": metrics,
    }
    files.write_json(folder / runs.MANIFEST, manifest | done)
    run.note(f"complete in {done['wall_seconds']:.0f} s: {folder}")
    return 0


def _fail(folder: Path, manifest: dict[str, Any], error: str, status: str = "failed") -> None:
    files.write_text(folder / "error.txt", error + "\n")
    files.write_json(folder / runs.MANIFEST, manifest | {"status": status, "error": error.strip().splitlines()[-1]})


def _device() -> str:
    """What did the arithmetic: a GPU's name, or so many cores."""
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        return str(torch.cuda.get_device_name())
    return f"{os.cpu_count()} CPU cores"


def _peak_memory() -> dict[str, int]:
    """Bytes of main memory, and of GPU memory where one was used."""
    import resource

    peak = {"main": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024}
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        peak["gpu"] = torch.cuda.max_memory_allocated()
    return peak
