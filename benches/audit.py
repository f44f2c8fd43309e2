"""Known vulnerabilities among the pinned dependencies, by PyPI's advisories: `make audit`.

Where these cannot be reached it says so and fails nothing, since `make check` must work without a network.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

PINS = Path(__file__).parents[1] / "constraints.txt"


def main() -> None:
    command = [sys.executable, "-m", "pip_audit", "--requirement", str(PINS), "--no-deps", "--disable-pip", "--format", "json"]
    done = subprocess.run([*command, "--progress-spinner", "off"], capture_output=True, text=True)
    try:
        pins = json.loads(done.stdout)["dependencies"]
    except ValueError:
        pins = []
    found = [pin for pin in pins if "vulns" in pin]  # pip-audit itself calls pins clean that it could not look up
    if not found:
        reason = pins[0]["skip_reason"] if pins else done.stderr.strip().rpartition("\n")[2]
        print(f"audit: no advisory could be reached, so no pin was looked up ({reason[:200]})")
        return
    bad = [(pin, one) for pin in found for one in pin["vulns"]]
    for pin, one in bad:
        mended = ", ".join(one["fix_versions"]) or "no version yet"
        print(f"{pin['name']} {pin['version']}: {one['id']}, mended in {mended}: {one['description'].splitlines()[0][:200]}")
    print(f"audit: {len(found)} of {len(pins)} pins looked up, {len(bad)} vulnerabilities known")
    sys.exit(bool(bad))


if __name__ == "__main__":
    main()
