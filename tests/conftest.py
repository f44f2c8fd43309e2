"""The order of the tests, and what several files of them stand on."""

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
# No test is about time: a busy machine must not fail an example.
settings.register_profile("any machine", deadline=None)
settings.load_profile("any machine")

Once = Callable[[str, Callable[[Path], object]], Path]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest files first: what workers take last should be short."""
    items.sort(key=lambda item: LONGEST.index(item.path.name) if item.path.name in LONGEST else len(LONGEST))


def pytest_collection_finish() -> None:
    keep_what_is_imported()
    gc.set_threshold(70_000)  # garbage is looked for a hundred times less often than Python would


def pytest_runtest_teardown() -> None:
    if len(sys.modules) > kept + 200:  # torch, say: TRL has all of it looked through at each end of a training
        keep_what_is_imported()


kept = 0  # modules


def keep_what_is_imported() -> None:
    """What the tests have imported stays: looking through it for garbage takes a quarter of composing a config."""
    global kept
    kept = len(sys.modules)
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session", autouse=True)
def composing_is_quick() -> Iterator[None]:
    """Configs are composed as ever, in half the time.

    Of some twenty files for each of them, Hydra reads the same text once, and what it has read it puts in its place without a
    copy. And by a function of its own it makes a config of all choices for each of these, by which interpolations in its
    defaults are resolved: where there are none, an empty one does. An interpolation's text is parsed once, too, and so is
    Hydra's version.
    """
    load, known = OmegaConf.load, dict[str, bytes]()
    choices, update = defaults_list._create_interpolation_map, OmegaConf.update

    def read(file: Any) -> Any:
        if not isinstance(file, TextIOBase):
            return load(file)
        begin, text = file.tell(), file.read()
        if text not in known:
            file.seek(begin)  # and not from the text: an error names its file
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
    """As at a terminal; where these tests run in the background, what they start would ignore Ctrl-C."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@pytest.fixture(scope="session")
def once(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Once:
    """A folder by its name, filled by whichever worker asks for it first; nobody writes there afterwards."""
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
