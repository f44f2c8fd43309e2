"""From decorated text to plain lines: full-width signs, HTML, LaTeX boxes, code fences, quotation marks, emphasis."""

from __future__ import annotations

import re

from chexreason.answers.headings import heading
from chexreason.answers.items import names_a_finding
from chexreason.answers.lexicon import MAYBE, NAME_KEYS, NUMBER_KEYS, OPEN, SAID, STATUS_KEYS, TICKMARKS, UNSPACED
from chexreason.answers.records import key_of, status_of
from chexreason.answers.values import named, words_of

_SIGNS = str.maketrans(
    {chr(0xFF01 + place): chr(0x21 + place) for place in range(94)}  # full width
    | {
        "，": ", ", "（": " (", "）": ") ", "．": ". ", "。": ".\n", "、": ", ",
        "【": ",", "】": ",", "「": '"', "」": '"', "『": '"', "』": '"', "《": '"', "》": '"', "“": '"', "”": '"', "„": '"',
        "«": '"', "»": '"', "‘": "'", "’": "'", "→": ":", "⇒": ":", "➡": ":", "➔": ":", "➜": ":", "\u00a0": " ", "\u3000": " ",
        "\u200b": None, "\u200c": None, "\u200d": None, "\ufeff": None, "\ufe0f": None,
        "\r": "\n", "\v": "\n", "\f": "\n", "\u2028": "\n", "\u2029": "\n", "\x85": "\n",
    }
    | dict.fromkeys(map(ord, "👍🗸"), "\u2713")
    | dict.fromkeys(map(ord, "👎🚫⛔❎✖✕"), "\u2717")
    | dict.fromkeys(map(ord, "⬜🔲🔳◻□"), "\u2610")
    | dict.fromkeys(map(ord, "🟢🔴🟡🟠🔵⚪⚫🟥🟧🟨🟩🟦🟪❓❔⚠"), "[?]")  # the meaning of a colour is not known
    | dict.fromkeys(map(ord, "│┃║"), "|")  # of tables drawn with lines
    | dict.fromkeys(map(ord, "─━═┄┈"), "-")
    | dict.fromkeys(map(ord, "┌┬┐├┼┤└┴┘╔╦╗╠╬╣╚╩╝╭╮╰╯┏┳┓┣╋┫┗┻┛"), "+")
    | {"➕": "+", "➖": "-", "↑": " increased ", "↓": " decreased ", "↔": " unchanged ", "但": "; ", "和": " and "}
    | {chr(0x2460 + number): f"\n{number + 1}. " for number in range(20)}  # in circles
)  # fmt: skip
_ORNAMENT = re.compile(f"(?![{TICKMARKS}])[\u2600-\u27bf\u2b00-\u2bff\U0001f000-\U0001faff]")
_BOUNDS = re.compile(r"(?i)\A\s*<s>|(?<!<s>)</s>\s*\Z")  # start and end tokens of some models
_STRUCK = re.compile(r"(?i)~~[^~\n]{1,300}~~|<(del|strike|s)>[^<]{0,300}</\1>")
_SCRATCHED = re.compile(  # "Edema, no, I meant Fracture"
    r"(?i)(?:\A|(?<=[,.;\n]))[^,.;\n]{1,60}?[\s,(\u2014-]{1,3}(?:(?:no|wait|sorry|oops)\b[\s,\u2014-]{1,3}){0,3}"
    r"(?:(?:scratch|strike) that\b\)?|(?:sorry|oops)(?=,)|I meant\b)"
)
_NOTED = r"([*†‡§¹²³⁴⁵⁶⁷⁸⁹]|\[[1-9]\]|\([1-9]\))"  # the mark of a footnote
_NOTE, _MARKED = re.compile(rf"[ \t]*{_NOTED}[ \t]*([^\n*]+)"), re.compile(rf"(?<=[A-Za-z)]) ?{_NOTED}(?!\*)")
_BREAK = re.compile(r"(?i)<\s?/?\s?(?:br|p|li|ul|ol|div|tr|h[1-6]|table|tbody|thead)\s?/?\s?>")
_CELL = re.compile(r"(?i)<t[dh]\s?>")
_TAG = re.compile(
    r"(?i)</?(?:t[dh]|b|i|u|s|em|strong|span|code|pre|sup|sub|font|center|a|eos|bos|pad|(?:start|end)_of_turn|unused\d{1,4})\s?/?>|<\|[a-z_]{1,20}\|>"
)
_ATTRIBUTE = re.compile(r"(\w{1,30})\s?=\s?([\"']?)([^\"'<>=]{1,60}?)\2(?=\s|/|$)")
_ELEMENT = re.compile(r"<(\w{1,30})\s([^<>]{3,200}?)(?:/>|>([^<>]{1,60})</\1>)")
_NAMED = re.compile(  # "<name>Edema</name><present>false</present>"
    rf"(?i)<({'|'.join(NAME_KEYS)})>([^<>]{{3,40}})</\1>\s*<({'|'.join(STATUS_KEYS | NUMBER_KEYS)})>([^<>]{{1,20}})</\3>"
)
_CHECKBOX = re.compile(r"(?i)<input\s[^<>]{0,100}?(?:(checked)[^<>]{0,60})?>")
_OWN_TAG = re.compile(r"<(/?)([A-Za-z][A-Za-z_]{1,30})\s?>")
_INNER, _ROOT = NAME_KEYS | {"item"}, "findings"
_BOX, _BRACE = re.compile(r"\\(?:boxed|fbox)\s?\{"), re.compile(r"[{}]")
_ARROW = re.compile(r"\\(?:long)?(?:right|Right)arrow\b|\\to\b")
_ENVIRONMENT = re.compile(r"\\(?:begin|end)\s?\{\w{1,20}\*?\}")
_COMMAND = re.compile(r"\\(?:text|textbf|textit|mathrm|mathbf|textrm|mathsf)\s?\{")
_FENCE = re.compile(r"```(?:[a-zA-Z]{1,12}(?=\s*\n))?")
_GAP = re.compile(r"(?<=[^\s.?!:;,]) {2,}(?=\S)")  # between the cells of a table set with blanks
_BLANKS = re.compile(r"[^\S\n\t]{2,}|[^\S\n]{3,}")
_LENTICULAR = re.compile(r"(?m)(^\s*)?【([^【】\n,，、;；]{1,40})】\s*([:：]?)")


