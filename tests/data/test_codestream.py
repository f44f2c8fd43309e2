"""JPEG, JPEG-LS and JPEG 2000 streams: one that is cut, damaged or of another kind than its file says is refused."""

from __future__ import annotations

import io
import itertools
import re
import struct
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from PIL import Image
from pydicom import uid
from pydicom.encaps import encapsulate

from chexreason.data.images import ImageError, decode

from .encodings import (
    BROKEN_EXIF,
    EIGHT,
    ENCODINGS,
    FILM,
    LARGE,
    ROWS,
    SIZE,
    UPSIDE_DOWN,
    XMP,
    coded,
    compressed,
    dicom,
    foreign,
    frame,
    in_lossless,
    lossless,
    retagged,
)


@pytest.mark.parametrize("syntax", [uid.JPEGBaseline8Bit, uid.JPEGExtended12Bit, uid.JPEGLosslessSV1, uid.JPEGLSLossless])
def test_a_stream_of_another_kind_than_its_transfer_syntax_is_refused_by_name(syntax: uid.UID) -> None:
    other = dicom(encapsulate([frame(compressed(FILM, uid.JPEG2000Lossless))]), syntax)
    with pytest.raises(
        ImageError, match=f"^x: the picture inside is JPEG 2000, its transfer syntax says {re.escape(syntax.name)}"
    ):
        decode(other, "x")
    other = dicom(encapsulate([frame(compressed(FILM, uid.JPEGLSLossless))]), uid.JPEG2000Lossless)
    with pytest.raises(ImageError, match="^x: the picture inside is JPEG, its transfer syntax says JPEG 2000"):
        decode(other, "x")


@pytest.mark.parametrize("encoding", ["explicit", "no preamble", "deflated", "JPEG 2000", "JPEG", "RLE", "palette of 8 bits"])
def test_a_file_cut_anywhere_is_refused(encoding: str) -> None:
    whole = ENCODINGS[encoding]()
    for cut in np.linspace(0, len(whole) - 200, 25).astype(int):
        with pytest.raises(ImageError, match="^x: "):
            decode(whole[:cut], "x")


@pytest.mark.parametrize("encoding", ["JPEG 2000", "JPEG-LS", "JPEG", "JPEG in YBR_FULL_422", "RLE"])
@pytest.mark.parametrize("part", [0.02, 0.4, 0.5, 0.9, 0.97])
@pytest.mark.parametrize("end", [b"", b"\xff\xd9"])
def test_half_a_compressed_picture_is_refused_though_decoders_fill_it_up(encoding: str, part: float, end: bytes) -> None:
    stream = frame(whole := ENCODINGS[encoding]())
    with pytest.raises(ImageError, match="^x: "):
        decode(retagged(whole, PixelData=encapsulate([stream[: int(len(stream) * part)] + end])), "x")


@pytest.mark.parametrize("encoding", ["JPEG", "JPEG in YBR_FULL_422", "JPEG in RGB"])
def test_a_jpeg_that_holds_more_than_its_picture_is_refused_within_dicom_as_well(encoding: str) -> None:
    stream = frame(whole := ENCODINGS[encoding]())
    longer = stream[: stream.rindex(b"\xff\xd9")] + bytes(range(40)) + b"\xff\xd9"
    with pytest.raises(ImageError, match="^x: its pixel data is cut short or damaged"):
        decode(retagged(whole, PixelData=encapsulate([longer])), "x")


@pytest.mark.parametrize("rows", [0, 1, 7])
@pytest.mark.parametrize("part", [0.05, 0.3, 0.5, 0.7, 0.9])
def test_lossless_jpeg_of_which_a_part_was_lost_to_zeros_holds_too_much_and_is_refused(rows: int, part: float) -> None:
    stream = lossless(rows=rows)
    at = int(part * len(stream))
    with pytest.raises(ImageError, match="^x: "):
        decode(in_lossless(stream[:at] + bytes(100) + stream[at + 100 :]), "x")
    for end in [b"\xff\xd9", b"\xff\xd1"][: 2 if rows else 1]:
        with pytest.raises(ImageError, match="^x: its pixel data is cut short or damaged"):
            decode(in_lossless(stream.replace(end, bytes(range(1, 30)) + end, 1)), "x")


@given(bits=st.sampled_from([12, 16]), rows=st.integers(0, 9), black=st.integers(0, ROWS - 9), white=st.booleans())
def test_a_whole_lossless_jpeg_is_never_taken_for_a_damaged_one(bits: int, rows: int, black: int, white: bool) -> None:
    film = FILM << (bits - 12)
    film[ROWS - black :] = 2**bits - 1 if white else 8
    tags = {"BitsStored": bits, "HighBit": bits - 1}
    same = decode(dicom(film, **tags), "x").tobytes()
    assert decode(in_lossless(lossless(film, bits, rows=rows), **tags), "x").tobytes() == same


