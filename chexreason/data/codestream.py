"""Checks of the headers of JPEG, JPEG-LS and JPEG 2000 streams, before a decoder allocates the memory they ask for."""

from __future__ import annotations

import io
import re
import struct
from collections.abc import Iterator
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

from chexreason.data.pixels import ImageError
from chexreason.data.tags import TABLES, has_window

if TYPE_CHECKING:
    from pydicom import Dataset

JPEG, J2K, END = b"\xff\xd8", b"\xff\x4f\xff\x51", b"\xff\xd9"
JP2 = b"\0\0\0\x0cjP"  # a file of JPEG 2000, before its stream
MARKER = re.compile(rb"\xff+([\x80-\xcf\xd8-\xfe])")  # excludes stuffed bytes and restart markers
COMMENT = 0xFE
APPLICATIONS = (*range(0xE1, 0xEE), 0xEF)  # except JFIF's and Adobe's, which state the colour space
LOSSLESS = 0xC3  # the marker of a lossless frame
INTERVAL = 0xDD  # the marker that gives the number of units between restart markers
RESTART = re.compile(rb"\xff+[\xd0-\xd7]")
MORE = b"\xa5\x5a\x13\x77" * 16  # filler that decodes visibly wherever scan data is missing
LAST = 4  # bytes at a scan's end: if a decoder does not need them, the scan holds excess data
CUT = "its pixel data is cut short or damaged; a decoder would make up what is missing"


def check_stream(stream: bytes, data: Dataset, name: str) -> None:
    """Refuse a stream whose picture is not the one that the file's tags announce, or is incomplete.

    If the tags allocate more bits than a JPEG stream's samples take, Bits Allocated, Bits Stored and High Bit are corrected.

    Raises:
        ImageError: names the file.
    """
    from pydicom.uid import JPEGLSTransferSyntaxes, JPEGTransferSyntaxes

    syntax = data.file_meta.TransferSyntaxUID
    coded = header(stream)
    if coded is None:  # the decoder's error message is better
        return
    if stream.startswith(JPEG) != (syntax in (*JPEGTransferSyntaxes, *JPEGLSTransferSyntaxes)):
        kind = "JPEG" if stream.startswith(JPEG) else "JPEG 2000"
        raise ImageError(f"{name}: the picture inside is {kind}, its transfer syntax says {syntax.name}; refused")
    expected = (int(data.Columns), int(data.Rows), int(data.SamplesPerPixel))
    if coded[:3] != expected:
        shapes = ["{} x {} of {} channels".format(*shape) for shape in (coded[:3], expected)]
        raise ImageError(f"{name}: the picture inside is {shapes[0]}, its tags say {shapes[1]}; refused")
    if coded.signed and not data.PixelRepresentation:
        raise ImageError(f"{name}: the numbers inside are signed, its Pixel Representation says unsigned; refused")
    if END not in stream.rstrip(b"\0")[-32:]:  # a few bytes are padding
        raise ImageError(f"{name}: {CUT}")
    room = next((room for room in (8, 16) if coded.bits <= room), 32)  # bits that decoders allocate per sample
    if coded.bits > data.BitsAllocated:
        raise ImageError(
            f"{name}: the picture inside has {coded.bits} bits, Bits Allocated (0028,0100) says {data.BitsAllocated}; correct "
            f"it to {room} and Bits Stored (0028,0101) to {coded.bits}"
        )
    if shift := _point_transform(stream):  # the decoder starts each scan of such a stream with the wrong grey
        raise ImageError(
            f"{name}: the picture inside is lossless JPEG with a point transform of {shift} bits, which is not read here; have "
            "the film exported as Explicit VR Little Endian"
        )
    if syntax in JPEGTransferSyntaxes and room < data.BitsAllocated:
        if data.BitsStored > room and (has_window(data) or any(data.get(table) for table in TABLES)):
            raise ImageError(
                f"{name}: the picture inside has {coded.bits} bits, Bits Stored (0028,0101) says {data.BitsStored}: for which "
                "its window or lookup table is meant is not known; correct Bits Stored, or take window and table away"
            )
        data.BitsAllocated, data.BitsStored = room, min(room, data.BitsStored)
        data.HighBit = data.BitsStored - 1


def _point_transform(stream: bytes) -> int:
    """By how many bits the numbers of a lossless JPEG stream were shifted (ISO 10918-1, H.1.2.1); 0 for any other stream."""
    segments = list(_segments(stream)) if stream.startswith(JPEG) else []
    lossless = LOSSLESS in (marker for marker, _ in segments)
    ends = (at + int.from_bytes(stream[at : at + 2], "big") for marker, at in segments if marker == 0xDA)
    return max((stream[end - 1] & 15 for end in ends if lossless and end <= len(stream)), default=0)


