"""Harmless forms are read and nothing else is: a reply is a completion, or stays what a gate refuses."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from chexreason.answers.parser import parse_strict
from chexreason.teacher.gates import Gates
from chexreason.teacher.reading import completion
from chexreason.teacher.reply import Reply
from tests.teacher.conftest import prompt, teacher
from tests.teacher.server import Server, Turn
from tests.teacher.test_services import STUDY

SOUND = "A meniscus blunts the left costophrenic angle, and the heart is of normal size."
LABELS = "Pleural Effusion, Edema"
TAGS = f"<think>{SOUND}</think>\n<solution>{LABELS}</solution>"
BRACES = f"{{analysis: {SOUND}, conclusion: {LABELS}}}"
GATES = Gates(least_words=4, most_words=60, repeated_words=8)


@pytest.mark.parametrize(
    ("text", "thoughts"),
    [
        (TAGS, None),
        (f"<solution>{LABELS}</solution>", SOUND),
        (f"\n\n<solution>{LABELS}.</solution>\n", f"\n{SOUND}\n"),
        (f"```xml\n{TAGS}\n```", None),
        (f"  ```\n{TAGS}```\n", None),
        (f"```{TAGS}```", None),
        (TAGS.replace(LABELS, f"{LABELS}."), None),
        (TAGS.replace(LABELS, "Pleural Effusion.\nEdema."), None),
        (f"{TAGS}.", None),
        (f"<think>Let me plan this.</think>\n\n{TAGS}", None),
        (f"<thinking>Let me plan this.</thinking>{TAGS}", None),
        (f"[THINK]The user said effusion.[/THINK]\n{TAGS}", "the user gave labels"),
        (f"<unused94>thought\n{SOUND}<unused95><solution>{LABELS}</solution>", None),
        (f"<thinking>\n{SOUND}\n</thinking>\n<solution>{LABELS}</solution>", None),
        (f"{SOUND}</think>\n<solution>{LABELS}</solution>", None),
        (f"```\n<solution>{LABELS}.</solution>\n```", SOUND),
        *((TAGS.replace("<think>", tag), None) for tag in ("< think >", "<THINK>", "<Thinking>", "<reasoning>", "[think]")),
        *((TAGS.replace("</think>", tag), None) for tag in ("</ think >", "< /Think>", "</thinking>", "</reasoning>")),
        (TAGS.replace("think>", "thought>"), None),
        (f"< think >Let me plan this.< / think >\n{TAGS}", None),
    ],
)
def test_a_harmless_form_is_read_as_the_trace_that_it_is(text: str, thoughts: str | None) -> None:
    read = completion(Reply(text, thoughts=thoughts), "tags")
    assert read is not None
    answer = parse_strict(read, "tags")
    assert (answer.labels, answer.thoughts, answer.extraneous, answer.unknown) == (("Edema", "Pleural Effusion"), SOUND, "", ())


@pytest.mark.parametrize(
    ("text", "thoughts"),
    [
        (BRACES, None),
        (f"```json\n{BRACES}\n```", None),
        (BRACES.replace(LABELS, f"{LABELS}."), None),
        (f"<think>Let me plan this.</think>{BRACES}", None),
        (f"{{conclusion: {LABELS}}}", SOUND),
    ],
)
def test_the_brace_grammar_too(text: str, thoughts: str | None) -> None:
    read = completion(Reply(text, thoughts=thoughts), "braces")
    assert read is not None
    answer = parse_strict(read, "braces")
    assert (answer.labels, answer.thoughts.rstrip(","), answer.extraneous) == (("Edema", "Pleural Effusion"), SOUND, "")


@pytest.mark.parametrize(
    ("text", "thoughts", "gate"),
    [
        (None, SOUND, "no_answer"),
        (LABELS, SOUND, "grammar"),
        (f"Here it is. {TAGS}", None, "grammar"),
        (f"Here it is:\n```\n{TAGS}\n```", None, "grammar"),
        (f"<solution>{LABELS}</solution>", None, "grammar"),
        (f"<solution>{LABELS}</solution>", "The given labels say so, and so it is.", "leak"),
        (TAGS.replace(LABELS, "Possible Pleural Effusion, Edema."), None, "grammar"),
        (TAGS.replace(LABELS, "No Edema. Pleural Effusion."), None, "grammar"),
        (f"{TAGS}\n{TAGS}", None, "grammar"),
        (f"<think>{SOUND}</think>\nSo:\n<think>{SOUND}</think>\n<solution>{LABELS}</solution>", None, "grammar"),
    ],
)
def test_what_is_not_harmless_stays_refused(text: str | None, thoughts: str | None, gate: str) -> None:
    refusal = GATES.refuse(completion(Reply(text, thoughts=thoughts), "tags"), ["Edema", "Pleural Effusion"], "tags")
    assert refusal is not None and refusal.gate == gate


@pytest.mark.parametrize("grammar", ["tags", "braces"])
@pytest.mark.parametrize("tag", ["< think >", "<thinking>", "</ think >", "[THINK]", "<unused94>", "< solution >", "[/answer]"])
@pytest.mark.parametrize("place", ["{tag}{sound}", "{sound} {tag}", "Yes. {tag} {sound}"])
def test_no_tag_stays_in_the_reasoning_of_a_trace(place: str, tag: str, grammar: str) -> None:
    written = (TAGS if grammar == "tags" else BRACES).replace(SOUND, place.format(tag=tag, sound=SOUND))
    read = completion(Reply(written), grammar)
    refusal = GATES.refuse(read, ["Edema", "Pleural Effusion"], grammar)
    assert refusal is not None and refusal.gate == "grammar"


def test_labels_alone_are_left_as_they_are() -> None:
    assert completion(Reply("Edema"), "labels") == "Edema"


@pytest.mark.parametrize("field", ["reasoning_content", "reasoning"])
def test_openai_servers_set_thinking_apart_in_a_field(field: str, curated: Path, key: str) -> None:
    message = {"role": "assistant", "content": f"<solution>{LABELS}</solution>", field: f"{SOUND} {key}"}
    reply = _ask("openai", {"choices": [{"index": 0, "message": message}]}, curated)
    assert (reply.text, reply.thoughts) == (f"<solution>{LABELS}</solution>", f"{SOUND} [key]")


@pytest.mark.parametrize(
    "part", [{"type": "thinking", "thinking": [{"type": "text", "text": SOUND}]}, {"type": "reasoning", "text": SOUND}]
)
def test_openai_servers_set_thinking_apart_in_parts(part: dict[str, Any], curated: Path, key: str) -> None:
    content = [part, {"type": "text", "text": "<solution>"}, {"type": "text", "text": f"{LABELS}</solution>"}]
    reply = _ask("openai", {"choices": [{"index": 0, "message": {"role": "assistant", "content": content}}]}, curated)
    assert (reply.text, reply.thoughts) == (f"<solution>{LABELS}</solution>", SOUND)


def test_gemini_sets_thinking_apart_in_parts(curated: Path, key: str) -> None:
    parts = [{"text": SOUND, "thought": True}, {"text": "<solution>"}, {"text": f"{LABELS}</solution>"}]
    usage = {"promptTokenCount": 10, "candidatesTokenCount": 5}
    body = {"candidates": [{"content": {"role": "model", "parts": parts}}], "usageMetadata": usage}
    reply = _ask("gemini", body, curated)
    assert (reply.text, reply.thoughts, reply.input_tokens) == (f"<solution>{LABELS}</solution>", SOUND, 10)


@pytest.mark.parametrize("body", [{}, {"candidates": [{"finishReason": "SAFETY"}]}, {"candidates": [{"content": {}}]}])
def test_what_gemini_refuses_to_write_costs_what_it_says(body: dict[str, Any], curated: Path, key: str) -> None:
    reply = _ask("gemini", body | {"usageMetadata": {"promptTokenCount": 10}}, curated)
    assert (reply.text, reply.input_tokens, reply.cost) == (None, 10, pytest.approx(10e-6))


def _ask(backend: str, body: dict[str, Any], curated: Path) -> Reply:
    with Server(Turn(body=body)) as server:
        reply: Reply = teacher(backend, server.url).write(STUDY, prompt(), curated.parent / "images", 0, 1)
    return reply
