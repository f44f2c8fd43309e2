"""What a JPEG, JPEG-LS or JPEG 2000 stream says of itself, looked at before a decoder allocates what it asks for."""

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
MARKER = re.compile(rb"\xff+([\x80-\xcf\xd8-\xfe])")  # no byte that was stuffed into the bits, and no restart among them
COMMENT = 0xFE
APPLICATIONS = (*range(0xE1, 0xEE), 0xEF)  # without JFIF's and Adobe's, which say what colours there are
LOSSLESS = 0xC3  # the marker of a lossless frame
INTERVAL = 0xDD  # the marker that says after how many units a restart marker stands
RESTART = re.compile(rb"\xff+[\xd0-\xd7]")
MORE = b"\xa5\x5a\x13\x77" * 16  # filler that decodes visibly wherever scan data is missing
LAST = 4  # bytes at a scan's end: a decoder must need them, or something was left over
CUT = "its pixel data is cut short or damaged; a decoder would make up what is missing"


def check_stream(stream: bytes, data: Dataset, name: str) -> None:
    """Refuse a stream that holds another picture than the file's tags announce, or only a part of one.

    A JPEG picture corrects the tags where they allocate more than its numbers take.

    Raises:
        ImageError: names the file.
    """
    from pydicom.uid import JPEGLSTransferSyntaxes, JPEGTransferSyntaxes

    syntax = data.file_meta.TransferSyntaxUID
    coded = header(stream)
    if coded is None:  # the decoder will say it better
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
    room = next((room for room in (8, 16) if coded.bits <= room), 32)  # what decoders give each number
    if coded.bits > data.BitsAllocated:
        raise ImageError(
            f"{name}: the picture inside has {coded.bits} bits, Bits Allocated (0028,0100) says {data.BitsAllocated}; correct "
            f"it to {room} and Bits Stored (0028,0101) to {coded.bits}"
        )
    if shift := _point_transform(stream):  # of which the decoder begins each scan with the wrong grey
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
    """Whether a segment of an RLE stream (PS3.5, G.3) decodes to more than the `held` bytes of its plane, one of padding aside.

    Decoders leave out what is too much: all that follows the damage is shifted then.
    """
    count, *offsets = struct.unpack("<16L", stream[:64])
    for begin, end in pairwise([*offsets[:count], len(stream)]):
        segment, at, found = stream[begin:end].rstrip(b"\0"), 0, 0
        while at < len(segment):
            run = segment[at]  # so many bytes and one, or one so often; 128 is none
            at += run + 2 if run < 128 else 2 if run > 128 else 1
            found += run + 1 if run < 128 else 257 - run if run > 128 else 0
        if found > held + 1:
            return True
    return False


def without_metadata(stream: bytes) -> tuple[bytes, bytes]:
    """A JPEG stream without what is said about its picture, which may be broken or hold others; and its EXIF, or nothing."""
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
    """Whether a JPEG stream of 8 bits, from which Pillow decodes `shown`, holds less than its picture, or more.

    Pillow tells neither: it makes up what is missing and skips what is left over. A piece that was lost, or overwritten with
    something else, leaves the one or the other.
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
    """A JPEG stream with more bits at the end of each scan and before each restart, and the place before its own last few.

    Decoders do not tell what is missing: they make it up. A whole picture stays as it is; in one that was cut and closed the
    bits show, so that two decodings differ.
    """
    segments, parts, done = list(_segments(stream)), [b"", b""], 0
    restarts = any(marker == INTERVAL for marker, _ in segments)
    for begin, end in _scans(stream, segments):
        bits = stream[begin:end]
        parts += [stream[done:begin], RESTART.sub(lambda restart: MORE + restart[0], bits) if restarts else bits, MORE]
        done = end
    return b"".join([*parts, stream[done:]]), sum(map(len, parts)) - len(MORE) - min(LAST, len(parts[-2]))


def other_ends(stream: bytes) -> tuple[bytes, list[int], int]:
    """A JPEG stream that says something else in the last few bytes before each restart and at the end of each scan.

    A decoder makes the same pixels of it only where those bytes were left over. It never takes what they become for no code at
    all: whatever is less than a code is a code as well (ISO 10918-1, C.2), and so is, as a rule, a one followed by
    zeros.

    Returns:
        It, which of the parts between restarts have such bytes, and how many units a part has; 0 where there is one alone.
    """
    segments, parts, done, changed, interval = list(_segments(stream)), [b""], 0, [], 0
    for marker, at in segments:
        interval = int.from_bytes(stream[at + 2 : at + 4], "big") if marker == INTERVAL else interval
    for begin, end in _scans(stream, segments):
        parts.append(stream[done:begin])
        runs = re.split(b"(%s)" % RESTART.pattern, stream[begin:end]) if interval else [stream[begin:end]]
        for number, run in enumerate(runs[::2]):
            cut = max(len(run) - LAST, 0)
            cut -= run[cut - 1 : cut] == b"\xff"  # after which a byte would make a marker
            if len(run) > LAST:
                changed.append(number)
                run = run[:cut] + (bytes(LAST) if run[cut:-1].strip(b"\0") else b"\x10") + bytes(128)
            parts += [run, *runs[2 * number + 1 : 2 * number + 2]]
        done = end
    return b"".join([*parts, stream[done:]]), changed, interval


def _lacks_restarts(stream: bytes, segments: list[tuple[int, int]]) -> bool:
    """Whether a scan has not the restart markers that it announces, in their order (ISO 10918-1, E.1.4)."""
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
            # Units of a scan: of one component its own blocks of 8 x 8, of several what holds whole blocks of each.
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
    """Whether a progressive JPEG stream ends before its last refinement (ISO 10918-1, G.1): it shows, blurred."""
    missing: set[tuple[int, int]] = set()  # coefficients, by component, whose lowest bit has not come
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
    """Each marker of a JPEG or JPEG-LS stream up to its end, and where what follows it begins."""
    at = len(JPEG)
    while found := MARKER.search(stream, at):
        marker, at = found[1][0], found.end()
        yield marker, at
        if marker == END[1]:
            return
        at += int.from_bytes(stream[at : at + 2], "big")


class Header(NamedTuple):
    """What a stream's header says; `signed` is None where it says nothing of that."""

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
    if 0 <= siz < len(stream) - 42 and not stream.startswith(JPEG):  # ISO 15444-1, A.5.1: the grid from its offset on
        width, height = number(siz + 8, 4) - number(siz + 16, 4), number(siz + 12, 4) - number(siz + 20, 4)
        return Header(width, height, number(siz + 40, 2), (stream[siz + 42] & 127) + 1, stream[siz + 42] > 127)
    at = 2 if stream.startswith(JPEG) else len(stream)
    while at + 10 <= len(stream):
        marker = stream[at + 1]
        if marker == 0xF7 or (0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC)):  # start of frame
            lossy = marker in (0xC0, 0xC1, 0xC2)  # whose numbers are unsigned; the others keep any bits
            return Header(number(at + 7, 2), number(at + 5, 2), stream[at + 9], stream[at + 4], False if lossy else None)
        at += 1 if marker == 0xFF else 2 + number(at + 2, 2)  # fill bytes, or a segment with its length
    return None
