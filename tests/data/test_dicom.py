"""One film in every encoding is one picture; what is no film, or shows nothing, is refused by name."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
import tracemalloc
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom import uid
from pydicom.encaps import encapsulate

from chexreason.data import dicom as reader
from chexreason.data.images import ImageError, decode, read_image

from .encodings import (
    CODED,
    COLUMNS,
    DEFLATED,
    EDGE,
    EIGHT,
    ENCODINGS,
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
    of_syntax,
    offsets,
    retagged,
    table,
    without_meta,
)

STORE = importlib.util.find_spec("data_store")  # the package pydicom-data installs under this name


needs_films = pytest.mark.skipif(STORE is None, reason="pydicom-data is not installed")


def film(name: str) -> Path:
    assert STORE is not None and STORE.submodule_search_locations
    return Path(next(iter(STORE.submodule_search_locations))) / "data" / name


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_the_same_film_in_every_encoding_is_the_same_picture(encoding: str) -> None:
    image = np.asarray(decode(ENCODINGS[encoding](), "film")).astype(float)
    padded, marked = "padding" in encoding, "marker" in encoding
    looks_like(image, FILM, EDGE if padded else MARKER if marked else np.zeros_like(EDGE))
    if padded:
        assert (image[EDGE] == 0).all(), "padding is black"
    if marked:
        assert (image[MARKER] == 255).all(), "a marker is white"


@given(
    syntax=st.sampled_from([*NATIVE, *CODED]),
    inverse=st.booleans(),
    signed=st.booleans(),
    left=st.booleans(),
    slope=st.sampled_from([None, 1, 0.1, 3, -1, -0.5]),
    function=st.sampled_from([None, "", "LINEAR", "LINEAR_EXACT", "SIGMOID"]),
    padded=st.booleans(),
    marked=st.booleans(),
)
def test_choices_that_a_writer_may_combine_give_that_picture_as_well(
    syntax: str, inverse: bool, signed: bool, left: bool, slope: float | None, function: str | None, padded: bool, marked: bool
) -> None:
    stored = np.where(MARKER & marked, 4095, FILM).astype(np.int32)
    stored = 4095 - stored if inverse != ((slope or 1) < 0) else stored
    stored = np.where(EDGE & padded, 7, stored) - 2048 * signed
    tags: dict[str, Any] = {"PhotometricInterpretation": "MONOCHROME1" if inverse else "MONOCHROME2"}
    if padded:
        tags |= {"PixelPaddingValue": 7 - 2048 * signed}
    if slope:
        tags |= {"RescaleSlope": slope, "RescaleIntercept": -1024}
    if function is not None:
        scale, shift = slope or 1, -1024 if slope else 0
        width = 4096 * abs(scale) * (2 if function == "SIGMOID" else 1)
        tags |= {"WindowCenter": (2048 - 2048 * signed) * scale + shift, "WindowWidth": width, "VOILUTFunction": function}
    if left and syntax not in CODED[1:]:
        stored, tags = stored << 4, tags | {"HighBit": 15}
    pixels = stored.astype(np.int16 if signed else np.uint16)
    content = compressed(pixels, syntax, **tags) if syntax in CODED else dicom(pixels, syntax, **tags)
    looks_like(np.asarray(decode(content, "film")).astype(float), FILM, EDGE | MARKER)


def test_colours_stay_colours_and_codecs_keep_their_order() -> None:
    colours = np.dstack([FILM >> 4, 255 - (FILM >> 4), FILM >> 5]).astype(np.uint8)
    for content in (dicom(colours), compressed(colours, uid.RLELossless), compressed(colours, uid.JPEG2000Lossless)):
        assert np.array_equal(np.asarray(decode(content, "x")), colours)


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (lambda: dicom(np.full_like(FILM, 900)), "all its pixels are alike"),
        (lambda: dicom(np.full_like(grey(FILM), 9).astype(np.uint8)), "all its pixels are alike"),
        (lambda: dicom(np.where(EDGE, 65535, 900).astype(np.uint16), PixelPaddingValue=65535), "all its pixels are alike"),
        (lambda: dicom(np.where(MARKER, 4000, 900).astype(np.uint16)), "all its pixels are alike, but for a marker"),
        (lambda: dicom(np.where(MARKER, 65535, 900).astype(np.uint16), BitsStored=16, HighBit=15), "alike, but for a marker"),
        (lambda: dicom(np.where(MARKER, 9, np.where(EDGE, 0, 2)).astype(np.uint16), PixelPaddingValue=0), "alike, but for"),
        (lambda: dicom(np.where(INDEX[:96, None] + INDEX[:80] == 0, 1000, 0).astype(np.uint16)), "but for a marker, specks"),
        (lambda: dicom((FILM % 3 + 900).astype(np.uint16)), "or noise; there is no information"),
        (lambda: dicom(FILM, WindowCenter=np.quantile(FILM, 0.995), WindowWidth=1), "window .*alike, but for"),
        (lambda: dicom(FILM, PixelPaddingValue=0, PixelPaddingRangeLimit=4095), "all its pixels are alike"),
        (lambda: dicom(FILM, RescaleSlope=0, RescaleIntercept=5), "rescale slope 0.0.*alike"),
        (lambda: dicom(FILM, RescaleSlope="1E400", RescaleIntercept=5), "rescale slope"),
        (lambda: dicom(FILM, WindowCenter=60000, WindowWidth=10), "window .centre 60000.0, width 10.0.*alike"),
        (lambda: dicom(FILM, VOILUTSequence=[table(INDEX * 0, 8)]), "VOI LUT.*alike"),
        (lambda: dicom(FILM, VOILUTSequence=[table(INDEX[:4000], 12)]).replace(b"\xa0\x0f\0\0", b"\0\x10\0\0"), "4000 entries"),
        (lambda: dicom(FILM, BitsStored=10, HighBit=9), "larger than the 10 bits"),
        (lambda: retagged(ENCODINGS["JPEG"](), BitsStored=6, HighBit=5), "larger than the 6 bits"),
        *[
            (lambda coded=coded: coded(SIGNED, BitsStored=10, HighBit=9), "larger than the 10 bits")
            for coded in (dicom, lambda film, **tags: retagged(compressed(film, uid.RLELossless), **tags))
        ],
        (lambda: dicom(FILM, HighBit=7), "high bit 7 contradict"),
        (lambda: dicom(FILM, Modality="CT"), "its modality is CT"),
        (lambda: dicom(FILM, Modality="\x1b[2J" + 900 * "X"), r"its modality is \?\[2JXXX"),
        (lambda: dicom(FILM, NumberOfFrames=3), r"3 frames by Number of Frames \(0028,0008\).* export the one that is meant"),
        *[
            (lambda modality=modality: dicom(FILM, Modality=modality), r"is wanted .* correct Modality \(0008,0060\)")
            for modality in ("DR", "XR")
        ],
        (lambda: dicom(4095 - FILM, PresentationIntentType="for processing"), "FOR PROCESSING by .* export the FOR PRESENT"),
        (lambda: dicom(FILM, SOPClassUID=uid.DigitalXRayImageStorageForProcessing), "FOR PROCESSING by .* export the FOR PRES"),
        (lambda: dicom(FILM, PresentationLUTSequence=[table(4095 - INDEX, 12)]), r"Presentation LUT Sequence \(2050,0010\)"),
        *[
            (lambda pixels=pixels, said=said: dicom(pixels, PhotometricInterpretation=said),
             rf"Photometric Interpretation \(0028,0004\) {said} is not read here; have the film exported as MONOCHROME2 or RGB")
            for pixels, said in ((grey(EIGHT), "YBR_PARTIAL_420"), (FILM, "MONOCHROME3"), (grey(EIGHT), "HSV"))
        ],
        (lambda: dicom(FILM, PresentationLUTShape="INVERSE"), r"MONOCHROME2 .*\(2050,0020\) INVERSE .* correct the one"),
        (lambda: dicom(grey(FILM), PhotometricInterpretation="HSV"), "HSV"),
        (lambda: dicom(grey(FILM), PhotometricInterpretation="MONOCHROME2"), "MONOCHROME2|samples"),
        (lambda: dicom(FILM, Rows=30000, Columns=30000), "30000 x 30000 pixels are more"),
        (lambda: dicom(FILM, Rows=0), "80 x 0 pixels"),
        (lambda: dicom(FILM, Rows=ROWS + 1), "less than expected"),
        (lambda: dicom(FILM, Rows=ROWS // 2), "15,360 bytes, its tags announce 7,680: it holds more than one picture"),
        (lambda: dicom(FILM.tobytes(), BitsAllocated=8, BitsStored=8, HighBit=7), "15,360 bytes.* of other bits"),
        (lambda: dicom(2 * FILM.tobytes(), uid.ImplicitVRLittleEndian), "30,720 bytes"),
        (lambda: dicom(2 * FILM.byteswap().tobytes(), uid.ExplicitVRBigEndian), "30,720 bytes"),
        (lambda: dicom(2 * FILM.tobytes(), DEFLATED), "30,720 bytes"),
        (lambda: dicom(b""), "without a picture: it has no PixelData"),
        (lambda: dicom(FILM)[:-3], "less than expected|without a picture"),
        (lambda: dicom(encapsulate([b"video"]), uid.MPEG2MPML), "transfer syntax MPEG2.* not read here; have .* exported"),
        (lambda: retagged(compressed(FILM, uid.JPEG2000Lossless), Rows=8), "80 x 96 of 1 channels, its tags say 80 x 8"),
        (lambda: retagged(ENCODINGS["JPEG"](), SamplesPerPixel=3), "96 of 1 channels, its tags say 80 x 96 of 3"),
        (lambda: retagged(compressed(SIGNED, uid.JPEG2000Lossless), PixelRepresentation=0), "signed, .* says unsigned"),
        (lambda: compressed(FILM, uid.JPEGLSLossless)[:-3000], "it is cut short"),
        (lambda: without_meta(compressed(FILM, uid.JPEG2000Lossless)), "names no transfer syntax"),
        (lambda: retagged(dicom(FILM), PixelData=None), "without a picture: it has no PixelData"),
        (lambda: of_syntax("1.2.840.113619.5.2"), r"transfer syntax 1.2.840.113619.5.2 .* are not read"),
        (lambda: dicom(grey(SIGNED)), "says signed, colours are unsigned; correct it to 0"),
        (lambda: dicom(encapsulate([b"no film, no JPEG 2000"]), uid.JPEG2000Lossless), "identify image file it"),
        (lambda: retagged(compressed(FILM, uid.RLELossless), PixelData=offsets(0)), "no compressed picture"),
    ],
)  # fmt: skip
def test_what_is_no_film_is_refused_by_name(content: Any, why: str) -> None:
    with pytest.raises(ImageError, match=f"^folder/film.dcm: .*({why})") as raised:
        decode(content(), "folder/film.dcm")
    assert str(raised.value).isprintable() and len(str(raised.value)) < 400


def peak(work: Callable[[], object]) -> int:
    """Bytes that the work takes at most; what it imports is imported before."""
    decode(ENCODINGS["deflated"](), "film")
    tracemalloc.start()
    work()
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return most


def test_a_deflated_bomb_is_not_inflated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reader, "MAX_INFLATED", 2**20)
    packer = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    plain = dicom(FILM, DEFLATED)
    start = plain.index(b"2.1.99") + 6
    head = plain[: start + plain[start:].index(b"PYDICOM") + 14]  # to the end of the file meta information
    bomb = head + packer.compress(zlib.decompress(plain[len(head) :], -zlib.MAX_WBITS) + bytes(2**26)) + packer.flush()
    assert len(bomb) < 2**18

    def opened() -> None:
        with pytest.raises(ImageError, match="x.dcm: inflates to more than 1,048,576 bytes"):
            decode(bomb, "x.dcm")

    assert peak(opened) < 6 * 2**20


def test_foreign_elements_are_not_kept() -> None:
    elements = b"".join(b"\x09\0" + n.to_bytes(2, "little") + b"LO\x02\0AB" for n in range(0x1000, 0x6000))
    content = dicom(FILM)
    at = content.index(b"\x28\0\x02\0US")  # where group 28 begins
    assert peak(lambda: decode(content[:at] + elements + content[at:], "x")) < 3 * 2**20


@pytest.mark.parametrize("over", [0.002, 0.01, 0.019])
def test_what_is_brighter_than_the_stated_bits_is_white(over: float) -> None:
    bright = (FILM / np.quantile(FILM, 1 - over) * 2047).astype(np.uint16)
    for content in (dicom(bright), dicom(bright, uid.ExplicitVRBigEndian), compressed(bright, uid.RLELossless)):
        image = np.asarray(decode(retagged(content, BitsStored=11, HighBit=10), "x"))
        assert (image[bright > 2047] == 255).all()
        looks_like(image.astype(float), np.minimum(bright, 2047), np.zeros_like(EDGE))


def test_a_signed_film_keeps_what_is_brighter_or_darker_than_its_bits() -> None:
    film = np.where(MARKER, np.where(INDEX[:COLUMNS] % 2, 3000, -3000), SIGNED).astype(np.int16)
    image = np.asarray(decode(dicom(film), "x"))
    assert (image[film == 3000] == 255).all() and (image[film == -3000] == 0).all()


@pytest.mark.parametrize("share", [0.05, 0.1, 0.15])
@pytest.mark.parametrize(("value", "signed"), [(65535, False), (0, False), (-32768, True), (32767, True)])
@pytest.mark.parametrize("inverse", [False, True])
def test_a_border_that_no_tag_names_takes_no_contrast_away(share: float, value: int, signed: bool, inverse: bool) -> None:
    border = np.broadcast_to(np.arange(COLUMNS) < share * COLUMNS, FILM.shape)
    film = (4095 - FILM if inverse else FILM).astype(np.int32) + (0 if signed or value else 20_000)
    pixels = np.where(border, value, film).astype(np.int16 if signed else np.uint16)
    photometric = "MONOCHROME1" if inverse else "MONOCHROME2"
    content = dicom(pixels, BitsStored=16, HighBit=15, PhotometricInterpretation=photometric)
    image = np.asarray(decode(content, "x"))
    looks_like(image.astype(float), FILM, np.array(border))
    assert (image[border] == (255 if (value > 0) != inverse else 0)).all()


@pytest.mark.parametrize("inverse", [False, True])
def test_padding_of_a_value_that_bright_parts_of_the_film_have_is_refused(inverse: bool) -> None:
    def content(share: float, edge: bool) -> bytes:
        inner = np.pad(np.ones((ROWS - 2, COLUMNS - 2), bool), 1)
        top = np.quantile(FILM, 1 - share)
        film = np.where((top <= FILM) & inner | (EDGE & edge), top, np.minimum(FILM, top - 1)).astype(np.uint16)
        stored = 4095 - film if inverse else film
        photometric = "MONOCHROME1" if inverse else "MONOCHROME2"
        return dicom(
            stored, PixelPaddingValue=int(stored.min() if inverse else stored.max()), PhotometricInterpretation=photometric
        )

    for edge in (True, False):
        with pytest.raises(ImageError, match=r"^x: Pixel Padding Value \(0028,0120\) .* correct it or take it away"):
            decode(content(0.2, edge), "x")
    few = np.asarray(decode(content(0.01, True), "x"))
    looks_like(few.astype(float), FILM, EDGE)
    assert (few[EDGE] == 0).all()


def test_a_background_of_the_padding_value_is_black_wherever_it_lies() -> None:
    hole = np.pad(EDGE[20:60, 5:40], ((20, 36), (20, 25)))
    image = np.asarray(decode(dicom(np.where(EDGE | hole | (FILM < 900), 0, FILM).astype(np.uint16), PixelPaddingValue=0), "x"))
    assert (image[(FILM < 900) | EDGE] == 0).all()


WITHOUT = """
import sys
for codec in ("libjpeg", "openjpeg", "jpeg_ls", "pylibjpeg"):
    sys.modules[codec] = None