def _flagged(flag: re.Match[str]) -> str:
    """What a flag in brackets says: no footnote is numbered 0, so in "edema[0], fracture[1]" both are flags."""
    if "[0]" not in flag.string:
        return flag[0]
    line = flag.string[max(0, flag.start() - 60) : flag.start()].rpartition("\n")[2]
    if not names_a_finding(line):  # "result[0]: Edema"
        return flag[0]
    beside = names_a_finding(re.split(r"[^\w\s-]|\band\b", line)[-1])
    absent, present = ("(-)", "(+)") if beside else ("(absent)", "(present)")  # behind a remark
    return f" {absent if flag[1] == '0' else present}"


_SIMPLY = [  # each sign or decoration with what is read in its place, one after the other
    (re.compile(pattern), wording)
    for pattern, wording in (
        (rf"(?<=\w) ?\( ?({UNSPACED}{{1,3}}) ?\)(?=\s?\w)", r" (\1),"),  # "Edema (\u662f) Fracture (\u5426)"
        (rf"(?<={UNSPACED})(?=[A-Za-z(])|(?<=[A-Za-z])(?={UNSPACED})", " "),  # where a language without blanks meets a name
        (r"(?<=[(\[])\s?[\u2013\u2014\u2212]\s?(?=[)\]])", "-"),  # in brackets
        (r"(?i)\bw/ ?(?=[a-z]{3})", "with "),
        (r"(?<=[A-Za-z]) ?\[([01])\]", _flagged),
        (r"[-=]{1,3}>", ":"),
        (r"(?<!\w)_{1,4} ?([xX\u2713\u2714])? ?_{1,4}(?!\w)", r"[\1]"),  # "Edema _x_ yes ___ no"
        (r"(?i)\b(approx|incl|esp|resp)\.(?=\s)", r"\1"),  # ends no sentence
        (r"(?m)\*\*+|__+|(?<!\w)_(?=[A-Za-z]+_(?!\w))|(?<=[A-Za-z])_(?!\w)|~~|`|(?<![\w*])\*(?=[A-Za-z])|(?<=[\w.:])\*(?![\w*])"
         r"|^\s{0,8}#{1,6}\s|^\s{0,8}>+\s|^\s{0,8}={2,}\s|\s={2,}[ \t]{0,8}$", ""),
        (r"(?<![\w&])#(?=[A-Za-z])", ", "),  # "#SupportDevices #Edema"
        (r"(?i)\b(no finding)(?:[\s.,;]{1,4}no finding\b)+", r"\1"),
    )
]  # fmt: skip


def plain(text: str) -> str:
    """`text` as lines without decoration. If there is a boxed answer, it alone counts. Linear in the length of `text`."""
    if "<" in text:
        text = _NAMED.sub(r"\n\2: \4\n", text)
        if "=" in text:
            text = _CHECKBOX.sub(lambda box: "\n[x] " if box[1] else "\n[ ] ", text)
            text = _ELEMENT.sub(_as_record, text)
        text = _TAG.sub("", _BREAK.sub("\n", _CELL.sub(" | ", text)))
        text = _with_headings(text)
    if "\\" in text:
        text = _without_latex(text)
    for pattern, wording in _SIMPLY:
        text = pattern.sub(wording, text)
    rows = [line for line in text.split("\n") if len(_GAP.findall(line)) > 1 and set(line).isdisjoint("[]|\u2610\u2611\u2612")]
    text = _GAP.sub("\t", text) if len(rows) > 1 else text
    return _BLANKS.sub(" ", text)


