"""The parser: what counts as an answer, and what must never be read as one."""

from __future__ import annotations

import json
import re
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chexreason.answers.grammars import GRAMMARS
from chexreason.answers.parser import parse, parse_strict
from chexreason.answers.synonyms import SYNONYMS
from chexreason.labels import FINDINGS

ANY_GRAMMAR = sorted(GRAMMARS)


def tags(solution: str, thoughts: str = "Dense left base.") -> str:
    return f"<think>{thoughts}</think>\n<solution>{solution}</solution>"


@pytest.mark.parametrize("grammar", ANY_GRAMMAR)
@given(labels=st.lists(st.sampled_from(FINDINGS), min_size=1, unique=True))
def test_what_a_grammar_writes_it_reads(grammar: str, labels: list[str]) -> None:
    written = GRAMMARS[grammar].write("The left base is dense, with a meniscus.", labels)
    for read in (parse, parse_strict):
        answer = read(written, grammar)
        assert set(answer.labels) == set(labels) and answer.failure is None
        assert not (answer.unknown or answer.duplicates or answer.negated or answer.extraneous)


@pytest.mark.parametrize(
    ("text", "failure"),
    [
        ("", "empty"),
        ("  \n", "empty"),
        ("Edema", "no_think"),
        ("<solution>Edema</solution>", "no_think"),
        ("<think>a</think>", "no_solution"),
        ("<think>a<solution>Edema</solution>", "unclosed"),
        ("<think>a</think><solution>Edema", "unclosed"),
        (tags("Edema") + "<solution>Fracture</solution>", "repeated_block"),
        ("<think>a</think>" + tags("Edema"), "repeated_block"),
        ("<solution>Edema</solution>" + "<think>a</think>", "no_solution"),
        (tags(""), "empty"),
        (tags("Nothing of note"), "no_valid_label"),
    ],
)
def test_a_strict_parse_names_what_is_wrong(text: str, failure: str) -> None:
    assert parse_strict(text, "tags").failure == failure


COMPLETIONS = [json.loads(line) for line in (Path(__file__).parent / "completions.jsonl").read_text().splitlines()]


@pytest.mark.parametrize("kind", sorted({case["kind"] for case in COMPLETIONS}))  # a test for each of thousands takes minutes
def test_completions_as_models_write_them_are_read_as_a_radiologist_would(kind: str) -> None:
    cases = [case for case in COMPLETIONS if case["kind"] == kind]
    read = [list(parse(case["completion"], case["grammar"]).labels) for case in cases]
    wrong = [(labels, case) for labels, case in zip(read, cases, strict=True) if labels != case["right"]]
    assert not wrong, wrong


# Where a value stands: {n} has one that nobody knows, {m} a plain yes.
BESIDE = [
    "{n}: {v}\n{m}: present", "- {n} - {v}\n- {m} - yes", "{n} ({v})\n{m} (present)", "{n}: {v}; {m}: yes",
    "**{n}**\n{v}\n**{m}**\nPresent", "### {n}\n{v}.\n\n### {m}\nYes.", "- {n}\n  - {v}\n- {m}\n  - present",
    "{n}:\n{v}\n{m}:\nyes", "| Finding | Status |\n|---|---|\n| {n} | {v} |\n| {m} | present |",
    "| Finding | Observation |\n|---|---|\n| {n} | {v} |\n| {m} | present |", "| {n} | {v} |\n| {m} | yes |",
    "finding,status\n{n},{v}\n{m},present", '{{"{n}": "{v}", "{m}": "present"}}',
    '[{{"label": "{n}", "status": "{v}"}}, {{"label": "{m}", "status": "present"}}]', "{n} is {v}. {m} is present.",
    "I judge {n} as {v}. I judge {m} as present.",
]  # fmt: skip
VALUES = [
    "normal", "within normal limits", "unremarkable", "off the table", "pending", "less than convincing", "quux", "untouched",
    "fine", "hard to say", "something else",
]  # fmt: skip


