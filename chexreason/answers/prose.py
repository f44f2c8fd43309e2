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

from chexreason.answers.mentions import Mention
from chexreason.answers.synonyms import GAP, OTHERS, SYNONYMS
from chexreason.answers.values import NOT_CLAIMED, QUALIFIERS
from chexreason.labels import FINDINGS, NO_FINDING, SUPPORT_DEVICES

# What denies beyond NegEx's own terms, before a finding and after it.
DENIED_BEFORE = (
    "absence of", "removal of", "interval removal of", "absent", "nor", "neither", "none of", "lack of", "lacks",
    "lacking", "excludes", "excluded", "exclude", "excluding", "resolved", "resolution of", "interval resolution of",
    "clear of", "negative", "nothing to suggest", "resolving to no", "cannot see", "unable to", "unlikely",
    "rather than", "instead of", "does not", "do not", "did not", "is not", "no longer",
    "cleared", "free from", "clearing of", "nothing suggests", "nothing suggesting", "devoid of", "against", "ruling out",
    "rules out", "zero evidence", "disappearance of", "used to be", "would not", "drained",
    *(f"{fail} to {verb}" for fail in ("fail", "fails", "failed", "failing") for verb in ("show", "reveal", "demonstrate",
    "identify", "display", "disclose", "depict", "see", "find", "appreciate", "detect")), "hardly",
    "insufficient", "not enough", "crossed out", "crossed off",
     "zero", "as opposed to", "withdraw", "withdrew", "retract",
    *(f"{much} {verb}" for much in ("little", "scant", "minimal", "weak", "scarce") for verb in ("to suggest", "to indicate",
    "evidence")),
    "inconsistent with", "rejects", "rejected", "dismissed", "nothing to indicate", "nothing pointing to",
    "w/o", "w/out", "minus", "nil", "\u00f8", "neg", "neg for", "-ve", "-ve for", "scarcely any", "short of",
    "not yet", "never", "far from",
    "drop", "dropped", "dropping", "skip", "skipped", "skipping", "omit", "omitted", "omitting", "leave out", "leaving out",
    "left out", "scrap", "scratch", "delete", "deleting", "reject", "dismiss", "discard", "discarding", "remove", "mimics",
    "mimic", "mimicking", "mimicked", "simulating", "simulates", "simulate", "incorrect", "replace", "replacing",
    "replaced", "contradicts", "contradict", "contradicting", "i removed", "removing",
    "absence de", "ausência de", "assenza di", "non si", "non c'è", "n'y a pas",
    "se descarta", "se descartan",
    "sin", "kein", "keine", "keinen", "keinerlei", "ohne", "nicht", "pas de", "pas d'", "sans", "aucun", "aucune", "niente",
    "nessun", "nessuna", "senza", "geen", "sem", "não", "ausencia de", "absence d'", "ni", "无", "未见",
    "没有",
)  # fmt: skip
DENIED_AFTER = (
    "not seen", "not present", "not identified", "not evident", "not visualized", "not visible", "not appreciated",
    "not apparent", "not noted", "not demonstrated", "not detected", "not found", "is not", "are not", "absent",
    "is absent", "are absent", "excluded", "ruled out", "is ruled out", "are ruled out", "has resolved",
    "have resolved", "resolved", "cannot be seen", "cleared", "has cleared", "no longer seen",
    "no longer", "has been excluded", "not excluded", "none", "was not", "were not", "not likely", "improbable",
    *(f"{verb} not appear {rest}" for verb in ("does", "do") for rest in ("to be present", "present", "to be visible",
    "visible", "likely")), "is missing", "are missing", "is out", "are out", "eliminated", "is the wrong", "withdrawn",
    "has been removed", "have been removed", "removed", "removal", "is 0", "is no", "is false", "is negative", "are negative",
    "does not apply", "do not apply", "not applicable", "is incorrect", "are incorrect",
    "is wrong", "rejected", "dismissed", "not supported", "unsupported", "drained", "is gone", "are gone", "has gone",
    "explanted", "completely re-expanded", "fully re-expanded",
    "has re-expanded", "have re-expanded", "has reexpanded", "is nonexistent", "nonexistent", "is lacking",
    "are lacking", "cannot be identified", "has not", "have not",
    "should not", "did not", "labelled 0", "labeled 0", "should be removed", "should be excluded", "should be dropped",
    *(f"{sign} {word}" for sign in (":", "=") for word in ("no", "none", "not", "absent", "negative", "false", "0")),
    "i do not see", "we do not see", "i can not see", "i cannot see", "nowhere", "is nowhere",
    "does not hold", "off the table", "anything but", "gone",
    "crossed off", "crossed out", "struck", "struck out", "left out", "does not fit", "do not fit",
    "contradicted", "has no support", "has no evidence", "lacks support", "lacks evidence", "lack support", "ruled - out",
    "not there", "no more",
    "unchecked", "unticked", "unselected", "unmarked", "not favored", "nicht", "ausente", "fehlt", "se descarta",
    "descartado", "descartada", "exclu", "assente", "отсутствует",
    "ausgeschlossen", "non visibile", "no se observa", "no se ve",
    "negativo", "нет",
)  # fmt: skip
# What leaves a finding open, neither claimed nor denied: to the end of a list ("may be edema, pneumonia or ..."),
OPEN_LISTS = (
    "conditions like", "to assess", "to evaluate", "to diagnose", "used to", "comment on", "patients with",
    "treatment of", "management of",
    "means the", "features of", "arguments for", "pros of", "radiographic signs of", "of the two",
    "format is", "format should be",
    "you gave", "you provided", "you listed", "label set",
    "between", "from the list", "from this list", "from the following", "of the options", "among", "differential", "consider",
    "considered", "consideration", "considerations", "may", "might", "could", "would",
    "should", "if", "whether", "cannot exclude", "cannot rule out", "can not exclude", "rule out", "r/o",
    "concern for", "c/f", "concerning for", "worrisome for", "suspicious for", "suspicion of", "suspicion for",
    "evaluate for", "evaluation for", "assess for", "assessment for", "correlate", "correlation", "risk of",
    "risk for", "follow up", "e.g.", "such as", "question of", "probability of", "likelihood of", "chance of",
    "chances of", "odds of",
    "history of", "h/o", "consult", "consultation", "seek", "difficult to exclude", "unsure", "check for",
    "look for", "screen for", "test for", "monitor for",
    "exclude", "search for", "watch for", "query", "possibility of", "presumed", "presumptive",
    "limited",
    "not sure", "not certain", "uncertain whether", "uncertain if", "favors", "favoring", "favours", "favouring",
    "suspect", "guess", "doubtful", "i doubt", "i thought", "unless", "what looks like", "what appears to be", "what seems",
    "either", "initially", "at first",
    "at first glance",
    "first thought", "seemed", "thought there was", "evaluated for", "assessed for", "checked for", "looked for",
    "screened for", "image for", "film for", "radiograph for", "x-ray for", "scan for", "reviewed for", "searched for",
    "asked", "asked about", "asked to", "choose from", "select from",
    "looking for", "checking for", "to confirm", "to verify", "treated for", "treatment for", "therapy for",
    *(f"{hard} to {see}" for hard in ("hard", "difficult") for see in ("see", "appreciate", "identify", "make out", "detect")),
    "likely represents", "likely represent", "likely reflects", "likely reflect",
    "likely representing", "likely reflecting", "likely due to", "likely related to", "likely secondary to",
    "probably represents", "probably represent", "probably reflects", "probably reflecting", "probably due to",
    "probably related to", "possibly representing", "possibly reflecting", "possibly related to", "possibly due to",
    "posible", "verdacht auf", "v.a.", "möglich", "mögliche", "posiblemente", "probablemente", "可能",
    "疑似",
)  # fmt: skip
# or to the next comma ("possible edema, pneumonia");
OPEN_BEFORE = (
    "possible", "possibly", "probable", "probably", "perhaps", "maybe", "suspected", "questionable", "question",
    "equivocal", "uncertain", "unclear", "indeterminate", "likely", "prior", "previous", "status post", "potential",
    "apparent", "less so about", "less of", "less sure about", "less confident about", "less certain about",
    "suggesting possible", "more than", "more likely than", "better than", "over", "favor", "favored", "?",
)  # fmt: skip
OPEN_AFTER = (
    "possible", "probable", "suspected", "questionable", "equivocal", "uncertain", "unclear", "indeterminate",
    "likely", "unlikely", "possibly", "perhaps", "maybe", "is favored over", "favored over",
    "means", "presumed", "assumed", "fits less", "fits less well", "less well", "less so", "doubtful",
)  # fmt: skip
# and what is said after a list.
OPEN_LATER = (
    "considered", "cannot be excluded", "cannot be ruled out", "can not be excluded", "not excluded",
    "difficult to exclude", "difficult to entirely exclude", "?", "cannot be entirely excluded", "not be excluded",
    "be excluded", "may be present", "could be present", "might be present", "may not be demonstrated",
    "in the differential", "consideration", "a concern", "if present", "if any", "cannot be assessed",
    "cannot be determined", "cannot be evaluated",
    "the latter", "the former", "as options", "as an option", "should",
    "on the differential", "one possibility", "a possibility", "is possible", "are possible",
    "be missed", "to be confirmed", "is uncertain", "are uncertain", "is unclear", "are unclear", "is unknown",
    "can not be assessed", "can not be determined", "not assessed", "not evaluated", "not assessable", "would show",
    "would have", "would be", "would need", "would require", "would cause", "would produce", "would appear",
    "has been treated", "was treated", "remote possibility", "possibility", "first impression", "initial impression", "is weak",
    *(f"{hard} to {see}" for hard in ("hard", "difficult") for see in ("assess", "judge", "evaluate", "exclude")),
    *(f"{be} {often}" for be in ("is", "are") for often in ("often", "usually", "commonly", "typically")),
)  # fmt: skip
# What a textbook says of any film, and not of this one.
GENERALLY = (
    "often", "usually", "commonly", "typically", "generally", "frequently", "classically", "can be",
    "is when", "requires", "depends on", "can lead", "can result",
    "can occur", "can mimic", "can cause", "can also", "can show", "can include", "can appear", "can present", "is a condition",
    "is defined", "is diagnosed", "is characterized", "refers to", "accompanies",
    *(f"is {a} {cause}" for a in ("a", "a common", "a frequent", "a possible") for cause in ("cause", "complication", "sign")),
)  # fmt: skip
# Names of a normal film that, in a sentence, may be said of one part of it.
NOT_IN_PROSE = frozenset({"normal", "wnl", "within normal limits", "unremarkable", "negative"})
# What looks like one of them and is none.
NO_DENIAL = (
    "no change", "no change in", "no significant change", "no interval change", "no significant interval change",
    "not changed", "not significantly changed", "no new change", "not increased", "no increase", "no increase in",
    "no decrease", "no larger", "not only", "not just", "not merely",
    "not severe", "not rule out", "not ruled out", "cannot exclude",
    "cannot rule out", "not exclude", "not excluded", "cannot be excluded", "cannot be ruled out",
    "can not be excluded", "not be excluded", "without change", "without significant change",
    "is not changed", "are not changed", "has not changed", "have not changed", "is not significantly changed",
    "not resolved", "has not resolved", "have not resolved", "is not resolved", "not completely resolved",
    *(f"{verb} not {done}" for verb in ("has", "have") for done in ("improved", "increased", "decreased", "worsened",
    "progressed")),
    "absence of lung markings", "absence of vascular markings", "absent lung markings", "absent vascular markings",
    "absent markings",
    "no reason to doubt", "not doubt", "no denying", "not deny", "cannot deny", "none on the right", "none on the left",
    "none on the other",
    "no doubt", "without doubt", "without a doubt", "no question that", "has not been excluded", "have not been excluded",
    "not cleared", "has not cleared", "nearly gone", "almost gone", "nearly resolved", "almost resolved",
    "partially resolved", "incompletely resolved",
    "partly resolved", "nearly completely resolved", "almost completely resolved", "largely resolved",
    "mostly resolved",
    "without interval change", "no displacement", "not displaced", "no further", "no significant interval",
    "not significantly", "without significant interval",
)  # fmt: skip
NO_DOUBT = (
    *(f"would {verb}" for verb in ("say", "label", "classify", "describe", "report", "call", "be my", "select", "choose",
    "pick", "give", "list", "include")),
    *(f"should be {done}" for done in ("labelled", "labeled", "classified", "reported", "read as", "selected", "listed")),
    *(f"{answer} {be} be" for answer in ("answer", "answers", "label", "labels") for be in ("would", "should")),
)  # fmt: skip
CAN_BE = tuple(
    f"can be {done}" for done in ("seen", "identified", "appreciated", "noted", "made out", "confirmed", "confident")
)
# Where the reach of a denial or of a doubt ends.
TURNS = (
    ", keep",
    "and keep",
    "although",
    "but",
    "except",
    "however",
    "nevertheless",
    "still",
    "though",
    ", yet",
    "and yet",
    "and that",
    "aside from",
    "apart from",
    "other than",
    "there's",
    "while",
    "whereas",
    "and i",
    "so the",
    ", the",
    ", with",
    ", now",
    ", only",
    "and the presence of",
    "settled on",
    "and chose",
    "and kept",
    "and went with",
    "and in favor of",
    "and in favour of",
    "and presence of",
    ", i am left",
    ", i see",
    "ultimately chose",
    "and selected",
    "what remains",
    "yes for",
    "positive for",
    "yes to",
)
PREDICATES = (  # what ends a clause that says that something is there
    "has increased", "have increased", "has worsened", "have worsened", "has developed", "have developed", "persists",
    "persist", "has progressed", "have progressed", "has enlarged", "is increased", "is unchanged", "are unchanged",
    "is stable", "are stable", "is present", "are present", "is positive",
    "is 1", "is true", "is yes", "are positive", "has improved",
    "have improved", "after", "following", "s / p", "status post",
)  # fmt: skip

