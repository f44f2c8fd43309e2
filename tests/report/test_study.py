"""Reading run folders, tables and claims from runs whose answers are known."""

from __future__ import annotations

import csv
import io
import re
from dataclasses import replace

import pytest

from chexreason.answers import metrics, predictions
from chexreason.labels import NIH_SHARED
from chexreason.report import build, claims, figures, render, study, tables, transfer
from chexreason.report.tables import Table, Value
from chexreason.runs.files import read_json, write_json
from tests.report.conftest import read


def scored_by_itself(evaluation):
    """The metrics that stage=metrics prints for an evaluation's predictions."""
    return predictions.summary(predictions.read(evaluation.folder / "predictions.jsonl"), evaluation.labels, resamples=50)


def test_headline_holds_what_stage_metrics_prints(study_folder):
    found = study.read(study_folder.iterdir(), resamples=50)
    table = tables.headline(found)
    for arm, row in zip(found.arms, table.rows, strict=True):
        for dataset, cell in zip(found.datasets, row[1:], strict=True):
            result = found.result(arm, dataset)
            assert (result is None) == (cell is None)
            if result:
                scored = scored_by_itself(result.evaluations[0])
                assert cell.ours == pytest.approx(scored["macro"]["f1"])
                assert cell.low <= cell.high


def test_tables_have_the_paper_shape(study_folder):
    made = {one.name: one for one in tables.paper_tables(study.read(study_folder.iterdir(), resamples=50))}
    assert list(made) == [f"table{number}" for number in range(1, 7)]
    formats = ["Only Label", "Free Reasoning", "Reasoning Narrative", "Reasoning A"]  # the paper's order
    assert [row[0] for row in made["table2"].rows] == [row[0] for row in made["table3"].rows] == formats
    assert [row[0] for row in made["table1"].rows] == ["Reasoning Narrative", "Reasoning C", "Free Reasoning"]
    assert made["table4"].columns[1:] == (
        "Micro P",
        "Micro R",
        "Micro F1",
        "Macro P",
        "Macro R",
        "Macro F1",
        "Fail rate",
    )
    assert {row[0] for row in made["table4"].rows} == {"Hard, Maximum", "Nuanced, Maximum"}
    assert made["table5"].rows[0][0] == "Atelectasis" and made["table5"].rows[0][1].paper == 0.288
    assert len(made["table5"].rows) == 15 and len(made["table6"].rows) == 10
    narrative = next(row for row in made["table1"].rows if row[0] == "Reasoning Narrative")
    assert narrative[2].paper == 0.270 and narrative[2].difference is None, "the films are drawn"


def test_incomplete_and_broken_runs_are_left_out_and_named(runs):
    runs.evaluate("chexpert")
    running = runs.run("evaluate", status="running")
    broken = runs.evaluate("nih")
    (runs.folder / broken / "predictions.jsonl").write_text("{\n")
    found = read(runs)
    assert [one.dataset for one in found.results] == ["phantom_chexpert"]
    assert any(running in problem for problem in found.problems)
    assert any(f"{broken}/predictions.jsonl, line 1" in problem for problem in found.problems)


def test_runs_that_differ_only_in_settings_stay_apart_and_seeds_are_averaged(runs):
    first, second = runs.sft("free_reasoning"), runs.sft("free_reasoning")
    runs.evaluate("chexpert", "sft", adapter=first, skill=0.3)
    runs.evaluate("chexpert", "sft", adapter=second, skill=0.8)
    runs.evaluate("chexpert", "sft", adapter=second, skill=0.8, seed=1)
    found = read(runs)
    latest = next(one for one in found.results if not one.arm.variant)
    older = next(one for one in found.results if one.arm.variant)
    assert older.arm.variant == f"run {first.rpartition('-')[2]}" and older.arm.variant in found.title(older.arm)
    assert [one.seed for one in latest.evaluations] == [0, 1]
    both = [scored_by_itself(one)["macro"]["f1"] for one in latest.evaluations]
    assert tables.headline(found).rows[0][1].ours == pytest.approx(sum(both) / 2)


def test_a_row_never_mixes_two_checkpoints_in_whatever_order_their_evaluations_finish(runs):
    first, second = runs.sft("free_reasoning"), runs.sft("free_reasoning")
    for site, adapter in (("chexpert", first), ("nih", second), ("chexpert", second), ("nih", first)):
        runs.evaluate(site, "sft", adapter=adapter, skill=0.3)
    found = read(runs)
    assert len(found.arms) == 2
    for arm in found.arms:
        row = [found.result(arm, dataset) for dataset in found.datasets]
        adapters = [one.manifest["parents"]["checkpoint"] for result in row for one in result.evaluations]
        assert adapters == [second if arm.variant else first] * 2