def test_a_jpeg_of_12_bits_that_holds_too_much_is_refused() -> None:
    stream = frame(whole := foreign("JPGExtended"))
    longer = stream[: stream.rindex(b"\xff\xd9")] + bytes(range(1, 40)) + b"\xff\xd9"
    with pytest.raises(ImageError, match="^x: its pixel data is cut short or damaged"):
        decode(retagged(whole, PixelData=encapsulate([longer])), "x")


@pytest.mark.parametrize("shift", [1, 4])
def test_lossless_jpeg_whose_numbers_are_shifted_is_refused_by_name(shift: int) -> None:
    for bits, tags in ((12, {}), (8, {"BitsAllocated": 8, "BitsStored": 8, "HighBit": 7}), (16, {"BitsStored": 16})):
        film = FILM if bits > 8 else EIGHT
        with pytest.raises(ImageError, match=f"^x: .* point transform of {shift} .* exported as Explicit VR Little Endian"):
            decode(in_lossless(lossless(film, bits, shift), **tags), "x")
    plain = np.asarray(Image.open(io.BytesIO(lossless(EIGHT, 8, shift))))
    assert np.array_equal(plain, EIGHT >> shift << shift), "Pillow's decoder knows it"


def test_rle_of_which_a_part_decodes_to_more_than_its_plane_is_refused() -> None:
    stream = frame(whole := compressed(FILM, uid.RLELossless))
    second = int.from_bytes(stream[8:12], "little")  # where the second segment begins
    run = next(at for at in range(64, second) if stream[at] > 128)  # a byte that stands for many: for more, now
    for damage in (stream[:run] + b"\x90" + stream[run + 1 :], stream[:-2] + b"\x05abcdef"):
        with pytest.raises(ImageError, match="^x: its pixel data is cut short or damaged"):
            decode(retagged(whole, PixelData=encapsulate([damage])), "x")
    right = decode(whole, "x").tobytes()
    for padding in (b"\0\0", b"\x80\0", bytes(64)):
        assert decode(retagged(whole, PixelData=encapsulate([stream + padding])), "x").tobytes() == right


@pytest.mark.parametrize("name", ["JPEG-LL", "JPGExtended"])
def test_a_jpeg_corrects_tags_that_allocate_more_than_its_numbers_take(name: str) -> None:
    more = retagged(foreign(name), BitsAllocated=32, BitsStored=32, HighBit=31)
    assert decode(more, "x").tobytes() == decode(foreign(name), "x").tobytes()


@pytest.mark.parametrize("mode", ["L", "RGB", "CMYK"])
@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"optimize": True}, {"restart_marker_rows": 1}])
@pytest.mark.parametrize("part", [0.5, 0.8, 0.9, 0.98])
def test_half_a_jpeg_that_was_closed_again_is_refused(mode: str, options: dict[str, Any], part: float) -> None:
    whole = coded(Image.fromarray(EIGHT).resize((320, 384)).convert(mode), format="JPEG", quality=90, **options)
    assert decode(whole, "x").size == decode(whole + bytes(64), "x").size == (320, 384)
    with pytest.raises(ImageError, match="^x: its pixel data is cut short"):
        decode(whole[: int(len(whole) * part)] + b"\xff\xd9", "x")


@pytest.mark.parametrize("mode", ["L", "RGB", "CMYK"])
def test_a_progressive_jpeg_without_its_last_scans_is_no_picture(mode: str) -> None:
    whole = coded(Image.fromarray(EIGHT).resize((320, 384)).convert(mode), format="JPEG", quality=90, progressive=True)
    scans = [found.start() for found in re.finditer(b"\xff\xda", whole)]
    assert len(scans) > 3
    for end, closed in itertools.product(scans[1:], (b"", b"\xff\xd9", b"\xff\xd9" + whole)):
        with pytest.raises(ImageError, match="^x: .*(cut short|truncated)"):
            decode(whole[:end] + closed, "x")


@pytest.mark.parametrize("progressive", [False, True])
def test_what_follows_the_end_of_a_jpeg_is_no_part_of_it(progressive: bool) -> None:
    image = Image.fromarray(EIGHT).resize((320, 384))
    whole, other = (coded(one, format="JPEG", progressive=progressive) for one in (image, image.rotate(180)))
    assert decode(whole + other, "x").tobytes() == decode(whole, "x").tobytes() != decode(other, "x").tobytes()
    with pytest.raises(ImageError, match="^x: its pixel data is cut short"):
        decode(whole[: int(len(whole) * 0.8)] + b"\xff\xd9" + other, "x")


