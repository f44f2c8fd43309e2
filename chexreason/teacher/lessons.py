"""Requests traces from a teacher: concurrently, rate-limited, and with retries if it was busy or a gate refused a trace."""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field
from itertools import takewhile
from pathlib import Path

from chexreason.errors import ChexReasonError
from chexreason.prompts import Prompt
from chexreason.teacher.gates import Gates, Refusal
from chexreason.teacher.ledger import Ledger
from chexreason.teacher.reading import completion
from chexreason.teacher.reply import MOST_SHOWN, Declined, Reply, StudyRecord, Teacher, Unanswered

GIVE_UP = 5  # consecutive requests without a reply, after all retries, from which the service counts as down
ALIKE = 36  # consecutive replies that fail alike (or twice as many in any way) after which the run stops
LONGEST_PAUSE = 60.0  # seconds before a retry, unless the server asks for more
GO_ON = "Fix the teacher (model, address or settings); the same command then continues (with force=true it begins anew)."
LONGEST_WAIT = 900.0  # seconds; if a server asks for a longer wait, the run stops


@dataclass(frozen=True)
class Lesson:
    """The result for one study: the last text, and why each failed attempt was refused."""

    text: str | None
    attempts: int
    refusals: tuple[Refusal, ...]
    came: str  # the last reply as it came

    @property
    def passed(self) -> bool:
        """Whether the last attempt was good."""
        return len(self.refusals) < self.attempts


class Pace:
    """Lets threads pass no faster than `per_minute`, evenly spaced; None lets all pass."""

    def __init__(self, per_minute: float | None, stopped: threading.Event):
        self.gap, self.stopped, self.next = 60.0 / per_minute if per_minute else 0.0, stopped, 0.0
        self.lock = threading.Lock()

    def wait(self) -> None:
        """Wait for one's turn; returns early when stopped."""
        with self.lock:
            now = time.monotonic()
            turn = max(now, self.next)
            self.next = turn + self.gap
        self.stopped.wait(turn - now)

    def hold(self, seconds: float) -> None:
        """Let no thread pass for `seconds`."""
        with self.lock:
            self.next = max(self.next, time.monotonic() + seconds)


def as_it_came(reply: Reply) -> str:
    """A reply for display: its text, or the raw body if there is none, and any thinking that was returned separately."""
    apart = f"(thinking, apart from the answer:) {reply.thoughts}" if reply.thoughts else ""
    return "\n".join(filter(None, (apart, reply.text or reply.said or "(no text)")))


def shown(reply: str) -> str:
    """The beginning of `reply` for a message, on separate lines and without terminal control characters."""
    printed = (letter if letter.isprintable() or letter == "\n" else "?" for letter in reply[:MOST_SHOWN])
    lines = "".join(printed).strip().splitlines()
    more = ["..."] if len(reply) > MOST_SHOWN else []
    return "".join(f"\n    | {line}" for line in [*lines, *more] if line.strip())