def test_a_check_on_a_few_records_or_with_samples_never_takes_the_plain_name(runs):
    runs.evaluate("nih", skill=0.5)
    for stage in ({"limit": 16}, {"sampling": {"temperature": 0.8}}):
        runs.evaluate("nih", skill=0.1, stage=stage)
    variants = [one.arm.variant for one in read(runs).results]
    assert sorted(variants) == ["", "first 16 records", "sampled at 0.8"]


def test_images_to_train_on_are_no_test_set(runs):
    runs.evaluate("mimic", "sft", adapter=runs.sft("free_reasoning"), split="train")
    found = read(runs)
    assert found.on("validation") == [] and found.results[0].benchmark == "phantom_mimic, split=train"
    assert not any(table.name == "table2" for table in tables.paper_tables(found))


def test_the_paper_has_no_number_for_a_site_or_a_prompt_of_ones_own(runs):
    runs.evaluate("mine", dataset="my_site")
    runs.evaluate("chexpert", prompt="mine")
    cells = [cell for row in tables.headline(read(runs)).rows for cell in row[1:] if cell]
    assert len(cells) == 2 and all(cell.paper is None for cell in cells)


def test_a_variant_beyond_the_paper_goes_by_its_name_and_no_claim_judges_it(runs):
    runs.evaluate("chexpert", "sft", adapter=runs.sft("free_reasoning"), skill=0.3)
    published, two_sites = runs.grpo("hard"), runs.grpo("hard", variant="two sites")
    for adapter in (published, two_sites):
        runs.evaluate("chexpert", "grpo", adapter=adapter, skill=0.9)
    found = read(runs)
    named = next(one for one in found.results if one.arm.variant)
    assert named.arm.variant == "two sites" and found.title(named.arm).endswith("two sites")
    assert named.evaluations[0].manifest["parents"]["checkpoint"] == two_sites
    judged = next(one for one in claims.check(found) if one.claim.id == "grpo_raises_chexpert")
    assert "two sites" not in judged.here.of and judged.here.verdict == claims.HOLDS
    column = tables.paper_tables(found)[0].columns.index(found.title(named.arm))
    assert all(row[column].paper is None for row in tables.paper_tables(found)[0].rows if row[column])


def test_transfer_is_on_matched_labels_first(runs):
    runs.evaluate("chexpert", skill=0.7)
    runs.evaluate("nih", skill=0.3)
    found = read(runs)
    (one,) = transfer.transfers(found)
    assert set(one.labels) == set(NIH_SHARED)
    here = metrics.summary(
        [record.labels for record in one.near.predictions],
        [[record.predicted for record in one.near.predictions]],
        NIH_SHARED,
        resamples=5,
    )["macro"]["f1"]
    (row,) = transfer.table(found).rows
    assert row[1].ours == pytest.approx(here) and row[1].paper == pytest.approx(0.302, abs=0.001)
    assert row[3].ours == pytest.approx(row[2].ours / row[1].ours - 1) and row[3].low < row[3].ours < row[3].high
    own = tables.headline(found).rows[0]
    assert row[4].ours == pytest.approx(own[2].ours / own[1].ours - 1)


def test_every_other_site_has_a_row_of_its_own_and_the_papers_numbers_stand_beside_nih_alone(runs):
    for site, split in (("chexpert", "test"), ("nih", "test"), ("padchest", "test"), ("openi", "train"), ("mimic", "test")):
        runs.evaluate(site, split=split)
    runs.evaluate("chexpert", dataset="chexpert_small")
    found = read(runs)
    rows = {row[0].partition(" (phantom_chexpert to ")[2]: row for row in transfer.table(found).rows}
    assert set(rows) - {""} == {"phantom_nih)", "phantom_padchest)"}, "nothing to train on or to choose by, no site but another"
    beside = {there: [cell.paper is not None for cell in row[1:]] for there, row in rows.items() if there}
    assert beside == {"phantom_nih)": [True] * 4, "phantom_padchest)": [False] * 4}


def test_each_panel_of_the_transfer_figure_has_its_points_beside_their_own_labels(runs):
    for site in ("chexpert", "nih", "padchest"):
        runs.evaluate(site)
    found = read(runs)
    panels = figures.figures(found)[-1].draw().axes
    rows = [tick.get_text() for tick in panels[0].get_yticklabels()]  # the panels share them
    for pair, panel in zip(transfer.transfers(found), panels, strict=False):
        circles = [line for line in panel.lines if line.get_marker() == "o"]
        shown = {rows[round(line.get_ydata()[0])]: line.get_xdata()[0] for line in circles}
        assert shown == pytest.approx({label: here.ours for label, here, _ in transfer.per_label(found, pair)})