@pytest.mark.parametrize("mode", ["L", "RGB", "CMYK"])
@pytest.mark.parametrize("options", [{}, {"optimize": True}, {"restart_marker_rows": 1}])
def test_a_jpeg_that_holds_more_than_its_picture_was_damaged_amid_it(mode: str, options: dict[str, Any]) -> None:
    whole = coded(LARGE.convert(mode), format="JPEG", quality=90, **options)
    assert decode(whole[:-2] + b"\xff\xff" + whole[-2:], "x").size == SIZE, "fill bytes are no bits"
    for more in (whole[-42:-2].replace(b"\xff", b"\xfe"), bytes(40)):
        with pytest.raises(ImageError, match="^x: its pixel data is cut short or damaged"):
            decode(whole[:-2] + more + whole[-2:], "x")


@pytest.mark.parametrize(("options", "seen"), [({}, 15), ({"optimize": True}, 13), ({"restart_marker_rows": 1}, 20)])
def test_a_jpeg_of_which_a_block_was_overwritten_is_refused(options: dict[str, Any], seen: int) -> None:
    """Nothing tells of the few in which as many units came out of the foreign bytes as were lost."""
    whole = coded(LARGE, format="JPEG", quality=95, **options)
    begin, rng = whole.index(b"\xff\xda") + 20, np.random.default_rng(3)
    for other in (lambda: rng.bytes(1024).replace(b"\xff", b"\xfe"), lambda: bytes(1024)):
        refused = 0
        for at in rng.integers(begin, len(whole) - 1100, 20):
            try:
                decode(whole[:at] + other() + whole[at + 1024 :], "x")
            except ImageError:
                refused += 1
        assert refused >= seen


@pytest.mark.parametrize("mode", ["L", "RGB"])
@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"subsampling": "4:2:0"}, {"restart_marker_blocks": 7}])
def test_a_jpeg_that_lost_a_part_between_two_restarts_is_refused(mode: str, options: dict[str, Any]) -> None:
    whole = coded(LARGE.convert(mode), format="JPEG", quality=90, **{"restart_marker_rows": 1} | options)
    assert decode(whole, "x").size == SIZE
    parts = re.split(rb"(?=\xff[\xd0-\xd7])", whole)
    assert len(parts) > 20
    for lost in (parts[:9] + parts[10:], parts[:9] + parts[11:], parts[:9] + [parts[9][:6]] + parts[10:]):
        with pytest.raises(ImageError, match="^x: its pixel data is cut short or damaged"):
            decode(b"".join(lost), "x")


@given(
    st.integers(1, 40),
    st.integers(1, 40),
    st.integers(1, 100),
    st.sampled_from(["4:4:4", "4:2:2", "4:2:0"]),
    *[st.booleans()] * 3,
    st.integers(0, 9),
)
@example(1, 1, 1, "4:4:4", False, False, True, 0)  # its bits are a byte or two
def test_a_whole_jpeg_is_never_taken_for_half_of_one(
    width: int, height: int, quality: int, subsampling: str, colour: bool, progressive: bool, optimize: bool, restart: int
) -> None:
    image = Image.fromarray(EIGHT).resize((width + 8, height + 8)).convert("RGB" if colour else "L")
    options = {"quality": quality, "progressive": progressive, "optimize": optimize, "subsampling": subsampling}
    options |= {"restart_marker_blocks": restart}
    try:
        assert decode(coded(image, format="JPEG", **options), "x").size == image.size
    except ImageError as error:
        assert "alike" in str(error), "the lowest qualities leave nothing of a small picture"


FAR = struct.pack("<HHII", 0x9286, 7, 2**28 - 1, 2**31 - 1)  # a comment that lies nowhere


def with_segment(content: bytes, marker: int, body: bytes) -> bytes:
    return content[:2] + struct.pack(">BBH", 255, marker, len(body) + 2) + body + content[2:]


def test_what_is_said_about_a_jpeg_may_be_broken() -> None:
    whole = coded(LARGE, format="JPEG", quality=90)
    right = decode(whole, "x").tobytes()
    bodies = [
        *[(0xE1, b"Exif\0\0" + exif) for exif in BROKEN_EXIF],
        (0xE1, b"http://ns.adobe.com/xap/1.0/\0" + XMP),
        (0xE1, b"http://ns.adobe.com/xap/1.0/\0<x:xmpmeta tiff:Orientation='"),
        *[(0xE2, b"MPF\0" + body) for body in (b"ZZZZ", b"II*\0\x08\0\0\0\1\0\1\xb0\4\0" + b"\xff" * 4 + bytes(4))],
        (0xE2, b"ICC_PROFILE\0\1\1garbage"),
        (0xED, b"Photoshop 3.0\0008BIM\4\4\xff\xff\xff\xff"),
        (0xFE, b"\xff\xd9\xff\xda"),
    ]
    for marker, body in bodies:
        assert decode(with_segment(whole, marker, body), "x").tobytes() == right, body
    turned = b"Exif\0\0II*\0\x08\0\0\0\2\0" + UPSIDE_DOWN + FAR + bytes(4)
    assert np.array_equal(
        np.asarray(decode(with_segment(whole, 0xE1, turned), "x"))[::-1, ::-1], np.asarray(decode(whole, "x"))
    ), "the one part of it that is whole is heeded"