@pytest.mark.parametrize("form", BESIDE)
@pytest.mark.parametrize("value", VALUES)
def test_a_value_that_is_not_understood_claims_nothing_wherever_it_stands(form: str, value: str) -> None:
    for name, other in (("Edema", "Fracture"), ("Cardiomegaly", "Pleural Effusion")):
        assert parse(tags(form.format(n=name, m=other, v=value)), "tags").labels == (other,)


@pytest.mark.parametrize(
    ("key", "there"),
    [("seen", True), ("keep", True), ("rejected", False), ("is_normal", None), ("considered", None), ("qux", None)],
)
def test_a_flag_counts_as_its_key_says_and_one_that_is_not_known_claims_nothing(key: str, there: bool | None) -> None:
    for form in (
        '[{{"name": "Edema", "{k}": true}}, {{"name": "Fracture", "{k}": false}}]',
        '[{{"finding": "Edema", "{k}": true, "side": "left"}}, {{"finding": "Fracture", "{k}": false, "side": "left"}}]',
        '{{"Edema": {{"{k}": true}}, "Fracture": {{"{k}": false}}}}',
        "[{{'label': 'Edema', '{k}': True}}, {{'label': 'Fracture', '{k}': False}}]",
    ):
        read = parse(tags(form.format(k=key)), "tags").labels
        assert read == {True: ("Edema",), False: ("Fracture",), None: ()}[there], form


SIGNS = [("(+)", "(-)"), ("[x]", "[ ]"), ("(x)", "( )"), ("\u2713", "\u2717"), ("\u2611", "\u2610"), ("1", "0"), ("yes", "no"),
         ("True", "False"), ("+", "-"), ("[yes]", "[no]"), ("\u25cf", "\u25cb"), ("0.9", "0.1"), ("90%", "5%")]  # fmt: skip
PLACES = ["{s} {n}", "{n} {s}", "{n}: {s}", "{n}={s}", "{n} ..... {s}"]
DIVIDERS = ["\n", ", ", "; ", " ", ". ", "\n- ", " / ", "<br>"]


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize(("said", "denied"), SIGNS)
def test_a_sign_is_of_the_name_that_it_stands_at_whatever_divides_them(place: str, said: str, denied: str) -> None:
    for divider in DIVIDERS:
        for signs in ((said, denied, denied, said), (denied, said, said, denied)):
            names = ("Edema", "Fracture", "Pleural Effusion", "Support Devices")
            text = divider.join(place.format(n=name, s=sign) for name, sign in zip(names, signs, strict=True))
            claimed = {name for name, sign in zip(names, signs, strict=True) if sign == said}
            found = set(parse(tags(("- " if divider == "\n- " else "") + text), "tags").labels)
            assert found in (claimed, set()), text  # what is not understood claims nothing
            assert found or (divider == " / " and "=" in place), text


@pytest.mark.parametrize(
    ("solution", "how"),
    [
        ("Edema, Fracture", "list"),
        ("- Edema: yes\n- Fracture: no", "list"),
        ("| Finding | Status |\n|---|---|\n| Edema | present |", "table"),
        ('{"Edema": 1, "Fracture": 0}', "json"),
        ("['Edema', 'Fracture']", "json"),
        ("The heart is enlarged.", "prose"),
        ("Edema\nThe heart is enlarged.", "prose"),
        ("Absent: Edema", None),
        ("", None),
    ],
)
def test_an_answer_says_how_it_was_read(solution: str, how: str | None) -> None:
    assert parse(tags(solution), "tags").how == how


THINKING = [
    "<think>{}</think>", "<thinking>{}</thinking>", "<unused94>thought\n{}<unused95>", "[THINK]{}[/THINK]",
    "<reasoning>{}</reasoning>",
    "{}</think>", "\u25c1think\u25b7{}\u25c1/think\u25b7", "<|begin_of_thought|>{}<|end_of_thought|>",
    "<|channel|>analysis<|message|>{}<|end|><|start|>assistant<|channel|>final<|message|>",
]  # fmt: skip