# After "no finding": of what there is none, or what there is all the same.
_BUT = re.compile(
    r"\s(?:of|to (?:suggest|indicate|support|explain)|suggest|suggesting|suggestive|consistent"
    r"|compatible|concerning|indicating|indicative|suspicious|that)\b"
    r"|,?\s(?:except|apart from|aside from|other than|save for)\b",
    re.IGNORECASE,
)
CHOICES = frozenset({"or", "versus", "vs", "vs.", "<", ">"})  # between two findings
NO_CHOICE = frozenset({"with", "and", ","})

_LISTED = QUALIFIERS | {",", "and", "or", "&", "/"}  # words between the items of a list

_RESERVED = re.compile(  # "edema, although this is uncertain": a turn that leads to a doubt about what stands before it
    r",?\s\b(?:al)?though\s(?=(?:(?:this|that|it)(?:\sis)?\s)?(?:not certain|uncertain|unlikely|doubtful|unclear))",
    re.IGNORECASE,
)
_TURN = re.compile(r"\b(?:but|however)\b", re.IGNORECASE)
_NON = re.compile(r"\b(?:non|pre)[\s-]*\Z", re.IGNORECASE)  # "non-pneumonia", and not "non-displaced fracture"
_NO = re.compile(r"\s?[,:-]\s?(?:no|not|nope|none|nowhere|never)\s?[.!]?", re.IGNORECASE)  # "as for edema, no"
_CONTRACTED = re.compile(r"\b(\w+)n['\u2019]t\b", re.IGNORECASE)
_ALL_BUT = re.compile(r"\b(all|everything|anything|nothing|none) but\b", re.IGNORECASE)
_ALL_EXCEPT = re.compile(r"^\W*(?:all|everything)(?: of (?:them|these|the \w+)| \w+)? except ", re.IGNORECASE)
_THAT_THERE = re.compile(r"\b(think|believe|if|whether|that|say|feel) there(?: is| are|'s)\b", re.IGNORECASE)
_NONE_SEEN = re.compile(  # "I do not see any abnormality"
    r"\b(?:i|we) (?:do not|don't|cannot|can't|can not|did not|didn't) (?:see|find|identify|detect|notice) (?:any )?"
    r"((?:\w+ )?(?:abnormalit|findings?|patholog))",
    re.IGNORECASE,
)
_GLUED = re.compile(r"([\[\]{}\"=\u2014])")  # 'reason=["no edema"]'
_SURE = re.compile(r"\b(\d{1,3}) ?% (?:sure|certain|confident|likely)\b", re.IGNORECASE)
_BY_THE_WAY = re.compile(r", (?:on the other hand|by contrast|in contrast|meanwhile|overall),", re.IGNORECASE)
_MINUS = re.compile(r"\s?\(\s?[-\u2212\u2013]\s?\)")  # "pneumothorax (-)"
_FOREIGN_NO = re.compile(rf"\s*\)?\s*[\u3040-\u30ff\u4e00-\u9fff\uac00-\ud7af]*(?:{NOT_CLAIMED.pattern})")
_FOREIGN_YES = re.compile(r"(?:^|[\s,;])[有见見示伴][\u4e00-\u9fff]{1,12}\s*\(\s*\Z")
_DENIED_EARLIER = re.compile(r"[^,;]*(?:なし|ない|없)[^,;]*[,;]")  # these deny what stands before them
_OF_ANY = re.compile(  # "Pneumonia requires ...": said of any, unless the verb says that it is there
    r"\s(?!(?:is|was|has|does|persists|remains|appears|stays|fits|applies|exists|extends|measures|involves|projects|obscures"
    r"|explains|makes|abuts|occupies|suggests|indicates)\b)[a-z]{2,}[a-rt-z]s\s"
)
_GRADED = re.compile(  # what is not so large is there
    rf"\b(?:{'|'.join(sorted((term for term in NO_DENIAL if 'not' in term), key=len, reverse=True))})\b"
    rf"|\bnot (?:as|so|very|yet|{'|'.join(map(re.escape, sorted(QUALIFIERS)))})\b",
    re.IGNORECASE,
)
_LINKS = "and|but|which|with|because|since|as|that|when|although|though|while|so|or|if|there|i|we|the|rather|whether"
_IS_NOT = re.compile(rf"(?: (?!(?:{_LINKS}|not)\b)[\w'-]+){{0,4}} not\b(?: (?!(?:{_LINKS})\b)[\w'-]+)*", re.IGNORECASE)
_INNER = frozenset({"not"})  # a denial within a name: "the heart is not enlarged"
_SENTENCE = re.compile(r"(?<=[.!?;])(?<!e\.g\.)(?<!i\.e\.)(?<!vs\.)\s+|[\n\r]+")
# "Rather than an edema, the opacity is ...": as a sentence of its own.
_LEADING = re.compile(
    r"\b((?:rather than|instead of|as opposed to) [^,.;\n]{1,80}),\s"
    r"|^\W*(?:with the exception of|except(?: for)?|apart from|aside from|other than|besides) ([^.;\n]{1,80}),\s"
    r"(?=all|every|no|the)",
    re.IGNORECASE | re.MULTILINE,
)
_LONGEST = 600


