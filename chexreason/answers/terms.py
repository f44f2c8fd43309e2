"""What denies a finding in a sentence, what leaves it open, and where either ends: NegEx's term sets, as data."""

from __future__ import annotations

# What denies beyond NegEx's own terms, before a finding and after it. Of terms before one, "neg" is "neg for" too; spaCy reads
# "cannot" as "can not".
DENIED_BEFORE = (
    "removal of", "interval removal of", "absent", "nor", "neither", "none of", "lack of", "lacks",
    "lacking", "excludes", "excluded", "exclude", "excluding", "resolved", "resolution of", "interval resolution of",
    "clear of", "negative", "nothing", "resolving to no", "unable to", "unlikely",
    "rather than", "instead of", "does not", "do not", "did not", "is not",
    "cleared", "free from", "clearing of", "devoid of", "against", "ruling out",
    "disappearance of", "used to be", "would not", "drained",
    *(f"{fail} to {verb}" for fail in ("fail", "fails", "failed", "failing") for verb in ("show", "reveal", "demonstrate",
    "identify", "display", "disclose", "depict", "see", "find", "appreciate", "detect")), "hardly",
    "insufficient", "crossed out", "crossed off", "zero", "0", "as opposed to", "withdraw", "withdrew", "retract",
    *(f"{much} {verb}" for much in ("little", "scant", "minimal", "weak", "scarce") for verb in ("to suggest", "to indicate",
    "evidence")),
    "inconsistent with", "rejects", "rejected", "dismissed",
    *(f"{normal} {of}" for normal in ("normal", "unremarkable") for of in ("with regard to", "with respect to")),
    "unremarkable for",
    "w/o", "w/out", "minus", "nil", "\u00f8", "neg", "-ve", "scarcely any", "short of", "far from",
    "strike", "striking",
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
    "have resolved", "resolved", "evacuated", "cannot be seen", "cleared", "has cleared", "no longer seen",
    "no longer", "has been excluded", "not excluded", "none", "not likely", "improbable",
    *(f"{verb} not appear {rest}" for verb in ("does", "do") for rest in ("to be present", "present", "to be visible",
    "visible", "likely")), "is missing", "are missing", "is out", "are out", "eliminated", "is the wrong", "withdrawn",
    "has been removed", "have been removed", "removed", "removal", "is 0", "is no", "is false", "is negative", "are negative",
    "does not apply", "do not apply", "not applicable", "is incorrect", "are incorrect",
    "is wrong", "rejected", "dismissed", "not supported", "unsupported", "drained", "is gone", "are gone", "has gone",
    "taken out", "pulled", "discontinued", "explanted", "completely re-expanded", "fully re-expanded",
    "has re-expanded", "have re-expanded", "has reexpanded", "is nonexistent", "nonexistent", "is lacking",
    "are lacking", "cannot be identified", "has not", "have not",
    "should not", "did not", "labelled 0", "labeled 0", "should be removed", "should be excluded", "should be dropped",
    *(f"{sign} {word}" for sign in (":", "=") for word in ("no", "none", "not", "absent", "negative", "false", "0")),
    "i cannot confirm", "does not bear out", "not borne out", "fails to show it", "neither of which",
    *(f"the {film} contradicts" for film in ("image", "film", "radiograph")),
    "is a skin fold", "is an artifact", "is an artefact", "is artifactual", "are artifacts", "is projectional",
    "i do not see", "we do not see", "i cannot see", "nowhere", "is nowhere",
    "does not hold", "off the table", "anything but", "gone",
    "crossed off", "crossed out", "struck", "struck out", "left out", "does not fit", "do not fit",
    "contradicted", "has no support", "has no evidence", "lacks support", "lacks evidence", "lack support", "ruled - out",
    "not there", "no more",
    "unchecked", "unticked", "unselected", "unmarked", "not favored", "not confirmed",
    "nicht", "ausente", "fehlt", "se descarta",
    "descartado", "descartada", "exclu", "assente", "отсутствует",
    "ausgeschlossen", "non visibile", "no se observa", "no se ve",
    "negativo", "нет",
)  # fmt: skip
# What is said, after a verb, of something that is there, place and degree aside; of a finding of which anything else is
# said ("edema is off the table") nothing is claimed.
PRESENT = frozenset(
    "in on within over along near throughout overlying involving worsened developed reaccumulated "
    "re-accumulated obvious unmistakable undeniable conspicuous notable numerous widespread justified "
    "placed checked chosen selected what finding findings abnormality abnormalities answer label cause main "
    "best well expected concerning favored changed resolved due consistent compatible suggestive suggested described shown "
    "evidenced indicated calcified difficult".split()
)
# What leaves a finding open, neither claimed nor denied: to the end of a list ("may be edema, pneumonia or ..."),
OPEN_LISTS = (
    *(f"{verb} it for" for verb in ("check", "evaluate", "assess", "screen", "review", "examine", "analyze", "analyse")),
    "formerly", "reportedly", "admitted with", "admitted for", "presented with", "referred for", "referred with",
    "follow-up of", "options were", "options are", "options include", "first impression was", "initial impression was",
    "tempted to", "tempting to", "nearly called", "almost called",
    "recommended for", "conditions like", "to assess", "to judge", "had there been", "learn to recognise", "learn to recognize",
    "will discuss", "common findings", "findings that can be seen", "conditions visible on", "typical findings on",
    "typical findings include",
    "typical abnormalities", "common abnormalities", "to evaluate", "to diagnose", "used to", "comment on", "patients with",
    "treatment of", "management of",
    "means the", "features of", "arguments for", "pros of", "radiographic signs of", "of the two",
    "format is", "format should be",
    "you gave", "you provided", "you listed", "label set",
    "between", "from the list", "from this list", "from the following", "of the options", "among", "differential", "consider",
    "considered", "consideration", "considerations", "may", "might", "could", "would",
    "should", "if", "whether", "cannot exclude", "cannot rule out", "rule out", "r/o",
    "concern for", "c/f", "concerning for", "worrisome for", "suspicious for", "suspicion of", "suspicion for",
    "evaluate for", "evaluation for", "assess for", "assessment for", "correlate", "correlation", "risk of",
    "risk for", "follow up", "e.g.", "such as", "question of", "probability of", "likelihood of", "chance of",
    "chances of", "odds of",
    "history of", "h/o", "consult", "consultation", "seek", "difficult to exclude", "unsure", "check for",
    "look for", "screen for", "screening for", "workup for", "work-up for", "test for", "monitor for",
    "exclude", "search for", "watch for", "query", "possibility of", "presumed", "presumptive",
    "limited",
    "not sure", "not certain", "uncertain whether", "uncertain if", "favors", "favoring", "favours", "favouring",
    "suspect", "guess", "doubtful", "i doubt", "i thought", "i first", "unless",
    "what looks like", "what appears to be", "what seems",
    "either", "initially", "at first",
    "first thought", "seemed", "thought there was", "evaluated for", "assessed for", "checked for", "looked for",
    "screened for", "image for", "film for", "radiograph for", "x-ray for", "scan for", "reviewed for", "searched for",
    "asked", "read for", "in general", "choose from", "select from",
    "looking for", "checking for", "to confirm", "to verify", "treated for", "treatment for", "therapy for",
    *(f"{hard} to {see}" for hard in ("hard", "difficult") for see in ("see", "appreciate", "identify", "make out", "detect")),
    "likely represents", "likely represent", "likely reflects", "likely reflect",
    "likely representing", "likely reflecting", "likely due to", "likely related to", "likely secondary to",
    "probably represents", "probably represent", "probably reflects", "probably reflecting", "probably due to",
    "probably related to", "possibly representing", "possibly reflecting", "possibly related to", "possibly due to",
    "posible", "sospecha de", "suspicion de", "soupçon de", "suspeita de", "evtl", "eventuell",
    "verdacht auf", "v.a.", "möglich", "mögliche", "posiblemente", "probablemente", "可能",
    "疑似",
)  # fmt: skip
# or to the next comma ("possible edema, pneumonia");
OPEN_BEFORE = (
    "possible", "possibly", "probable", "probably", "perhaps", "maybe", "suspected", "questionable", "question",
    "equivocal", "uncertain", "unclear", "indeterminate", "likely", "prior", "previous", "status post", "potential",
    "apparent", "less so about", "less of", "less sure about", "less confident about", "less certain about",
    *(f"recommend {placing}" for placing in ("placement of", "insertion of", "a", "an")),
    "suggesting possible", "more than", "more likely than", "better than", "over", "favor", "favored", "?",
)  # fmt: skip
OPEN_AFTER = (
    "possible", "probable", "suspected", "questionable", "equivocal", "uncertain", "unclear", "indeterminate",
    "likely", "unlikely", "possibly", "perhaps", "maybe", "is favored over", "favored over",
    "that i am not sure", "that i am unsure", "that i can not be", "about which i", "means", "risk", "presumed", "assumed",
    "fits less", "fits less well", "less well", "less so", "doubtful",
)  # fmt: skip
# and what is said after a list.
OPEN_LATER = (
    "considered", "cannot be excluded", "cannot be ruled out", "not excluded",
    "difficult to entirely exclude", "?", "cannot be entirely excluded", "not be excluded",
    "be excluded", "may be present", "could be present", "might be present", "may not be demonstrated",
    "in the differential", "consideration", "a concern", "if present", "if any", "cannot be assessed",
    "cannot be determined", "cannot be evaluated",
    "the latter", "the former", "as options", "as an option", "should",
    "on the differential", "one possibility", "a possibility", "is possible", "are possible",
    "be missed", "go unnoticed", "runner - up", "second choice", "clinical question", "the nipple", "a nipple",
    "to be confirmed", "is uncertain", "are uncertain", "is unclear", "are unclear", "is unknown",
    "not assessed", "not evaluated", "not assessable", "would show",
    *(f"{may} be {hidden}" for may in ("may", "might", "could", "can") for hidden in ("hidden", "obscured", "occult",
    "overlooked")), "may not yet be visible", "may go undetected", "easily overlooked",
    "would have", "would be", "would need", "would require", "would cause", "would produce", "would appear",
    "has been treated", "was treated", "remote possibility", "possibility", "first impression", "initial impression", "is weak",
    *(f"{hard} to {see}" for hard in ("hard", "difficult") for see in ("assess", "judge", "evaluate", "exclude",
    "confirm", "verify", "establish", "diagnose", "determine")),
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
    "no change in", "not changed", "not significantly changed", "no new change", "not increased", "no increase in",
    "no decrease", "no larger", *(f"no {change}" for change in ("worsening", "improvement", "progression")),
    *(f"{be} no {more}" for be in ("is", "are") for more in ("larger", "bigger", "greater", "smaller", "better", "worse")),
    *(f"{be} not new" for be in ("is", "are")), "not only", "not just", "not merely",
    "not severe", "not rule out", "not ruled out", "cannot exclude",
    "cannot rule out", "not exclude", "not excluded", "cannot be excluded", "cannot be ruled out",
    "can not be excluded", "not be excluded", "without change", "without significant change",
    "is not changed", "are not changed", "has not changed", "have not changed", "is not significantly changed",
    "not resolved", "has not resolved", "have not resolved", "is not resolved", "not completely resolved",
    *(f"{verb} not {done}" for verb in ("has", "have") for done in ("improved", "increased", "decreased", "worsened",
    "progressed")),
    "absence of lung markings", "absence of vascular markings", "absent lung markings", "absent vascular markings",
    "absent markings",
    "no reason to doubt", "without question", "withdrawn by",
    "not doubt", "no denying", "not deny", "cannot deny", *(f"none {on} the {side}" for on in ("on", "in") for side in
    ("right", "left", "other")),
    "no doubt", "without doubt", "without a doubt", "no question that", "has not been excluded", "have not been excluded",
    "not cleared", "has not cleared", "nearly gone", "almost gone", "nearly resolved", "almost resolved",
    "partially resolved", "incompletely resolved",
    "partly resolved", "nearly completely resolved", "almost completely resolved", "largely resolved",
    "mostly resolved",
    "without interval change", "no displacement", "not displaced", "no significant interval",
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
    ", keep", "and keep", "although", "but", "except", "however", "nevertheless", "still", "though", ", yet", "and yet",
    "and that", "aside from", "apart from", "other than", "there's", "while", "whereas", "and i", "so the", ", the",
    ", with", ", now", ", there is", ", there are", ", only", "and the presence of", "settled on", "and chose", "and kept",
    "and went with", "and in favor of", "and in favour of", "and presence of", ", i am left", ", i see", "ultimately chose",
    "and selected", "what remains", "yes for", "positive for", "yes to",
)  # fmt: skip
PREDICATES = (  # what ends a clause that says that something is there
    "has increased", "have increased", "has worsened", "have worsened", "has developed", "have developed", "persists",
    "persist", "has progressed", "have progressed", "has enlarged", "is increased", "is unchanged", "are unchanged",
    "is stable", "are stable", "is present", "are present", "is positive",
    "is 1", "is true", "is yes", "are positive", "has improved",
    *(f"{be} {seen}" for be in ("is", "are") for seen in ("seen", "noted", "visible", "identified", "detected", "evident")),
    "have improved", "after", "following", "s / p", "status post",
)  # fmt: skip
# The terms of NegEx's three rounds, by the kinds that negspacy knows; to those of "denied" it adds its own.
KINDS = ("pseudo_negations", "preceding_negations", "following_negations", "termination")
NEGEX = {
    "denied": (NO_DENIAL, DENIED_BEFORE, DENIED_AFTER, (*TURNS, *PREDICATES, "there is", "there are")),
    "considered": ((*NO_DOUBT, *CAN_BE), (*OPEN_LISTS, *GENERALLY), OPEN_LATER, (*TURNS, ", which")),
    "doubted": (
        (
            "of indeterminate age",
            *CAN_BE,
            *(term for term in OPEN_LISTS if term.startswith(("likely", "probably", "possibly"))),
        ),
        OPEN_BEFORE,
        (*OPEN_AFTER, *GENERALLY),
        (*TURNS, ",", "and", "there is", "there are", "there has been"),
    ),
}