def test_a_checkpoint_that_writes_what_its_base_wrote_is_named(runs):
    """Its adapter did nothing: equal numbers alone would not show that, nor do a few answers that are the same."""
    adapter = runs.sft("free_reasoning")
    for site, skill in (("chexpert", 0.5), ("nih", 0.6)):
        runs.evaluate(site, "base")
        runs.evaluate(site, "sft", adapter=adapter, skill=skill)
    runs.evaluate("chexpert", "base", model="phantom_qwen")  # which has no adapter
    found = read(runs)
    assert found.unmoved == ["phantom_gemma, SFT on phantom_chexpert"]
    (said,) = [line for line in build.summary(found, build.contents(found)) if "very words" in line]
    assert said.endswith(": phantom_gemma, SFT on phantom_chexpert.")


def test_a_reward_that_no_manifest_tells_is_named_unknown(runs):
    runs.evaluate("mimic", "grpo", adapter="grpo-of-elsewhere")
    (made,) = tables.paper_tables(read(runs))
    assert made.rows[0][0] == "Unknown, Maximum"


@pytest.mark.parametrize(
    ("checkpoint", "prompt", "reward"),
    [("base", "reasoning_a", ""), ("sft", "only_label", ""), ("grpo", "free_reasoning", "nuanced")],
)
def test_the_papers_numbers_stand_beside_their_counterparts_alone(runs, checkpoint, prompt, reward):
    trained = {"base": None, "sft": runs.sft(prompt), "grpo": runs.grpo(reward or "hard")}
    theirs = {"base": None, "sft": runs.sft("free_reasoning"), "grpo": runs.grpo("hard")}
    for site in ("chexpert", "nih"):
        runs.evaluate(site, checkpoint, prompt=prompt, adapter=trained[checkpoint])
        runs.evaluate(site, checkpoint, adapter=theirs[checkpoint])
    found = read(runs)
    for table in (tables.headline(found), transfer.table(found), *tables.paper_tables(found)):
        cells = table.rows if table.name not in ("table5", "table6") else zip(*(row[1:] for row in table.rows), strict=True)
        papers = sorted(any(isinstance(cell, Value) and cell.paper is not None for cell in one) for one in cells)
        assert papers == [False, True], table.name


def test_what_the_paper_did_not_do_is_named_though_nothing_stands_beside_it(runs):
    runs.evaluate("chexpert", "grpo", prompt="mine", adapter=runs.grpo("mine", prompt="mine"))
    found = read(runs)
    assert [found.title(arm) for arm in found.arms] == ["phantom_gemma, SFT + GRPO, mine, mine reward"]


def test_moving_average_is_the_weighted_mean_so_far():
    assert figures.smooth([2.0, 4.0]) == pytest.approx([2.0, (figures.SMOOTHING * 2 + 4) / (figures.SMOOTHING + 1)])
    assert figures.smooth([3.0] * 5) == pytest.approx([3.0] * 5)


def test_forms_of_a_table_escape_what_they_hold():
    table = Table(
        "t",
        "50 % of R&D_x",
        ("Model", "A|B"),
        (("=cmd|x", Value(0.5, 0.4, 0.6, 0.25)), ("y", None)),
        best=frozenset({(0, 1)}),
    )
    assert r"| =cmd\|x | **0.500**<br>[0.400, 0.600]<br>paper 0.250 (+0.250) |" in " ".join(render.markdown(table).split())
    lines = list(csv.DictReader(io.StringIO(render.tidy_csv(table))))
    assert lines[0]["row"] == "'=cmd|x" and lines[0]["difference"] == "0.25" and lines[1]["value"] == ""
    tex = render.latex(table)
    assert r"50 \% of R\&D\_x" in tex and r"\shortstack{\textbf{0.500} \\ \tiny [0.400, 0.600]" in tex
    assert render.text(table).splitlines()[3:] == ["=cmd|x   0.500 [0.400, 0.600]", "  paper  0.250 (+0.250)", "y        –"]
    long = Table("t", "T", ("Claim", "Here"), ((" ".join(["word"] * 20), "holds"),))
    assert render.text(long).splitlines()[3:] == ["word " * 12 + " holds", "  " + " ".join(["word"] * 8)]
    tex = render.latex(replace(long, title="Table 1. T"))
    assert r"\caption{T.}" in tex and r"\begin{tabular}{p{0.4\linewidth}c}" in tex
    assert render.plain(-0.0304, signed=True, percent=True) == "−3.0 %" and render.plain(None) == "–"


HOSTILE = "<script>x</script> [a](javascript:b) ![c](http://d) *e* `f` g|h \\\\| \\input{i} $j$\r\n\r\n=k()"