def read(text: str) -> list[Mention]:
    """The findings that `text` names, sentence by sentence."""
    return [mention for sentence in sentences(text) for mention in read_sentence(sentence)]


def sentences(text: str) -> list[str]:
    """The sentences of `text`; one of more than 600 characters is cut between two words, so that time stays linear."""
    found = []
    for one in _SENTENCE.split(_LEADING.sub(r"\1\2\n", text)):
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
    """The findings that one sentence names. Remembered, since rollouts and repeats say the same thing over and over."""
    whole = " ".join(sentence.encode("utf-8", "replace").decode().split())  # half a character is none
    doc = _reader()(_RESERVED.sub(" ", _BY_THE_WAY.sub("", _written_out(whole))))
    found: list[Mention] = []
    choices, undone = _choices(doc), _undone(doc)
    before = None
    for entity in doc.ents:
        if entity.label_ not in FINDINGS:
            continue
        if before is not None and before._.doubted:  # "possible edema, pneumonia"
            entity._.doubted = entity._.doubted or _LISTED.issuperset(token.lower_ for token in doc[before.end : entity.start])
        before = entity
        denied = entity._.denied or entity.start in undone or any(token.lower_ in _INNER for token in entity)
        before_it, after_it = doc.text[: entity.start_char], doc.text[entity.end_char :]
        foreign = _FOREIGN_YES.search(before_it) is None and NOT_CLAIMED.search(_DENIED_EARLIER.sub("", before_it))
        denied = denied or bool(foreign or _FOREIGN_NO.match(after_it))
        denied = denied or bool(_NON.search(before_it) or _NO.fullmatch(after_it) or _MINUS.match(after_it))
        claimed = False if denied else None if entity._.considered or entity._.doubted or entity.start in choices else True
        if before_it in ("In ", "In a ", "In an ") and after_it.startswith(","):  # "In edema, one sees ..."
            claimed = None
        if before_it in ("", "A ", "An ") and entity.label_ != SUPPORT_DEVICES and _OF_ANY.match(after_it):
            claimed = None
        if entity.label_ == NO_FINDING and (claimed is False or _BUT.match(after_it)):
            claimed = None  # "no finding to suggest pneumonia" is said of pneumonia alone
        found.append(Mention(entity.text, entity.label_, claimed, "prose"))
    last = {mention.finding: mention.claimed for mention in found}
    if _TURN.search(doc.text):  # "the heart looks enlarged, but I would not call it cardiomegaly"
        found = [replace(one, claimed=False) if last[one.finding] is False else one for one in found]
    return tuple(found)


