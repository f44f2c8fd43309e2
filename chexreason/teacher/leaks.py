"""Detects reasoning traces which reveal that the teacher was told the labels of a film.

A single word is no leak. A film may be labelled AP, a view may be given, an effusion may be expected to layer, and the
reader may label what is seen. A leak says that the result came from a source other than the film: it quotes labels or
a truth, calls findings given or known, mentions whoever asked, has to reach a result, or hides that it was told.
Rules of wording are never complete: a leak in other words passes, and reviewers of the traces have to find it.
"""

from __future__ import annotations

import re
from functools import cache
from itertools import chain

from chexreason.labels import FINDINGS

_DRAWN = (
    r"((an?|the|any|some|both|acute|mild|moderate|severe|small|large|left|right|bilateral|pulmonary|pleural|lung|rib) ){0,4}("
    + "|".join(name.lower() for name in FINDINGS)
    + r"|o?edema|effusions?|pneumothora(x|ces)|atelectas[ei]s|consolidations?|fractures?|opacit(y|ies)|lesions?|nodules?"
    r"|devices?|pneumonias)\b"
)
_CASE = r"(cases?|stud(y|ies)|films?|images?|radiographs?|x rays?|scans?|exam(ination)?s?|pictures?|patients?)"
_RESULT = r"(findings?|diagnos[ei]s|conclusions?|answers?|solutions?|impressions?|abnormalit(y|ies)|patholog(y|ies)|results?)"
_TOLD = r"(findings|diagnos[ei]s|conclusions?|answers?|impression|abnormalit(y|ies)|lists?)"
_GIVEN = r"(given|provided|supplied|told|disclosed|assigned)"
_BE = r"(is|are|was|were|(has|have|had) (already )?been|being)"
_MUST = (
    r"(must|should|shall|ought to|(has|have|needs?|got|wants?) to|(am|is|are|was|were) (supposed|required|expected"
    r"|meant|told) to)"
)
_HAS_TO = r"(must|(has|needs?) to|(is|are|was|were) (supposed|required|expected|meant|told) to)"  # "should" is the reader's own
_ASKED = r"(system |user |original )?(prompt|request|instructions?|task|question|query|assignment|input|hint)"
_IMAGE = r"(films?|images?|radiographs?|x rays?|scans?|pictures?|stud(y|ies)|exam(ination)?s?|views?|projections?|exposures?)"
_OF_CASE = rf"(for|of|in|on) (this|the) {_CASE}"
# What the text that stands on a film says: the label reads PORTABLE, indicates a supine view.
_MARK = (
    r"((that|the|this|it|film|image|patient|is|was|an?) ){0,4}(ap|pa|portable|mobile|erect|upright|supine|sitting|semi\w*"
    r"|(left|right) side|l|r|projection|view|date|time)\b"
)
_SAYS = (
    r"((do|does|did) not )?(only |also |clearly |already )?(says?|said|tells?|told|shows?|(stat|indicat|includ|requir|nam"
    r"|describ|not)(es?|ed)|(suggest|mention|list|confirm|want|call|report|contain|demand)(s|ed)?|marked"
    r"|point(s|ed)? to|asks? for|(impl|specif)(y|ies|ied)|gives?|gave|ha(s|ve|d))"
    rf"(?! {_MARK})"
)
# A view may be given, and a history may not be: "we are given a single view", "we are told nothing of the patient".
_OF_THE_FILM = (
    r"( with)?( only| just)? (no|nothing|neither|little|none)\b|( with)?( (an?|the|this|these|one|two|only|just|single"
    rf"|plain|digital|frontal|lateral|chest|portable|ap|pa|supine|erect|upright))+ {_IMAGE}\b"
)
_READS = (
    r"( for| which| whether| what| to (read|interpret|review|look|describe|assess|evaluate|compare|go|report|list|name|check"
    r"|examine|take|say|give|identify|find|determine|decide|provide|analy[sz]e|comment|state))\b"
    rf"(?![^.;,]*{_DRAWN})"
)

