"""Prose, on sentences of every kind and on Open-i's real reports."""

from __future__ import annotations

import pytest

from benches.reports import TAGS, reports
from chexreason.answers import prose
from chexreason.answers.parser import parse
from chexreason.labels import NO_FINDING


@pytest.mark.parametrize(
    ("sentence", "claimed"),
    [
        ("The heart is mildly enlarged and there is interstitial edema.", {"Cardiomegaly", "Edema"}),
        ("There is cardiomegaly, but no edema, effusion, or pneumothorax.", {"Cardiomegaly"}),
        ("No XXXX of a pleural effusion.", set()),
        ("No findings consistent with pneumonia.", set()),
        ("I do not think there is edema.", set()),
        ("If there is edema, treat it.", set()),
        ("Findings may represent edema, pneumonia, or atelectasis.", set()),
        ("Possible edema, pneumonia is seen.", set()),
        ("Edema or pneumonia in the right base.", set()),
        ("Cardiomegaly with edema or pneumonia.", {"Cardiomegaly"}),
        ("No significant change in right pneumothorax or pleural fluid.", {"Pneumothorax", "Pleural Effusion"}),
        ("History of pneumonia; stable cardiomegaly.", {"Cardiomegaly"}),
        ("Pericardial effusion.", set()),
        ("Previously seen pneumothorax is no longer seen.", set()),
        ("The heart is not enlarged.", set()),
        ("The heart size is normal.", set()),
        ("The chest X-ray appears normal.", {"No Finding"}),
        ("The chest X-ray does not appear normal.", set()),
        ("No finding to suggest pneumonia.", set()),
        ("No acute osseous abnormality.", set()),
    ],
)
def test_a_sentence_claims_what_it_says(sentence: str, claimed: set[str]) -> None:
    assert {one.finding for one in prose.read(sentence) if one.claimed} == claimed


def test_real_reports_are_read_without_a_crash_and_normal_ones_claim_nothing() -> None:
    given = reports()
    claimed = [set(parse(report.text, "labels").labels) for report in given]
    assert len(given) == 3955
    normal = [i for i, report in enumerate(given) if report.tags == {"normal"} and report.text.strip()]
    assert len(normal) == 1363 and sum(bool(claimed[i] - {NO_FINDING}) for i in normal) <= 0.02 * len(normal)
    recalls, precisions = [], []
    for finding, tag in TAGS.items():
        true = {i for i, report in enumerate(given) if tag in report.tags}
        said = {i for i, labels in enumerate(claimed) if finding in labels}
        recalls.append(len(true & said) / len(true))
        precisions.append(len(true & said) / len(said))
    assert sum(recalls) / 6 >= 0.90 and sum(precisions) / 6 >= 0.75, (recalls, precisions)
