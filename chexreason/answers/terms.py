"""NegEx's term sets as data: terms that deny a finding or leave it open, and terms that end the scope of either."""

from __future__ import annotations

from chexreason.answers.lexicon import spelt

# What denies beyond NegEx's own terms, before a finding and after it. Of terms before one, "neg" is "neg for" too; spaCy reads
# "cannot" as "can not".
DENIED_BEFORE = spelt("""
    {removal, none, lack, resolution, clear, instead, clearing, devoid, disappearance, short} of | absent | nor | neither |
    lacks | lacking | excludes | excluded | exclude | excluding | resolved | negative | nothing | unable to | unlikely |
    rather than | cleared | {free, far} from | against | {ruling, crossed, leave, leaving, left} out | used to be | drained |
    {fail, failed, failing} to {show, reveal, demonstrate, identify, display, disclose, depict, see, find, appreciate, detect} |
    fails to {show, demonstrate, identify, display, disclose, depict, see, find, appreciate, detect} | hardly | insufficient |
    crossed off | zero | 0 | as opposed to | withdraw | withdrew | retract | {little, scant, minimal, weak, scarce} {to suggest,
    to indicate, evidence} | inconsistent with | rejects | rejected | dismissed | normal with {regard, respect} to |
    unremarkable {with regard to, with respect to, for} | w/o | w/out | minus | nil | ø | neg | -ve | scarcely any | strike |
    striking | drop | dropped | dropping | skip | skipped | skipping | omit | omitted | omitting | scrap | scratch | delete |
    deleting | reject | dismiss | discard | discarding | remove | mimics | mimic | mimicking | mimicked | simulating |
    simulates | simulate | incorrect | replace | replacing | replaced | contradicts | contradict | contradicting | i removed |
    removing | {absence, ausência, pas, ausencia} de | assenza di | non {si, c'è} | n'y a pas | se descarta | se descartan |
    sin | kein | keine | keinen | keinerlei | ohne | nicht | pas d' | sans | aucun | aucune | niente | nessun | nessuna |
    senza | geen | sem | não | absence d' | ni | 无 | 未见 | 没有
""")
DENIED_AFTER = spelt("""
    not {seen, present, identified, evident, visualized, visible, appreciated, apparent, noted, demonstrated, detected, found,
    likely, applicable, supported, borne out, there, favored, confirmed} | is {not, missing, out, the wrong, 0, no, false,
    negative, incorrect, wrong, lacking, a skin fold, an artifact, an artefact, artifactual, projectional} | {are, has, have,
    should, did, :, =} not | absent | excluded | {ruled, are, taken, crossed, left, ruled -} out | resolved | evacuated |
    cannot be {seen, identified, demonstrated, detected, visualized, appreciated, made out} | not yet {placed, inserted} |
    cleared | no {longer, more, se observa, se ve} | none | improbable | does not {appear to be present, appear present,
    appear to be visible, appear visible, appear likely, apply, bear out, hold, fit} | do not appear {to be present, present,
    to be visible, visible, likely} | are {missing, negative, incorrect, lacking, artifacts} | eliminated | withdrawn |
    removed | removal | do not {apply, fit} | rejected | dismissed | unsupported | drained | pulled | discontinued | explanted |
    {completely, fully, has, have} re-expanded | has reexpanded | nonexistent | {labelled, labeled, :, =} 0 | should be
    dropped | : no | {:, =} {negative, false} | = no | i cannot {confirm, see} | fails to show it | neither of which | the
    {image, film, radiograph} contradicts | {i, we} do not see | nowhere | off the table | anything but | gone | crossed off |
    struck | contradicted | {has no, lacks, lack} support | {has no, lacks} evidence | unchecked | unticked | unselected |
    unmarked | nicht | ausente | fehlt | se descarta | descartado | descartada | exclu | assente | отсутствует |
    ausgeschlossen | non visibile | negativo | нет
""")
# What is said, after a verb, of something that is there, place and degree aside; of a finding of which anything else is
# said ("edema is off the table") nothing is claimed.
PRESENT = frozenset(
    "in on within over along near throughout overlying involving worsened developed reaccumulated re-accumulated obvious "
    "unmistakable undeniable conspicuous notable numerous widespread justified placed checked chosen selected what finding "
    "findings abnormality abnormalities answer label cause main best well expected concerning worrisome suspicious favored "
    "changed resolved due consistent compatible suggestive suggested described shown evidenced indicated calcified "
    "difficult".split()
)
# What leaves a finding open, neither claimed nor denied: to the end of a list ("may be edema, pneumonia or ..."),
OPEN_LISTS = spelt("""
    {check it, evaluate it, assess it, screen it, review it, examine it, analyze it, analyse it, admitted, referred,
    recommended, arguments, concern, concerning, worrisome, suspicious, suspicion, evaluate, evaluation, assess, assessment,
    risk, check, look, screen, screening, workup, work-up, test, monitor, search, watch, evaluated, assessed, checked, looked,
    screened, image, film, radiograph, x-ray, scan, reviewed, searched, read, looking, checking, treated, treatment, therapy}
    for | formerly | reportedly | {admitted, presented, referred, patients} with | {follow-up, treatment, management,
    features, pros, radiographic signs, suspicion, risk, question, probability, likelihood, chance, chances, odds, history,
    possibility} of | options {were, are, include} | {first, initial} impression was | {tempted, tempting, used} to | {nearly,
    almost} called | conditions {like, visible on} | to {assess, judge, evaluate, diagnose, confirm, verify} | had there been
    | learn to {recognise, recognize} | {goes, holds} for | same {applies, is true} {to, of, for} | will discuss | common
    {findings, abnormalities} | findings that can be seen | typical {findings on, findings include, abnormalities} | comment
    on | means the | of the {two, options} | format is | you {gave, provided, listed} | label set | between | from {the list,
    this list, the following} | among | differential | consider | considered | consideration | considerations | may | might |
    could | would | should | if | whether | rule out | r/o | c/f | correlate | correlation | follow up | e.g. | such as | h/o
    | consult | consultation | seek | unsure | exclude | query | presumed | presumptive | limited | not {sure, certain} |
    favors | favoring | favours | favouring | suspect | guess | doubtful | i doubt | {i, first} thought | {i, at} first |
    unless | what {looks like, appears to be, seems} | either | initially | seemed | thought there was | asked | in general |
    {choose, select} from | {hard, difficult} to {see, appreciate, identify, make out, detect} | likely {represents,
    represent, reflects, reflect, representing, reflecting, due to, related to, secondary to} | probably {represents,
    represent, reflects, reflecting, due to, related to} | possibly {representing, reflecting, related to, due to} | posible |
    {sospecha, suspicion, soupçon, suspeita} de | evtl | eventuell | verdacht auf | v.a. | möglich | mögliche | posiblemente |
    probablemente | 可能 | 疑似
""")
# or to the next comma ("possible edema, pneumonia");
OPEN_BEFORE = spelt("""
    possible | possibly | probable | probably | perhaps | maybe | suspected | questionable | question | equivocal | uncertain |
    unclear | indeterminate | likely | prior | previous | status post | potential | apparent | less {so, sure, confident,
    certain} about | less of | recommend {placement of, insertion of, a, an} | {more, better} than | over | favor | favored | ?
""")
OPEN_AFTER = spelt("""
    possible | probable | suspected | questionable | equivocal | uncertain | unclear | indeterminate | likely | unlikely |
    possibly | perhaps | maybe | favored over | that i {am not sure, am unsure, can not be} | about which i | means | risk |
    presumed | assumed | fits less | less {well, so} | doubtful
""")
# and what is said after a list.
OPEN_LATER = spelt("""
    considered | cannot be {ruled out, excluded, assessed, determined, evaluated, confirmed, diagnosed, distinguished,
    differentiated, established, characterized} | {is, are, was, were} planned | not {excluded, assessed, evaluated,
    assessable} | difficult to {entirely exclude, assess, judge, evaluate, exclude, confirm, verify, establish, diagnose,
    determine} | ? | be excluded | {may be, could be, might be, if} present | may {not be demonstrated, not yet be visible, go
    undetected} | {in, on} the differential | consideration | a concern | if any | the {latter, former, nipple} | as options |
    as an option | should | is {possible, uncertain, unclear, unknown, weak, often, usually, commonly, typically} | are
    {possible, uncertain, unclear, often, usually, commonly, typically} | be missed | go unnoticed | runner - up | second
    choice | clinical question | a nipple | to be confirmed | would {show, have, be, need, require, cause, produce, appear} |
    {may, might, could, can} be {hidden, obscured, occult} | {may be, might be, could be, can be, easily} overlooked | {has
    been, was} treated | possibility | {first, initial} impression | hard to {assess, judge, evaluate, exclude, confirm,
    verify, establish, diagnose, determine}
""")
# Terms of general statements, as in a textbook, that are not about this film.
GENERALLY = spelt("""
    often | usually | commonly | typically | generally | frequently | classically | can {be, lead, result, occur, mimic, cause,
    also, show, include, appear, present} | is {when, defined, diagnosed, characterized} | requires | depends on |
    is a {condition, cause, complication, sign, common cause, common complication, common sign, frequent cause,
    frequent complication, frequent sign, possible cause, possible complication, possible sign} | refers to | accompanies
""")
# Names of a normal film that, in a sentence, may be said of one part of it.
NOT_IN_PROSE = frozenset({"normal", "wnl", "within normal limits", "unremarkable", "negative"})
# Terms that look like a denial but are none.
NO_DENIAL = spelt("""
    no {change in, new change, increase in, decrease, larger, worsening, improvement, progression, reason to doubt, denying,
    doubt, question that, displacement, significant interval} | not {changed, significantly changed, increased, only, just,
    merely, severe, rule out, ruled out, exclude, excluded, be excluded, doubt, deny, cleared, displaced, significantly} | is
    {no larger, no bigger, no greater, no smaller, no better, no worse, not new, not changed, not significantly changed} | are
    no {larger, bigger, greater, smaller, better, worse} | are not {new, changed} | cannot {exclude, rule out, be excluded, be
    ruled out, deny} | can not be excluded | without {change, significant change, question, doubt, a doubt, interval change,
    significant interval} | has not {changed, improved, increased, decreased, worsened, progressed, been excluded, cleared} |
    {is not, are not, not} yet {resolved, cleared, drained, improved, removed} | {has, have} not yet {resolved, cleared,
    drained, improved} | have not {changed, improved, increased, decreased, worsened, progressed, been excluded} | {not, has
    not, have not, is not, not completely, nearly, almost, partially, incompletely, partly, nearly completely, almost
    completely, largely, mostly} resolved | {absence of lung, absence of vascular, absent lung, absent vascular, absent}
    markings | withdrawn by | none {on the right, on the left, on the other, in the right, in the left, in the other} |
    {nearly, almost} gone
""")
NO_DOUBT = spelt("""
    would {say, label, classify, describe, report, call, be my, select, choose, pick, give, list, include} |
    should be {labelled, labeled, classified, reported, read as, selected, listed} | {answer, answers, label, labels} {would,
    should} be
""")
CAN_BE = spelt("""
    can be {seen, identified, appreciated, noted, made out, confirmed, confident}
""")
# Terms that end the scope of a denial or a doubt.
TURNS = spelt("""
    , {keep, yet, the, with, now, there is, there are, only, i am left, i see} | and {keep, yet, that, i, the presence of,
    chose, kept, went with, in favor of, in favour of, presence of, selected} | although | but | except | however |
    nevertheless | still | though | {aside, apart} from | other than | there's | while | whereas | so the | settled on |
    ultimately chose | what remains | {yes, positive} for | yes to
""")
PREDICATES = spelt("""
    has {increased, worsened, developed, progressed, enlarged, improved} | have {increased, worsened, developed, progressed,
    improved} | persists | persist | is {increased, unchanged, stable, present, positive, 1, true, yes, seen, noted, visible,
    identified, detected, evident} | are {unchanged, stable, present, positive, seen, noted, visible, identified, detected,
    evident} | after | following | s / p | status post
""")
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
