"""The report's files, and the page in a real browser."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from chexreason.data.curated import COLUMNS, Origin, write
from chexreason.errors import ChexReasonError
from chexreason.labels import FINDINGS
from chexreason.parts import PARTS, TABLES, refuse_unknown
from chexreason.report import build, gallery, study
from chexreason.report.tables import Table
from chexreason.runs.files import read_json
from chexreason.runs.folders import Run
from chexreason.stages.report import SHOWN, Settings, execute, show
from tests.report.conftest import HOSTILE

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


@pytest.fixture(scope="module")
def report(study_folder: Path) -> Path:
    """The report of the whole study, made by the stage."""
    folder = study_folder / "report-1"
    folder.mkdir()
    execute(Run(settings=Settings("report", show=[*PARTS], gallery=12, resamples=200), folder=folder))
    return folder


def test_every_file_is_there(report):
    assert {path.name for path in (report / "figures").iterdir()} == {
        f"{name}.{suffix}"
        for name in ("figure1_phantom_gemma", "figure1_phantom_qwen", "figure2", "figure3", "transfer")
        for suffix in ("svg", "png")
    }
    assert {f"table{number}.{form}" for number in range(1, 7) for form in ("md", "csv", "tex", "html")} <= {
        path.name for path in (report / "tables").iterdir()
    }
    assert {one["id"] for one in read_json(report / "claims.json")} >= {"grpo_raises_chexpert", "grpo_lowers_nih"}
    text = (report / "report.md").read_text(encoding="utf-8")
    assert all((report / path).is_file() for path in re.findall(r"\]\((figures/[^)]+)\)", text))


def test_every_table_and_figure_can_be_asked_for_by_its_name_and_nothing_else(report):
    assert {path.stem for path in (report / "tables").iterdir()} == set(TABLES)
    refuse_unknown([path.stem for path in (report / "figures").iterdir()])
    said = (report / SHOWN).read_text(encoding="utf-8")
    assert "do not fill" not in said and all(path.stem in said for path in (report / "figures").iterdir())
    with pytest.raises(ValueError, match="there is no figure4. Did you mean figure"):
        refuse_unknown(["figure4"])


def test_the_stage_prints_the_table_and_the_page(study_folder, tmp_path, capsys):
    chosen = [str(path) for path in study_folder.iterdir() if path.name.startswith("evaluate")][:2]
    found = execute(Run(settings=Settings("report", runs=chosen, gallery=2, resamples=50), folder=tmp_path))
    show(tmp_path)
    printed = capsys.readouterr().out
    assert "Macro-F1 by model and test set" in printed and f"report: {tmp_path / 'report.html'}" in printed
    assert found["results"] == 2


def test_a_table_alone_is_a_page_that_escapes_and_asks_for_nothing(report):
    page = (report / "tables" / "table5.html").read_text(encoding="utf-8")
    assert page.startswith("<!doctype html>") and "Per-label F1 on the CheXpert test set" in page and "paper 0.288" in page
    assert not re.findall(r"""(?:src|href)=""", page) and "@import" not in page
    hostile = build.table_html(Table("t", "<b>", ("a", "b"), (("<i>", "<script>"),)))
    assert "<b>" not in hostile and "<i>" not in hostile and "<script>" not in hostile


def test_claims_are_judged_on_the_paper_alone_where_nothing_has_run(tmp_path, capsys):
    folder = tmp_path / "runs" / "report-1"
    folder.mkdir(parents=True)
    execute(Run(settings=Settings("report", show=["claims"]), folder=folder))
    show(folder)
    said = capsys.readouterr().out
    assert said.count("no runs") == len(read_json(folder / "claims.json")) and "does not hold" in said


def test_nothing_to_report_says_what_to_run(tmp_path):
    with pytest.raises(ChexReasonError, match="stage=evaluate"):
        execute(Run(settings=Settings("report"), folder=tmp_path / "runs" / "report-1"))
    with pytest.raises(ChexReasonError, match="no run folder"):
        execute(Run(settings=Settings("report", runs=[str(tmp_path / "nowhere")]), folder=tmp_path))


def test_page_is_self_contained_and_escapes_what_models_wrote(report):
    page = (report / "report.html").read_text(encoding="utf-8")
    markup = re.sub(r'<script type="application/json".*?</script>', "", page, flags=re.DOTALL)
    outside = re.findall(r"""(?:src|href|srcset)=["']?(?!data:|#)([^"'\s>]+)""", markup)
    assert not outside and "url(" not in page and "@import" not in page
    assert HOSTILE not in page and "<img src=x" not in page
    assert page.count("</script>") == 2 and "{{ 7 * 7 }}" in page  # data, not a template


def test_credentialed_images_are_linked_unless_asked(runs, tmp_path):
    phantom = runs.phantom(("chexpert",))
    runs.evaluate("chexpert", phantom=phantom)
    for name, embed, embedded in (
        ("phantom", False, True),
        ("credentialed", False, False),
        ("credentialed", True, True),
    ):
        found = study.read(runs.folder.iterdir(), resamples=10)
        (result,) = found.results
        if name == "credentialed":
            made = result.evaluations[0].manifest
            made["config"]["dataset"]["root"] = str(runs.folder / made["parents"].pop("dataset") / "chexpert")
        cases = gallery.cases(found, 5, 0, tmp_path, embed)
        assert all(case["image"].startswith("data:image/jpeg") == embedded for case in cases)
        assert all((case["link"] is None) == embedded for case in cases)
        if not embedded:
            assert all((tmp_path / case["link"]).resolve().is_file() for case in cases)


@pytest.mark.parametrize(("agreement", "free"), [("unrestricted", True), (None, False), ("Data Use Agreement 1.5.0", False)])
def test_the_datasets_agreement_decides_whether_its_images_are_free(runs, agreement, free):
    runs.evaluate("chexpert")
    (evaluation,) = study.read(runs.folder.iterdir(), resamples=10).results[0].evaluations
    assert not gallery.is_free(evaluation), "nobody says that they are"
    evaluation.manifest["config"]["dataset"]["agreement"] = agreement
    assert gallery.is_free(evaluation) == free
    evaluation.manifest["config"]["dataset"]["agreement"] = "unrestricted"
    evaluation.manifest["parents"]["dataset"] = runs.run("curate", dataset={"name": "x", "root": "x", "agreement": agreement})
    assert gallery.is_free(evaluation) == free, "a curated set is under its site's"


def test_a_curated_set_of_phantoms_is_phantom_and_its_images_are_found(runs):
    phantom = runs.phantom(("mimic",))
    curated = runs.run("curate", {"dataset": phantom})
    real = runs.run("curate")
    no_films = pd.DataFrame(columns=[*COLUMNS])
    write(runs.folder / curated, {"validation": no_films}, Origin("x", None, FINDINGS, runs.folder / phantom / "mimic"), {})
    runs.evaluate("mimic", dataset="phantom_validation", phantom=curated)
    found = study.read(runs.folder.iterdir(), resamples=10)
    (evaluation,) = found.results[0].evaluations
    evaluation.manifest["config"]["dataset"]["root"] = "."
    assert evaluation.marks == {"drawn-films"} and found.results[0].benchmark == "validation"
    assert gallery.image_root(evaluation) == runs.folder / phantom / "mimic"
    evaluation.manifest["parents"]["dataset"] = real
    assert not evaluation.marks


def test_a_missing_image_does_not_stop_the_report(runs, tmp_path):
    runs.evaluate("chexpert")
    found = study.read(runs.folder.iterdir(), resamples=10)
    assert gallery.cases(found, 3, 0, tmp_path, embed_credentialed=True)[0]["image"] is None


def test_gallery_shows_failures_among_a_seeded_sample(runs, tmp_path):
    runs.evaluate("chexpert", failures=0.3)
    found = study.read(runs.folder.iterdir(), resamples=10)
    cases = gallery.cases(found, 8, 3, tmp_path, False)
    assert len(cases) == 8 and sum(case["answers"][0]["failure"] is not None for case in cases) >= 2
    assert cases == gallery.cases(found, 8, 3, tmp_path, False)


def not_scored(runs, **changed):
    """Cases of NIH whose model found what is true there, and a fracture besides, which NIH does not label."""
    name = runs.evaluate("nih", failures=0.0)
    file = runs.folder / name / "predictions.jsonl"
    rows = [json.loads(line) for line in file.read_text().splitlines()]
    answered = [row | {"predicted": [*row["labels"], "Fracture"]} | changed for row in rows]
    file.write_text("".join(json.dumps(row) + "\n" for row in answered))
    found = study.read(runs.folder.iterdir(), resamples=10)
    return gallery.cases(found, 4, 0, runs.folder.parent, False), found


def test_a_finding_that_a_site_does_not_label_is_not_scored(runs):
    cases, _ = not_scored(runs)
    for case in cases:
        (answer,) = case["answers"]
        assert answer["predicted"] == case["truth"] and answer["unscored"] == ["Fracture"]


def test_nor_is_one_that_its_labeller_was_not_sure_of(runs):
    cases, _ = not_scored(runs, labels=[], predicted=["Edema", "Pneumonia"], ignored=["Edema"])
    assert all(case["answers"][0]["unscored"] == ["Edema"] for case in cases)
    assert all(case["answers"][0]["predicted"] == ["Pneumonia"] and case["agreement"] == "all_wrong" for case in cases)


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here: the page is checked in a browser where there is one")
def test_what_is_not_scored_is_grey_on_the_page_and_never_exact(runs, tmp_path):
    _, found = not_scored(runs)
    build.write(found, tmp_path / "report", 4, 0, False)
    command = [str(CHROMIUM), "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path / 'profile'}"]
    page = (tmp_path / "report" / "report.html").as_uri()
    dom = subprocess.run([*command, "--dump-dom", page], capture_output=True, text=True, timeout=120).stdout
    assert dom.count('<li class="unscored">Fracture (not scored here)</li>') == 4
    assert re.findall(r'<span class="verdict">(\w*)', dom) == [""] * 4


def test_another_process_makes_the_same_page_and_imports_no_torch(report):
    again = report.with_name("report-2")
    code = (
        "import sys; from pathlib import Path; from chexreason.runs.folders import Run\n"
        "from chexreason.stages.report import Settings, execute\n"
        f"execute(Run(settings=Settings('report', gallery=12, resamples=200), folder=Path({str(again)!r})))\n"
        "sys.exit('torch' in sys.modules or 'transformers' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
    assert (again / "report.html").read_bytes() == (report / "report.html").read_bytes()


PROBE = """
const press = (key) => document.activeElement.dispatchEvent(new KeyboardEvent("keydown", {key, bubbles: true}));
const shown = () => [...document.querySelectorAll(".case")].filter((card) => card.style.display !== "none").length;
const choose = (id, value) => {
  const control = document.getElementById(id);
  control.value = value;
  control.dispatchEvent(new Event("input", {bubbles: true}));
  const count = shown();
  control.value = "";
  control.dispatchEvent(new Event("input", {bubbles: true}));
  return count;
};
const found = {all: shown(), count: document.getElementById("count").textContent, title: document.title};
found.nih = choose("by-dataset", "phantom_nih");
found.failed = choose("by-failure", "*");
found.hostile = choose("by-text", "onerror=");
found.nothing = choose("by-text", "no model wrote this");
found.agreement = ["all_right", "some_right", "all_wrong"].map((kind) => choose("by-agreement", kind));
found.label = choose("by-label", "Pneumothorax");
press("j"); press("j");
found.second = [...document.querySelectorAll(".case")].indexOf(document.activeElement);
press("k");
found.first = [...document.querySelectorAll(".case")].indexOf(document.activeElement);
press("/");
found.search = document.activeElement.id;
found.broken = [...document.images].filter((image) => image.complete && !image.naturalWidth).length;
found.unprinted = document.querySelectorAll(".case.unprinted").length;
found.markup = document.querySelectorAll(".reasoning *").length;
const result = document.createElement("pre");
result.id = "probe";
result.textContent = JSON.stringify(found);
document.body.append(result);
"""


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here: the page is checked in a browser where there is one")
def test_page_in_a_browser(report, tmp_path):
    page = (report / "report.html").read_text(encoding="utf-8")
    # The page's policy lets no foreign script run; the probe is let in by name, and only into this copy.
    copy = tmp_path / "page.html"
    copy.write_text(
        page.replace("script-src '", "script-src 'nonce-probe' '").replace(
            "</body>", f"<script nonce='probe'>{PROBE}</script></body>"
        ),
        encoding="utf-8",
    )
    command = [str(CHROMIUM), "--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking"]
    command += [f"--user-data-dir={tmp_path / 'profile'}", "--dump-dom", copy.as_uri()]
    dom = subprocess.run(command, capture_output=True, text=True, timeout=120).stdout
    found = json.loads(re.search(r'<pre id="probe">(.*?)</pre>', dom, re.DOTALL).group(1).replace("&amp;", "&"))
    assert found["all"] == 36 and found["count"] == "36 of 36 cases"
    assert found["nih"] == 12 and 0 < found["failed"] <= 36 and found["nothing"] == 0
    assert found["hostile"] == 24 and found["markup"] == 0 and found["title"].startswith(build.TITLE)
    assert sum(found["agreement"]) == 36 and 0 < found["label"] < 36
    assert (found["second"], found["first"], found["search"]) == (1, 0, "by-text")
    assert found["broken"] == 0 and found["unprinted"] == 24