# Removed before the search for leaks: text on the film, the reader's own labelling, and mentions that the film was given.
_HARMLESS: tuple[str, ...] = (
    r"(?<![^.,;])(?=[^.,;]*\b(markers?|corner|technologist|portable|supine|erect|upright|ap|pa|lead|side|letter|text|burned|cropped|overl\w+|project\w*|upside|leads"
    rf"|legible|pacemaker|patient's name)\b)(?![^.,;]*\b({_DRAWN}|{_RESULT}\b))[^.,;]*\blabel(s|l?ed)?",
    rf"labels? (that )?(reads?|says?|states?|tells?( us)?( that)?|indicates?|gives?|shows?|is) {_MARK}",
    rf"(labell?ed|annotated|marked|tagged) ((as|with|an?|the|by|to be) ){{0,4}}({_MARK}|(left|right)( side)? marker|arrow"
    r"|technologist|(left|right)(?= ?[.,;]))",
    r"(leads?|electrodes?) (is|are) labell?ed",
    r"(would|will|do|does|did|should|could|can|may|might|to|i|we|let me|let us) ((not|now|then|rather|best) ){0,4}label"
    r"(?= \w)(?! (sets?|lists?|is|was|says?|said|of|tells?|told)\b)",
    r"(be|best|better) labell?ed|labell?ing (it|this|that|the|any|on|one)(?! (film|image|says))",
    r"(opacity|density|line|shadow|band|haze|patch|area|lucency|structure)( \w+){0,4}? is labell?ed(?! (as )?(positive"
    r"|present))",
    r"(final|my|predicted|following|(more|most) \w+|chosen|possible) labels?( list)?",
    r"(assign|add|choose|select|settle on|appl(y|ies)|deserves?|earns?|warrants?|merits?|reject|withhold|(enough"
    r"|sufficient) to justify) (the |a |any |no )?labels?",
    r"labels? (that |which )?(here )?apply|(sticker|adhesive|corner) label|arrow annotations?|from the list (provided|given)",
    rf"labels? (of |for )?({_DRAWN} )?(appl(y|ies)|of its own|(is|are) ((not|therefore|thus) ){{0,4}}(met|warranted|justified"
    r"|dropped|kept|rejected|added|appropriate))",
    r"criteri\w+ (for|of) (the|this|that|each) label",
    r"labels? ?\||label by label|labels? (like|confidence)",
    r"told (apart|from|by)",
    rf"{_IMAGE},? (that |which )?(as provided|you (have )?(gave|given|provided|sent))",
)  # fmt: skip
LEAKS: dict[str, tuple[str, ...]] = {
    "labels are spoken of": (r"(\w+ )?label(s|l?ed|l?ing|l?ers?)?",),
    "there is a truth": (
        r"ground ?truths?|gt|the truth",
        r"answer (key|sheet)",
        r"(gold(en)?|reference) standard (finding|diagnos|annotation|answer|reading|report)\w*",
        rf"(gold(en)?|reference) standard ((is|was) {_DRAWN}|{_SAYS})",
        r"(match(es|ing)?|according to|per|agrees? with|consistent with) the (gold(en)?|reference) standard(?! of)",
        r"reference (answer|report|reading|diagnosis|findings|says|states|indicates|lists|shows)|findings? list",
        rf"(annotations?|annotators?|data ?set|metadata|chart|file ?name)( {_OF_CASE})? ({_SAYS}|(is|was|are) {_DRAWN})",
        rf"(radiology|original|official|accompanying|provided|given) (report|reading) ({_SAYS}|(is|was) {_DRAWN})",
        r"report (provided|given|supplied)|according to the report|radiologist('s|s') (report|reading)",
        rf"the report {_SAYS}",
        r"the (radiologists?|experts?|annotators?) (said|reported|marked|found|saw|diagnosed|confirmed|noted)",
    ),
    "the film was annotated": (
        rf"{_CASE} (is|are|was|were|has been|had been) (not |already |also )?(annotated|tagged|coded|marked|flagged|confirmed)"
        rf" ((as|with|for|positive|negative|showing|having) ){{0,4}}{_DRAWN}",
        rf"{_DRAWN} {_BE} (not |also )?(annotated|tagged|flagged)|the tag (for|of|says)",
        r"(marked|tagged|annotated|coded) (as )?(positive|present)",
    ),
    "the writer was told": (
        r"(i|we) (already )?(was|were|am|are|have been|had been) (already |also )?(told|given|provided|informed"
        rf"|instructed|supplied)(?!{_OF_THE_FILM})",
        rf"(i|we) (was|were|am|are|have been|had been) asked(?!{_READS})",
        rf"(having been|being) (told|given|provided|informed)(?!{_OF_THE_FILM})|(told|informed) (me|us|that|there|it)",
        r"(given|provided|supplied|revealed|disclosed|confirmed|reported) to (me|us)",
        r"that (it|they|this|these) (was|were|has been) (given|provided|supplied|told)",
        r"(i|we) (have |had )?(got|received) (the|these|those|this) (findings?|diagnos[ei]s|answers?|list|report)",
        r"(i|we) (already )?have the (diagnosis|answer|solution)(?! of| that| narrowed)",
        r"it (is|was|has been) (already )?(given|stated|specified|told) that",
        r"what (is|was|were|has been) (given|provided|told|stated|supplied)(?! by)",
    ),
    "a result is called given, known or expected": (
        r"(the|these|those|this|all|each|every|my|your) (given|provided|supplied|established|confirmed|stated|specified"
        r"|assigned|target|known|annotated|official|pre ?specified|predetermined|predefined|intended|desired|prescribed"
        r"|mandated"
        rf"|(required|requested)(?= (?!findings? (of|for|in)\b))) {_RESULT}(?! format| form\b| block| section| tags?)",
        r"(the|these|those|this|all) (given|provided|supplied|stated) (information|list(?! of))",
        r"(correct|expected|known|given|provided|intended|desired|required) (answers?|solutions?|outputs?)(?! format"
        r"| form\b| depends| would| could| may| might)",
        r"the (correct|expected) (findings?|diagnos[ei]s|answers?|conclusions?) "
        r"(is|are|was|were|includes?|must be|has to be)"
        r"(?! (not|un\w+|absent|missing|lacking|seen|present|there|open|only|hard|difficult|clear)\b)",
        rf"the (true|actual|real) {_RESULT} (is|are|was|were|includes?) {_DRAWN}",
        rf"information {_GIVEN},? ((there|it|this|that) )?(is|are|shows?|means|includes?) {_DRAWN}",
        rf"(since|because|as) {_DRAWN} {_BE} (already )?({_GIVEN}|stated|specified)|given the confirmed {_DRAWN}",
        rf"the (known|stated|provided|specified|supplied|assigned|annotated) {_DRAWN}",
        r"(?<!of )the listed (findings|diagnoses|abnormalities) (is|are|was|were|includes?|fit|match|can|must|should)",
        r"(according to|match(es|ing)?|explains?|consistent with) (the|these|those|all) listed (findings|diagnoses)",
        r"established (findings?|for this)",
    ),
    "a result was given or listed": (
        rf"{_TOLD} ((that|which) )?({_BE} )?(already )?{_GIVEN}( to (me|us)| in the| for (this|the)| here| already"
        r"| beforehand| above| in advance| as|(?= ?([.,;:)]|$| (is|are|includes?|say|fit|match|can|must|point|indicate"
        r"|suggest)\b)))",
        rf"{_TOLD} provided (is|are|includes?|point|indicate|suggest|fit|match|show|can|must)",
        rf"{_TOLD} (that|which) {_BE} (already )?({_GIVEN}|stated|specified|listed|established)(?! (by|above|under|from"
        r"|earlier))",
        rf"{_TOLD} ({_BE} )?(already )?(listed|stated|specified|(established|requested)(?! are| include)) ({_OF_CASE}"
        rf"|in (the|your|my|this) {_ASKED}|beforehand|in advance|are|include)",
        rf"{_TOLD} ({_BE} )?established as",
        r"findings ((that )?(i|we) (have to|need to|must)|to be) (explain|justif|support)\w*",
        rf"{_DRAWN} {_BE} (already |also |not )?({_GIVEN}|listed|specified|stated|mentioned|established) (to (me|us)"
        rf"|as (an? |the )?(finding|diagnosis|answer|present|positive)|in (the|your|my|this) ({_ASKED})"
        rf"|{_OF_CASE}|beforehand|in advance)",
        r"as (was |were )?(provided|instructed|told|requested|hinted)",
        r"as given(?! above)",
        r"as (listed|specified|annotated)(?= ?,)",
        r"as (stated|indicated|suggested|noted|given|mentioned|described|confirmed|listed|specified) (in|by)"
        rf" (the|your|my|this) ({_ASKED}|annotations?|report|metadata|data ?set)",
    ),
    "somebody asked": (
        r"the (user|students?)",
        rf"you (have |had |just |already ){{0,4}}(gave|given|provided|told|sa(y|id)|asked|want(?= me| us| {_DRAWN})|established"
        r"|mentioned|specified|listed|supplied|stated|indicated|requested)",
        r"your (findings?|diagnos[ei]s|list|answer)",
        rf"(the|this|my|your) {_ASKED} (already |also |only )?(says?|states?|lists?|mentions?|gives?|tells?"
        r"|requires?|wants?|names?|specif(y|ies)"
        r"|demands?|indicates?|includes?|provides?|suggests?)",
        r"(the|this|my|your) (system |user )?(prompt|request|task|instructions?) asks?"
        r"(?! for (reasoning|a list|the list|a description))",
        r"(in|from|by|per|with|according to) (the|this|my|your) (system |user )?(prompt|request|instructions?)",
        r"per (instructions?|request)",
    ),
    "a result must be reached": (
        rf"(i|we) (also |still |then |now ){{0,4}}{_MUST} (justify(?! calling)"
        rf"|rationali[sz]e|reach|arrive at|land on|end up (with|at|on)"
        r"|conclude(?! that| with)|end with|output|produce|return|lead to)(?! an? (conclusion|diagnosis|decision|firm|final))"
        rf"( \w+){{0,3}}? ({_DRAWN}|conclusion of|diagnosis of|the (conclusion|answer|diagnosis))",
        r"(i|we) (am|are|was|were) (supposed|expected|required|meant) to (find|report|see|conclude|list|identify|name|confirm"
        rf"|diagnose) (only )?{_DRAWN}",
        rf"(answer|solution|conclusion|output|reasoning|reading|list|response) {_HAS_TO} (be|list|include|contain|name|say|read"
        rf"|lead to|end (in|with|at)|match|support|reach) {_DRAWN}",
        rf"(reasoning|output|response) should (lead to|reach|match|support) {_DRAWN}",
        r"(explain|justify|show) why the (answer|diagnosis|conclusion) (is|must be)",
        r"work(ing)? back(wards?)? from|reverse engineer\w*",
        r"(come up with|write|produce|construct) (an? |the |some )?(reasoning|rationale|justification)s?",
        r"because it is (required|listed|given|expected)",
        r"(task|job|ask|goal|aim|assignment) is to (justify|support|rationali[sz]e|reach|arrive|confirm|match|explain why)",
    ),
    "the result was known": (
        rf"(i|we) (already |also ){{0,4}}(know|knew) (that )?(what )?(the|this|my) (\w+ )?{_RESULT}",
        rf"((i|we) (already |also ){{0,4}}(know|knew)|knowing) (that )?(there (is|are|was|were)|(the|this) {_CASE} (is|has"
        rf"|shows?|had|contains?)|it (is|was))(?=[^.;,]*{_DRAWN})",
        rf"knowing (that )?(what )?(the|my|these) {_RESULT}",
        rf"({_CASE}|answer|diagnosis) (is|was) (already )?known"
        rf" (to (have|show|contain|include|be ({_DRAWN}|positive|abnormal))|beforehand"
        r"|in advance)",
        rf"(with|since|as) the {_RESULT} (is |are |being )?(already )?known",
        r"(knew|know|known|told|given|have) (\w+ )?(beforehand|in advance)",
        r"(?<!now )that (i|we) (already )?(knew|ha(d|ve) the (answers?|diagnosis|findings|solution))|reportedly|allegedly",
    ),
    "it is hidden": (
        r"(reveal(ing)?|disclos(e|ing)|mention(ing)?|refer(ring)? to|hid(e|ing)|conceal(ing)?) (the|any|these|those)"
        r" (answers?|given|provided|known|established)",
        rf"giv(e|ing) away the|let(ting)? on (that|about)|(hid(e|ing)|conceal(ing)?) (the fact )?that (i|we|it|the {_RESULT})",
        r"as (if|though) (i|we) ((did|do|had|have|was|were) (not|never)|discovered|found)",
        r"as if (reasoning |thinking |reading )?independently",
        r"reason(ing)? (as if )?independently",
        r"pretend(s|ed|ing)?|make it (look|seem|sound|appear) (as|like)",
    ),
}  # fmt: skip


