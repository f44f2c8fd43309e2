"""Prose: which findings sentences claim, deny or leave open, by spaCy's matcher and negspacy's NegEx.

The entities are our table of synonyms; what denies, and what leaves open, are NegEx term sets. NegEx: Chapman et al. 2001,
"A simple algorithm for identifying negated findings and diseases in discharge summaries".
"""

from __future__ import annotations

import itertools
import re
from dataclasses import replace
from functools import cache, lru_cache
from typing import Any

from chexreason.answers.lexicon import DEGREES, NO, NOT_CLAIMED, QUALIFIERS, SEEN, SIGNS, SURE, UNSPACED, YES
from chexreason.answers.mentions import Mention
from chexreason.answers.synonyms import GAP, OTHERS, SYNONYMS
from chexreason.answers.terms import KINDS, NEGEX, NO_DENIAL, NOT_IN_PROSE, PRESENT
from chexreason.answers.values import share
from chexreason.labels import FINDINGS, NO_FINDING, SUPPORT_DEVICES

# After "no finding": of what there is none, or what there is all the same.
_BUT = re.compile(
    r"(?i)\s(?:of|to (?:suggest|indicate|support|explain)|suggest|suggesting|suggestive|consistent"
    r"|compatible|concerning|indicating|indicative|suspicious|that)\b"
    r"|,?\s(?:except|apart from|aside from|other than|save for)\b"
)
CHOICES = frozenset({"or", "versus", "vs", "vs.", "<", ">"})  # between two findings
NO_CHOICE = frozenset({"with", "and", ","})

_LISTED = QUALIFIERS | {",", "and", "or", "&", "/"}  # words between the items of a list

_FILM = r"(?:exam(?:ination)?|study|studies|films?|radiographs?|x-?rays?|cxr|images?|imaging|ct|scan)"