def _written_out(sentence: str) -> str:
    """`sentence` with "is not" for "isn't" and "all except" for "all but", so that each denial is listed once."""
    sentence = _NONE_SEEN.sub(r"there is no \1", _GLUED.sub(r" \1 ", sentence))
    sentence = _SURE.sub(lambda sure: "sure" if int(sure[1]) >= 50 else "no", sentence)
    sentence = _THAT_THERE.sub(r"\1", _ALL_EXCEPT.sub("whether ", _ALL_BUT.sub(r"\1 except", sentence)))
    return _CONTRACTED.sub(lambda word: "cannot" if word.group(1).casefold() == "ca" else f"{word.group(1)} not", sentence)


def _choices(doc: Any) -> set[int]:
    """Where the findings begin that stand on either side of an "or": "edema or pneumonia" claims neither."""
    found: set[int] = set()
    for one, other in zip(doc.ents, doc.ents[1:], strict=False):
        between = [token.lower_ for token in doc[one.end : other.start]]
        if between[:1] == [","] and between[1:2] and between[1] in CHOICES:
            between = between[1:]
        joined = 0 < len(between) < 7 and not CHOICES.isdisjoint(between) and NO_CHOICE.isdisjoint(between)
        unchanged = "change in" in doc[max(0, one.start - 4) : one.start].text.lower()  # "no change in A or B": both are there
        if joined and not unchanged and one.label_ in FINDINGS and other.label_ in FINDINGS:
            found |= {one.start, other.start}
    return found