from pathlib import Path
from chexreason.data.images import ImageError, read_image
try:
    print(read_image(Path(sys.argv[1])).size)
except ImageError as error:
    print(error)
"""


@pytest.mark.parametrize(
    ("syntax", "said"),
    [(uid.JPEGLSLossless, "a codec for JPEG-LS.* pip install 'chexreason.dicom.'"), (uid.JPEG2000Lossless, "80, 96")],
)
def test_where_a_codec_is_missing_the_extra_is_named(syntax: str, said: str, tmp_path: Path) -> None:
    (tmp_path / "x.dcm").write_bytes(compressed(FILM, syntax))
    shown = subprocess.run([sys.executable, "-c", WITHOUT, str(tmp_path / "x.dcm")], capture_output=True, text=True, check=True)
    assert re.search(said, shown.stdout), shown.stdout


@needs_films
@pytest.mark.parametrize("name", ["RG1_UNCI.dcm", "RG1_J2KI.dcm", "RG1_J2KR.dcm"])
def test_the_real_chest_film_has_bright_bones_on_dark_lungs(name: str) -> None:
    image = read_image(film(name))
    assert image.mode == "RGB" and image.size == (1841, 1955)
    grey = np.asarray(image.convert("L")).astype(float)
    right_lung, left_lung = grey[200:500, 500:750].mean(), grey[600:900, 1100:1300].mean()
    spine, abdomen = grey[300:1500, 860:940].mean(), grey[1500:1700, 250:550].mean()
    assert min(spine, abdomen) > max(right_lung, left_lung) + 40


@needs_films
@pytest.mark.parametrize("name", ["RG1", "RG3"])
def test_a_real_film_of_the_wrong_sign_is_refused_unless_its_stream_knows_it(name: str) -> None:
    with pytest.raises(ImageError, match="^x: Pixel Representation .0028,0103. says signed, .* correct it to 0$"):
        decode(retagged(film(f"{name}_UNCI.dcm").read_bytes(), PixelRepresentation=1), "x")
    coded = film(f"{name}_J2KI.dcm").read_bytes()
    assert decode(retagged(coded, PixelRepresentation=1), "x").tobytes() == decode(coded, "x").tobytes()


@needs_films
def test_the_film_of_a_leg_is_read_as_well() -> None:
    image = read_image(film("RG3_UNCI.dcm"))
    grey = np.asarray(image.convert("L")).astype(float)
    assert image.size == (1760, 1760)
    assert grey[400:900, 860:880].mean() > grey[400:900, 480:560].mean() + 60  # bone against the air beside the leg


@needs_films
def test_colour_dicom_of_any_depth_and_codec_reads_alike_and_several_frames_are_refused() -> None:
    eight, sixteen = (np.asarray(read_image(film(name))) for name in ("SC_rgb.dcm", "SC_rgb_16bit.dcm"))
    assert np.array_equal(eight, sixteen)
    packaged = Path(pydicom.__file__).parent / "data" / "test_files"  # JPEG lossless, JPEG-LS and baseline by other writers
    for name in ("SC_rgb_jpeg_gdcm", "SC_rgb_jls_lossy_line", "SC_rgb_jpeg_dcmtk", "SC_rgb_dcmtk_+eb+cy+s2", "SC_rgb_rle"):
        assert np.corrcoef(np.asarray(read_image(packaged / f"{name}.dcm")).ravel(), eight.ravel())[0, 1] > 0.99
    with pytest.raises(ImageError, match="2 frames"):
        read_image(film("SC_rgb_2frame.dcm"))


def test_the_window_is_applied_and_inverted_last() -> None:
    pixels = np.resize(np.array([0, 100, 125, 150, 200, 4000], np.uint16), FILM.shape)
    window = {"WindowCenter": 150, "WindowWidth": 100}
    two = np.asarray(decode(dicom(pixels, **window), "x"))[0, :6, 0].astype(int)
    assert two[0] == two[1] == 0 and two[4] == two[5] == 255 and 100 < two[3] < 155
    one = np.asarray(decode(dicom(pixels, PhotometricInterpretation="MONOCHROME1", **window), "x"))[0, :6, 0]
    assert np.array_equal(one, 255 - two)