# One wording for what may be said in several, each pattern with what is read in its place.
_ORGAN = "heart|cardiac silhouette|mediastinum"
_WORDINGS = [
    (re.compile(pattern, re.IGNORECASE), wording)
    for pattern, wording in (
        (r"([\[\]{}\"=\u2014])", r" \1 "),  # 'reason=["no edema"]'
        (r"\b(?:i|we|(?:the|this) (?:\w+ )?(?:image|film|radiograph|x-?ray|cxr|study)) "  # "I do not see any abnormality"
         r"(?:do not|don't|does not|doesn't|cannot|can't|can not|did not|didn't) "
         r"(?:see|find|identify|detect|notice|show|demonstrate|reveal) (?:any )?((?:\w+ )?(?:abnormalit|findings?|patholog))",
         r"there is no \1"),
        (r", (?:absent|not (?:seen|present|visible|there|evident)) "  # "the edema, absent before, is mild"
         r"(?:before|previously|earlier|on (?:the )?(?:prior|previous)[^,.]{0,20}),", ""),
        (rf"({_FILM}),? (?:which|that) (?=(?:only )?(?:showed|demonstrated|revealed|had)\b)", r"\1, formerly "),
        (r"\b((?:look|search|check|screen|evaluat|assess|scan)\w*) (?:\w+ly|hard|again) for\b", r"\1 for"),
        (r",? rais(?:ing|es) the (?:possibility|question) of\b", ", with possible"),  # of what follows alone
        (r"\b\d{1,3}[ -](?:years?|yrs?|y)[ -]?(?:old|o)\b[^.;,]{0,30}? (?:with|who has)\b", "reportedly"),
        (r"\b(?:according to (?:the |a |his |her )?[\w ]{3,40}?(?=,)|(?:is|was|are|were) (?:said|known|reported) to have"
         r"|the (?:[\w-]+ ){0,2}(?:doctor|physician|clinician|resident|radiologist|colleague|referrer|ai|tool|software|cad)"
         r" (?:called|saw|flagged|marked|reported|reports|suspected|thought|read|suggested))\b,?", "reportedly"),
        (r"\b(?:is|are|can be) (?:\w+ly )?(?:seen|found|encountered) in (?=(?:pulmonary |pleural )?"
         r"(?:o?edema|pneumonia|atelectasis|pneumothorax|consolidation|cardiomegaly|effusions?|fractures?)\b)", "reportedly "),
        (r"\b(?:is|are|was) too (?:[\w-]+ ){1,3}(?:to be(?: called| considered| read as)?|for) ([\w -]{3,40}?)"
         r"(?= and\b|[.,;]|$)", r", rather than \1, though"),
        (r"\bof (?:\w+ )?(?:uncertain|unclear|indeterminate|undetermined|unknown) "
         r"(?:a?etiology|cause|significance|nature|origin|chronicity|age|duration|acuity)\b", ""),  # it is there
        (r"\bneither (\w+er|better|worse|improved|increased|decreased) n?or (?:worse|better|\w+er|\w+ed)\b", "unchanged"),
        (r"\b(?:is|are) not (?:free (?:of|from)|without)\b", "shows"),
        (r"\b(?:can ?not|could not) (?:fail to (?:notice|see)|miss|overlook)\b", "sees"),
        (r"\b(can ?not|could not|can['\u2019]t) (?:\w+ly be|be \w+ly) (?=\w+ed\b|seen\b|made out\b)", r"\1 be "),
        (r" ?\(((?:[01](?:\.0+)?|0?\.\d+)|\d{1,3} ?%(?= [a-z]))"
         r"(?: (?:probability|confidence|likelihood|certainty|chance))?\)(?= )",
         lambda given: "" if share(given[1]) else " doubtful"),  # "Pneumonia (0.3) is below the threshold"; 30 % may be a size
        (r"\b(the|an?|most|more|is|are) striking\b", r"\1 marked"),
        (r"\b(?:by no means|far from|not) absent\b", "present"),
        (r"\bover (?=(?:the|both|an?|right|left|most|much|all|its|each|time)\b)", "across "),  # no preference
        (r"\b(answers?|labels?|diagnos[ie]s) for (?:this|the) (?:image|film|radiograph|x-?ray|cxr|study|patient)"
         r" (?:would|should) be\b", r"\1 include"),  # what follows is the answer, and no mere possibility
        (r"\b(is|are) (?:most )?likely (?=(?!present|absent|to\b|there|positive|negative)\w)", r"\1 probably "),  # it is there
        (rf"\b({_ORGAN}) and (?:the )?({_ORGAN})((?: \w+){{1,3}}? (?:enlarged|widened|large|wide))\b", r"\1\3 and the \2\3"),
        (r"^\W*(?:the |an? |my )?(differential(?: diagnos[ei]s| considerations?)?) (?:for|of) "
         r"((?:the|this|these|an?) [^.,;:]{3,60}?) (?=includes?\b|is\b|are\b|would\b)", r"\2 is seen, \1 "),
        (r"^\W*had (?=[^,]{3,60} been\b[^,]{0,30},)", "if "),  # "had pneumothorax been present, ..."
        (r"\b(\d{1,3}) ?% (?:sure|certain|confident|likely)\b(?:(?: that)? there (?:is|are)\b)?",
         lambda sure: "sure" if int(sure[1]) >= 50 else "no"),
        (r"\b(all|everything|anything|nothing|none) but\b", r"\1 except"),
        (r"^\W*(?:all|everything)(?: of (?:them|these|the \w+)| \w+)? except ", "whether "),
        (r"\b(think|believe|if|whether|that|say|feel) there(?: is| are|'s)\b", r"\1"),
        (r"\b(can(?=['\u2019]t)|\w+(?=n['\u2019]t))n?['\u2019]t\b", r"\1 not"),
        (r", (?:on the other hand|by contrast|in contrast|meanwhile|overall),"
         r"|, however,(?= (?:is|are|appears?|looks?|seems?)\b)", ""),
        (r",?\s\b(?:al)?though\s(?=(?:(?:this|that|it)(?:\sis)?\s)?(?:not certain|uncertain|unlikely|doubtful|unclear))",
         " "),  # "edema, although this is uncertain": a turn that leads to a doubt about what stands before it
        (r", (?=(?:[\w-]+ ){1,4}?has (?:(?:now|since|\w+ly) )?(?:resolved|cleared)\b)"  # "..., effusion has resolved"
         r"|(?<=has resolved), (?!and|or|as)", ", while "),
        (r",? and (?=the (?:[\w-]+ ){1,4}?(?:is|are|has|have|shows?|remains?|appears?)\b)"  # a clause of its own
         r"|, and (?=(?!there )(?:[\w-]+ ){1,3}?(?:is|has|remains|appears)\b)", ", while "),
    )
]  # fmt: skip
_DAY = r"(?:(?:mon|tues|wednes|thurs|fri|satur|sun)day|yesterday|last (?:week|month|year|night))"
_THEN = re.compile(  # another time than that of this film
    rf"(?i)\b(?:(?:prior|previous|earlier|last|old|outside|admission)(?: (?:chest|outside|portable|comparison)){{0,2}} {_FILM}"
    rf"|{_DAY}(?:['\u2019]s)?|\w+ (?:days?|weeks?|months?|years?) (?:ago|earlier|before)|previously|formerly|in the past"
    r"|at that time|on admission|in (?:19|20)\d\d|in (?:january|february|march|april|may|june|july|august|september|october"
    rf"|november|december)|{_FILM} of \d{{1,2}}\b)"
)
_WAS = re.compile(r"(?i)\b(?:was|were|had|showed|shown|demonstrated|revealed|noted|described|reported|mentioned)\b")
_COMPARED = re.compile(
    r"(?i)\b(?:since|than|compar\w+|unchanged|stable|persist\w*|remain\w*|again|still|similar|progress\w*|wors\w+|increas\w+"
    r"|decreas\w+|larger|smaller|improv\w+|new|newly|as (?:on|in)|resolv\w+|clear\w*|gone)\b"
)
_NOW = re.compile(  # where another time ends
    r"(?i)((?:[,;]|\band)?\s*\b(?:but|however|now|today|currently|while|whereas|this|the (?:current|present|heart|lungs))\b)"
)
TURN = re.compile(r"(?i)\b(?:but|however)\b")
_NON = re.compile(r"(?i)\b(?:non|pre)[\s-]*\Z")  # "non-pneumonia", and not "non-displaced fracture"
_NO_BEHIND = re.compile(  # "as for edema, no", "pneumothorax (-)"
    r"(?i)\s?[,:-]\s?(?:no|not|nope|none|nowhere|never)\s?[.!]?\Z|\s?\(\s?[-\u2212\u2013]\s?\)"
    rf"|\s*\)?\s*{UNSPACED}*(?:{NOT_CLAIMED.pattern})"
)
_FOREIGN_YES = re.compile(r"(?:^|[\s,;])[有见見示伴][\u4e00-\u9fff]{1,12}\s*\(\s*\Z")
_DENIED_EARLIER = re.compile(r"[^,;]*(?:なし|ない|없)[^,;]*[,;]")  # these deny what stands before them
_OF_ANY = re.compile(  # "Pneumonia requires ...": said of any, unless the verb says that it is there
    r"\s(?!(?:is|was|has|does|persists|remains|appears(?! as)|stays|fits|applies|exists|extends|measures|involves|projects"
    r"|obscures|sans|plus|versus|this|as|explains|makes|abuts"
    r"|raises (?:(?:the|a) )?(?:concern|suspicion|question|possibility)|occupies|suggests|indicates)\b)[a-z]{2,}[a-rt-z]s\s"
)
_GRADED = re.compile(  # what is not so large is there
    rf"(?i)\b(?:{'|'.join(sorted((term for term in NO_DENIAL if 'not' in term), key=len, reverse=True))})\b"
    rf"|\bnot (?:as|so|very|yet|{'|'.join(map(re.escape, sorted(QUALIFIERS)))})\b"
)
_LINKS = "and|but|which|with|because|since|as|that|when|although|though|while|so|or|if|there|i|we|the|rather|whether"
_IS_NOT = re.compile(rf"(?i)(?: (?!(?:{_LINKS}|not)\b)[\w'-]+){{0,4}}( not\b(?: (?!(?:{_LINKS})\b)[\w'-]+)*)")
_SAID = re.compile(  # what a verb says of what stands before it, up to the next clause
    r"(?i)\s(?:is|are|was|were|has|have|had|appears?|seems?|looks?|as)\b(?:\sbeen\b)?((?:\s(?!(?:and|but|which|with|without|because"
    r"|since|that|when|although|though|while|so|or|if|i|we|rather|whether)\b)[^\s,;:()]+)*)"
)
_NOTHING = re.compile(
    r"(?i)\s(?:no|none|nothing|never|hardly|barely|missing)\b(?! (?:change|larger|worse))"
)  # "edema no evidence"
_NOT_THERE = NO - {"resolved"} | frozenset(
    "normal unremarkable clear intact expanded limits nothing chance poorly previously".split()
)
_THERE = SURE | PRESENT | SEEN | YES | QUALIFIERS | DEGREES - {"than"} | SIGNS
_INNER = frozenset({"not"})  # a denial within a name: "the heart is not enlarged"
_SENTENCE = re.compile(r"(?<=[.!?;])(?<!e\.g\.)(?<!i\.e\.)(?<!vs\.)\s+|[\n\r]+")
# "Rather than an edema, the opacity is ...": as a sentence of its own.
_LEADING = re.compile(
    r"(?im)\b((?:rather than|instead of|as opposed to) [^,.;\n]{1,80}),\s"
    r"|\b((?:although|while|though|despite|even though) (?:there (?:is|are) no|the absence of|no) [^,.;\n]{1,60}),\s"
    r"(?![^,.;\n]{1,40},? (?:or|and|nor)\b)"
    r"|^\W*(?:with the exception of|except(?: for)?|apart from|aside from|other than|besides) ([^.;\n]{1,80}),\s"
    r"(?=all|every|no|the)"
)
_LONGEST = 600