@cache  # compiled when the first trace is checked, since planning a run checks none
def _struck_and_leak() -> tuple[re.Pattern[str], re.Pattern[str]]:
    """Two patterns: the harmless text to remove first, and the leaks."""
    both = _HARMLESS, chain.from_iterable(LEAKS.values())
    struck, leaks = (re.compile("|".join(rf"(?<!\w)({one})(?!\w)" for one in patterns)) for patterns in both)
    return struck, leaks


_PLAIN = {
    re.compile(r"[\u2018\u2019\u02bc\u00b4]"): "'",
    re.compile(r"[*_`\"\u201c\u201d]"): "",  # emphasis and quotation marks
    re.compile(r"[-\u00ad\u2010\u2011\s]+"): " ",
    re.compile(r"\bi'm\b"): "i am",
    re.compile(r"n't\b"): " not",
    re.compile(r"\bcannot\b"): "can not",
    re.compile(r"'ve\b"): " have",
    re.compile(r"'re\b"): " are",
    re.compile(r"'d been\b"): " had been",
    re.compile(r"\b(it|that|what)'s\b"): r"\1 is",
}


def leak(thoughts: str) -> str | None:
    """The first words, in lower case, that show that the writer of a reasoning was told the labels, or None."""
    plain = thoughts.lower()
    for found, instead in _PLAIN.items():
        plain = found.sub(instead, plain)
    struck, leaks = _struck_and_leak()
    shown = leaks.search(struck.sub("~", plain))
    return shown and shown.group().strip()
