"""From a DICOM file to the picture that a viewer shows (PS3.3 C.7.6.3, C.11; PS3.4 N.2).

The order is that of the standard, with pydicom's tools: decode (with the one colour conversion that there is), palette,
modality LUT or rescale, VOI LUT or window, the range of the film without its padding, inversion of MONOCHROME1 last.
"""

from __future__ import annotations

import io
import zlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from chexreason.data.codestream import CUT, J2K, JP2, JPEG, check_stream, damaged, header, other_ends, overrun, prolonged
from chexreason.data.lookup import coloured, looked_up
from chexreason.data.misread import (
    COLOURED,
    coloured_share,
    refuse_excess,
    refuse_false_colours,
    refuse_misread,
    refuse_unwritten,
)
from chexreason.data.pixels import (
    ALIKE,
    NOISE,
    ImageError,
    black_and_white,
    check_size,
    extent,
    one_line,
    refuse_flat,
    rgb,
    stretched,
    wrapped,
)
from chexreason.data.tags import SAYS_WHAT, WANTED, check, doubts, has_window, pixel_shape, tidy

if TYPE_CHECKING:
    import numpy as np
    from PIL import Image
    from pydicom import Dataset

# Limit for a deflated file: 64 million 16-bit grey pixels, and as much again for everything else. Decompression bombs inflate
# a thousandfold.
MAX_INFLATED = 256 * 2**20
WRONG_BITS = 0.02  # share of pixels that may exceed the stated bits: as many may belong to a marker
OBLONG = 0.01  # deviation from 1 of a pixel's aspect ratio that is more than rounding
RLE = "1.2.840.10008.1.2.5"
RLE_START = b"\0\0\0\x40\0\0\0"  # RLE header after the number of segments: the first one starts at byte 64
OVERLAYS = [0x60000102 + (group << 17) for group in range(16)]  # Overlay Bit Position of the groups 6000 to 601E


def is_dicom(head: bytes) -> bool:
    """Whether a file that begins with these bytes (132 at least) is DICOM, with its preamble or without."""
    little = head[:2] in (b"\x02\0", b"\x08\0") and head[3:4] == b"\0"  # group 2 or 8, where data sets begin
    big = head[:3] == b"\0\x08\0" and head[4:6].isupper()
    return head[128:132] == b"DICM" or little or big


def decode_dicom(content: bytes, name: str) -> Image.Image:
    """A DICOM file's content as an RGB picture of its own size.

    Raises:
        ImageError: no radiograph, several frames, a size that is no film's, no information, no codec; names the file.
        Exception: what pydicom and its codecs raise on damaged files.
    """
    data = _read(content, name)
    tidy(data, name)
    check(data, name)
    return _square(_shown(data, name), pixel_shape(data), name)


def dicom_doubts(content: bytes, name: str) -> list[str]:
    """Tags of a DICOM file that say it shows something other than a frontal chest view; empty if none does."""
    import pydicom

    wanted: list[Any] = [*SAYS_WHAT]
    head = io.BytesIO(_inflated(content, name))
    return doubts(pydicom.dcmread(head, force=True, specific_tags=wanted, stop_before_pixels=True))


def _square(picture: Image.Image, shape: float, name: str) -> Image.Image:
    """Stretch a picture whose pixels are `shape` times as high as wide to square pixels, as viewers do."""
    from PIL import Image

    if abs(shape - 1) < OBLONG:
        return picture
    size = (picture.width, round(picture.height * shape)) if shape > 1 else (round(picture.width / shape), picture.height)
    check_size(*size, name)
    return picture.resize(size, Image.Resampling.BICUBIC)


