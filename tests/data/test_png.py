"""PNGs are read whole or not at all, whatever is said about them."""

from __future__ import annotations

import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from chexreason.data.images import ImageError, decode

from .encodings import (
    BROKEN_EXIF,
    COLUMNS,
    EIGHT,
    FILM,
    LARGE,
    ROWS,
    UPSIDE_DOWN,
    XMP,
    chunk,
    coded,
    grey,
    png,
)


def of_height(content: bytes, height: int) -> bytes:
    """The PNG with another height in its header."""
    head = content[16:20] + struct.pack(">I", height) + content[24:29]
    return content[:8] + chunk(b"IHDR", head) + content[33:]


@pytest.mark.parametrize("mode", ["1", "P", "L", "LA", "RGB", "RGBA"])
@pytest.mark.parametrize("rows", [50, ROWS - 1])
def test_a_png_with_fewer_rows_than_its_header_says_is_refused(mode: str, rows: int) -> None:
    short = coded(Image.fromarray(EIGHT[:rows]).convert(mode), format="PNG")
    deep = {"L": FILM, "LA": np.dstack([FILM, FILM]), "RGB": grey(FILM), "RGBA": np.dstack([grey(FILM), FILM])}
    for content in [short, *([png(deep[mode][:rows])] if mode in deep else [])]:
        assert decode(content, "x").size == (COLUMNS, rows)
        with pytest.raises(ImageError, match=f"^x: its pixel data is cut short: it holds fewer rows than the {ROWS}"):
            decode(of_height(content, ROWS), "x")


def deflated(pixels: np.ndarray, interlaced: bool) -> bytes:
    """The rows of a grey PNG of 16 bits, not compressed so well that a few bytes are many rows."""
    steps = [(0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1)]  # ISO 15948, 8.2
    passes = [pixels[y::down, x::right].astype(">u2") for y, x, down, right in (steps if interlaced else [(0, 0, 1, 1)])]
    return zlib.compress(b"".join(b"\0" + line.tobytes() for one in passes if one.size for line in one))


def grey_png(pixels: np.ndarray, rows: bytes, interlaced: bool = False, pieces: int = 1) -> bytes:
    """A PNG of these deflated rows, in several chunks."""
    head = struct.pack(">IIBBBBB", pixels.shape[1], pixels.shape[0], 16, 0, 0, 0, interlaced)
    size = -(-len(rows) // pieces)
    data = [chunk(b"IDAT", rows[at : at + size]) for at in range(0, len(rows), size)]
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + b"".join(data) + chunk(b"IEND", b"")


@pytest.mark.parametrize(("rows", "columns"), [(96, 80), (95, 79), (33, 3), (5, 70)])
def test_an_interlaced_png_is_read_whole_or_not_at_all(rows: int, columns: int) -> None:
    film = FILM[:rows, :columns]
    lines = deflated(film, interlaced=True)
    assert np.array_equal(np.asarray(decode(grey_png(film, lines, interlaced=True), "x")), np.asarray(decode(png(film), "x")))
    with pytest.raises(ImageError, match="^x: its pixel data is cut short"):
        decode(grey_png(film, zlib.compress(zlib.decompress(lines)[: -1 - 2 * columns]), interlaced=True), "x")


@pytest.mark.parametrize("pieces", [1, 3])
@pytest.mark.parametrize("interlaced", [False, True])
def test_a_png_whose_end_was_never_written_is_refused(pieces: int, interlaced: bool) -> None:
    film = FILM[::6, ::6]
    whole = grey_png(film, deflated(film, interlaced), interlaced, pieces)
    right, read = decode(whole, "x").tobytes(), 0
    for cut in range(8, len(whole)):
        for filler in (b"\0", b"\xff"):  # of a file whose room was taken before it was copied
            try:
                assert decode(whole[:cut] + filler * (len(whole) - cut), "x").tobytes() == right, cut
                read += 1
            except ImageError as error:
                assert str(error).startswith("x: ")
    assert read <= 2 * 16 + 2, "only where all pixels had come"


def test_what_a_png_holds_beyond_its_rows_does_no_harm_if_it_ends() -> None:
    rows = zlib.decompress(deflated(FILM, interlaced=False))
    right = decode(png(FILM), "x").tobytes()
    for more in (b"\0", bytes(1 + 2 * COLUMNS), rows):
        longer = zlib.compress(rows + more)
        assert decode(grey_png(FILM, longer), "x").tobytes() == right
        assert decode(grey_png(FILM, longer + b"more"), "x").tobytes() == right
        for spoilt in (longer[:-4], longer[:-4] + bytes(4)):
            with pytest.raises(ImageError, match="^x: its pixel data is (damaged|cut short).* copy it again"):
                decode(grey_png(FILM, spoilt), "x")
    with pytest.raises(ImageError, match="^x: its pixel data is cut short"):
        decode(grey_png(FILM, zlib.compress(rows + bytes(2**24))), "x")


def with_chunk(content: bytes, kind: bytes, body: bytes) -> bytes:
    return content[:33] + chunk(kind, body) + content[33:]


def test_what_is_said_about_a_png_may_be_broken() -> None:
    long = b"c\0\0" + zlib.compress(bytes(2**26))
    chunks = [
        (kind, body) for kind in (b"pHYs", b"cHRM", b"tRNS", b"gAMA", b"sRGB", b"iTXt", b"acTL") for body in (b"", b"\xff")
    ]
    chunks += [(b"eXIf", exif) for exif in BROKEN_EXIF] + [(b"zTXt", long), (b"acTL", struct.pack(">II", 1, 0))]
    chunks += [(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + XMP), (b"iCCP", b"x\0\0garbage")]
    for whole in (coded(LARGE, format="PNG"), png(FILM), png(grey(FILM))):
        right = decode(whole, "x").tobytes()
        for kind, body in chunks:
            assert decode(with_chunk(whole, kind, body), "x").tobytes() == right, (kind, body[:30])
            spoilt = with_chunk(whole, kind, body)[: 33 + 8 + len(body)] + b"\1\2\3\4" + whole[33:]
            assert decode(spoilt, "x").tobytes() == right, "nor does its checksum matter"
        turned = np.asarray(decode(with_chunk(whole, b"eXIf", b"II*\0\x08\0\0\0\1\0" + UPSIDE_DOWN + bytes(4)), "x"))
        assert np.array_equal(turned[::-1, ::-1], np.asarray(decode(whole, "x")))
