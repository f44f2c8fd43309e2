"""One drawn film of 12 bits in many encodings, each of which is read as the same picture."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from PIL import Image
from pydicom import uid
from pydicom.data import get_testdata_file
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate, get_frame
from pydicom.pixels import convert_color_space

ROWS, COLUMNS = 96, 80


def drawn() -> np.ndarray:
    """(ROWS, COLUMNS) from about 200 to 3,900: two dark lungs, a bright spine, ribs, a little noise."""
    y, x = np.mgrid[0 : 1 : ROWS * 1j, 0 : 1 : COLUMNS * 1j]
    lungs = sum(np.exp(-(((x - centre) / 0.14) ** 2) - ((y - 0.45) / 0.3) ** 2) for centre in (0.28, 0.72))
    ribs = 0.08 * np.sin(40 * y + 6 * np.abs(x - 0.5)) * lungs
    density = 0.62 - 0.5 * lungs + ribs + 0.3 * np.exp(-(((x - 0.5) / 0.06) ** 2)) + 0.05 * y
    noise = np.random.default_rng(5).normal(0, 0.004, density.shape)
    return (np.clip(density + noise, 0, 1) * 3700 + 200).astype(np.uint16)


FILM = drawn()
EIGHT = (FILM >> 4).astype(np.uint8)
EDGE = np.zeros(FILM.shape, bool)  # where padded films hold no film
EDGE[:, :12] = True
MARKER = np.zeros(FILM.shape, bool)  # letters of lead
MARKER[4:12, 66:74] = True


def dicom(pixels: np.ndarray | bytes, syntax: str = uid.ExplicitVRLittleEndian, preamble: bool = True, **tags: Any) -> bytes:
    """A DICOM file of one film. `pixels` are an array, stored as the syntax has it, or bytes that are stored as they are."""
    data = Dataset()
    data.file_meta = FileMetaDataset()
    data.file_meta.TransferSyntaxUID = uid.UID(syntax)
    data.file_meta.MediaStorageSOPClassUID = data.SOPClassUID = uid.DigitalXRayImageStorageForPresentation
    data.file_meta.MediaStorageSOPInstanceUID = data.SOPInstanceUID = "1.2.3"
    data.Modality, data.PhotometricInterpretation = "DX", "MONOCHROME2"
    data.Rows, data.Columns, data.SamplesPerPixel = ROWS, COLUMNS, 1
    data.BitsAllocated, data.BitsStored, data.HighBit, data.PixelRepresentation = 16, 12, 11, 0
    if isinstance(pixels, np.ndarray):
        data.BitsAllocated = 8 * pixels.dtype.itemsize
        data.BitsStored = min(data.BitsStored, data.BitsAllocated)
        data.HighBit = data.BitsStored - 1
        data.PixelRepresentation = int(pixels.dtype.kind == "i")
        data.SamplesPerPixel = 3 if pixels.ndim == 3 else 1
        if pixels.ndim == 3:
            data.PhotometricInterpretation, data.PlanarConfiguration = "RGB", 0
        pixels = (pixels.byteswap() if syntax == uid.ExplicitVRBigEndian else pixels).tobytes()
    for tag, value in tags.items():
        setattr(data, tag, value)
    data.PixelData = pixels
    data["PixelData"].VR = "OB" if data.BitsAllocated == 8 else "OW"
    data["PixelData"].is_undefined_length = data.file_meta.TransferSyntaxUID.is_compressed and syntax != DEFLATED
    stream = io.BytesIO()
    data.save_as(stream, enforce_file_format=preamble)
    return stream.getvalue()


DEFLATED = uid.DeflatedExplicitVRLittleEndian


def compressed(pixels: np.ndarray, syntax: str, **tags: Any) -> bytes:
    """By the codecs that pydicom knows."""
    data = pydicom.dcmread(io.BytesIO(dicom(pixels, **tags)))
    data.compress(syntax)
    stream = io.BytesIO()
    data.save_as(stream)
    return stream.getvalue()


def frame(content: bytes) -> bytes:
    """The compressed picture in a DICOM file."""
    return get_frame(pydicom.dcmread(io.BytesIO(content)).PixelData, 0, number_of_frames=1)


def retagged(content: bytes, elements: Any = (), **tags: Any) -> bytes:
    """The file with other tags; None takes one away. `elements`: (tag, type, value) of those without a name of their own."""
    data = pydicom.dcmread(io.BytesIO(content))
    for element in elements:
        data.add_new(*element)
    for tag, value in tags.items():
        if value is None:
            delattr(data, tag)
        else:
            setattr(data, tag, value)
    stream = io.BytesIO()
    data.save_as(stream)
    return stream.getvalue()


def jpeg(image: Image.Image, photometric: str, **options: Any) -> bytes:
    """JPEG baseline, in the colours that Pillow gives it."""
    stream = io.BytesIO()
    image.save(stream, "JPEG", quality=95, **options)
    colours = {"SamplesPerPixel": 3, "PlanarConfiguration": 0} if image.mode != "L" else {}
    tags = {"BitsAllocated": 8, "BitsStored": 8, "HighBit": 7, "PhotometricInterpretation": photometric, **colours}
    return dicom(encapsulate([stream.getvalue()]), uid.JPEGBaseline8Bit, **tags)


def lossless(film: np.ndarray = FILM, bits: int = 12, shift: int = 0, rows: int = 0) -> bytes:
    """Lossless JPEG (ISO 10918-1, H): each pixel less the one on its left, or the one above; a restart each so many rows."""
    high, wide = film.shape
    head = struct.pack(">BHHBBBB", bits, high, wide, 1, 1, 0x11, 0)
    table = bytes([0, *((bits + 1) * (length == 5) for length in range(1, 17)), *range(bits + 1)])  # codes of 5 bits
    parts = [(0xC3, head), (0xC4, table), (0xDD, struct.pack(">H", rows * wide)), (0xDA, bytes([1, 1, 0, 1, 0, shift]))]
    runs = []
    for top in range(0, high, rows or high):
        part = film[top : top + (rows or high)].astype(int) >> shift
        before = np.column_stack([np.concatenate([[2 ** (bits - shift - 1)], part[:-1, 0]]), part[:, :-1]])
        coded = "".join(
            f"{size:05b}{less + (2**size - 1) * (less < 0):0{size}b}" if (size := abs(less).bit_length()) else "00000"
            for less in (part - before).astype(np.int16).ravel().tolist()  # modulo 65,536
        )
        coded += "1" * (-len(coded) % 8)
        runs.append(int(coded, 2).to_bytes(len(coded) // 8, "big").replace(b"\xff", b"\xff\0"))
    body = b"".join(bytes([255, 0xD0 + (number - 1) % 8]) * (number > 0) + run for number, run in enumerate(runs))
    segments = b"".join(struct.pack(">BBH", 255, marker, len(one) + 2) + one for marker, one in parts)
    return b"\xff\xd8" + segments + body + b"\xff\xd9"


def in_lossless(stream: bytes, **tags: Any) -> bytes:
    return dicom(encapsulate([stream]), uid.JPEGLosslessSV1, **tags)


def table(entries: np.ndarray, bits: int, first: int = 0, words: bool = True) -> Dataset:
    """An item of a modality or VOI LUT sequence, an entry to a word or, for 8 bits, two."""
    item = Dataset()
    item.add_new("LUTDescriptor", "US", [len(entries) % 2**16, first, bits])
    item.add_new("LUTData", "OW", entries.astype("<u2" if words else np.uint8).tobytes())
    return item


def palette(entries: np.ndarray, bits: int) -> dict[str, Any]:
    """The tags of a grey palette."""
    data = entries.astype("<u2" if bits == 16 else np.uint8).tobytes()
    tags: dict[str, Any] = {"PhotometricInterpretation": "PALETTE COLOR"}
    for colour in ("Red", "Green", "Blue"):
        tags[f"{colour}PaletteColorLookupTableDescriptor"] = [len(entries), 0, bits]
        tags[f"{colour}PaletteColorLookupTableData"] = data
    return tags


def segmented(kind: str, white: int) -> dict[str, Any]:
    """The tags of a grey palette whose data are one black entry and a line from there to white."""
    data = b"".join(struct.pack(kind, number) for number in (0, 1, 0, 1, 255, white))
    tags: dict[str, Any] = {"PhotometricInterpretation": "PALETTE COLOR"}
    for colour in ("Red", "Green", "Blue"):
        tags[f"{colour}PaletteColorLookupTableDescriptor"] = [256, 0, white.bit_length()]
        tags[f"Segmented{colour}PaletteColorLookupTableData"] = data
    return tags


def png(pixels: np.ndarray, significant: bytes = b"") -> bytes:
    """A PNG of 16 bits: (rows, columns) or (rows, columns, 2, 3 or 4 channels). Rows are stored as differences."""
    channels = 1 if pixels.ndim == 2 else pixels.shape[2]
    raw = np.frombuffer(pixels.astype(">u2").tobytes(), np.uint8).reshape(len(pixels), -1)
    left = np.pad(raw, ((0, 0), (2 * channels, 0)))[:, : raw.shape[1]]
    rows = np.pad(raw - left, ((0, 0), (1, 0)), constant_values=1)  # filter 1, "Sub": uint8 wraps as it should

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    head = struct.pack(">IIBBBBB", pixels.shape[1], pixels.shape[0], 16, {1: 0, 2: 4, 3: 2, 4: 6}[channels], 0, 0, 0)
    data = zlib.compress(rows.tobytes())
    parts = [(b"IHDR", head), (b"IDAT", data[:100]), (b"IDAT", data[100:]), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*part) for part in parts)


def grey(image: np.ndarray) -> np.ndarray:
    """The same in three channels."""
    return np.repeat(image[..., None], 3, axis=-1)


def ybr_422() -> bytes:
    """Y1 Y2 B R of each pair of pixels."""
    ybr = convert_color_space(grey(EIGHT), "RGB", "YBR_FULL").reshape(ROWS, COLUMNS // 2, 2, 3)
    return np.stack([ybr[:, :, 0, 0], ybr[:, :, 1, 0], ybr[:, :, 0, 1], ybr[:, :, 0, 2]], axis=-1).tobytes()


INDEX = np.arange(4096)
YBR = {"SamplesPerPixel": 3, "PlanarConfiguration": 0, "BitsAllocated": 8, "BitsStored": 8, "HighBit": 7}
SIGNED = FILM.astype(np.int16) - 2048
ENCODINGS: dict[str, Callable[[], bytes]] = {
    "explicit": lambda: dicom(FILM),
    "implicit": lambda: dicom(FILM, uid.ImplicitVRLittleEndian),
    "big-endian": lambda: dicom(FILM, uid.ExplicitVRBigEndian),
    "big-endian of 8 bits": lambda: dicom(EIGHT, uid.ExplicitVRBigEndian),
    "deflated": lambda: dicom(FILM, DEFLATED),
    "no preamble": lambda: dicom(FILM)[132:],
    "no file meta": lambda: dicom(FILM)[dicom(FILM).index(b"\x08\0\x16\0UI") :],
    "no file meta, implicit": lambda: (
        dicom(FILM, uid.ImplicitVRLittleEndian)[dicom(FILM, uid.ImplicitVRLittleEndian).index(b"\x08\0\x16\0") :]
    ),
    "MONOCHROME1": lambda: dicom(4095 - FILM, PhotometricInterpretation="MONOCHROME1", PresentationLUTShape="INVERSE"),
    "MONOCHROME1 with a window": lambda: dicom(
        4095 - FILM, PhotometricInterpretation="MONOCHROME1", WindowCenter=2048, WindowWidth=4096
    ),
    "signed": lambda: dicom(SIGNED),
    "signed, not extended": lambda: dicom((SIGNED & 0x0FFF).astype(np.int16)),
    "high bit 15": lambda: dicom(FILM << 4, HighBit=15),
    "signed, high bit 15": lambda: dicom(SIGNED << 4, HighBit=15),
    "overlay in the upper bits": lambda: retagged(
        dicom(FILM | (MARKER.astype(np.uint16) << 12)), [(0x60000102, "US", 12)]
    ),
    "two overlays in the upper bits": lambda: retagged(
        dicom(FILM | (EDGE.astype(np.uint16) << 12) | (MARKER.astype(np.uint16) << 14)),
        [(0x60020102, "US", 12), (0x601E0102, "US", 14)],
    ),
    "rescaled": lambda: dicom(FILM, RescaleSlope=0.25, RescaleIntercept=-1000),
    "rescaled downwards": lambda: dicom(4095 - FILM, RescaleSlope=-1, RescaleIntercept=4095),
    "rescaled downwards and windowed": lambda: dicom(
        4095 - FILM, RescaleSlope=-1, RescaleIntercept=4095, WindowCenter=2048, WindowWidth=4096
    ),
    "signed, rescaled downwards, window LINEAR_EXACT": lambda: dicom(
        -SIGNED, RescaleSlope=-0.5, RescaleIntercept=0, WindowCenter=0, WindowWidth=2048, VOILUTFunction="LINEAR_EXACT"
    ),
    "MONOCHROME1, rescaled downwards, window SIGMOID": lambda: dicom(
        FILM, PhotometricInterpretation="MONOCHROME1", RescaleSlope=-1, RescaleIntercept=0, WindowCenter=-2048,
        WindowWidth=9000, VOILUTFunction="SIGMOID",
    ),
    "rescaled by a tiny slope": lambda: dicom(FILM, RescaleSlope=1e-9, RescaleIntercept=1),
    "empty rescale": lambda: dicom(FILM, RescaleSlope=None, RescaleIntercept=None),
    "empty slope, windowed": lambda: dicom(
        FILM, **{"RescaleSlope": None, "RescaleIntercept": -1024, "WindowCenter": 1024, "WindowWidth": 4096}
    ),
    "empty intercept, windowed": lambda: dicom(
        FILM, **{"RescaleSlope": 2, "RescaleIntercept": None, "WindowCenter": 4096, "WindowWidth": 8192}
    ),
    "rescaled and windowed": lambda: dicom(FILM, RescaleSlope=2, RescaleIntercept=-100, WindowCenter=4000, WindowWidth=8200),
    "window": lambda: dicom(FILM, WindowCenter=2048, WindowWidth=4096),
    "several windows": lambda: dicom(FILM, WindowCenter=[2048, 100], WindowWidth=[4096, 10]),
    "window LINEAR_EXACT": lambda: dicom(FILM, WindowCenter=2048, WindowWidth=4096, VOILUTFunction="LINEAR_EXACT"),
    "window SIGMOID": lambda: dicom(FILM, WindowCenter=2048, WindowWidth=9000, VOILUTFunction="SIGMOID"),
    "window of width 0": lambda: dicom(FILM, WindowCenter=0, WindowWidth=0),
    "empty window": lambda: dicom(FILM, WindowCenter=None, WindowWidth=None),
    "VOI LUT of 8 bits": lambda: dicom(FILM, VOILUTSequence=[table(INDEX >> 4, 8)]),
    "VOI LUT of 8 bits, packed": lambda: dicom(FILM, VOILUTSequence=[table(INDEX >> 4, 8, words=False)]),
    "VOI LUT of 12 bits": lambda: dicom(FILM, VOILUTSequence=[table(INDEX, 12)]),
    "VOI LUT from 150 on": lambda: dicom(FILM, VOILUTSequence=[table(INDEX[150:], 16, 150)]),
    "VOI LUT of signed pixels": lambda: dicom(SIGNED, VOILUTSequence=[table(INDEX * 16, 16, 2**16 - 2048)]),
    "VOI LUT of rescaled pixels": lambda: dicom(
        FILM, RescaleSlope=1, RescaleIntercept=0, VOILUTSequence=[table(INDEX >> 4, 8)]
    ),
    "VOI LUT of pixels rescaled below 0": lambda: dicom(
        FILM, RescaleSlope=1, RescaleIntercept=-1024, VOILUTSequence=[table(INDEX, 12, 2**16 - 1024)]
    ),
    "VOI LUT of pixels rescaled below 0, implicit": lambda: dicom(
        FILM, uid.ImplicitVRLittleEndian, RescaleSlope=1, RescaleIntercept=-1024,
        VOILUTSequence=[table(INDEX, 12, 2**16 - 1024)],
    ),
    "VOI LUT before a window": lambda: dicom(FILM, VOILUTSequence=[table(INDEX, 12)], WindowCenter=9, WindowWidth=9),
    "modality LUT of 12 bits": lambda: dicom(4095 - FILM, ModalityLUTSequence=[table(4095 - INDEX, 12)]),
    "modality LUT of 8 bits": lambda: dicom(FILM, ModalityLUTSequence=[table(INDEX >> 4, 8)]),
    "marker of 65535": lambda: dicom(np.where(MARKER, 65535, FILM).astype(np.uint16), BitsStored=16, HighBit=15),
    "marker beyond the stated bits": lambda: dicom(np.where(MARKER, 65535, FILM).astype(np.uint16)),
    "padding of 65535": lambda: dicom(np.where(EDGE, 65535, FILM).astype(np.uint16), PixelPaddingValue=65535),
    "padding of 65535 in 16 bits": lambda: dicom(
        np.where(EDGE, 65535, FILM).astype(np.uint16), PixelPaddingValue=65535, BitsStored=16, HighBit=15
    ),
    "padding in a range": lambda: dicom(
        np.where(EDGE, 60000 + FILM, FILM).astype(np.uint16),
        **{"PixelPaddingValue": 60000, "PixelPaddingRangeLimit": 65535, "BitsStored": 16, "HighBit": 15},
    ),
    "padding of -2000, signed": lambda: dicom(
        np.where(EDGE, -20000, SIGNED).astype(np.int16), PixelPaddingValue=-20000, BitsStored=16, HighBit=15
    ),
    "padding of MONOCHROME1": lambda: dicom(
        np.where(EDGE, 0, 60000 - FILM).astype(np.uint16),
        **{"PixelPaddingValue": 0, "PhotometricInterpretation": "MONOCHROME1", "BitsStored": 16, "HighBit": 15},
    ),
    "palette of 16 bits": lambda: dicom(EIGHT, **palette(np.arange(256) * 257, 16)),
    "palette of 8 bits": lambda: dicom(EIGHT, **palette(np.arange(256), 8)),
    "segmented palette of 16 bits": lambda: dicom(EIGHT, **segmented("<H", 65535)),
    "segmented palette of 8 bits": lambda: dicom(EIGHT, **segmented("<B", 255)),
    "segmented palette of 16 bits, big-endian": lambda: dicom(EIGHT, uid.ExplicitVRBigEndian, **segmented(">H", 65535)),
    "palette backwards": lambda: dicom(255 - EIGHT, **palette(255 - np.arange(256), 8)),
    "palette of 8 bits, 12-bit indices": lambda: dicom(FILM, **palette(INDEX >> 4, 8)),
    "RGB": lambda: dicom(grey(EIGHT)),
    "RGB by planes": lambda: dicom(np.moveaxis(grey(EIGHT), -1, 0).tobytes(), **YBR | {"PlanarConfiguration": 1}
                                   | {"PhotometricInterpretation": "RGB"}),
    "RGB of 12 bits in 16": lambda: dicom(grey(FILM), BitsStored=16, HighBit=15),
    "YBR_FULL": lambda: dicom(
        convert_color_space(grey(EIGHT), "RGB", "YBR_FULL").tobytes(), PhotometricInterpretation="YBR_FULL", **YBR
    ),
    "YBR_FULL_422": lambda: dicom(ybr_422(), PhotometricInterpretation="YBR_FULL_422", **YBR),
    "RLE": lambda: compressed(FILM, uid.RLELossless),
    "RLE, high bit 15": lambda: compressed(FILM << 4, uid.RLELossless, HighBit=15),
    "RLE in colour": lambda: compressed(grey(EIGHT), uid.RLELossless),
    "JPEG 2000": lambda: compressed(FILM, uid.JPEG2000Lossless),
    "JPEG 2000, signed": lambda: compressed(SIGNED, uid.JPEG2000Lossless),
    "JPEG 2000 in colour": lambda: compressed(grey(EIGHT), uid.JPEG2000Lossless),
    "JPEG-LS": lambda: compressed(FILM, uid.JPEGLSLossless),
    "JPEG-LS, signed": lambda: compressed(SIGNED, uid.JPEGLSLossless),
    "JPEG-LS of 16 bits, signed, not extended": lambda: retagged(
        compressed((SIGNED & 0x0FFF).astype(np.uint16), uid.JPEGLSLossless, BitsStored=16, HighBit=15),
        **{"BitsStored": 12, "HighBit": 11, "PixelRepresentation": 1},
    ),
    "JPEG-LS, zeros after its end": lambda: dicom(
        encapsulate([frame(compressed(FILM, uid.JPEGLSLossless)) + bytes(64)]), uid.JPEGLSLossless
    ),
    "lossless JPEG": lambda: in_lossless(lossless()),
    "lossless JPEG of 16 bits": lambda: in_lossless(lossless(FILM << 4, 16), BitsStored=16, HighBit=15),
    "lossless JPEG with restarts": lambda: in_lossless(lossless(rows=7)),
    "JPEG": lambda: jpeg(Image.fromarray(EIGHT), "MONOCHROME2"),
    "JPEG, zeros after its end": lambda: retagged(
        ENCODINGS["JPEG"](), PixelData=encapsulate([frame(ENCODINGS["JPEG"]()) + bytes(64)])
    ),
    "JPEG in YBR_FULL_422": lambda: jpeg(Image.fromarray(grey(EIGHT)), "YBR_FULL_422", subsampling="4:2:2"),
    "JPEG in YBR_FULL_422, said to be RGB": lambda: jpeg(Image.fromarray(grey(EIGHT)), "RGB"),
    "JPEG in RGB": lambda: jpeg(Image.fromarray(grey(EIGHT)), "RGB", keep_rgb=True),
    "PNG of 16 bits": lambda: png(FILM),
    "PNG of 16 bits, all used": lambda: png(FILM << 4),
    "PNG of 16 bits with alpha": lambda: png(np.stack([FILM, np.full_like(FILM, 65535)], axis=-1)),
    "PNG of 16 bits in colour": lambda: png(grey(FILM)),
    "PNG of 16 bits in colour with alpha": lambda: png(np.dstack([grey(FILM), np.full_like(FILM, 65535)])),
    "PNG with a marker of 65535": lambda: png(np.where(MARKER, 65535, FILM)),
    "PNG in colour with a marker": lambda: png(grey(np.where(MARKER, 65535, FILM))),
}  # fmt: skip


def looks_like(image: np.ndarray, wanted: np.ndarray, but: np.ndarray) -> None:
    """The same picture in full contrast, grey, outside the mask `but`."""
    shown, right = image.mean(axis=-1)[~but], wanted[~but].astype(float)
    assert np.corrcoef(shown, right)[0, 1] > 0.99
    assert np.ptp(shown) > 180, "its contrast"
    assert np.ptp(image, axis=-1).max() <= 2, "a grey film has no colour"


NATIVE = [uid.ImplicitVRLittleEndian, uid.ExplicitVRLittleEndian, uid.ExplicitVRBigEndian, DEFLATED]


CODED = [uid.RLELossless, uid.JPEG2000Lossless, uid.JPEGLSLossless]


def without(content: bytes, *keywords: str) -> bytes:
    return retagged(content, **dict.fromkeys(keywords))


def offsets(offset: int) -> bytes:
    """A basic offset table of one frame."""
    return b"\xfe\xff\0\xe0\x04\0\0\0" + offset.to_bytes(4, "little")


def of_syntax(syntax: str) -> bytes:
    """A film whose file meta information names a transfer syntax that pydicom would not write."""
    data = pydicom.dcmread(io.BytesIO(dicom(FILM)))
    data.file_meta.TransferSyntaxUID = uid.UID(syntax)
    stream = io.BytesIO()
    pydicom.dcmwrite(stream, data, implicit_vr=False, little_endian=True)
    return stream.getvalue()


def foreign(name: str) -> bytes:
    """A picture that another writer compressed, from pydicom's own tests, said to be a radiograph."""
    return retagged(Path(str(get_testdata_file(f"{name}.dcm"))).read_bytes(), Modality="CR")


def without_meta(content: bytes) -> bytes:
    return content[content.index(b"\x08\0\x16\0UI") :]


def coded(image: Image.Image, **options: Any) -> bytes:
    stream = io.BytesIO()
    image.save(stream, **options)
    return stream.getvalue()


SIZE = (320, 384)


LARGE = Image.fromarray(EIGHT).resize(SIZE)


def chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


UPSIDE_DOWN = struct.pack("<HHII", 0x0112, 3, 1, 3)


BROKEN_EXIF = [b"", b"II", b"XX*\0\x08\0\0\0\2\0", b"II*\0\x08\0\0\0\xff\xff\x12\1\3\0\1", bytes(40)]


XMP = b'<x:xmpmeta xmlns:tiff="http://ns.adobe.com/tiff/1.0/"><r tiff:Orientation="3"/></x:xmpmeta>'