def _shown(data: Dataset, name: str) -> Image.Image:
    """The picture, pixel by pixel."""
    pixels, photometric = _decoded(data, name)
    if photometric == "PALETTE COLOR":
        pixels = coloured(pixels, data, name)
    elif photometric not in (("RGB",) if pixels.ndim == 3 else ("MONOCHROME1", "MONOCHROME2")):
        raise ImageError(
            f"{name}: Photometric Interpretation (0028,0004) {photometric} and Samples per Pixel (0028,0002) "
            f"{data.SamplesPerPixel} do not go together; correct the one or the other"
        )
    if pixels.ndim == 2:
        return _grey(pixels, data, name)
    if pixels.dtype.kind == "i":
        raise ImageError(f"{name}: Pixel Representation (0028,0103) says signed, colours are unsigned; correct it to 0")
    refuse_misread(pixels, data, name)
    return rgb(stretched(pixels, *black_and_white(pixels)))


def _grey(pixels: np.ndarray, data: Dataset, name: str) -> Image.Image:
    """Decoded MONOCHROME pixels, transformed for display as the file asks."""
    import numpy as np

    padding = _padding(pixels, data)
    pixels = _stored_bits(pixels, padding, data, name)
    padding |= _padding(pixels, data)
    if wrapped(pixels, data.BitsStored, ~padding):
        said, other = ("signed", "unsigned") if data.PixelRepresentation else ("unsigned", "signed")
        raise ImageError(
            f"{name}: Pixel Representation (0028,0103) says {said}, but as {said} numbers neighbouring pixels jump between "
            f"black and white, as {other} ones they do not; correct it to {1 - data.PixelRepresentation}"
        )
    refuse_misread(pixels, data, name)
    film = ~padding if padding.any() else np.s_[...]
    refuse_flat(pixels[film], name, ALIKE, NOISE if int(data.BitsStored) >= 8 else 0)
    if data.get("ModalityLUTSequence"):
        values = looked_up(pixels, data.ModalityLUTSequence[0], data, name)
    elif "RescaleSlope" in data or "RescaleIntercept" in data:
        values = pixels * float(data.get("RescaleSlope", 1)) + float(data.get("RescaleIntercept", 0))
    else:
        values = pixels
    refuse_flat(values[film], name, f"its modality transform (rescale slope {data.get('RescaleSlope')}) makes all pixels alike")
    if data.get("VOILUTSequence"):
        values = looked_up(values, data.VOILUTSequence[0], data, name)
    elif has_window(data):
        values = _windowed(values, data, name)
    window = f"{data.get('WindowCenter')}, width {data.get('WindowWidth')}"
    refuse_flat(values[film], name, f"its VOI LUT or window (centre {window}) makes all pixels alike")
    grey = stretched(values, *extent(values[film]))
    if data.PhotometricInterpretation == "MONOCHROME1":
        grey = 255 - grey
    if padding.any():
        low, high = extent(pixels[film])
        near = (pixels >= 2 * low - high) & (pixels <= 2 * high - low)
        bone = padding & near & (grey >= 128) & ~_outer(padding)
        if bone.sum() > WRONG_BITS * bone.size:
            raise ImageError(
                f"{name}: Pixel Padding Value (0028,0120) {data.PixelPaddingValue} is that of bright parts amid the film as "
                "well, which would be black; correct it or take it away"
            )
        grey[padding & ~bone] = 0
    return rgb(grey)


def _outer(padding: np.ndarray) -> np.ndarray:
    """A mask, of the same shape, of pixels with nothing but padding between them and one of the four sides."""
    import numpy as np

    along = np.logical_and.accumulate
    sideways = along(padding, 1) | along(padding[:, ::-1], 1)[:, ::-1]
    return sideways | along(padding, 0) | along(padding[::-1], 0)[::-1]