def test_a_name_stays_a_name_in_every_form_of_a_table():
    table = Table("t", HOSTILE, ("a", HOSTILE), ((HOSTILE, Value(0.5)), (HOSTILE, HOSTILE)), note=HOSTILE)
    shown = render.markdown(table)
    title, _, *grid, _, note = shown.splitlines()
    assert len(grid) == 4 and {len(re.findall(r"(?<!\\)\|", line)) for line in grid} == {3}, shown
    for live in ("<script", "</script", "](", "](", " *e", " `f"):
        assert live not in shown, live
    tex = render.latex(table)
    assert "\n\n" not in tex.strip() and r"\input" not in tex and "$j$" not in tex
    for sign in ("=", "\n=", "\t=", "＝"):
        line = next(
            csv.reader(io.StringIO(render.tidy_csv(Table("t", "t", ("a", "b"), ((f"{sign}k()", None),))).partition("\n")[2]))
        )
        assert line[0] == f"'{sign}k()"


def test_what_drawn_films_gave_is_never_held_against_the_paper(runs):
    runs.evaluate("chexpert", "sft", adapter=runs.sft("free_reasoning"), skill=0.3)
    runs.evaluate("chexpert", "grpo", adapter=runs.grpo("hard"), skill=0.9)
    real, drawn = read(runs), read(runs)
    for result in drawn.results:
        for one in result.evaluations:
            one.manifest["config"]["model"]["made_by"] = "stage=standin"
    cells = [[cell for row in tables.headline(found).rows for cell in row[1:]] for found in (real, drawn)]
    assert all(cell.difference is not None for cell in cells[0])
    assert all(cell.paper is not None and cell.difference is None for cell in cells[1])
    said = [row[2] for row in claims.table(claims.check(drawn)).rows if row[2] != "no runs"]
    assert said and all(verdict.endswith(" on drawn films") for verdict in said)


def test_every_title_says_what_was_drawn(runs, tmp_path):
    phantom, adapter = runs.phantom(), runs.sft("free_reasoning")
    for site in ("chexpert", "nih"):
        runs.evaluate(site, "sft", adapter=adapter, phantom=phantom)
    for said, taken in (("in part on drawn films", ()), ("on drawn films", (adapter,))):
        folders = [folder for folder in runs.folder.iterdir() if folder.name not in taken]
        made = build.write(study.read(folders, resamples=10), tmp_path / said, 0, 0, False)
        tables_ = [one for one in made.every_table() if one.rows and one.name != "transfer_published"]  # the paper's alone
        assert {"headline", "table5", "table6", "transfer", "claims"} <= {one.name for one in tables_}
        assert all(f", {said}" in one.title for one in (*tables_, *made.figures))
        for table in tables_:
            assert f", {said}" in render.text(table).splitlines()[0]
            for suffix in ("md", "html", "tex"):
                assert f", {said}" in (tmp_path / said / "tables" / f"{table.name}.{suffix}").read_text()
        assert made.figures and all(figure.said == said for figure in made.figures)
        for page in ("report.md", "report.html"):
            assert f"{build.TITLE}, {said}" in (tmp_path / said / page).read_text()
    assert ", on drawn" not in build.with_marks("T", study.read([runs.folder / adapter]).marks)


def test_a_mark_that_a_run_kept_counts_without_the_runs_that_it_stands_on(runs):
    name = runs.evaluate("chexpert")
    assert not read(runs).results[0].is_drawn
    manifest = read_json(runs.folder / name / "manifest.json")
    write_json(runs.folder / name / "manifest.json", manifest | {"metrics": {"marks": ["drawn-films", "stand-in"]}})
    assert read(runs).results[0].is_drawn and read(runs).marks == "stand-ins on drawn films"


def test_transfer_goes_from_site_to_site_and_there_from_the_base_to_grpo(runs):
    trained = {"grpo": runs.grpo("hard"), "base": None, "sft": runs.sft("free_reasoning")}
    for checkpoint, adapter in trained.items():
        for site in ("padchest", "chexpert", "nih"):
            runs.evaluate(site, checkpoint, adapter=adapter, skill=0.5)
    found = [(one.far.dataset, one.arm.checkpoint) for one in transfer.transfers(read(runs))]
    places = [one for site in ("phantom_nih", "phantom_padchest") for one in ((site, name) for name in ("base", "sft", "grpo"))]
    assert found == places


def test_every_row_of_a_table_has_a_name_of_its_own(runs):
    for prompt in ("free_reasoning", "mine"):
        runs.evaluate("mimic", "sft", prompt=prompt, adapter=runs.sft(prompt))
        for reward in ("hard", "mine"):
            adapter = runs.grpo(reward, prompt)
            for checkpoint in ("grpo", "grpo_best"):
                runs.evaluate("mimic", checkpoint, prompt=prompt, adapter=adapter)
    found = read(runs)
    for table in (tables.headline(found), *tables.paper_tables(found)):
        assert len({row[0] for row in table.rows}) == len(table.rows)