@pytest.mark.parametrize("thinking", THINKING)
@pytest.mark.parametrize(
    ("grammar", "answer"), [("labels", "{}"), ("tags", "<solution>{}</solution>"), ("answer", "<answer>{}</answer>")]
)
def test_thinking_is_never_read_as_answer_whatever_its_tag(thinking: str, grammar: str, answer: str) -> None:
    written = thinking.format("Fracture, or " + answer.format("Pneumonia") + "?") + answer.format("Edema")
    assert parse(written, grammar).labels == ("Edema",)
    left = parse(thinking.format("Fracture"), grammar)
    assert left.labels == () and left.failure is not None


def test_what_is_thought_after_the_answer_takes_nothing_back() -> None:
    text = "<think>a</think><solution>Edema</solution><think>or <solution>Fracture</solution>?</think>"
    assert parse(text, "tags").labels == ("Edema",)


@pytest.mark.parametrize("grammar", ["tags", "answer", "labels"])
def test_an_answer_in_another_models_tag_is_read_by_evaluation_and_earns_nothing(grammar: str) -> None:
    other = "solution" if grammar == "answer" else "answer"
    text = f"<think>Big heart.</think><{other}>Cardiomegaly</{other}>"
    assert parse(text, grammar).labels == ("Cardiomegaly",)
    assert parse_strict(text, grammar).labels == ()


@pytest.mark.parametrize(
    "solution",
    ["Absent:\nEdema, Fracture", "Absent: Edema, Fracture", "No Edema, Fracture", "There is no evidence of\nEdema, Fracture",
     "Excluded\nEdema, Fracture", "Edema, Fracture, none of them", "Ruled out\nEdema", "Possible\nEdema", "Edema, not seen",
     "Findings:\nEdema"],
)  # fmt: skip
def test_names_among_other_words_earn_nothing(solution: str) -> None:
    answer = parse_strict(tags(solution), "tags")
    assert answer.labels == () and answer.failure == "no_valid_label" and answer.unknown


DENYING = [
    "Negatives", "All clear", "Clear", "Cleared", "Free of", "Nothing like", "Crossed off", "Struck", "Omitted", "Skip",
    "Nonexistent", "Non-findings", "Unchecked", "Off the table", "Everything but", "Do not report", "\u9634\u6027", "WNL",
    "Unremarkable",
]  # fmt: skip
ELSEWHERE = [
    "Hernia", "Infiltration", "Scoliosis", "Granuloma", "Mild emphysema", "Left hilar lymphadenopathy", "edema", "COPD",
    "Enlarged heart", "Pleural  Effusion", "Tuberculosis", "2. Fracture", "Pneumonia.", "Aortic tortuosity", "```",
    "Congestive heart failure", "Empyema", "Kerley B lines", "Interstitial markings", "Cephalization", "Perihilar haze",
    "Sternal wires", "Coronary stent", "CABG", "Cholecystectomy clips", "EKG leads", "Breast implant", "Malignancy",
    "Metastatic disease", "Volume loss", "Hyperinflated lungs", "Flattened diaphragms", "Unfolded aorta", "Lytic lesion",
    "Bleb", "Situs inversus", "Gastric distension", "Bowel gas", "Skin fold", "Mild", "Bilateral", "Loculated", "---", ";",
    "1", "Bones", "Normal heart size",
]  # fmt: skip


@pytest.mark.parametrize("heading", DENYING)
def test_a_heading_that_denies_earns_nothing(heading: str) -> None:
    for solution in (
        f"{heading}\nEdema",
        f"{heading},\nEdema, Fracture",
        f"Edema\n{heading}\nFracture",
        f"{heading}, Hernia\nEdema",
    ):
        answer = parse_strict(tags(solution), "tags")
        assert answer.labels == () and answer.failure == "no_valid_label" and answer.unknown, solution


@pytest.mark.parametrize("heading", ["Negatives", "Clear", "Struck", "Crossed off", "Ruled out", "Unremarkable", "Query"])
def test_words_that_deny_or_doubt_earn_nothing_beside_a_label_either(heading: str) -> None:
    for solution in (f"{heading}, Edema", f"Edema, {heading.lower()}"):
        assert parse_strict(tags(solution), "tags").labels == ()