def read(text: str) -> list[Mention]:
    """The findings that `text` names, sentence by sentence."""
    return [mention for sentence in sentences(text) for mention in read_sentence(sentence)]


def sentences(text: str) -> list[str]:
    """The sentences of `text`; one of more than 600 characters is cut between two words, so that time stays linear."""
    found = []
    for one in _SENTENCE.split(_LEADING.sub(r"\1\2\3\n", text)):
        start = 0
        while start < len(one):
            end = start + _LONGEST
            blank = one.rfind(" ", start + 1, end) if end < len(one) else -1
            end = blank if blank > 0 else end
            if part := one[start:end].strip():
                found.append(part)
            start = end
    return found


@lru_cache(maxsize=20_000)
def read_sentence(sentence: str) -> tuple[Mention, ...]:
    """The findings that one sentence names. Cached, since rollouts and repeats say the same thing over and over."""
    whole = " ".join(sentence.encode("utf-8", "replace").decode().split())  # replaces lone surrogates
    doc = _reader()(_written_out(whole))
    found: list[Mention] = []
    choices, unclear = _choices(doc), _unclear(doc)
    before = None
    for entity in doc.ents:
        if entity.label_ not in FINDINGS:
            continue
        if before is not None and before._.doubted:  # "possible edema, pneumonia"
            entity._.doubted = entity._.doubted or _LISTED.issuperset(token.lower_ for token in doc[before.end : entity.start])
        before = entity
        denied = entity._.denied or any(token.lower_ in _INNER for token in entity)
        before_it, after_it = doc.text[: entity.start_char], doc.text[entity.end_char :]
        own = before_it if before_it.isascii() else _DENIED_EARLIER.sub("", before_it)
        foreign = _FOREIGN_YES.search(before_it) is None and NOT_CLAIMED.search(own)
        denied = denied or bool(foreign or _NON.search(before_it) or _NO_BEHIND.match(after_it))
        claimed = False if denied else None if entity._.considered or entity._.doubted or entity.start in choices else True
        generally = before_it in ("In ", "In a ", "In an ") and after_it.startswith(",")  # "In edema, one sees ..."
        if claimed and (
            entity.start in unclear or generally or before_it.casefold().strip() in CHOICES
        ):  # "or edema", after a semicolon
            claimed = None
        if before_it in ("", "A ", "An ") and entity.label_ != SUPPORT_DEVICES and _OF_ANY.match(after_it):
            claimed = None
        if entity.label_ == NO_FINDING and (claimed is False or _BUT.match(after_it)):
            claimed = None  # "no finding to suggest pneumonia" is said of pneumonia alone
        found.append(Mention(entity.text, entity.label_, claimed, "prose"))
    last = {mention.finding: mention.claimed for mention in found}
    if TURN.search(doc.text):  # "the heart looks enlarged, but I would not call it cardiomegaly"
        found = [replace(one, claimed=False) if last[one.finding] is False else one for one in found]
    return tuple(found)


