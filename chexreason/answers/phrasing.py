"""Normalises wording: questions, signs, statuses and remarks in parentheses become `name: value`."""

from __future__ import annotations

import re

from chexreason.answers.items import MARK, MARKED, NAME, names_a_finding, ticked, unmarked
from chexreason.answers.lexicon import GROUPS, MAYBE, NO, SAID, TICKMARKS, TICKS
from chexreason.answers.values import unscaled, words_of

_TOGETHER = re.compile(rf"(?i)\s\((?:with|and|plus)\s([^(),;]{{0,30}}\b(?:{NAME.pattern}))\)")
_LEADS = r"(?:yes|no|present|absent|positive|negative|true|false)"
_NEXT_LEAD = re.compile(rf"(?i)[,.]\s(?={_LEADS}:\s{NAME.pattern})")  # "Absent: edema, Present: fracture"
_NUMBER_LEAD = re.compile(rf"(?im)(?:^|,)\s*([01])\s?=\s?(?={NAME.pattern})")  # "1 = edema, 0 = ..."
_LEADING = re.compile(rf"(?im)^\W*{_LEADS}:")
_DOUBTED_ASIDE = re.compile(rf"(?i)(?<=\w)\s\(([^():;]{{0,60}}?\b(?:{NAME.pattern})[^():;]{{0,60}})\)")
_VERDICT = re.compile(  # "Edema is marked 1", "I give edema a 1 and fracture a 0", "edema is a yes"
    rf"(?i)(?:\bI (?:give|assign|mark|rate|score) )?\b({NAME.pattern}) "
    r"(?:(?:(?:is|gets|receives|scores|equals|was) (?:(?:marked|scored|rated|labell?ed|given|coded|set|as|to|a|an) ){0,3}|an? )"
    r"(1|0|yes|no|true|false))(?: and\b|(?=\s*[,.;\n])|\s*\Z),?"
)
_BRACKETED = re.compile(  # "[Edema: yes] [Fracture: no]"
    rf"(?i)\s*(?:[\[(]\s?(?:{NAME.pattern})\s?[:=][^\[\]()\n]{{1,300}}[\])][\s,;]*)+"
)
_BOXES = re.compile(  # "Edema [ ] yes [x] no"
    rf"(?i)({NAME.pattern})[ \t]+(?=(?:[\[(][^\[\]()]?[\])]|[{TICKMARKS}])\s*{_LEADS}\b)"
)
_LETTER = re.compile(rf"(?im)(?:(?<=[\s,;])|^)[\[(]?([yntfpauxo])(?:[)\]] ?[:=]?| ?[:=]| [-\u2013] )\s*(?={NAME.pattern})")
_LETTERED = {"u": "[?] "} | dict.fromkeys("ytpx", "(+) ") | dict.fromkeys("nfao", "(-) ")  # "(y) Edema", "P: Edema"
_FULL, _HOLLOW = "\u25cf\u2022\u25c9\u29bf", "\u25cb\u25ef"  # buttons that are pressed, and that are not
_PRESSED = re.compile(rf"[\[(]\s?[{_FULL}]\s?[\])]")
_BUTTON = re.compile(rf"[\[(]? ?([{_FULL}{_HOLLOW}]) ?[\])]? ?(?=[A-Za-z])")
_UNANSWERED = re.compile(  # a question with its options, and no answer
    rf"(?i)\s*(?:which|what)\b[^\n?]{{3,120}}\?(?:\s*\(?[A-N][.)]\s*(?:{NAME.pattern})\b){{2,14}}\s*(?:answer ?:?)?\s*"
)
_CHECKED, _UNCHECKED = (re.compile(rf"(?i)\b{word} ?:") for word in ("checked", "unchecked"))
_OPTION = re.compile(
    rf"(?:^|[\s(])([A-N]|\d{{1,2}})[.):]\s+({NAME.pattern}|none\b(?: of (?:the above|these|them)\b)?)",
    re.IGNORECASE | re.MULTILINE,
)
_CHOICES = r"(\(?(?:[A-N]|\d{1,2})\)?(?:(?:\s?,\s?|\s?,? and |\s?&\s?)\(?(?:[A-N]|\d{1,2})\)?){0,13})"
_OPTED = re.compile(  # "Answer: (B)", "The correct options are 1 and 3.", "I choose B.", "Option B is correct.", "B"
    r"(?i)(?:\b(?:(?:answers?|options?|choices?|selections?|selected|correct)\b[ *_]*"
    r"(?::|\bis\b|\bare\b|\b(?:would|should|must) be\b)"
    r"|I(?:'d|'ll| would| will)? (?:choose|select|pick|go with|opt for))[ *_]*(?:(?:options?|choices?|letters?) )?"
    rf"{_CHOICES}(?:[.)]*[:\s]\s*(?:{NAME.pattern}))?"
    r"|(?:^|[.;\n])[ \t]*(?:(?:only|options?|answers?) )*"
    rf"{_CHOICES} (?:(?:is|are) (?:the )?(?:only )?(?:correct|right|true|present|best)"
    r"(?: (?:answers?|options?|choices?|ones?))?|appl(?:y|ies))"
    r"|\n[ \t]*\(?([A-N])[.)]?)"
    r"[ *_]*[.!]?\s*\Z"
)
_UNOPTED = re.compile(  # "None of A, B is correct", "Neither A nor B"
    r"\b(?i:none|neither) (?i:of )?(?:(?i:(?:the )?(?:options?|answers?|choices?))\b|\(?(?:[A-N]|\d{1,2})\b)"
)
_TICKED_OPTION = re.compile(
    rf"(?im){_OPTION.pattern}\s*(?:[\u2713\u2714\u2705]|[(\u2190:<-]+\s?(?:my )?(?:correct|answer|selected|chosen)\b)"
)
_SCALE = re.compile(  # "Confidence (1-5)", "on a scale from 0 (absent) to 3 (severe)"
    r"(?i)(\s?\bon an? )?"
    r"\b(?:scale|scores?|scored|rat(?:e|ed|ings?)|likert|confidence|certainty|likelihood|probability|severity|grades?)\b"
    r"[^\n\d]{0,30}(?:([01])(?:\s?\([^()\n]{0,30}\))?\s?(?:-|\u2013|~|to|through)|\bout of)"
    r"\s?(\d{1,2}|100)\b(?:\s?\([^()\n]{0,30}\))?"
    r"(\)?\s[-\u2013\u2014]\s)?"
)
_SEVERITY = re.compile(r"(?i)sever|mild|grade")
_POINT = re.compile(rf"(?i)({NAME.pattern})([ \t:=|(\u2013-]{{1,5}})(\d{{1,3}})(?![\w.%/]|\s?[cm]m\b)")
_MEANT = re.compile(r"(?i)\d(?:\.\d|\s?%|/\d|\sout of|\s?=)|sever|grade|scale|stage|mean")  # says what a number is
_PLUS = re.compile(rf"(?im)^\s*(?:\++\s*\w|[\u2713\u2714\u2611\u2705]\s*{NAME.pattern})")
_MINUS = re.compile(r"(?m)^\s*[-\u2212]+\s*(?=\w)")  # not bullets if there are plus signs too
_BOXED = rf"[\[(] ?(?:[-+xX*\u2212{TICKMARKS}]|yes|no|y|n|[01]|present|absent)? ?[\])]"
_STATUS = (
    r"(?:(?:not )?(?:seen|detected|present|identified|confirmed|visible|noted|found|evident)|ruled out|excluded"
    r"|yes|no|y|n|true|false|t|f|absent|positive|negative|pos|neg|[01](?:\.\d+)?|\.\d+"
    rf"|\d{{1,3}} ?%|[-+\u2212{TICKMARKS}{_FULL}{_HOLLOW}]|{_BOXED})"
)
_EDGE = r"(?!\w|\.\w)[\s,;/|.]*+(?:(?:and|but)\s)?"
_IS = r"(?:is|are|was|were|[-\u2013\u2014/|])\s"
_BEHIND = re.compile(rf"({NAME.pattern})\s*+(?:{_IS})?({_STATUS}){_EDGE}", re.I)  # "Edema [x] Fracture [ ]", "Edema - no ..."
_BEFORE = re.compile(rf"(?<![\w.])({_STATUS})\s*+[:\u2013-]?\s*+({NAME.pattern}){_EDGE}", re.I)  # "0 Edema 1 Fracture"
_RUNS = [re.compile(rf"(?i)\s*(?:{one.pattern}){{2,14}}") for one in (_BEHIND, _BEFORE)]
_LONGEST = 1_000  # characters of such a run
_BUTTON_BEHIND = re.compile(rf"(?i)({NAME.pattern}) ?[:=]? ?([{_FULL}{_HOLLOW}])(?! ?[A-Za-z])")
_NEXT_PAIR = re.compile(  # "Edema: yes / Fracture: no"
    rf"(?i)([:=?] ?[^/:=?\n]{{1,30}}) / (?={NAME.pattern}\s?(?:[:=?]|-\s))"
)
_LEADERS = re.compile(rf"(?i)({NAME.pattern})\s?\.{{3,}}\s?")  # "Edema ..... 1"
_LED = re.compile(  # "(+): Edema", "[no] - Edema"
    rf"(?i)({_BOXED}|[{TICKMARKS}{_FULL}{_HOLLOW}]) ?[:\u2013-] (?={NAME.pattern})"
)
_BOXED_OPTION = re.compile(rf"(?i)({_BOXED})\s?[A-N][.)]\s(?={NAME.pattern})")  # "[x] B. Edema"
_PLUSSED = re.compile(rf"(?im)(?:^|[,;.|/]\s*|^\s*(?:[-*\u2022]|\d+[.)])\s)\+\s?(?={NAME.pattern})")
_SIGNED = re.compile(rf"(?im)(?:(?<=[\s,;.|/])|^)([-+\u2212])\s?(?={NAME.pattern})")


