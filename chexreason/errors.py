"""The exception that is printed without a traceback, detection of full disks, and checks of a config's values."""

from __future__ import annotations

import difflib
import errno
import unicodedata
from collections.abc import Callable, Iterable
from math import inf
from typing import Any

_NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS}
# Libraries in Rust and C++ pass on the system's message without its error number.
_NO_ROOM_SAID = (
    "No space left",
    "Disk quota",
    "File too large",
    "Read-only file system",
    "file write failed",
    "unexpected pos",
)


class ChexReasonError(Exception):
    """What was wrong, where (file, row, key), and what to do next. Printed without a traceback."""


def printable(text: str) -> str:
    """The text on one line, with what would steer a terminal (escape sequences, reversed writing) or is no character
    written as its code.
    """
    steering = ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp")  # Unicode's control, format, surrogate, ... and line separators
    return "".join(
        char.encode("unicode_escape").decode() if unicodedata.category(char) in steering and char != "\t" else char
        for char in text
    )


def reason_last(message: str) -> str:
    """`message`; if it ends in indented advice, the reason is repeated as the last line, which people read first.

    Of a single reason, the last way on as well.
    """
    lines = [printable(line) for line in message.splitlines()]  # it may hold what a file says
    message = "\n".join(lines)
    if not lines[-1:] or not lines[-1].startswith(" "):
        return message
    reasons = [line.rstrip(" .:") for line in lines if not line.startswith(" ")]
    last = [" ".join(lines[-1].split())] if len(reasons) == 1 else []
    return f"{message}\nNot done: {'; '.join([*reasons, *last])}"


def is_no_room(error: BaseException) -> bool:
    """Whether `error` means that nothing more can be written: a full disk, an exceeded quota, or a read-only disk."""
    if isinstance(error, OSError):
        return error.errno in _NO_ROOM
    return any(words in str(error) for words in _NO_ROOM_SAID)


def suggestion(word: str, valid: set[str]) -> str:
    """` Did you mean ...? Valid: ...` for a key or a choice that is none of `valid`; empty where there is none."""
    near = _near(word, sorted(valid))
    return f"{f' Did you mean {near}?' if near else ''} Valid: {', '.join(sorted(valid))}" if valid else ""


def nearest(name: str, known: Iterable[str]) -> str:
    """The same for a name in a file: quoted, and without a list of those `known`; empty if none is similar."""
    near = _near(name, known)
    return f" Did you mean {near!r}?" if near else ""


def _near(word: str, known: Iterable[str]) -> str | None:
    plain = {one.casefold().replace("_", " "): one for one in known}
    near = difflib.get_close_matches(word.casefold().replace("_", " ").strip(), plain, n=1, cutoff=0.5)
    return plain[near[0]] if near else None


def at_least(minimum: float, **values: float | None) -> None:
    """Check keys of a config class, None being no value; a double underscore in a name stands for the dot of a nested key.

    Raises:
        ValueError: `key=value: minimum or more is wanted`; the config's reader puts the group's name before it.
    """
    _check(values, lambda value: minimum <= value < inf, f"{minimum:g} at least is wanted")


def at_most(maximum: float, **values: float | None) -> None:
    """As `at_least`, from above."""
    _check(values, lambda value: value <= maximum, f"{maximum:,} at most is wanted")


def above(minimum: float, **values: float | None) -> None:
    """As `at_least`, the bound itself excluded."""
    _check(values, lambda value: minimum < value < inf, f"more than {minimum:g} is wanted")


def share(**values: float | None) -> None:
    """As `at_least`, for shares: 0 to 1."""
    _check(values, lambda value: 0 <= value <= 1, "a share is wanted, 0 to 1")


def one_of(valid: tuple[str, ...], **values: str) -> None:
    """As `at_least`, for words."""
    _check(values, valid.__contains__, f"one of {', '.join(valid)} is wanted")


def _check(values: dict[str, Any], fits: Callable[[Any], bool], wanted: str) -> None:
    for key, value in values.items():
        if value is not None and not fits(value):
            finite = ", and a number that is finite" if value == inf else ""
            raise ValueError(f"{key.replace('__', '.')}={value}: {wanted}{finite}")