def _windowed(values: np.ndarray, data: Dataset, name: str) -> np.ndarray:
    """Values through the window: 0 where it is black, 1 where it is white (PS3.3 C.11.2.1.2, C.11.2.1.3).

    pydicom 3.0's own function is not used: with a negative rescale slope it shows dark parts bright.
    """
    import numpy as np

    function, centre, width = data.get("VOILUTFunction", "LINEAR"), float(data.WindowCenter), float(data.WindowWidth)
    if function == "SIGMOID":
        return (1 + np.tanh(2 * (values - centre) / width)) / 2
    if function == "LINEAR" and width >= 1:
        centre, width = centre - 0.5, width - 1
    elif function != "LINEAR_EXACT":
        wanted = "a Window Width of 1 at least" if function == "LINEAR" else "one of LINEAR, LINEAR_EXACT and SIGMOID"
        raise ImageError(f"{name}: with VOI LUT Function (0028,1056) {function}, width {width}, {wanted} is wanted")
    return np.clip((values - (centre - width / 2)) / max(width, np.finfo(float).tiny), 0, 1)


def _read(content: bytes, name: str) -> Dataset:
    """The wanted part of the data set, with or without preamble and file meta information."""
    import pydicom
    from pydicom.pixels import get_decoder
    from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

    wanted: list[Any] = [*WANTED, *OVERLAYS]
    content = _inflated(content, name)
    data = pydicom.dcmread(io.BytesIO(content), force=True, specific_tags=wanted)
    if not len(data) and b"\xe0\x7f\x10\0" in content:  # there is pixel data, but pydicom gave up before its end
        raise ImageError(f"{name}: it is cut short, or not written in the transfer syntax that it names")
    if not data.file_meta.get("TransferSyntaxUID"):
        if "PixelData" in data and data["PixelData"].is_undefined_length:
            raise ImageError(
                f"{name}: it names no transfer syntax (0002,0010), without which its compressed pixels cannot be read"
            )
        implicit, little = data.original_encoding
        native = ExplicitVRLittleEndian if little else ExplicitVRBigEndian
        data.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian if implicit else native
    syntax = data.file_meta.TransferSyntaxUID
    try:
        get_decoder(syntax)
    except NotImplementedError:
        raise ImageError(
            f"{name}: pixels in the transfer syntax {syntax.name} ({syntax}) are not read here; have the film "
            "exported as Explicit VR Little Endian"
        ) from None
    return data


def _inflated(content: bytes, name: str) -> bytes:
    """A file of the deflated transfer syntax, inflated (up to MAX_INFLATED bytes); any other file unchanged."""
    from pydicom.dataset import FileMetaDataset
    from pydicom.filebase import DicomBytesIO
    from pydicom.filereader import read_dataset
    from pydicom.filewriter import write_file_meta_info
    from pydicom.uid import DeflatedExplicitVRLittleEndian, ExplicitVRLittleEndian

    start = 132 if content[128:132] == b"DICM" else 0
    head = content[start : start + 2**12]
    if DeflatedExplicitVRLittleEndian.encode() not in head:
        return content
    stream = io.BytesIO(head)  # file meta information is explicit and little endian
    meta = FileMetaDataset(read_dataset(stream, False, True, stop_when=lambda tag, vr, length: tag >> 16 != 2))
    if meta.get("TransferSyntaxUID") != DeflatedExplicitVRLittleEndian:
        return content
    unpacker, packed, parts = zlib.decompressobj(-zlib.MAX_WBITS), content[start + stream.tell() :], [b""]
    while packed and sum(map(len, parts)) <= MAX_INFLATED:
        parts.append(unpacker.decompress(packed, 2**20))
        packed = unpacker.unconsumed_tail
    if packed:
        raise ImageError(f"{name}: inflates to more than {MAX_INFLATED:,} bytes; refused")
    parts.append(unpacker.flush())
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    written = DicomBytesIO(b"\0" * 128 + b"DICM")
    written.seek(132)
    write_file_meta_info(written, meta, enforce_standard=False)
    return b"".join([written.getvalue(), *parts])