@pytest.mark.parametrize("name", ELSEWHERE)
def test_the_name_of_something_else_takes_no_label_back(name: str) -> None:
    for solution in (f"{name}\nEdema", f"Edema, {name}", f"Edema\n{name}, Hernia"):
        answer = parse_strict(tags(solution), "tags")
        assert answer.labels == ("Edema",) and name in answer.unknown


@pytest.mark.parametrize("text", ["<solution>Edema<solution>", "<solution>Edema</solution><solution>"])
def test_an_empty_block_after_the_answer_takes_nothing_back(text: str) -> None:
    assert parse("<think>x</think>" + text, "tags").labels == ("Edema",)


def test_a_stray_marker_in_the_answer_is_no_part_of_a_label() -> None:
    text = "<think>x</think><solution>The image shows lung opacity, support devices.</think>\n<solution>"
    assert parse(text, "tags").labels == ("Lung Opacity", "Support Devices")


def test_labels_that_the_token_limit_cut_are_truncated_and_not_empty() -> None:
    assert parse("Edema", "labels", finished=False).failure == "truncated"


def test_denied_findings_are_no_claims() -> None:
    answer = parse(tags("no pneumothorax, without edema"), "tags")
    assert answer.labels == () and answer.failure == "no_valid_label"
    assert answer.negated == ("Pneumothorax", "Edema")
    for written in ("Absent:\nPneumothorax, Edema", "Absent: Pneumothorax, Edema", "Absent:\n- Pneumothorax\n- Edema"):
        bare = parse(f"<think>t</think><solution>{written}</solution>", "tags")
        assert (bare.negated, bare.failure) == (("Pneumothorax", "Edema"), "no_valid_label"), written


def test_strict_parse_keeps_unknown_labels_duplicates_and_stray_text_apart() -> None:
    answer = parse_strict("Well. " + tags("Edema, Flu, Edema, edema") + " Done.", "tags")
    assert answer.labels == ("Edema",) and answer.failure is None
    assert answer.unknown == ("Flu", "edema") and answer.duplicates == ("Edema",)
    assert answer.extraneous == "Well. Done."


def test_tags_inside_the_thoughts_are_not_the_answer() -> None:
    text = "<think>I could write <solution>Fracture</solution> here.</think><solution>Edema</solution>"
    assert parse(text, "tags").labels == ("Edema",)
    assert parse_strict(text, "tags").failure == "repeated_block"


@pytest.mark.parametrize("grammar", ANY_GRAMMAR)
@given(text=st.text(alphabet=st.sampled_from(list("<>/{}:,;\n thinksoluEdemaNofdg")) | st.characters(), max_size=400))
@settings(max_examples=250)
def test_no_text_crashes_the_parser_or_makes_it_invent_a_label(grammar: str, text: str) -> None:
    for read in (parse, parse_strict):
        answer = read(text, grammar)
        assert set(answer.labels) <= set(FINDINGS)
        assert (answer.failure is None) == bool(answer.labels)


@pytest.mark.parametrize(
    "number",
    ["1" + "0" * 400, "-1" + "0" * 400, "1" * 5000, "0x" + "f" * 400, "-0x" + "f" * 4000, "1e400", "NaN", "0." + "0" * 5000,
     "\u00b2", "\u0663", "101"],
)  # fmt: skip
@pytest.mark.parametrize(
    "form",
    ['{{"Edema": {}, "Fracture": 90}}', "{{'Edema': {}, 'Fracture': 90}}", '["Edema", {}]', "('Edema', {})",
     '{{"Edema": {{"confidence": {}}}}}', '[{{"label": "Edema", "status": {}}}]', "[{{'label': 'Edema', 'probability': {}}}]",
     "{{'labels': ['Edema', 'Fracture'], 'scores': [{}, 0.9]}}", '{{"predicted_indices": [{}], "labels": ["Edema"]}}',
     "Edema: {}\nFracture: 90", "Edema grade {}", "Confidence (1-{})\nEdema: 2", "I am {} % sure of edema.",
     "| Finding | Grade |\n|---|---|\n| Edema | {} |", "| Finding | Score |\n|---|---|\n| Edema | {} |"],
)  # fmt: skip
def test_no_number_crashes_the_parser_and_one_above_a_hundred_is_no_share_of_it(form: str, number: str) -> None:
    for written, grammar in ((tags(form.format(number)), "tags"), (form.format(number), "labels")):
        read = parse(written, grammar).labels
        assert set(read) <= {"Edema", "Fracture"}
        if form[0] in "{[(" and number in ("1" + "0" * 400, "101"):
            assert "Edema" not in read