def _as_heading(group: re.Match[str]) -> str:
    """A status with the findings that it is said of in parentheses, as a heading with them below it."""
    listed = names_a_finding(group[2]) and not names_a_finding(group[1])
    return f"\n{group[1].strip()}: {group[2]}\n" if listed else group[0]


_WORDINGS = [  # each pattern with what is read in its place, one after the other
    (re.compile(pattern, re.IGNORECASE | re.MULTILINE), wording)
    for pattern, wording in (
        (r",? for which (?=[\w ]{3,40}? (?:must|should|needs? to|has to) be (?:excluded|ruled out|considered)\b)", "; "),
        (rf"(?<=[\d%]),? (?:and|while|whereas) that of (?={NAME.pattern})", ", probability of "),
        (r"\bnot normal ?:", "abnormal:"),
        (r"\bnormal (?:heart and lungs|lungs and heart|cardiopulmonary appearance)\b", "chest is normal"),
        (r"\b(heart|cardiac silhouette|mediastinum)(?: (?:size|shadow|width|diameter))? "
         r"(?:(?:is|appears|looks|occupies|takes up|spans|covers|measures) (?:(?!not\b|no\b)\w+ )?"
         r"(?:(?:larger|bigger|wider|greater|more) than|over|above)|exceeds) "
         r"(?:the )?(?:half|50 ?%|upper limits? of normal|normal)"
         r"(?:(?: of)?(?: the)? (?:thoracic|chest|thorax)(?: (?:width|diameter|cavity))?)?", r"\1 is enlarged"),
        (rf"(?:(?<![^\s,;])[^\s():,;]*[^\x00-\x7f][^\s():,;]*\s?|(?<!\w))[\[(]\s?({NAME.pattern})\s?[\])]"
         r"(?=\s*[:=]|\s+(?:[01]|yes|no|present|absent|true|false)\b)", r"\1"),  # "[Edema]: 1", "(Edema) yes"
        (r"\A\W*(?:\w+\s?=\s?)?\w+\(\s?(\w+ ?= ?\w+(?:,\s?\w+ ?= ?\w+){0,30}),?\s?\)\W*\Z",  # "dict(Edema=1, Fracture=0)"
         lambda call: call[1].replace("_", " ")),
        (r"(?:(?<=[.?!])[ \t]+|^)(?:(?=Q\d{0,2}[:.] )|Question ?\d{0,2}[:.] (?=[^\n?]{1,200}\? ))"
         r"|(?<=[.?!])[ \t]+(?=(?:which|what)\b[^.?\n]{1,80}\?)", "\n"),  # "A: edema. Q: which ...", "Which are absent? ..."
        (r"^[ \t]*q(?:uestion)?\d{0,2}[:.] ?([^\n?]{1,200})\??[ \t]*\n+[ \t]*a(?:nswer)?\d{0,2}[:.] ?", r"\1? "),
        (r"\n\s{0,8}(?=(?:and|or|nor)\s)", " "),  # a line that goes on with the one before
        (r"(?<=\w)\s(?=\?[A-Za-z])", ", "),  # "opacity ?edema ?pneumonia"
        (r"\b(?:(?:is|are) the )?(heart|mediastinum) (enlarged|widened)(?=\s?\?)", r"\2 \1"),
        (r"\b(?:(?:(?:what|how) about|is|are|was|were|do|does|did|can|could|has|have) "  # "Is there edema? Yes": "edema? Yes"
         r"(?:(?:there|the|this|these|you|we|one|it|image|film|x-?ray|cxr|chest|"
         r"radiograph|patient|show|see|have|demonstrate|reveal|contain|identify|any|an?|evidence of|signs? of) ){0,8})?"
         rf"({NAME.pattern})(?: (?:present|visible|seen|evident|noted|identified|there|shown|here|on|in|this|the|film|image|"
         r"x-?ray|cxr|radiograph|patient)){0,8} ?\?", r"\1?"),
        (r"\?\s*(?:a|ans|answer)\s?[:.]\s*|\?[ \t]*\n\s*(?=(?:yes|no|present|absent)\s*(?:[,.;:!\n]|\Z))", "? "),
        (rf"^\s*[\[(]?(?:[-\u2212]1(?:\.0)?|\u00b1|\+/[-\u2212]|\?)[\])]? ?[:=][ \t]*(?={NAME.pattern}|$)", "uncertain: "),
        (rf"^\W*(absent|excluded|ruled out|not (?:seen|present))\s?,\s+(?={NAME.pattern}\s*(?:,|[.;]?\s*$))", r"\1: "),
        (rf"({NAME.pattern})\s*<\s?(yes|no|present|absent)\s?>", r"\1: \2\n"),
        (rf"\?[ \t]+(?=(?:{NAME.pattern})(?:\W|\Z)|[A-Z][a-z]{{3,20}}:)", "?\n"),
        (r"(?:^[ \t]*|[.?!][ \t]+)(?:q\d{0,2}[:.] ?)?((?:which|what)\b[^?:\n]{1,100})\?", r"\n\1:"),  # "Which are absent?"
        # "Edema: P(present) = 0.1", "probability of presence 0.1": a number, and no word for it; "Edema: P(0.9)"
        (r"\b(?:p|prob(?:ability)?|likelihood|chance|score) ?(?:\( ?|of (?:being )?)?"
         r"(?:present|presence|positive|pos|yes|true|1)\b ?\)?(?= ?[=:]? ?[\d.])", "p "),
        (r"\bp ?\( ?([\d.]+ ?%?) ?\)(?! ?[=:])", r"\1"),
        (r"\b(?:p ?\(([A-Za-z ]{3,30})\) ?[=:]"  # "P(Edema) = 0.9", "Probability of edema: 90%"
         r"|(?:probability|likelihood|chance|confidence|certainty) (?:of|in|for) ([A-Za-z ]{3,30}?)"
         r" ?(?:[=:]|is) ?(?=\d|low|high|very))", r"\1\2: "),
        (r"(?:\band\s)?([^.:,;()\n]{0,40}\b(?:positive|negative|present|absent|uncertain))\s\(([^()\n]*)\)[,;.]?", _as_heading),
        (r"\b(?:heart|lungs)(?:(?:,| and|, and)(?: the)? "  # "Heart, lungs, pleura and bones are normal"
         r"(?:heart|lungs|pleura|mediastinum|bones|ribs|diaphragm|hila|soft tissues)){1,6}"
         r"(?: (?:are|is|all|appear|look|within)){1,3} (?:normal|unremarkable)\b", "chest is normal"),
        (r":[ \t]+(?=([-*\u2022])[ \t]\S[^\n]*\n\s{0,8}\1[ \t])", ":\n"),  # "No evidence of: - edema", and below it more
        (r"(?:^[ \t]*|,?\s)(?:\+/[-\u2212]|\u00b1)\s?(?=[A-Za-z])", ", possible "),  # "cardiomegaly +/- edema"
        # "All negative except edema"; "Edema positive, the rest negative"
        (r"\A\W*(?:all|everything)(?: (?:the )?(?:others?|rest|findings?|labels?|else)){0,2}(?: (?:is|are))? "
         r"(?:0|normal|negative|absent|clear) (?:except|but|apart from|other than|save|with the exception of)(?: for)?(?= \w)",
         "nothing but"),
        (r"(?:^|[,;] ?|\band )(?:all (?:the )?(?:others?|remaining|rest)|everything else|the (?:rest|others))"
         r"(?: (?:findings?|labels?|conditions?|ones))?(?: (?:is|are|were))?:? (?:0|negative|absent|not present|normal|false)"
         rf"(?=\W*\Z|[.;\n]|, ?(?:{NAME.pattern}) ?(?::|=|is|are)? ?(?:positive|present|yes|true|1)\b)", ""),
        # "Scores - Edema: 0.2", "Confidence: Edema 0.2"
        (r"^\W*(?:(?:my|the|model|estimated|predicted) )*(?:scores?|results?|estimates?|likelihoods?|probabilit(?:y|ies)"
         r"|confidences?|predictions?|ratings?|chest x-?rays?|cxr)(?: (?:scores?|values?|levels?|estimates?))?"
         rf" ?[-:\u2013\u2014] (?={NAME.pattern}(?: ?[:=]|[ (][^,;\n]{{0,9}}\d))", ""),
        (r"\A\W*(?:all|everything)(?: (?:of )?(?:the )?(?:others?|findings?|labels?))? (?:except|but|apart from|other than)"
         r"(?: for)? ([^.;\n]{3,80}?) (?:is|are) (?:0|absent|negative|normal|not present)\W*\Z", r"nothing but \1"),
        # "Edema (30%): hazy", "Edema (low confidence): hazy"; "Effusion? Small, on the left"
        (rf"({NAME.pattern}) ?\(((?:0?\.\d+|\d{{1,3}} ?%|(?:very )?low|high|moderate)"
         r"(?: (?:probability|confidence|likelihood|certainty|chance))?)\) ?: *(?=[A-Za-z])", r"\1: \2 - "),
        (rf"({NAME.pattern})\? *(tiny|trace|small|minimal|mild|moderate|large|severe), "
         r"((?:(?:on|in|at) )?(?:the )?(?:left|right|both|bilateral)\b)", r"\1: \2 \3"),
        (r"\b(no finding) is (?=present|absent|true|false|correct|positive|negative)", r"\1: "),
    )
]  # fmt: skip