def _written_out(sentence: str) -> str:
    """`sentence` rewritten in the wording that the pipeline handles."""
    for pattern, wording in _WORDINGS:
        sentence = pattern.sub(wording, sentence)
    parts = _NOW.split(sentence)  # those that tell what was there at another time, and compare nothing with it
    then = [part for part in parts if _THEN.search(part) and _WAS.search(part) and not _COMPARED.search(part)]
    return "".join(f"formerly {part}" if part in then else part for part in parts)


def _choices(doc: Any) -> set[int]:
    """Where the findings begin that stand on either side of an "or": "edema or pneumonia" claims neither."""
    found: set[int] = set()
    for one, other in zip(doc.ents, doc.ents[1:], strict=False):
        between = [token.lower_ for token in doc[one.end : other.start]]
        if between[:1] == [","] and between[1:2] and between[1] in CHOICES:
            between = between[1:]
        joined = 0 < len(between) < 7 and not CHOICES.isdisjoint(between) and NO_CHOICE.isdisjoint(between)
        unchanged = "change in" in doc[max(0, one.start - 4) : one.start].text.lower()  # "no change in A or B": both are there
        labels = {one.label_, other.label_}  # no choice: "no abnormality or device is seen"
        if joined and not unchanged and labels.issubset(FINDINGS) and NO_FINDING not in labels:
            found |= {one.start, other.start}
    return found