TWO = [
    '["{}", "{}"]', "['{}', '{}']", '("{}", "{}")', '{{"labels": ["{}", "{}"]}}', '[["{}", "{}"]]', '{{"0": "{}", "1": "{}"}}',
    '```json\n["{}", "{}"]\n```', '```json\n{{"findings": ["{}", "{}"]}}\n```', 'labels = ["{}", "{}"]', '["{}", "{}"',
    '{{"findings": ["{}"], "impression": ["{}"]}}',
]  # fmt: skip


@pytest.mark.parametrize("form", TWO)
def test_two_names_in_an_object_are_two_names_and_a_name_with_a_value_is_one(form: str) -> None:
    for second in ("No Finding", "no finding", "No-Finding", "NoFinding", "no_finding", "Fracture"):
        for first, meant in (("Support Devices", "Support Devices"), ("Pacemaker", "Support Devices"), ("Edema", "Edema")):
            text, both = form.format(first, second), {meant, "Fracture" if second == "Fracture" else "No Finding"}
            if first != "Edema" or second in ("No Finding", "no finding", "Fracture"):  # else it is no label beside a disease
                for answer in (parse(tags(text), "tags"), parse(text, "labels")):
                    assert set(answer.labels) == both and not answer.negated, text
    for value in ("absent", "no", "none", "0", "uncertain", "present"):
        answer = parse(form.format("Edema", value), "labels")
        assert answer.labels == (("Edema",) if value == "present" else ()), value


@pytest.mark.parametrize(
    ("text", "right"),
    [
        ('["Edema", 0]', ()),
        ('["Edema", false]', ()),
        ('[["Edema", "absent"], ["Fracture", "present"]]', ("Fracture",)),
        ('[["Edema", 0], ["Fracture", 1]]', ("Fracture",)),
        ('[("Edema", "no"), ("Support Devices", "yes"), ("No Finding", "no")]', ("Support Devices",)),
        ('[["Edema", "absent"], ["Support Devices", "No Finding"]]', ("No Finding", "Support Devices")),
        ("| Finding | Status |\n|---|---|\n| Edema | No finding |\n| Fracture | present |", ("Fracture",)),
    ],
)
def test_pairs_of_a_name_and_its_value(text: str, right: tuple[str, ...]) -> None:
    assert parse(tags(text), "tags").labels == right


@pytest.mark.parametrize("begun", ["[", '{"present": ', '{"Edema": '])
def test_an_object_nested_deeper_than_any_answer_does_not_stop_the_parser(begun: str) -> None:
    for depth in (100, 600, 950, 5000):
        nested = begun * depth + "1" + ("]" if begun == "[" else "}") * depth
        assert set(parse(f'["Edema", {nested}]', "labels").labels) <= {"Edema"}


# How people deny a finding, or leave it open. {} is the finding.
DENIED = (
    """
no {}|No {}|without {}|{} absent|{}: no|{}: absent|{}: negative|not {}|{} is not seen|no evidence of {}|no sign of {}|denies {}
{} ruled out|{} excluded|absence of {}|negative for {}|free of {}|{} unlikely|{} - no|{} (absent)|{} (no)|{} (-)|no definite {}
no acute {}|{} not present|[ ] {}|{}: 0|{} = false|{}: 0%|{}: 10|resolved {}|no new {}|{} cannot be seen|lack of {}|{}: none
There is no evidence of {} on this film|{} not seen on the left|No radiographic evidence of {}|Absent: {}|Excluded: {}|{}: N
no longer {}|Does not have {}|{} wasn't found|(no {})|{}? no|{}: \u2717|{} = 0|nothing to suggest {}
No signs of {} or other pathology|possible {}|{}?
maybe {}|question of {}|cannot exclude {}|r/o {}|suspected {}|{} (possible)|{}: uncertain|{} likely|probable {}
{} cannot be excluded|differential: {}|Considered: {}|concern for {}|history of {}|{}: low|low probability of {}
{} or atelectasis
""".replace("\n", "|")
    .strip("|")
    .split("|")
)