def phrased(text: str) -> str:
    """`text` in that wording. Linear in its length."""
    text = _aligned(text)
    if _UNANSWERED.fullmatch(text):
        return ""
    text = _opted(_scaled(_ticked(text)))
    for pattern, wording in _WORDINGS:
        text = pattern.sub(wording, text)
    return _with_statuses(_without_asides(_signed(_unbulleted(text))))


def _unbulleted(text: str) -> str:
    """Lines that begin with minus as denials where others begin with plus, else as bullets."""
    if _PLUS.search(text):
        return _MINUS.sub("(-) ", text)
    return _MINUS.sub("- ", text) if len(_MINUS.findall(text)) > 1 else text


def _aligned(text: str) -> str:
    """Names and statuses that stand side by side, whatever joins and divides them, as `name: value` or as boxes."""
    text = _BOXED_OPTION.sub(r"\1 ", text)
    text = _NEXT_PAIR.sub(r"\1\n", _LED.sub(r"\1 ", _LEADERS.sub(r"\1: ", text)))
    if _PLUSSED.search(text):
        text = _SIGNED.sub(r"(\1) ", text)
    text = "\n".join(map(_run, text.split("\n")))
    if set(_HOLLOW).isdisjoint(text):
        return text
    return _BUTTON_BEHIND.sub(lambda pair: f"{pair[1]}: {SAID[pair[2] in _FULL]}", text)