def _without_grades(text: str) -> str:
    """`text` with a placeholder of equal length for each "not" that only grades a finding that is present."""
    return _GRADED.sub(lambda graded: "changed".ljust(len(graded[0]), "x")[: len(graded[0])], text)


def _unclear(doc: Any) -> set[int]:
    """Where the findings begin whose verb phrase does not say that they are present: "edema is off the table"."""
    found: set[int] = set()
    text = _without_grades(doc.text)
    entities = [entity for entity in doc.ents if entity.label_ in FINDINGS and entity.label_ != NO_FINDING]
    for one, after in reversed(list(itertools.zip_longest(entities, entities[1:]))):
        if said := one.label_ != SUPPORT_DEVICES and _IS_NOT.match(text, one.end_char) or _SAID.match(text, one.end_char):
            words = {word.strip(".!") for word in said[1].casefold().split()}
            open_end = not words or after is not None and after.start_char < said.end()  # "the opacity is atelectasis"
            if one.label_ == SUPPORT_DEVICES:  # it may be said to be anywhere
                unclear = not NO.isdisjoint(words)
            else:
                unclear = not open_end and (_THERE.isdisjoint(words) or not _NOT_THERE.isdisjoint(words))
        else:  # the list that it ends
            between = [token.lower_ for token in doc[one.end : after.start]] if after is not None else []
            unclear = after is not None and after.start in found and _LISTED.issuperset(between)
            beside = after is not None and after.start == one.end + 1  # "edema no fracture"
            unclear = unclear or not beside and bool(_NOTHING.match(text, one.end_char))
        if unclear:
            found.add(one.start)
    return found


@cache
def _reader() -> Any:
    """The pipeline: our names as entities, then NegEx three times: for denials, for open lists, and for single doubts."""
    import negspacy.negation  # noqa: F401 - registers the component
    import spacy
    from negspacy.termsets import termset

    nlp = spacy.blank("en")
    nlp.add_pipe("sentencizer", config={"punct_chars": ["\n"]})
    ruler: Any = nlp.add_pipe("entity_ruler", config={"overwrite_ents": True})
    patterns = [{"label": "Other", "pattern": _pattern(nlp, name)} for name in sorted(OTHERS)]
    for finding, synonyms in SYNONYMS.items():
        names = (name for name in (finding.casefold(), *synonyms) if name not in NOT_IN_PROSE)
        patterns += [{"label": finding, "pattern": _pattern(nlp, name)} for name in names]
    ruler.add_patterns(patterns)
    own = termset("en_clinical").get_patterns() | {"termination": []}
    for name, given in NEGEX.items():
        terms = {kind: [*(own[kind] if name == "denied" else ()), *more] for kind, more in zip(KINDS, given, strict=True)}
        nlp.add_pipe("negex", name=name, config={"neg_termset": terms, "extension_name": name})
    return nlp


def _pattern(nlp: Any, name: str) -> list[dict[str, Any]]:
    pattern: list[dict[str, Any]] = []
    for part in name.split("*"):
        if pattern:
            pattern.append({"LOWER": {"IN": sorted(GAP | _INNER)}, "OP": "*"})
        pattern += [{"LOWER": token.lower_} for token in nlp.make_doc(part.strip())]
    return pattern
