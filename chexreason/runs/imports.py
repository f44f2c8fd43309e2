"""What a config may have imported: our own modules, and those that the user names in the environment.

A config, or a manifest, may come from somebody else, and Python that lies in the folder where a command is typed can be
imported by its name. So a `_target_` alone imports nothing. Hydra itself calls what a file sets for its callbacks, launchers
and logs, before anything of ours is asked: files of one's own are therefore read beforehand.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from chexreason.errors import ChexReasonError

NAMED = "CHEXREASON_MODULES"  # in the environment, which no config sets: `lab,other.rewards`
OURS = (__name__.partition(".")[0],)
HYDRAS = ("hydra._internal.core_plugins", "hydra_plugins")  # launchers and sweepers
LOGS = ("logging",)
TARGETS = ("_target_", "()", "class")  # keys by which Hydra and Python's logging name what they call
TYPED = ("env_set", "searchpath")  # of Hydra: what stands in the environment, and where choices are looked for
# A key's value, or a variable's; other resolvers could make a _target_ of anything.
PLAIN = re.compile(r"[\w.@/\[\]-]*\}|oc\.env:")


def refuse_import(target: str, where: str, more: Sequence[str] = ()) -> None:
    """Check that `target` is a class of this package or of `more`, or is in a module that the user names.

    Raises:
        ChexReasonError: it is not; the message has the key (`where`) and how to name the module.
    """
    named = [one.strip() for one in os.environ.get(NAMED, "").split(",") if one.strip()]
    module, _, name = target.rpartition(".")
    known = (*named, *OURS, *more) if name[:1].isupper() else named  # classes only: functions of this package write files
    if not any(f"{module}.".startswith(f"{one}.") for one in known):
        raise ChexReasonError(
            f"{where}: {target} is none of this product's, and whatever it is would be executed. If you trust it: "
            f"export {NAMED}={','.join([*named, module or target])}"
        )


def refuse_files(folders: Sequence[Path]) -> None:
    """Check that no YAML file in these folders makes Hydra call, or read, anything that the user has not named.

    Raises:
        ChexReasonError: names the file and the key.
    """
    for folder in folders:
        for inside, _, names in os.walk(folder, followlinks=True):
            for file in (Path(inside) / name for name in sorted(names) if name.endswith(".yaml")):
                try:
                    content = OmegaConf.to_container(OmegaConf.load(file), resolve=False)
                except (OmegaConfBaseException, YAMLError, ValueError, OSError):  # Hydra will say so
                    continue
                for place, value in walk(content):
                    _refuse(place[-1], value, f"{file}: {'.'.join(place)}")


def walk(node: Any, place: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Yield each value of a config, at any depth, with its path; list entries have their index as key."""
    if isinstance(node, dict | list):
        for name, value in node.items() if isinstance(node, dict) else enumerate(node):
            yield (*place, str(name)), value
            yield from walk(value, (*place, str(name)))


def _refuse(key: str, value: Any, where: str) -> None:
    said = value if isinstance(value, str) else ""
    if key in TARGETS and said:
        refuse_import(said, where, (*HYDRAS, *LOGS))
    if said.startswith("ext://"):
        refuse_import(said.removeprefix("ext://"), where, ("sys",))
    if key in TYPED or re.match(r"\+*hydra[./]", key):
        raise ChexReasonError(f"{where}: this is said beside the command, not in a file: hydra.KEY=VALUE")
    if any(not PLAIN.match(after) for after in said.split("${")[1:]):
        shown = " ".join(said.split())
        shown = shown if len(shown) < 100 else f"{shown[:97]}..."
        raise ChexReasonError(f"{where}={shown}: of resolvers, ${{KEY}} and ${{oc.env:NAME}} are taken")