def _run(line: str) -> str:
    """A line of nothing but names and statuses, behind all of them or before all of them, as `name: value`."""
    if len(line) > _LONGEST:
        return line
    if _RUNS[0].fullmatch(line):
        return _BEHIND.sub(lambda pair: f"{pair[1]}: {_bare(pair[2])}\n", line)
    if _RUNS[1].fullmatch(line):
        return _BEFORE.sub(lambda pair: f"{pair[2]}: {_bare(pair[1])}\n", line)
    return line


def _bare(sign: str) -> str:
    """A status without brackets; a box or a button as a word."""
    inner = sign.strip("[]() ")
    if not inner or inner in TICKS or inner in _FULL + _HOLLOW + TICKMARKS + "-\u2212":
        return SAID[bool(inner) and (inner in TICKS or inner in _FULL)]
    return inner


def _scaled(text: str) -> str:
    """Points on a scale that the text gives as shares of it: "Edema: 1" below "Confidence (1-5)"; of severity, as yes or no."""
    scale = _SCALE.search(text)
    if not scale or int(scale[3]) < 2:
        return text if _MEANT.search(text) else _of_no_scale(text)
    low, high, graded = int(scale[2] or 0), int(scale[3]), _SEVERITY.search(scale[0])

    def said(point: re.Match[str]) -> str:
        value = int(point[3])
        share = SAID[value > 0] if graded else f"{max(value - low, 0)}/{high - low}"
        return f"{point[1]}{point[2] if point[2].strip() else ': '}{share}"

    return _POINT.sub(said, text.replace(scale[0], "" if scale[1] else "score: " if scale[4] else "score"))


