"""What a file's tags leave empty is read where it is clear; what they contradict or lack is refused by its tag."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom import uid
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate

from chexreason.data.images import ImageError, decode, doubts

from .encodings import (
    CODED,
    COLUMNS,
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
    foreign,
    frame,
    grey,
    looks_like,
    offsets,
    palette,
    retagged,
    table,
    without,
)

CLEAR: dict[str, Callable[[], bytes]] = {
    "for presentation by its tag": lambda: dicom(
        FILM, PresentationIntentType="FOR PRESENTATION", SOPClassUID=uid.DigitalXRayImageStorageForProcessing
    ),
    "a presentation LUT left empty": lambda: dicom(FILM, PresentationLUTSequence=[]),
    "a range limit left empty": lambda: dicom(FILM, PixelPaddingValue=0, PixelPaddingRangeLimit=None),
    "a high bit left empty": lambda: dicom(FILM, HighBit=None),
    "no high bit": lambda: without(dicom(FILM), "HighBit"),
    "a modality left empty": lambda: dicom(FILM, Modality=None),
    "a VOI LUT function left empty": lambda: dicom(FILM, WindowCenter=2048, WindowWidth=4096, VOILUTFunction=""),
    "a VOI LUT function for each window": lambda: dicom(
        FILM, WindowCenter=[2048, 9], WindowWidth=[4096, 9], VOILUTFunction=["LINEAR", "SIGMOID"]
    ),
    "a VOI LUT function of the second window": lambda: dicom(
        FILM, WindowCenter=[2048, 9], WindowWidth=[4096, 9], VOILUTFunction=["", "SIGMOID"]
    ),
    "a VOI LUT without its descriptor, beside a window": lambda: dicom(
        FILM, VOILUTSequence=[without_part(table(INDEX, 12), "LUTDescriptor")], WindowCenter=2048, WindowWidth=4096
    ),
    "a VOI LUT without its data, beside a window": lambda: dicom(
        FILM, VOILUTSequence=[without_part(table(INDEX, 12), "LUTData")], WindowCenter=2048, WindowWidth=4096
    ),
    "a VOI LUT left empty": lambda: dicom(FILM, VOILUTSequence=[Dataset()]),
    "a VOI LUT left empty before another": lambda: dicom(4095 - FILM, VOILUTSequence=[Dataset(), table(4095 - INDEX, 12)]),
    "a modality LUT left empty": lambda: dicom(FILM, ModalityLUTSequence=[Dataset()]),
    "small letters": lambda: dicom(
        4095 - FILM, Modality="dx", PhotometricInterpretation="monochrome1", PresentationLUTShape="inverse"
    ),
    "numbers said twice": lambda: dicom(
        FILM, **{"RescaleSlope": [2, 2], "RescaleIntercept": [0, 0], "Rows": [ROWS, ROWS], "BitsStored": [12, 12]}
    ),
    "a palette in small letters": lambda: dicom(
        255 - EIGHT, **palette(255 - INDEX[:256], 8) | {"PhotometricInterpretation": "palette color"}
    ),
    "compressed colours without a planar configuration": lambda: without(
        compressed(grey(EIGHT), uid.JPEG2000Lossless), "PlanarConfiguration"
    ),
    "RLE in colour without a planar configuration": lambda: without(
        compressed(grey(EIGHT), uid.RLELossless), "PlanarConfiguration"
    ),
    "a JPEG of 8 bits in 16": lambda: retagged(ENCODINGS["JPEG"](), BitsAllocated=16),
    "a JPEG of 8 bits in 16, 12 stored": lambda: retagged(
        ENCODINGS["JPEG"](), BitsAllocated=16, BitsStored=12, HighBit=11, RescaleSlope=1, RescaleIntercept=0
    ),
    "a JPEG in colour of 8 bits in 16": lambda: retagged(ENCODINGS["JPEG in YBR_FULL_422"](), BitsAllocated=16),
    "a JPEG 2000 of 8 bits in 16": lambda: retagged(compressed(EIGHT, uid.JPEG2000Lossless), BitsAllocated=16),
    "a JPEG said to be signed": lambda: retagged(ENCODINGS["JPEG"](), PixelRepresentation=1),
    "a JPEG 2000 said to be signed": lambda: retagged(ENCODINGS["JPEG 2000"](), PixelRepresentation=1),
    "a JPEG 2000 of 16 bits, said to be signed": lambda: retagged(
        compressed(FILM << 4, uid.JPEG2000Lossless, BitsStored=16, HighBit=15), PixelRepresentation=1
    ),
    "a JPEG 2000 of signed bits, coded as if they were not": lambda: retagged(
        compressed((SIGNED & 0x0FFF).astype(np.uint16), uid.JPEG2000Lossless), PixelRepresentation=1
    ),
    "a padding byte": lambda: dicom(FILM.tobytes() + bytes(2)),
    "an RLE with an empty fragment": lambda: dicom(
        encapsulate([frame(compressed(FILM, uid.RLELossless))]) + b"\xfe\xff\0\xe0" + bytes(4), uid.RLELossless
    ),
    "an offset table that is wrong": lambda: retagged(
        compressed(FILM, uid.JPEG2000Lossless),
        PixelData=offsets(9999) + encapsulate([frame(compressed(FILM, uid.JPEG2000Lossless))], has_bot=False)[8:],
    ),
    "an RLE in two fragments": lambda: retagged(
        compressed(FILM, uid.RLELossless),
        PixelData=encapsulate([frame(compressed(FILM, uid.RLELossless))], fragments_per_frame=2),
    ),
    "a JPEG in many fragments": lambda: retagged(
        ENCODINGS["JPEG"](), PixelData=encapsulate([frame(ENCODINGS["JPEG"]())], fragments_per_frame=5)
    ),
}  # fmt: skip


def grouped(content: bytes, group: str, **tags: Any) -> bytes:
    """An enhanced object: tags of its one frame lie in sequences of a functional group."""
    item = Dataset()
    for keyword, value in tags.items():
        inner = Dataset()
        for tag, said in value.items():
            setattr(inner, tag, said)
        setattr(item, keyword, [inner])
    return retagged(content, **{f"{group}FunctionalGroupsSequence": [item], "NumberOfFrames": 1})


@pytest.mark.parametrize("group", ["Shared", "PerFrame"])
def test_what_an_enhanced_object_says_of_its_frame_is_heeded(group: str) -> None:
    slope, window = {"RescaleSlope": -1, "RescaleIntercept": 4095}, {"WindowCenter": 900, "WindowWidth": 500}
    whole = grouped(dicom(4095 - FILM), group, PixelValueTransformationSequence=slope, FrameVOILUTSequence=window)
    assert decode(whole, "x").tobytes() == decode(dicom(4095 - FILM, **slope, **window), "x").tobytes()
    oblong = grouped(dicom(FILM), group, PixelMeasuresSequence={"PixelSpacing": [0.3, 0.2]})
    assert decode(oblong, "x").size == (COLUMNS, ROWS * 3 // 2)


@pytest.mark.parametrize("tag", ["PixelSpacing", "ImagerPixelSpacing", "NominalScannedPixelSpacing", "PixelAspectRatio"])
def test_pixels_that_are_not_square_are_shown_square(tag: str) -> None:
    for shape, size in (([2, 1], (COLUMNS, 2 * ROWS)), ([1, 3], (3 * COLUMNS, ROWS)), ([1, 1], (COLUMNS, ROWS))):
        image = decode(dicom(FILM, **{tag: shape}), "x")
        assert image.size == size
        looks_like(np.asarray(image.resize((COLUMNS, ROWS))).astype(float), FILM, np.zeros_like(EDGE))
    for nonsense in ([0, 1], [3], None, [-1, 1], [1001, 1000]):
        assert decode(dicom(FILM, **{tag: nonsense}), "x").size == (COLUMNS, ROWS)
    with pytest.raises(ImageError, match="^x: .* strip, no film"):
        decode(dicom(FILM, **{tag: [900, 1]}), "x")


def without_part(item: Dataset, keyword: str) -> Dataset:
    delattr(item, keyword)
    return item


def described(*numbers: int) -> Dataset:
    item = table(INDEX, 12)
    item.LUTDescriptor = list(numbers)
    return item


RGB = {"PhotometricInterpretation": "RGB", "SamplesPerPixel": 3, "BitsAllocated": 8, "BitsStored": 8, "HighBit": 7}


def annotated() -> np.ndarray:
    """A grey film in RGB with a few letters in yellow."""
    return np.where(MARKER[..., None], np.uint8([255, 255, 0]), grey(EIGHT))


def without_jfif() -> bytes:
    """A JPEG in colour that does not say itself which colours it has."""
    whole = ENCODINGS["JPEG in YBR_FULL_422"]()
    stream = frame(whole)
    at = stream.index(b"\xff\xe0")
    return retagged(whole, PixelData=encapsulate([stream[:at] + stream[at + 18 :]]))


@pytest.mark.parametrize("what", CLEAR)
def test_what_is_left_empty_or_sloppy_but_clear_is_read(what: str) -> None:
    looks_like(np.asarray(decode(CLEAR[what](), "x")).astype(float), FILM, np.zeros_like(EDGE))


@pytest.mark.parametrize(
    ("content", "why"),
    [
        *[
            (lambda tag=tag: without(dicom(FILM), tag), f"it has no {tag}")
            for tag in ("PhotometricInterpretation", "PixelRepresentation", "Rows", "BitsStored", "SamplesPerPixel")
        ],
        (lambda: without(dicom(grey(EIGHT)), "PlanarConfiguration"), "it has no PlanarConfiguration"),
        (lambda: dicom(FILM, PhotometricInterpretation=None), "it has no PhotometricInterpretation"),
        (lambda: dicom(EIGHT, PhotometricInterpretation="PALETTE COLOR"), "lacks: it has no RedPalette.*Descriptor, .*BlueP"),
        *[
            (lambda tag=tag: without(dicom(EIGHT, **palette(INDEX[:256], 8)), tag), f"lacks: it has no {tag}$")
            for tag in ("GreenPaletteColorLookupTableData", "BluePaletteColorLookupTableDescriptor")
        ],
        (lambda: dicom(FILM, Rows=[ROWS, 8]), r"Rows \(0028,0010\) has several values \(96, 8\); keep"),
        (lambda: dicom(FILM, RescaleSlope=[1, -1]), r"Rescale Slope \(0028,1053\) has several values"),
        (lambda: dicom(FILM, VOILUTSequence=[without_part(table(INDEX, 12), "LUTDescriptor")]), "VOI LUT.*no LUT Descriptor"),
        (lambda: dicom(FILM, VOILUTSequence=[without_part(table(INDEX, 12), "LUTData")]), "VOI LUT.*no LUT Data"),
        (
            lambda: dicom(
                FILM, ModalityLUTSequence=[without_part(table(INDEX, 12), "LUTData")], WindowCenter=2048, WindowWidth=4096
            ),
            "Modality LUT Sequence .0028,3000. has no LUT Data",
        ),
        (
            lambda: retagged(
                ENCODINGS["JPEG"](), BitsAllocated=16, BitsStored=12, HighBit=11, WindowCenter=2048, WindowWidth=4096
            ),
            r"the picture inside has 8 bits, Bits Stored \(0028,0101\) says 12",
        ),
        *[
            (lambda rows=rows, columns=columns: dicom(FILM, Rows=rows, Columns=columns), "correct Rows, Columns")
            for rows, columns in ((ROWS - 1, 80), (ROWS, 79), (ROWS * 2 // 3, 80), (ROWS + 4, 75), (80, 95))
        ],
        *[
            (lambda syntax=syntax: dicom(FILM, syntax, Rows=COLUMNS, Columns=ROWS), r"exchange Rows \(0028,0010\) and Columns")
            for syntax in NATIVE
        ],
        (lambda: dicom(grey(EIGHT), Rows=COLUMNS, Columns=ROWS), "96 x 80 pixels are no film, 80 x 96 are one; exchange"),
        *[
            (lambda syntax=syntax, film=film: dicom(film.byteswap(), syntax, BitsStored=16, HighBit=15), "in the other order")
            for syntax in NATIVE
            for film in (FILM, FILM << 4, SIGNED)
        ],
        (lambda: dicom(grey(FILM).byteswap(), BitsStored=16, HighBit=15), "in the other order than its transfer syntax says"),
        *[
            (lambda plane=plane, pixels=pixels: dicom(pixels.tobytes(), **RGB | {"PlanarConfiguration": plane}),
             f"Planar Configuration .* says {plane}, .* only if it is {1 - plane}; correct it")
            for plane, pixels in ((0, np.moveaxis(annotated(), -1, 0)), (1, annotated()))
        ],
        *[
            (lambda content=content, said=said: retagged(content(), PhotometricInterpretation=said),
             f"Photometric Interpretation .* says {said}, .* only if it is {'RGB' if said == 'YBR_FULL' else 'YBR_FULL'}; corr")
            for content, said in (
                (lambda: dicom(annotated()), "YBR_FULL"),
                (lambda: compressed(annotated(), uid.RLELossless), "YBR_FULL"),
                (lambda: compressed(annotated(), uid.JPEG2000Lossless), "YBR_FULL"),
                (ENCODINGS["YBR_FULL"], "RGB"),
                (without_jfif, "RGB"),
            )
        ],
        *[
            (lambda film=film, syntax=syntax: retagged(compressed(film, syntax), BitsAllocated=8, BitsStored=8, HighBit=7),
             r"inside has 12 bits, Bits Allocated \(0028,0100\) says 8; correct it to 16 and Bits Stored \(0028,0101\) to 12")
            for film in (FILM, SIGNED)
            for syntax in CODED[1:]
        ],
        *[
            (lambda name=name: retagged(foreign(name), BitsAllocated=8, BitsStored=8, HighBit=7), f"has {bits} bits, Bits A")
            for name, bits in (("JPEG-LL", 16), ("JPGExtended", 12), ("MR_small_jpeg_ls_lossless", 16))
        ],
        (lambda: dicom(FILM, RescaleSlope=2, RescaleIntercept=0).replace(b"2.0 ", b"2,0 "), r"Slope \(0028,1053\) is .2,0."),
        (lambda: dicom(FILM, WindowCenter=2048, WindowWidth=4096, VOILUTFunction="GAMMA"), "GAMMA, .* one of LINEAR, LINEAR_E"),
        (lambda: dicom(FILM, RescaleSlope=0.001, RescaleIntercept=0, WindowCenter=2, WindowWidth=0.9), "a Window Width of 1"),
        (lambda: dicom(FILM, VOILUTSequence=[described(4096, 0)]), r"the descriptor of LUT Data is \[4096, 0\]; three numbers"),
        (lambda: dicom(FILM.tobytes() + FILM[:48].tobytes()), "23,040 bytes, its tags announce 15,360"),
        (lambda: dicom(np.pad(grey(EIGHT), ((0, 1), (0, 0), (0, 0))), Rows=ROWS), "correct Rows, Columns"),
        *[
            (
                lambda name=name, times=times: retagged(
                    ENCODINGS[name](), PixelData=encapsulate([frame(ENCODINGS[name]())] * times)
                ),
                f"its pixel data holds {times} frames",
            )
            for name in ("JPEG", "JPEG 2000", "JPEG-LS", "RLE")
            for times in (2, 3)
        ],
    ],
)  # fmt: skip
def test_what_contradicts_itself_or_lacks_a_needed_part_is_refused_by_its_tag(content: Callable[[], bytes], why: str) -> None:
    with pytest.raises(ImageError, match=f"^x: .*{why}") as raised:
        decode(content(), "x")
    assert str(raised.value).isprintable() and len(str(raised.value)) < 400


@pytest.mark.parametrize(
    ("said", "doubted"),
    [
        ({}, []),
        ({"ViewPosition": "", "BodyPartExamined": ""}, []),
        ({"ViewPosition": "PA", "BodyPartExamined": "CHEST"}, []),
        ({"ViewPosition": "ap axial", "BodyPartExamined": "Thorax"}, []),
        ({"ViewPosition": "A.P. erect"}, []),
        ({"ViewPosition": "ANTEROPOSTERIOR", "BodyPartExamined": "TORAX"}, []),
        ({"ViewPosition": "AP_SUPINE", "BodyPartExamined": "PORT CHEST"}, []),
        ({"ViewPosition": "P/A", "BodyPartExamined": "UNKNOWN"}, []),
        ({"ViewPosition": "LL", "BodyPartExamined": "CHEST"}, ["View Position (0018,5101) says LL"]),
        ({"ViewPosition": "LATERAL"}, ["View Position (0018,5101) says LATERAL"]),
        ({"BodyPartExamined": "KNEE"}, ["Body Part Examined (0018,0015) says KNEE"]),
        (
            {"BodyPartExamined": "HAND", "ViewPosition": "RLO"},
            ["Body Part Examined (0018,0015) says HAND", "View Position (0018,5101) says RLO"],
        ),
    ],
)
def test_a_file_that_says_it_is_no_frontal_chest_film_is_doubted(
    said: dict[str, str], doubted: list[str], tmp_path: Path
) -> None:
    for syntax in (uid.ExplicitVRLittleEndian, uid.DeflatedExplicitVRLittleEndian):
        path = tmp_path / f"{syntax}.dcm"
        path.write_bytes(dicom(FILM, syntax=syntax, **said))
        assert doubts(path) == doubted


@pytest.mark.parametrize(("vr", "value"), [("US", b"\x01\x02\x03"), ("FD", b"\x01\x02"), ("SL", b"123456"), ("ZZ", b"PA")])
def test_a_broken_tag_of_what_a_film_shows_says_nothing(vr: str, value: bytes, tmp_path: Path) -> None:
    sound = dicom(FILM, ViewPosition="AP")
    at = sound.index(b"\x18\x00\x01\x51CS")
    path = tmp_path / "broken.dcm"
    path.write_bytes(sound[: at + 4] + vr.encode() + len(value).to_bytes(2, "little") + value + sound[at + 10 :])
    assert doubts(path) == []