@dataclass
class Classroom:
    """State that the threads share. `gates` judge the completion that is read from a reply."""

    teacher: Teacher
    prompt: Prompt
    root: Path
    seed: int
    attempts: int
    gates: Gates
    ledger: Ledger
    stopped: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        self.pace = Pace(self.teacher.requests_per_minute, self.stopped)
        self.unanswered = 0  # requests in a row
        self.failed: list[tuple[str, float]] = []  # the kind and cost of each reply in a row that failed
        self.taken = False  # whether the service has taken any request of this process
        self.declined: Declined | None = None  # the last study that the service newly declined
        self.lock = threading.Lock()  # of `failed`
        self.failure: BaseException | None = None  # the first, which stops the others

    def teach(self, studies: Sequence[StudyRecord], each: Callable[[], None]) -> list[Lesson]:
        """A lesson for every study, in their order; `each` is called as each is done.

        Raises:
            ChexReasonError: the budget is spent, or the service refuses or is down. Replies under way are waited for.
        """
        with ThreadPoolExecutor(self.teacher.concurrency) as threads:
            waiting = [threads.submit(self.lesson, study) for study in studies]
            try:
                for done in as_completed(waiting):
                    done.result()
                    each()
            except BaseException as error:
                self.stopped.set()
                threads.shutdown(wait=False, cancel_futures=True)
                raise self.failure or error from None
        if self.declined and not self.taken:  # the cause may be the service rather than a study
            raise ChexReasonError(f"{self.declined}\n  It took nothing else. {GO_ON}")
        return [done.result() for done in waiting]

    def lesson(self, study: StudyRecord) -> Lesson:
        """Attempt one study until an attempt passes, reusing replies to an earlier process; an error stops all threads."""
        try:
            return self._lesson(study)
        except BaseException as error:
            self.failure = self.failure or error
            self.stopped.set()
            raise

    def _lesson(self, study: StudyRecord) -> Lesson:
        earlier, refusals = iter(self.ledger.replies(study.path)), []
        for attempt in range(1, self.attempts + 1):
            before = next(earlier, None)
            try:
                reply = before or self.ask(study, attempt)
            except Declined as declined:
                refusals.append(Refusal("declined", f"{declined.reason}: {declined.said}"))
                return Lesson(None, attempt, tuple(refusals), declined.said)
            written = completion(reply, self.prompt.grammar)
            refusal = self.gates.refuse(written, study.labels, self.prompt.grammar)
            if refusal is None:
                with self.lock:
                    self.failed.clear()
                break
            refusals.append(refusal)
            if before is None:  # replies to an earlier process say nothing about the teacher now
                self._unless_failing(refusal.gate, str(refusal), as_it_came(reply), reply.cost)
        return Lesson(written, attempt, tuple(refusals), as_it_came(reply))

    def ask(self, study: StudyRecord, attempt: int) -> Reply:
        """One attempt; returns a reply without text if no retry got any.

        Raises:
            Declined: the service does not take this study.
        """
        for retry in range(self.teacher.retries + 1):
            self.pace.wait()
            self._unless_stopped()
            number = self.ledger.open(study.path, attempt, self.teacher.at_most)
            try:
                self._unless_stopped()  # while it waited for room in the budget
                reply = self.teacher.write(study, self.prompt, self.root, self.seed, attempt)
            except Unanswered as reason:
                last, cost = reason, self.teacher.at_most * reason.billed
                self.ledger.close(number, study.path, Reply(None, cost=cost), counts=False)
                if reason.said:
                    self._unless_failing(str(reason), str(reason), reason.said, cost)
                self._pause(reason, retry)
            except Declined as declined:
                self.ledger.close(number, study.path, Reply(None, said=declined.said), counts=False, declined=declined.reason)
                self.unanswered = 0
                self._unless_declining(study, declined)
                raise
            except BaseException:
                self.ledger.close(number, study.path, Reply(None), counts=False)
                raise
            else:
                self.ledger.close(number, study.path, reply)
                self.unanswered, self.taken = 0, True
                return reply
        self.unanswered += 1
        if self.unanswered >= GIVE_UP:
            raise ChexReasonError(
                f"teacher={self.teacher.name} does not answer: {GIVE_UP} requests in a row got nothing, the last of them to "
                f"{self.teacher.retries + 1} tries ({last}).{shown(last.said)}\n"
                "  Every reply so far is kept: the same command goes on from there."
            )
        return Reply(None)

    def _unless_declining(self, study: StudyRecord, declined: Declined) -> None:
        """Count a newly declined study; the limit is lower as long as the service has accepted nothing."""
        if study.path not in self.ledger.declined:
            self.declined = declined
            # Refusals are fast and replies slow: each thread may have got a refusal before the first reply arrives.
            most = ALIKE if self.taken else min(ALIKE, GIVE_UP + self.teacher.concurrency)
            self._unless_failing(declined.reason, f"for {study.path}", str(declined), 0.0, most)

    def _unless_failing(self, kind: str, what: str, reply: str, cost: float, most: int | None = None) -> None:
        """Record a failed reply; raise an error after too many in a row (`most`, or ALIKE), as the teacher then is at fault."""
        most = ALIKE if most is None else most
        with self.lock:
            self.failed.append((kind, cost))
            alike = list(takewhile(lambda one: one[0] == kind, reversed(self.failed)))
            failed = alike if len(alike) >= most else self.failed[:]
        if len(alike) >= most or len(failed) >= 2 * ALIKE:
            kinds = Counter(kind for kind, _ in failed)
            how = "alike" if len(kinds) == 1 else f"({', '.join(f'{count} x {one}' for one, count in kinds.most_common())})"
            raise ChexReasonError(
                f"teacher={self.teacher.name}: the last {len(failed)} replies all failed {how} and cost "
                f"{sum(cost for _, cost in failed):.4f} (in all {self.ledger.spent:.4f} is spent). "
                f"One of them, {what}:{shown(reply)}\n"
                "  Every reply is kept and counts as an attempt at its study; what came in a reply's place does not.\n"
                f"  {GO_ON}"
            )

    def _unless_stopped(self) -> None:
        if self.stopped.is_set():
            raise ChexReasonError("stopped, because another request failed")

    def _pause(self, reason: Unanswered, retry: int) -> None:
        """Exponential backoff with jitter, or what the server asked for, which then holds for all threads."""
        if reason.wait > LONGEST_WAIT:
            raise ChexReasonError(
                f"teacher={self.teacher.name} ({reason}) asks to be left alone for {reason.wait:.0f} s: a quota is used up.\n"
                "  Every reply so far is kept: the same command goes on from there."
            )
        if reason.wait:
            self.pace.hold(reason.wait)
        elif retry < self.teacher.retries:
            self.stopped.wait(min(LONGEST_PAUSE, 2.0**retry) * random.uniform(0.5, 1.0))