def _of_no_scale(text: str) -> str:
    """Whole numbers as shares of a hundred, or as unknown."""
    points = [point for point in _POINT.finditer(text) if not set(":=|").isdisjoint(point[2])]  # else a number of a list
    most = max((int(point[3]) for point in points), default=0)

    def said(point: re.Match[str]) -> str:
        return f"{point[1]}: uncertain " if unscaled(int(point[3]), most) is None else f"{point[1]}{point[2]}{point[3]}%"

    return _POINT.sub(said, text) if most > 1 else text


def _signed(text: str) -> str:
    """Turn a line's only sign, before or after several names, into a heading over them: "\u2717 Edema, Fracture"."""
    return "\n".join(map(_under_its_sign, text.split("\n"))) if MARKED.search(text) else text


def _under_its_sign(line: str) -> str:
    bare = (line if MARK.match(line) else unmarked(line)).rstrip(" .")
    mark, behind = MARK.match(bare), bare[-1:] if bare[-1:] in TICKMARKS else ""
    if not (mark or behind) or line.endswith(":"):
        return line
    rest = bare[mark.end() :] if mark else bare[:-1]
    if len(NAME.findall(rest)) < 2 or MARKED.search(rest) or "|" in rest or any(sign in rest for sign in ":="):
        return line
    if mark and not mark[3] and ";" in rest:  # "[ ] Edema; Fracture": a box is one item's
        return line
    said = behind in TICKS if behind or not mark else ticked(mark)
    return f"{SAID[said]}: {rest.replace(';', ',')}"


