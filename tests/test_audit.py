"""`make audit` fails for a known vulnerability, and neither fails nor calls anything clean where no advisory can be read."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

CLEAN = '{"name": "a", "version": "1", "vulns": []}'
BAD = '{"name": "b", "version": "2", "vulns": [{"id": "PYSEC-1", "fix_versions": ["3"], "description": "It opens doors."}]}'
SKIPPED = '{"name": "c", "skip_reason": "not found"}'


@pytest.mark.parametrize(
    ("answer", "code", "said"),
    [
        (f'{{"dependencies": [{CLEAN}, {SKIPPED}]}}', 0, "audit: 1 of 2 pins looked up, 0 vulnerabilities known"),
        (f'{{"dependencies": [{CLEAN}, {BAD}]}}', 1, "b 2: PYSEC-1, mended in 3: It opens doors."),
        (f'{{"dependencies": [{SKIPPED}]}}', 0, "no pin was looked up (not found)"),
        ("", 0, "no pin was looked up (no network)"),
    ],
)
def test_an_audit_says_what_it_looked_up(answer: str, code: int, said: str, tmp_path: Path) -> None:
    (tmp_path / "pip_audit.py").write_text(f"import sys; print({answer!r}); sys.exit('no network')")
    path = os.pathsep.join([str(tmp_path), *sys.path])
    done = subprocess.run(
        [sys.executable, "-m", "benches.audit"], capture_output=True, text=True, env=os.environ | {"PYTHONPATH": path}
    )
    assert done.returncode == code and said in done.stdout, done.stderr