def _decoded(data: Dataset, name: str) -> tuple[np.ndarray, str]:
    """(rows, columns[, 3]) as stored, YBR converted to RGB, and the resulting photometric interpretation."""
    from PIL import Image
    from pydicom.encaps import encapsulate
    from pydicom.pixels import get_decoder
    from pydicom.uid import JPEGTransferSyntaxes

    syntax = data.file_meta.TransferSyntaxUID
    decoder = get_decoder(syntax)
    codec = f"; a codec for {syntax.name} comes with pip install 'chexreason[dicom]'"
    if not decoder.is_available:
        raise ImageError(f"{name}: it cannot be read yet{codec}")
    strict = "pyjpegls" in decoder.available_plugins  # the only plugin that refuses truncated streams
    options: dict[str, Any] = {"correct_unused_bits": False}  # see _stored_bits
    options |= {"decoding_plugin": "pyjpegls"} if strict else {}
    frame = b""
    if syntax.is_encapsulated:
        frame = _stream(data, name)
        check_stream(frame, data, name)
        data.PixelData = encapsulate([frame])
    else:
        refuse_excess(data, name)
        refuse_unwritten(data, name)
    coded, signed = header(frame), data.PixelRepresentation
    if coded and coded.signed is False:
        data.PixelRepresentation = 0
    try:
        pixels, properties = decoder.as_array(data, index=0, **options)
        doubtful = data.PixelRepresentation != signed and pixels.ndim == 2
        if doubtful and wrapped(pixels, data.BitsStored, ~_padding(pixels, data)):  # signed numbers, coded as if they were not
            data.PixelRepresentation = signed
            pixels, properties = decoder.as_array(data, index=0, **options)
        if pixels.ndim == 3 and coloured_share(pixels) > COLOURED:
            refuse_false_colours(pixels, decoder.as_array(data, index=0, raw=True, **options)[0], data, name)
        if frame.startswith(JPEG) and coded and coded.signed is False and coded.bits == 8:
            with Image.open(io.BytesIO(frame), formats=("JPEG",)) as shown:
                if damaged(frame, shown.tobytes()):
                    raise ImageError(f"{name}: {CUT}")
        elif syntax == RLE and overrun(frame, int(data.Rows) * int(data.Columns)):
            raise ImageError(f"{name}: {CUT}")
        elif frame.startswith(JPEG) and not strict:

            def again(stream: bytes) -> np.ndarray:
                data.PixelData = encapsulate([stream])
                return decoder.as_array(data, index=0, **options)[0]

            if (pixels != again(prolonged(frame)[0])).any() or (
                syntax in JPEGTransferSyntaxes and _left_over(frame, pixels, again)
            ):
                raise ImageError(f"{name}: {CUT}")
    except RuntimeError as error:  # every codec that is installed failed
        lacking = syntax != RLE and not {"pylibjpeg", "pyjpegls"} & set(decoder.available_plugins)
        raise ImageError(f"{name}: {one_line(error)}{codec if lacking else ''}") from None
    return pixels, str(properties["photometric_interpretation"])