@given(
    denied=st.lists(st.tuples(st.sampled_from(DENIED), st.sampled_from(FINDINGS[1:8])), min_size=1, max_size=4),
    claimed=st.lists(st.sampled_from(FINDINGS[9:]), unique=True, max_size=4),
    order=st.randoms(use_true_random=False),
    end=st.sampled_from(["\n", "; ", ".\n", "\n- ", "\r\n"]),
)
@settings(max_examples=400)
def test_what_is_denied_or_left_open_is_never_read_as_claimed(denied, claimed, order, end) -> None:  # type: ignore[no-untyped-def]
    if end == "; ":  # a heading reaches over a semicolon: "Absent: edema; fracture"
        denied = [(form, finding) for form, finding in denied if not form.endswith(": {}")]
    lines = [form.replace("{}", finding) for form, finding in denied] + claimed
    order.shuffle(lines)
    answer = parse(tags(end.join(lines)), "tags")
    assert list(answer.labels) == [finding for finding in FINDINGS if finding in claimed], lines


@given(
    text=st.text(st.sampled_from("no edma,.:;()[]x -\n?") | st.characters(), max_size=200), grammar=st.sampled_from(ANY_GRAMMAR)
)
@settings(max_examples=400)
def test_a_label_is_read_only_where_one_of_its_names_stands(text: str, grammar: str) -> None:
    written = GRAMMARS[grammar].write("Dense left base.", ["Edema"]).replace("Edema", text)
    plain = " ".join(re.sub(r"[^\w\s?-]|_", " ", text.casefold()).split())
    for finding in parse(written, grammar).labels:
        names = (finding.casefold(), *(name.replace("*", "").casefold() for name in SYNONYMS[finding]))
        assert any(set(name.split()) <= set(plain.split()) for name in names), (text, finding)


PIECES = [
    "<think>", "</think><solution>", "no ", "Edema,", "{analysis:,", "(", " ", "no*\n", "Edema | ", "- ", "Edema;", "Edema: 0 ",
    "[x] ", "1. ", "\\boxed{", "heart size ", '{"Edema": ',
    "no edema,", "have ?", "is there ", "['a', ", "Edema yes ", "rather than a, ", "user: ", "a=b", "label: ", "A. edema ",
    "[Edema] ", "</s>", "d(a=b, ", "(y) ", "\u25cf ", "edema seen, ", "only Edema\n", "Edema\nBoth are absent.\n", "<a b=c>",
    "* Edema\n", "Edema* ", "score 0-3 ", "Edema 2 ", "edema, sorry, ", "_x_ ", "<input checked", "edema -=> ", "drop edema. ",
    "<name>Edema</name>",
    "[['Edema'], [0]], ", "== \n", "cutoff 0.3, 0.7 threshold\n", "A. Edema neither A ", "edema is not seen ",
    "large but it is actually x and is ", ". Wait, no, ", "although there is no a, ",
]  # fmt: skip


@pytest.mark.parametrize("piece", PIECES)
def test_a_long_text_is_read_in_linear_time(piece: str) -> None:
    def seconds(size: int) -> float:
        text = tags("Edema" + piece * (size // len(piece)) + "Fracture")
        started = time.thread_time()
        for read in (parse, parse_strict):
            read(text, "tags")
        return time.thread_time() - started

    # One of three is enough: a reading may pay for another's garbage or for the first use of a pattern.
    assert any(seconds(20_000) < 6 * seconds(5_000) + 0.025 for _ in range(3))
