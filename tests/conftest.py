"""The order of the tests, and fixtures that several test files share."""

from __future__ import annotations

import gc
import pickle
import shutil
import signal
import sys
from collections.abc import Callable, Iterator
from functools import cache
from io import TextIOBase
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock
from hydra import version
from hydra._internal import defaults_list
from hypothesis import settings
from omegaconf import OmegaConf, base, flag_override

LONGEST = (
    "test_resume.py",
    "test_worlds.py",
    "test_study.py",
    "test_faults.py",
    "test_processes.py",
    "test_parser.py",
    "test_shared_prompt.py",
    "test_sweep.py",
    "test_sft.py",
    "test_reproducible.py",
    "test_server.py",
)
# No test checks timing, so a busy machine must not make an example fail.
settings.register_profile("any machine", deadline=None)
settings.load_profile("any machine")

Once = Callable[[str, Callable[[Path], object]], Path]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest files first: what workers take last should be short."""
    items.sort(key=lambda item: LONGEST.index(item.path.name) if item.path.name in LONGEST else len(LONGEST))


def pytest_collection_finish() -> None:
    keep_what_is_imported()
    gc.set_threshold(70_000)  # collect garbage a hundred times less often than by default


def pytest_runtest_teardown() -> None:
    if len(sys.modules) > kept + 200:  # such as torch: TRL collects garbage after each training
        keep_what_is_imported()


kept = 0  # modules


def keep_what_is_imported() -> None:
    """Exclude imported modules from garbage collection, which takes a quarter of the time of composing a config."""
    global kept
    kept = len(sys.modules)
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session", autouse=True)
def composing_is_quick() -> Iterator[None]:
    """Patch Hydra and OmegaConf so that configs are composed as usual, in half the time.

    Each of the some twenty files per config is parsed once for the same text, and nodes are set without a deep copy unless they
    are merged. Hydra builds a map of all choices to resolve interpolations in a defaults list; without interpolations, an empty
    one suffices. The text of an interpolation and Hydra's version are parsed only once, too.
    """
    load, known = OmegaConf.load, dict[str, bytes]()
    choices, update = defaults_list._create_interpolation_map, OmegaConf.update

    def read(file: Any) -> Any:
        if not isinstance(file, TextIOBase):
            return load(file)
        begin, text = file.tell(), file.read()
        if text not in known:
            file.seek(begin)  # load the file, not its text, so that errors name the file
            known[text] = pickle.dumps(load(file))
        return pickle.loads(known[text])

    def choices_for(overrides: Any, defaults: list[Any], self_added: bool) -> Any:
        resolved = any(one.is_interpolation() for one in defaults)
        return choices(overrides, defaults, self_added) if resolved else OmegaConf.create()

    def put(config: Any, key: str, value: Any = None, *, merge: bool = True, **more: Any) -> None:
        with flag_override(config, "no_deepcopy_set_nodes", not merge):
            update(config, key, value, merge=merge, **more)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(OmegaConf, "load", read)
        patch.setattr(OmegaConf, "update", put)
        patch.setattr(version, "base_at_least", cache(version.base_at_least))
        patch.setattr(defaults_list, "_create_interpolation_map", choices_for)
        patch.setattr(base, "parse", cache(base.parse))
        yield


def heeds_interruptions() -> None:
    """Handle SIGINT as at a terminal; if the tests run in the background, processes they start would ignore Ctrl-C."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@pytest.fixture(scope="session")
def once(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Once:
    """A folder by its name, filled by the first worker that asks for it; no test writes there afterwards."""
    own = tmp_path_factory.getbasetemp()
    shared = own.parent if hasattr(request.config, "workerinput") else own

    def made(name: str, fill: Callable[[Path], object]) -> Path:
        folder, whole = shared / name, shared / f"{name}.whole"
        with FileLock(shared / f"{name}.lock"):
            if not whole.exists():
                shutil.rmtree(folder, ignore_errors=True)
                folder.mkdir()
                fill(folder)
                whole.touch()
        return folder

    return made