def _ticked(text: str) -> str:
    """Buttons, and letters for yes and no, as boxes: "(\u25cf) Edema", "(y) Edema (n) Fracture"."""
    if "\u25a0" in text and "\u2610" in text:
        text = text.replace("\u25a0", "\u2611")
    if _PRESSED.search(text) or not set(_HOLLOW).isdisjoint(text):
        text = _BUTTON.sub(lambda button: " [x] " if button[1] in _FULL else " [ ] ", text)
    if _UNCHECKED.search(text):
        text = _CHECKED.sub("present:", text)
    text = _BOXES.sub(r"\1: ", text) if MARKED.search(text) else text
    letters = {letter.casefold() for letter in _LETTER.findall(text)}
    if letters in ({"y", "n"}, {"t", "f"}, {"x", "o"}) or len(letters) > 1 and letters <= GROUPS.keys():
        text = _LETTER.sub(lambda letter: _LETTERED[letter[1].casefold()], text)
    return text


def _opted(text: str) -> str:
    """Replace the whole text by the names of the options that it chooses by letter, number or tick."""
    opted = _OPTED.search(text)
    letters = next(filter(None, opted.groups())) if opted else ""
    chosen = re.findall(r"[A-Za-z](?![A-Za-z])|\d+", letters.replace("and", ",")) or [
        sign for sign, _ in _TICKED_OPTION.findall(text) if sign.isalpha()
    ]
    if not chosen and not _UNOPTED.search(text):
        return text
    options = {sign.upper(): name for sign, name in _OPTION.findall(text)}
    if len(options) < 2 or not all(sign.upper() in options for sign in chosen):
        return text
    return ", ".join(options[sign.upper()] for sign in chosen) if chosen else _OPTION.sub("", text)