def unfenced(text: str) -> str:
    """`text` in plain signs and without code fences."""
    text = _LENTICULAR.sub(_by_its_place, text)
    text = text.translate(_SIGNS)
    text = _BOUNDS.sub("", text) if text.count("<s>") == text.lstrip().startswith("<s>") else text
    if not text.isascii():
        text = _ORNAMENT.sub("", text)
    return _annotated(_FENCE.sub("", _STRUCK.sub("", _SCRATCHED.sub("", text))))


def _by_its_place(found: re.Match[str]) -> str:
    """Text in lenticular brackets, by context: a heading, a name before its value, one name of several, or a remark."""
    text = found[2]
    if found[3] or found[1] is not None and not named(text):
        return f"\n{text}:"
    return f", {text}," if named(text) else f" ({text})"


def _annotated(text: str) -> str:
    """Replace the marks of footnotes by the notes, as remarks: "Edema*" over "* doubtful" is "Edema (doubtful)"."""
    lines = text.rstrip().split("\n")
    end = len(lines)
    while end and (not lines[end - 1].strip() or _NOTE.fullmatch(lines[end - 1])):
        end -= 1
    notes = [(note[1], note[2]) for note in map(_NOTE.fullmatch, lines[end:]) if note]
    body, said = "\n".join(lines[:end]), dict(notes)
    if not notes or len(said) < len(notes) or not said.keys() <= set(_MARKED.findall(body)):
        return text
    return _MARKED.sub(lambda mark: f" ({said[mark[1]]})" if mark[1] in said else mark[0], body)


def _as_record(element: re.Match[str]) -> str:
    """An element with attributes as a line: "<finding present='false'>Edema</finding>", "<label name='Edema'>0</label>"."""
    tag, body = element[1].replace("_", " "), element[3] or ""
    written = {one[1]: one[3] for one in _ATTRIBUTE.finditer(element[2])}
    name = next((one for one in (body, *written.values(), tag) if named(one)), None)
    if name is None:
        return element[0]
    said = status_of({key_of(key): value for key, value in written.items()}, None)
    value = body if name is not body and body.strip() else SAID[said]
    return f"\n{name}: {value}\n"


def _with_headings(text: str) -> str:
    """The tags of the model's own as headings: "<absent>Edema</absent>", under which tags of one finding stand, too."""
    closed = {tag[2] for tag in _OWN_TAG.finditer(text) if tag[1]}
    opened: list[tuple[str, str]] = []  # each with the heading that holds below it: under a denial, that

    def said(tag: re.Match[str]) -> str:
        name = tag[2].replace("_", " ")
        if tag[2] not in closed:
            return tag[0]
        if named(name):
            return "\n" if tag[1] else f"\n{name}:\n"
        if name.casefold() in _INNER or heading(name) is None and words_of(name).isdisjoint(MAYBE | OPEN):
            return "\n"
        if not tag[1]:
            around = opened[-1][1] if opened else _ROOT
            opened.append((name, name if heading(around) else around))
        elif not opened:
            return "\n"
        else:
            opened.pop()
        return f"\n{opened[-1][1] if opened else _ROOT}:\n"

    return _OWN_TAG.sub(said, text)


def _without_latex(text: str) -> str:
    boxes = list(_BOX.finditer(text))
    if boxes:
        ends = [*(box.start() for box in boxes[1:]), len(text)]
        inside = [_boxed(text, box.end(), end) for box, end in zip(boxes, ends, strict=True)]
        text = "\n".join(filter(None, inside))
    text = _ENVIRONMENT.sub("\n", _ARROW.sub(":", text)).replace("\\item", "\n- ")
    if _COMMAND.search(text):
        text = _COMMAND.sub("", text).replace("}", " ")
    for written, meant in (("\\\\", "\n"), ("\\n", "\n"), ("$", ""), ("\\,", " "), ("\\ ", " "), ("\\", "")):
        text = text.replace(written, meant)
    return text


def _boxed(text: str, start: int, end: int) -> str:
    """What stands between the brace before `start` and the one that closes it, at most as far as `end`."""
    closed = closed_at(_BRACE, text, start - 1, end)
    return text[start : closed - 1 if closed else end]


def closed_at(brackets: re.Pattern[str], text: str, start: int, end: int) -> int | None:
    """The position after the bracket that closes the one at `start`, searched up to `end`; None if it is not closed."""
    depth = 0
    for sign in brackets.finditer(text, start, end):
        depth += (sign.group() in "[{(") - (sign.group() in "]})")
        if depth == 0:
            return sign.end()
    return None