def _undone(doc: Any) -> set[int]:
    """Where the findings begin that a "not" behind them is said of, whatever its verb: "edema and mass were not chosen"."""
    found: set[int] = set()
    text = _GRADED.sub(lambda graded: "x" * len(graded.group()), doc.text)
    entities = [entity for entity in doc.ents if entity.label_ in FINDINGS and entity.label_ != SUPPORT_DEVICES]
    for one, other in itertools.zip_longest(entities, entities[1:]):
        if one and (said := _IS_NOT.match(text, one.end_char)) and (other is None or other.start_char >= said.end()):
            found.add(one.start)
    for one, other in reversed(list(zip(entities, entities[1:], strict=False))):  # and of the list that it ends
        if other.start in found and _LISTED.issuperset(token.lower_ for token in doc[one.end : other.start]):
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
    clinical = termset("en_clinical").get_patterns()
    denials = {
        "pseudo_negations": [*clinical["pseudo_negations"], *NO_DENIAL],
        "preceding_negations": [*clinical["preceding_negations"], *DENIED_BEFORE],
        "following_negations": [*clinical["following_negations"], *DENIED_AFTER],
        "termination": [*TURNS, *PREDICATES, "there is", "there are"],
    }
    lists = {
        "pseudo_negations": [*NO_DOUBT, *CAN_BE],
        "preceding_negations": [*OPEN_LISTS, *GENERALLY],
        "following_negations": [*OPEN_LATER],
        "termination": [*TURNS, ", which"],
    }
    doubts = {
        "pseudo_negations": [
            "of indeterminate age",
            *CAN_BE,
            *(term for term in OPEN_LISTS if term.startswith(("likely", "probably", "possibly"))),
        ],
        "preceding_negations": [*OPEN_BEFORE],
        "following_negations": [*OPEN_AFTER, *GENERALLY],
        "termination": [*TURNS, ",", "and", "there is", "there are", "there has been"],
    }
    for name, terms in (("denied", denials), ("considered", lists), ("doubted", doubts)):
        nlp.add_pipe("negex", name=name, config={"neg_termset": terms, "extension_name": name})
    return nlp


def _pattern(nlp: Any, name: str) -> list[dict[str, Any]]:
    pattern: list[dict[str, Any]] = []
    for part in name.split("*"):
        if pattern:
            pattern.append({"LOWER": {"IN": sorted(GAP | _INNER)}, "OP": "*"})
        pattern += [{"LOWER": token.lower_} for token in nlp.make_doc(part.strip())]
    return pattern