def _without_asides(whole: str) -> str:
    """Resolve parentheses after a name: another finding becomes a separate one, a guess at the cause is removed."""
    whole = _TOGETHER.sub(lambda aside: f", {aside[1]}" if words_of(aside[1]).isdisjoint(NO | MAYBE) else aside[0], whole)
    return _DOUBTED_ASIDE.sub(lambda aside: "" if _is_doubt(aside[1]) else aside[0], whole)


def _with_statuses(whole: str) -> str:
    """Statuses that lead what follows, that stand behind a verb, or that share brackets with their name."""
    if {"0", "1"} <= set(_NUMBER_LEAD.findall(whole)):
        whole = _NUMBER_LEAD.sub(lambda number: "\npresent: " if number[1] == "1" else "\nabsent: ", whole)
    if _LEADING.search(whole):
        whole = _NEXT_LEAD.sub("\n", whole)
    whole = _VERDICT.sub(r"\1: \2, ", whole)
    if _BRACKETED.fullmatch(whole):
        whole = re.sub(r"[\[\]()]", "\n", whole)
    return whole


def _is_doubt(aside: str) -> bool:
    """Whether what stands in parentheses behind a name is a choice or a guess of its cause: "opacity (possibly edema)"."""
    words = words_of(aside)
    return words.isdisjoint(NO) and (aside.lstrip().startswith("?") or not words.isdisjoint(MAYBE | {"or"}))
