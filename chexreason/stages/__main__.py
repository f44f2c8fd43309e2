"""`python -m chexreason.stages FOLDER`: execute the run that FOLDER/manifest.json plans, in this process.

Stages that need torch run this way, so that a sweep neither leaks nor dies with one job; where `processes` share a training
run, this is started once for each.
"""

from __future__ import annotations

import sys
from pathlib import Path

from chexreason.runs.execute import perform

if __name__ == "__main__":
    try:
        sys.exit(perform(Path(sys.argv[1])))
    except KeyboardInterrupt:
        sys.exit(130)