def overrun(stream: bytes, held: int) -> bool:
    """Whether a segment of an RLE stream (PS3.5, G.3) decodes to more than the `held` bytes of its plane and a byte of padding.

    Decoders drop the excess bytes, so everything after the damage is shifted.
    """
    count, *offsets = struct.unpack("<16L", stream[:64])
    for begin, end in pairwise([*offsets[:count], len(stream)]):
        segment, at, found = stream[begin:end].rstrip(b"\0"), 0, 0
        while at < len(segment):
            run = segment[at]  # < 128: run + 1 literal bytes; > 128: one byte, 257 - run times; 128: nothing
            at += run + 2 if run < 128 else 2 if run > 128 else 1
            found += run + 1 if run < 128 else 257 - run if run > 128 else 0
        if found > held + 1:
            return True
    return False


def without_metadata(stream: bytes) -> tuple[bytes, bytes]:
    """A JPEG stream without comments and metadata, which may be broken or hold other pictures; and its EXIF, b"" if none."""
    parts, done, exif = [b""], 0, b""
    for marker, at in _segments(stream):
        if marker == 0xDA:
            break
        end = at + int.from_bytes(stream[at : at + 2], "big")
        if marker == COMMENT or marker in APPLICATIONS:
            parts.append(stream[done : at - 2])
            done, body = end, stream[at + 2 : end]
            exif = exif or (body if body.startswith(b"Exif\0\0") else b"")
    return b"".join([*parts, stream[done:]]), exif


def damaged(stream: bytes, shown: bytes) -> bool:
    """Whether an 8-bit JPEG stream, which Pillow decodes to `shown`, lacks data of its picture or holds excess data.

    Pillow reports neither: it makes up missing data and skips excess data. Lost or overwritten data causes one or the other.
    """
    from PIL.JpegImagePlugin import JpegImageFile

    segments = list(_segments(stream))
    if _lacks_scans(stream, segments) or _lacks_restarts(stream, segments):
        return True
    source = _Halting(*prolonged(stream))
    with JpegImageFile(source) as again:
        return again.tobytes() != shown or source.tell() <= source.halt


class _Halting(io.BytesIO):
    """A file whose reads stop at `halt`: whether the decoder reads on shows whether it needs the last bytes."""

    def __init__(self, content: bytes, halt: int) -> None:
        super().__init__(content)
        self.halt = halt

    def read(self, size: int | None = -1, /) -> bytes:
        left = self.halt - self.tell()
        wanted = -1 if size is None else size
        return super().read(wanted if left <= 0 or 0 <= wanted < left else left)


def prolonged(stream: bytes) -> tuple[bytes, int]:
    """A JPEG stream with filler at the end of each scan and before each restart, and the offset of its last own scan bytes.

    Decoders make up missing data without reporting it. A complete picture decodes to the same pixels; in one that was truncated
    and closed the filler is visible, so the two decodings differ.
    """
    segments, parts, done = list(_segments(stream)), [b"", b""], 0
    restarts = any(marker == INTERVAL for marker, _ in segments)
    for begin, end in _scans(stream, segments):
        bits = stream[begin:end]
        parts += [stream[done:begin], RESTART.sub(lambda restart: MORE + restart[0], bits) if restarts else bits, MORE]
        done = end
    return b"".join([*parts, stream[done:]]), sum(map(len, parts)) - len(MORE) - min(LAST, len(parts[-2]))


def other_ends(stream: bytes) -> tuple[bytes, list[int], int]:
    """A JPEG stream in which the last few bytes before each restart and at the end of each scan are changed.

    A decoder yields the same pixels only if those bytes were excess data. The new bytes are always valid codes: any bit pattern
    below a valid code is a valid code as well (ISO 10918-1, C.2), and so is, as a rule, a one followed by zeros.

    Returns:
        The stream, the indices of the parts between restarts that were changed, and the units per part; 0 if there is only one.
    """
    segments, parts, done, changed, interval = list(_segments(stream)), [b""], 0, [], 0
    for marker, at in segments:
        interval = int.from_bytes(stream[at + 2 : at + 4], "big") if marker == INTERVAL else interval
    for begin, end in _scans(stream, segments):
        parts.append(stream[done:begin])
        runs = re.split(b"(%s)" % RESTART.pattern, stream[begin:end]) if interval else [stream[begin:end]]
        for number, run in enumerate(runs[::2]):
            cut = max(len(run) - LAST, 0)
            cut -= run[cut - 1 : cut] == b"\xff"  # which would form a marker with the next byte
            if len(run) > LAST:
                changed.append(number)
                run = run[:cut] + (bytes(LAST) if run[cut:-1].strip(b"\0") else b"\x10") + bytes(128)
            parts += [run, *runs[2 * number + 1 : 2 * number + 2]]
        done = end
    return b"".join([*parts, stream[done:]]), changed, interval


