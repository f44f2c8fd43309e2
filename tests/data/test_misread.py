"""Films that would be read as other films: of the wrong sign, or never written to their end."""

from __future__ import annotations

import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom import uid

from chexreason.data.images import ImageError, decode

from .encodings import (
    CODED,
    COLUMNS,
    DEFLATED,
    EDGE,
    EIGHT,
    FILM,
    INDEX,
    MARKER,
    NATIVE,
    ROWS,
    SIGNED,
    compressed,
    dicom,
    grey,
    looks_like,
    retagged,
)


@given(
    bits=st.sampled_from([8, 12, 16]),
    signed=st.booleans(),
    syntax=st.sampled_from(
        [uid.ExplicitVRLittleEndian, uid.ExplicitVRBigEndian, DEFLATED, uid.RLELossless, uid.JPEGLSLossless]
    ),
    inverse=st.booleans(),
    marked=st.booleans(),
    background=st.booleans(),
)
def test_a_film_whose_sign_is_wrong_is_refused_and_no_other(
    bits: int, signed: bool, syntax: str, inverse: bool, marked: bool, background: bool
) -> None:
    film = FILM.astype(np.int32) * 2**bits >> 12
    film = 2**bits - 1 - film if inverse else film
    film = np.where(MARKER & marked, 2**bits - 1, np.where(EDGE & background, 0, film)) - 2 ** (bits - 1) * signed
    kind = np.dtype(f"{'i' if signed else 'u'}{1 if bits == 8 else 2}")
    tags = {"BitsStored": bits, "HighBit": bits - 1, "PhotometricInterpretation": f"MONOCHROME{1 if inverse else 2}"}
    if syntax == uid.JPEGLSLossless or not signed:
        film &= 2**bits - 1  # as they lie in the stream
    pixels = film.astype(kind)
    content = compressed(pixels, syntax, **tags) if syntax in CODED else dicom(pixels, syntax, **tags)
    looks_like(np.asarray(decode(content, "x")).astype(float), FILM, EDGE | MARKER)
    with pytest.raises(ImageError) as raised:
        decode(retagged(content, PixelRepresentation=int(not signed)), "x")
    said = (
        f"^x: (Pixel Representation .0028,0103. says {'un' if signed else ''}signed, .* correct it to {int(signed)}|.*larger)"
    )
    assert re.search(said, str(raised.value))


def test_a_film_that_is_bright_next_to_dark_is_not_taken_for_one_of_the_other_sign() -> None:
    letters = np.where(MARKER & (FILM % 3 > 0), 65535 - FILM, FILM).astype(np.uint16)  # not all of one white
    assert decode(dicom(letters, BitsStored=16, HighBit=15), "x").size == (COLUMNS, ROWS)
    beside = np.where(INDEX[:COLUMNS] < COLUMNS // 2, 100 + FILM // 10, 3400 + FILM // 10).astype(np.uint16)
    assert decode(dicom(beside), "x").size == (COLUMNS, ROWS)
    line = np.where(INDEX[:COLUMNS] == 40, 5 + FILM % 20, np.where(INDEX[:COLUMNS] == 41, 4070 + FILM % 20, FILM))
    assert decode(dicom(line.astype(np.uint16)), "x").size == (COLUMNS, ROWS)
    padded = np.where(EDGE, 3900 + FILM // 20, FILM // 40).astype(np.uint16)
    assert decode(dicom(padded, PixelPaddingValue=3900, PixelPaddingRangeLimit=4095), "x").size == (COLUMNS, ROWS)
    with pytest.raises(ImageError, match="Pixel Representation"):
        decode(dicom(padded), "x")


@pytest.mark.parametrize("syntax", NATIVE)
@pytest.mark.parametrize("share", [0.1, 0.5, 0.72])
def test_a_film_whose_room_was_taken_but_not_filled_is_refused(syntax: str, share: float) -> None:
    for pixels, tags in (
        (FILM, {}),
        (SIGNED, {}),
        (4095 - FILM, {"PhotometricInterpretation": "MONOCHROME1"}),
        (grey(EIGHT), {}),
    ):
        stored = (pixels.byteswap() if syntax == uid.ExplicitVRBigEndian else pixels).tobytes()
        cut = int(share * ROWS) * (len(stored) // ROWS) + len(stored) // ROWS // 3
        whole = retagged(dicom(pixels, syntax, **tags), PixelData=stored[:cut] + bytes(len(stored) - cut))
        with pytest.raises(ImageError, match=f"^x: .* breaks off amid row {int(share * ROWS) + 1} of 96, .*; copy it again"):
            decode(whole, "x")


def test_a_film_that_is_black_below_is_whole() -> None:
    for bottom in (ROWS // 2, ROWS - 1):  # collimated, and with a tilted edge
        film = FILM.copy()
        film[bottom:] = 0
        tilted = np.where(INDEX[:ROWS, None] * 40 + INDEX[:COLUMNS] > 76 * 40, 0, FILM).astype(np.uint16)
        sides = film * (np.abs(INDEX[:COLUMNS] - 40) < 30)
        for pixels in (film, tilted, sides.astype(np.uint16)):
            assert decode(dicom(pixels), "x").size == (COLUMNS, ROWS)


@pytest.mark.parametrize("fall", [-0.02, 0.01, 0.02, 0.05, 0.2])  # of the edge, from one column to the next
def test_a_film_whose_collimation_is_tilted_is_whole(fall: float) -> None:
    film = np.kron(FILM, np.ones((4, 4), np.uint16))
    y, x = np.indices(film.shape)
    pixels = np.where((y + fall * x < 0.6 * len(film)) & (np.abs(x - 160) < 130), film, 0).astype(np.uint16)
    tags = {"Rows": 4 * ROWS, "Columns": 4 * COLUMNS}
    pictures = {decode(dicom(pixels, syntax, **tags), "x").tobytes() for syntax in NATIVE}
    assert pictures == {decode(compressed(pixels, uid.RLELossless, **tags), "x").tobytes()}
