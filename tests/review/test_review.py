"""Review packs: drawn fairly, laid out on a page, and filled in a real browser."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from chexreason.errors import ChexReasonError
from chexreason.labels import FINDINGS
from chexreason.review.pack import sample
from chexreason.runs.config import compose
from chexreason.runs.files import read_json, write_text
from chexreason.runs.plan import plan
from chexreason.stages.review import PACK, PAGE, REPORT, VERDICTS, show
from tests.browser import CHROMIUM, Browser
from tests.review.conftest import AGREEMENT, HOSTILE, learnt, review
from tests.teacher.conftest import STUDIES, state_agreement


def test_every_label_is_drawn_as_often_as_the_others_as_far_as_they_go() -> None:
    common, rare = FINDINGS[1], FINDINGS[2:6]
    traces = [{"path": f"c{n}", "labels": [common], "completion": "x"} for n in range(900)]
    traces += [{"path": f"{label}{n}", "labels": [label], "completion": "x"} for label in rare for n in range(12)]
    counts = Counter(case.labels[0] for case in sample(traces, 60, seed=1))
    assert all(count == 12 for count in counts.values()) and len(counts) == 5
    counts = Counter(case.labels[0] for case in sample(traces, 100, seed=1))
    assert sum(counts.values()) == 100 and counts[common] == 52
    drawn = [[case.path for case in sample(traces, 60, seed)] for seed in (1, 1, 2)]
    assert drawn[0] == drawn[1] != drawn[2] and len(set(drawn[0])) == 60
    assert len(sample(traces[:3], 100, 0)) == 3


def test_the_page_is_self_contained_escaped_and_names_nobody(taught: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made = review(taught)
    page = (made / PAGE).read_text(encoding="utf-8")
    assert "patient" not in page and ".png" not in page and page.count("data:image/jpeg;base64,") == 8
    assert HOSTILE not in page and "<img src=x" not in page and page.count("</script>") == 2
    assert "http:" not in page and "https:" not in page and "url(" not in page
    show(made)
    assert "review.html" in capsys.readouterr().out


def test_credentialed_films_go_into_a_pack_only_where_their_agreement_is_acknowledged(taught: Path, curated: Path) -> None:
    state_agreement(curated, AGREEMENT)
    with pytest.raises(ChexReasonError, match="stage.data_use_agreement"):
        review(taught)
    assert not (taught.parent / "review-1" / PAGE).exists()
    page = (review(taught, data_use_agreement=AGREEMENT) / PAGE).read_text()
    assert f"under the <b>{AGREEMENT}</b>" in page


STATE = """({
  judged: document.getElementById("count").textContent, title: document.title,
  broken: [...document.images].filter((image) => image.src && image.complete && !image.naturalWidth).length,
  markup: document.querySelectorAll(".thoughts *").length,
  wide: document.documentElement.scrollWidth > innerWidth,
  case: [...document.querySelectorAll(".case")].indexOf(document.activeElement.closest(".case")),
  field: document.activeElement.className || document.activeElement.tagName,
  status: document.getElementById("status").textContent,
})"""


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here: the page is filled in a browser where there is one")
def test_a_pack_filled_by_keyboard_in_a_browser_saved_and_read_back(taught: Path, tmp_path: Path) -> None:
    made = review(taught)
    cases = read_json(made / PACK)["cases"]
    with Browser(tmp_path / "browser") as browser:
        browser.view(1280, 900)
        browser.open((made / PAGE).as_uri())
        state = browser.run(STATE)
        assert state["judged"] == "0 of 8 judged" and state["broken"] == 0 and state["markup"] == 0
        assert state["title"].startswith("Review of 8"), "no script of a trace has run"
        browser.press("j", "a", "j", "e")
        assert browser.run(STATE)["case"] == 1 and browser.run(STATE)["field"] == "TEXTAREA"
        browser.run("document.activeElement.select()")
        browser.write("The reader's own words: the left base is dense <b>indeed</b>.")
        browser.press("Escape", "n", "r", "c")
        browser.write("wrong side")
        browser.press("Escape")
        for mark, place in (("seen", 0), ("not_seen", 2)):
            browser.run(f"document.querySelectorAll('.case')[{place}].querySelector('.mark input[value={mark}]').click()")
        browser.run("document.querySelectorAll('.case')[0].querySelector('.missed input').click()")
        browser.press("s")
        assert "draft" in browser.run(STATE)["status"], "a review without a name is not saved"
        browser.reload()  # nothing is lost
        assert browser.run(STATE)["judged"] == "3 of 8 judged" and browser.run(STATE)["status"] == "your draft was found"
        browser.run("document.getElementById('only-open').click()")
        assert browser.run("document.querySelectorAll('.case:not([hidden])').length") == 5
        browser.run("document.getElementById('reader').focus()")
        browser.write("Dr. Ada <Lovelace>")
        browser.run("document.getElementById('save').click()")
        saved = browser.downloaded("review-free_reasoning-dr-ada-lovelace.json")
        for width, phone, paper in ((390, True, False), (1280, False, False), (800, False, True)):
            browser.view(width, 844, phone=phone, paper=paper)
            assert not browser.run(STATE)["wide"], f"{width} pixels are too narrow"
        # Another browser, another day: the saved file is opened again, and a foreign one is not taken.
        browser.run("localStorage.clear()")
        browser.reload()
        assert browser.run(STATE)["judged"] == "0 of 8 judged"
        hand_over = """(async (text) => {
            const files = new DataTransfer();
            files.items.add(new File([text], "saved.json"));
            document.getElementById("open").files = files.files;
            document.getElementById("open").dispatchEvent(new Event("change"));
            await new Promise((done) => setTimeout(done, 100));
        })"""
        browser.run(f"{hand_over}('{{\"pack\": 1}}')")
        assert "is no review of this pack" in browser.run(STATE)["status"]
        browser.run(f"{hand_over}({json.dumps(saved.read_text())})")
        assert browser.run(STATE)["judged"] == "3 of 8 judged"
        assert browser.run("document.querySelectorAll('.case')[2].querySelector('.comment').value") == "wrong side"
    read = review(taught, "review-2", filled=[str(saved)])
    found = read_json(read / "review.json")
    assert found["readers"] == ["Dr. Ada <Lovelace>"] and "<Lovelace>" not in (read / REPORT).read_text()
    assert (found["all"]["accept"], found["all"]["edit"], found["all"]["reject"]) == (1, 1, 1)
    assert sum(row["missed"] for row in found["by_label"].values()) == 1 and found["all"]["agreement"] == 0.5
    kept = {trace["path"]: trace["completion"] for trace in learnt(taught, str(read / VERDICTS))}
    assert cases[2]["path"] not in kept and len(kept) == STUDIES - 1
    assert "The reader's own words: the left base is dense <b>indeed</b>." in kept[cases[1]["path"]]


def test_the_content_of_what_was_reviewed_defines_a_run(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    files = [tmp_path / name / "saved.json" for name in ("a", "b")]
    made_from = {
        "sft": [f"stage.reviewed={files[0]}", "model.made_by=null", f"model.weights={tmp_path}"],
        "review": [f"stage.filled=[{files[0]},{files[1]}]"],
    }
    for stage, words in made_from.items():
        line = [f"stage={stage}", f"runs={tmp_path}", *words]
        folders = set()
        for content in ("one", "two", "three"):
            write_text(files[0], content if stage == "sft" else "same")
            write_text(files[1], content)
            folders.add(plan(compose(line), line).folder.name)
        assert len(folders) == 3, stage


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here: the page is filled in a browser where there is one")
class TestAPersonAtTheKeyboard:
    """Key by key: what is typed ends up where the reader means it to, or is refused there and then."""

    NAME, TEXTS = (
        "document.getElementById('reader').value",
        "[...document.querySelectorAll('.edited textarea')].map((t) => t.value)",
    )

    @pytest.fixture
    def made(self, taught: Path) -> Path:
        return review(taught)

    @pytest.fixture
    def browser(self, made: Path, tmp_path: Path) -> Iterator[Browser]:
        with Browser(tmp_path / "browser") as browser:
            browser.view(1280, 900)
            browser.open((made / PAGE).as_uri())
            yield browser

    @pytest.mark.parametrize("left_by", ["Escape", "Enter"])
    def test_no_key_ends_up_in_the_name_once_its_field_was_left(self, left_by: str, browser: Browser) -> None:
        browser.press("j", "a", "s")  # which asks for the name
        browser.type("Dr Ada")
        browser.press(left_by)  # Enter saves
        assert browser.run(STATE)["case"] == 0, "back where the reader was"
        browser.press("j", "e")
        browser.type(" The base is dense; see the right side.")
        browser.press("Escape", "n", "r", "c")
        browser.type("not seen: a rib")
        browser.press("Escape", "s")
        assert browser.run(self.NAME) == "Dr Ada" and browser.run(STATE)["judged"] == "3 of 8 judged"
        assert browser.run(self.TEXTS)[1].endswith(" The base is dense; see the right side.")
        said = read_json(browser.downloaded("review-free_reasoning-dr-ada.json"))
        assert said["reader"] == "Dr Ada"

    def test_escape_leaves_every_field(self, browser: Browser) -> None:
        for field in ("#reader", "#only-open", ".comment"):
            browser.click(field)
            browser.press("Escape")
            assert browser.run("document.activeElement.matches('body, .case')"), field
        browser.click("#reader")
        browser.press("Escape")
        browser.type("jkz")
        assert browser.run(self.NAME) == "" and browser.run("document.getElementById('enlarged').open")
        browser.press("Escape")
        assert not browser.run("document.getElementById('enlarged').open")

    def test_an_edit_without_text_is_refused_at_once_and_not_saved(self, made: Path, browser: Browser) -> None:
        lack = "document.querySelector('.lack').checkVisibility()"
        browser.click("#reader")
        browser.type("Dr B")
        browser.press("Escape", "j", "e")
        assert not browser.run(lack) and browser.run(STATE)["judged"] == "1 of 8 judged"
        browser.run("document.activeElement.select()")
        browser.press("Backspace", " ", "Enter")
        assert browser.run(lack) and browser.run(STATE)["judged"] == "0 of 8 judged"
        assert browser.run("document.querySelector('.state').textContent") == "an edit without text"
        browser.press("Escape", "s")
        assert "not saved: case 1" in browser.run(STATE)["status"] and browser.run(STATE)["field"] == "TEXTAREA"
        assert not list(browser.downloads.iterdir())
        browser.reload()
        assert browser.run(lack) and browser.run(self.TEXTS)[0].strip() == "", "the draft does not hide it"
        browser.click(".edited textarea")
        browser.type("In my own words: dense.")
        assert not browser.run(lack) and browser.run(STATE)["judged"] == "1 of 8 judged"
        browser.press("Escape", "s")
        saved = read_json(browser.downloaded("review-free_reasoning-dr-b.json"))
        assert saved["verdicts"][read_json(made / PACK)["cases"][0]["id"]]["text"].strip() == "In my own words: dense."

    def test_an_emptied_edit_chosen_anew_starts_from_the_teachers_text(self, browser: Browser) -> None:
        browser.press("j", "e")
        whole = browser.run(self.TEXTS)[0]
        browser.run("document.activeElement.select()")
        browser.press("Backspace", "Escape", "a", "e")
        assert browser.run(self.TEXTS)[0] == whole

    def test_blanks_are_no_name(self, browser: Browser) -> None:
        browser.click("#reader")
        browser.type("  ")
        browser.press("Enter")
        assert not list(browser.downloads.iterdir()) and "saved" not in browser.run(STATE)["status"]

    def test_marks_without_a_verdict_are_kept_when_saved_opened_and_read_back(
        self, taught: Path, made: Path, browser: Browser
    ) -> None:
        case = read_json(made / PACK)["cases"][0]
        browser.click(".mark input[value=not_seen]")
        browser.click("#reader")
        browser.type("Dr C")
        browser.press("Enter")
        saved = browser.downloaded("review-free_reasoning-dr-c.json")
        browser.run("localStorage.clear()")
        browser.reload()
        assert not browser.run("document.querySelector('.mark input[value=not_seen]').checked")
        browser.call("DOM.enable")
        document = browser.call("DOM.getDocument")["root"]["nodeId"]
        field = browser.call("DOM.querySelector", nodeId=document, selector="#open")["nodeId"]
        browser.call("DOM.setFileInputFiles", files=[str(saved)], nodeId=field)
        browser.run("new Promise((done) => setTimeout(done, 300))")
        assert browser.run("document.querySelector('.mark input[value=not_seen]').checked")
        read = review(taught, "review-2", filled=[str(saved)])
        found = read_json(read / "review.json")
        assert (found["judgements"], found["undecided"]) == (0, 1)
        assert found["by_label"][case["labels"][0]]["agreement"] == 0.0