def _left_over(stream: bytes, pixels: np.ndarray, decode: Callable[[bytes], np.ndarray]) -> bool:
    """Whether a JPEG stream, which `decode` turns into `pixels`, holds excess data at its end or before a restart."""
    import numpy as np

    other, changed, interval = other_ends(stream)
    try:
        differ = pixels != decode(other)
    except RuntimeError:  # the decoder needs the bytes that were changed
        return False
    coded = header(stream)
    unit = 8 if coded and coded.signed is False else 1  # a unit's width and height in pixels
    if differ.ndim == 3:
        differ, interval = differ.any(axis=2), interval if unit == 1 else 0  # units of colours may be larger
    if not interval:
        return bool(changed) and not differ.any()
    rows, columns = (np.arange(side) // unit for side in differ.shape)
    part = np.add.outer(rows * (columns[-1] + 1), columns) // interval
    return not set(changed) <= set(np.unique(part[differ]).tolist())


def _stream(data: Dataset, name: str) -> bytes:
    """The compressed picture, joined from its fragments. Offset tables, which may be wrong, are not needed for one picture.

    Raises:
        ImageError: there is none, or there are several, whatever Number of Frames says; names the file.
    """
    from pydicom.encaps import generate_fragments, parse_basic_offsets

    items = io.BytesIO(data.PixelData)
    parse_basic_offsets(items)
    fragments = list(generate_fragments(items))
    rle = data.file_meta.TransferSyntaxUID == RLE
    begun = [part for part in fragments if (part[1:8] == RLE_START if rle else part.startswith((JPEG, J2K, JP2)))]
    if len(begun) > 1:
        raise ImageError(
            f"{name}: its pixel data holds {len(begun)} frames, of which Number of Frames (0028,0008) says nothing; one "
            "radiograph a file is wanted, so export the one that is meant"
        )
    if not any(fragments):
        raise ImageError(f"{name}: its pixel data holds no compressed picture")
    return b"".join(fragments)


def _stored_bits(pixels: np.ndarray, padding: np.ndarray, data: Dataset, name: str) -> np.ndarray:
    """Each sample's stored bits (PS3.5, 8.1.1): those up to the high bit, without other data in the word, sign-extended.

    If the word holds no other data, larger samples are clipped instead: they are brighter, or darker, than Bits Stored allows.
    """
    import numpy as np
    from pydicom.uid import JPEG2000TransferSyntaxes, JPEGLSTransferSyntaxes

    allocated, stored = int(data.BitsAllocated), int(data.BitsStored)
    syntax = data.file_meta.TransferSyntaxUID
    if pixels.dtype.kind == "f" or allocated == stored or allocated != 8 * pixels.dtype.itemsize:
        return pixels
    extended = pixels.dtype.kind == "u" or pixels.min() < 0 or pixels.max() >= 2**stored
    if syntax in JPEG2000TransferSyntaxes or (syntax in JPEGLSTransferSyntaxes and extended):
        return pixels  # JPEG-LS decodes to the stored bits, JPEG 2000 also to the right sign
    high = int(data.get("HighBit", stored - 1))
    if not stored - 1 <= high < allocated:
        raise ImageError(
            f"{name}: bits allocated {allocated}, stored {stored} and high bit {high} contradict each other; correct High Bit "
            "(0028,0102), which is one less than Bits Stored as a rule"
        )
    overlay = any(tag in data and int(data[tag].value or 0) > 0 for tag in OVERLAYS)  # stored in the unused bits
    if high == stored - 1 and not overlay:
        negative = bool((pixels[~padding] < 0).any())  # the sign is already extended
        low, top = (-(2 ** (stored - 1)), 2 ** (stored - 1) - 1) if negative else (0, 2**stored - 1)
        if (((pixels < low) | (pixels > top)) & ~padding).sum() > WRONG_BITS * pixels.size:
            raise ImageError(
                f"{name}: its pixels are larger than the {stored} bits hold that Bits Stored (0028,0101) says; correct it"
            )
        pixels = np.clip(pixels, low, top)
        if negative or pixels.dtype.kind == "u":
            return pixels
    return (pixels << (allocated - 1 - high)) >> (allocated - stored)


def _padding(pixels: np.ndarray, data: Dataset) -> np.ndarray:
    """Where the film is only padded (PS3.3 C.7.5.1.1.2): one value, or a range of them."""
    import numpy as np

    if data.get("PixelPaddingValue") is None:
        return np.zeros(pixels.shape, bool)
    ends = [int(data.PixelPaddingValue), int(data.get("PixelPaddingRangeLimit", data.PixelPaddingValue))]
    if pixels.dtype.kind == "i":  # the same word, whether the tag was written signed or not
        ends = [end - 2**16 if end >= 2**15 and pixels.dtype.itemsize == 2 else end for end in ends]
    elif pixels.dtype.kind == "u":
        ends = [end % 2 ** (8 * pixels.dtype.itemsize) if end < 0 else end for end in ends]
    return (pixels >= min(ends)) & (pixels <= max(ends))
