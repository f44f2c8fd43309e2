"""From decorated text to plain lines: full-width signs, HTML, LaTeX boxes, code fences, quotation marks, emphasis."""

from __future__ import annotations

import re

_SIGNS = str.maketrans(
    {
        "：": ":", "，": ",", "；": ";", "（": " (", "）": ") ", "？": "?",
        "！": "!", "｜": "|", "＝": "=", "＋": "+", "－": "-",
        "［": "[", "］": "]", "｛": "{", "｝": "}", "％": "%", "／": "/", "＂": '"', "。": ".\n", "．": ". ", "、": ",",
        "【": ",", "】": ",", "「": '"', "」": '"', "『": '"', "』": '"', "《": '"', "》": '"', "“": '"', "”": '"', "„": '"',
        "«": '"', "»": '"', "‘": "'", "’": "'", "→": ":", "⇒": ":", "\u00a0": " ", "\u3000": " ",
        "\u200b": None, "\u200c": None, "\u200d": None, "\ufeff": None, "\ufe0f": None,
        "\r": "\n", "\v": "\n", "\f": "\n", "\u2028": "\n", "\u2029": "\n", "\x85": "\n",
    }
    | {chr(ord("０") + digit): str(digit) for digit in range(10)}
)  # fmt: skip
_BREAK = re.compile(r"<\s?/?\s?(?:br|p|li|ul|ol|div|tr|h[1-6]|table|tbody|thead)\s?/?\s?>", re.IGNORECASE)
_CELL = re.compile(r"<t[dh]\s?>", re.IGNORECASE)
_TAG = re.compile(
    r"</?(?:t[dh]|b|i|u|s|em|strong|span|code|pre|sup|sub|font|center|a|eos|bos|pad|(?:start|end)_of_turn|unused\d{1,4})\s?/?>|<\|[a-z_]{1,20}\|>",
    re.IGNORECASE,
)
_BOX = re.compile(r"\\(?:boxed|fbox)\s?\{")
_COMMAND = re.compile(r"\\(?:text|textbf|textit|mathrm|mathbf|textrm|mathsf)\s?\{")
_FENCE = re.compile(r"```[a-zA-Z]{0,12}")
_EMPHASIS = re.compile(
    r"\*\*+|__+|~~|`|(?<![\w*])\*(?=[A-Za-z])|(?<=[\w.:])\*(?![\w*])|^\s{0,8}#{1,6}\s|^\s{0,8}>+\s", re.MULTILINE
)
_BLANKS = re.compile(r"[^\S\n\t]{2,}|[^\S\n]{3,}")
_ENTITIES = {"&nbsp;": " ", "&amp;": "&", "&lt;": "<", "&gt;": ">", "&quot;": '"', "&#39;": "'", "&bull;": "\u2022"}


def plain(text: str) -> str:
    """`text` as lines without decoration. A boxed answer is all of the answer. Linear in the length of `text`."""
    text = unfenced(text)
    if "&" in text:
        for entity, sign in _ENTITIES.items():
            text = text.replace(entity, sign)
    if "<" in text:
        text = _TAG.sub("", _BREAK.sub("\n", _CELL.sub(" | ", text)))
    if "\\" in text:
        text = _without_latex(text)
    return _BLANKS.sub(" ", _EMPHASIS.sub("", text))


def unfenced(text: str) -> str:
    """`text` in plain signs and without code fences."""
    return _FENCE.sub("", text.translate(_SIGNS))


def _without_latex(text: str) -> str:
    boxes = list(_BOX.finditer(text))
    if boxes:
        ends = [*(box.start() for box in boxes[1:]), len(text)]
        inside = [_to_closing_brace(text, box.end(), end) for box, end in zip(boxes, ends, strict=True)]
        text = "\n".join(filter(None, inside))
    if _COMMAND.search(text):
        text = _COMMAND.sub("", text).replace("}", " ")
    for written, meant in (("\\\\", "\n"), ("\\n", "\n"), ("$", ""), ("\\,", " "), ("\\ ", " "), ("\\", "")):
        text = text.replace(written, meant)
    return text


def _to_closing_brace(text: str, start: int, end: int) -> str:
    """What stands between an opened brace and the one that closes it, at most as far as `end`."""
    depth = 1
    for sign in re.finditer(r"[{}]", text[start:end]):
        depth += 1 if sign.group() == "{" else -1
        if depth == 0:
            return text[start : start + sign.start()]
    return text[start:end]
