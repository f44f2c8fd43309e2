"""The wheel carries conf/, and works away from the checkout: as a module and as the console script."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the wheel's content, as pip would unpack it; its dependencies are those of this environment."""
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder), str(CHECKOUT)]
    subprocess.run(build, check=True, capture_output=True, timeout=300)
    site = folder / "site"
    install = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--target", str(site)]
    subprocess.run([*install, str(next(folder.glob("*.whl")))], check=True, capture_output=True, timeout=300)
    return site


def test_every_config_file_is_in_the_wheel(installed: Path) -> None:
    with zipfile.ZipFile(next(installed.parent.glob("*.whl"))) as wheel:
        packed = {name.removeprefix("chexreason/conf/") for name in wheel.namelist() if name.endswith(".yaml")}
        assert "chexreason/conf/experiment/published.csv" in wheel.namelist()
    kept = {path.relative_to(CHECKOUT / "conf").as_posix() for path in (CHECKOUT / "conf").rglob("*.yaml")}
    assert kept <= packed


@pytest.mark.parametrize("command", [[sys.executable, "-m", "chexreason.run"], ["bin/chexreason"]])
def test_the_installed_package_composes_away_from_the_checkout(installed: Path, command: list[str], tmp_path: Path) -> None:
    if command[0].startswith("bin/"):
        command = [sys.executable, str(installed / command[0])]
    environment = os.environ | {"PYTHONPATH": str(installed)}
    shown = subprocess.run(
        [*command, "stage=sft", "--cfg", "job"], capture_output=True, text=True, cwd=tmp_path, env=environment, timeout=60
    )
    assert shown.returncode == 0, shown.stderr
    assert "learning_rate: 0.01\n" in shown.stdout


def test_the_installed_package_reads_its_own_files(installed: Path, tmp_path: Path) -> None:
    code = "from chexreason.report import published; from chexreason.runs.config import CONF\n"
    code += "print(CONF, published.number('5', 'MedGemma', 'macro_f1'))"
    environment = os.environ | {"PYTHONPATH": str(installed)}
    found = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path, env=environment, timeout=60
    )
    assert found.stdout.split() == [str(installed / "chexreason" / "conf"), "0.362"], found.stderr