def _lacks_restarts(stream: bytes, segments: list[tuple[int, int]]) -> bool:
    """Whether a scan lacks the restart markers that it announces, or has them out of order (ISO 10918-1, E.1.4)."""
    wide, high, interval, tall = 0, 0, 0, {}
    scans = _scans(stream, segments)
    for marker, at in segments:
        if 0xC0 <= marker <= 0xC2:
            high, wide = (int.from_bytes(stream[at + place : at + place + 2], "big") for place in (3, 5))
            tall = {stream[place]: divmod(stream[place + 1], 16) for place in range(at + 8, at + 8 + 3 * stream[at + 7], 3)}
        elif marker == INTERVAL:
            interval = int.from_bytes(stream[at + 2 : at + 4], "big")
        elif marker == 0xDA:
            begin, end = next(scans)
            if not interval or not tall:
                continue
            most = [max(sides) for sides in zip(*tall.values(), strict=True)]
            # A scan's unit is an 8 x 8 block if it has one component, else the area that holds whole blocks of each.
            own = tall.get(stream[at + 3], (1, 1)) if stream[at + 2] == 1 else (1, 1)
            across, down = (-(-side * one // (8 * all_)) for side, one, all_ in zip((wide, high), own, most, strict=True))
            wanted = [0xD0 + number % 8 for number in range((across * down - 1) // interval)]
            if [found[-1] for found in RESTART.findall(stream, begin, end)][: len(wanted)] != wanted:
                return True
    return False


def _scans(stream: bytes, segments: list[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """Where the bits of each scan begin and end."""
    for (marker, at), (_, after) in pairwise([*segments, (END[1], len(stream) + 2)]):
        if marker == 0xDA:
            begin = at + int.from_bytes(stream[at : at + 2], "big")
            yield begin, begin + len(stream[begin : after - 2].rstrip(b"\xff"))


def _lacks_scans(stream: bytes, segments: list[tuple[int, int]]) -> bool:
    """Whether a progressive JPEG stream ends before its last refinement (ISO 10918-1, G.1): it is shown, but blurred."""
    missing: set[tuple[int, int]] = set()  # (component, coefficient) pairs whose lowest bit has not come
    for marker, at in segments:
        if marker in (0xC2, 0xCA):  # start of a progressive frame: components are listed from its ninth byte on
            missing = {(stream[at + 8 + 3 * part], place) for part in range(stream[at + 7]) for place in range(64)}
        elif marker == 0xDA and missing:
            # Start of scan: how many components and which, the first and last coefficient, and the bits still to come.
            count = stream[at + 2]
            first, last, bits = stream[at + 3 + 2 * count : at + 6 + 2 * count]
            if bits & 15 == 0:
                parts = stream[at + 3 : at + 3 + 2 * count : 2]
                missing -= {(part, place) for part in parts for place in range(first, last + 1)}
    return bool(missing)


def _segments(stream: bytes) -> Iterator[tuple[int, int]]:
    """Each marker of a JPEG or JPEG-LS stream up to the end marker, and the offset after it."""
    at = len(JPEG)
    while found := MARKER.search(stream, at):
        marker, at = found[1][0], found.end()
        yield marker, at
        if marker == END[1]:
            return
        at += int.from_bytes(stream[at : at + 2], "big")


class Header(NamedTuple):
    """What a stream's header says; `signed` is None if it does not say."""

    width: int
    height: int
    channels: int
    bits: int
    signed: bool | None


def header(stream: bytes) -> Header | None:
    """The stream's header; None where there is none."""

    def number(at: int, size: int) -> int:
        return int.from_bytes(stream[at : at + size], "big")

    siz = stream.find(J2K, 0, 4096)
    if 0 <= siz < len(stream) - 42 and not stream.startswith(JPEG):  # ISO 15444-1, A.5.1: grid size less offset
        width, height = number(siz + 8, 4) - number(siz + 16, 4), number(siz + 12, 4) - number(siz + 20, 4)
        return Header(width, height, number(siz + 40, 2), (stream[siz + 42] & 127) + 1, stream[siz + 42] > 127)
    at = 2 if stream.startswith(JPEG) else len(stream)
    while at + 10 <= len(stream):
        marker = stream[at + 1]
        if marker == 0xF7 or (0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC)):  # start of frame
            lossy = marker in (0xC0, 0xC1, 0xC2)  # their samples are unsigned; the others keep any bits
            return Header(number(at + 7, 2), number(at + 5, 2), stream[at + 9], stream[at + 4], False if lossy else None)
        at += 1 if marker == 0xFF else 2 + number(at + 2, 2)  # fill bytes, or a segment with its length
    return None
