"""One way to read a radiograph: JPEG or PNG of any bit depth, or DICOM, into an 8-bit RGB picture.

Content decides what a file is, never its name. Grey values are never windowed beyond what a DICOM file itself asks for,
and the aspect is never touched. What cannot be read whole, or shows nothing, is refused: a model must not be trained or
scored on half an image.
"""

from __future__ import annotations

import io
import re
import stat
import zlib
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from chexreason.data.codestream import CUT, damaged, header, without_metadata
from chexreason.data.dicom import decode_dicom, dicom_doubts, is_dicom
from chexreason.data.pixels import (
    ALIKE,
    NOISE,
    ImageError,
    black_and_white,
    check_size,
    one_line,
    refuse_flat,
    refuse_swapped,
    rgb,
    stretched,
)

if TYPE_CHECKING:
    import numpy as np
    from PIL import Image

__all__ = ["ImageError", "decode", "doubts", "fit", "image_bytes", "jpeg", "looks_like_image", "read_image"]

MAX_BYTES = 512 * 2**20
JPEG, PNG = b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n"
ORIENTATION = 0x0112  # EXIF
UNPACK, CONVERT = "unpack it", "save it as PNG"
FOREIGN: list[tuple[bytes, str]] = [  # first bytes of files given in place of a film, and what to do about them
    (rb"(\xef\xbb\xbf)?\s*<", "a page of HTML or XML; a download needs its login, or another address"),
    (rb"\s*[{\[]", "text in JSON; a download needs its login, or another address"),
    (rb"version https://git-lfs", "a pointer of Git LFS; fetch the film itself with git lfs pull"),
    (rb".{4}ftyp(hei|hev|mif|msf)", f"a photograph in HEIC; {CONVERT}"),
    (rb".{4}ftypavi", f"a picture in AVIF; {CONVERT}"),
    (rb"\xff\x0a|\0\0\0\x0cJXL", f"a picture in JPEG XL; {CONVERT}"),
    (rb"\xff\x4f\xff\x51|\0\0\0\x0cjP", f"a picture in JPEG 2000; {CONVERT}"),
    (rb"II[*+]\0|MM\0[*+]", f"a picture in TIFF; {CONVERT}"),
    (rb"RIFF....WEBP", f"a picture in WebP; {CONVERT}"),
    (rb"GIF8", f"a picture in GIF; {CONVERT}"),
    (rb"BM", f"a picture in BMP; {CONVERT}"),
    (rb"P[1-7f]\s", f"a picture in Netpbm's form; {CONVERT}"),
    (rb"%PDF", f"a page in PDF; take the film out of it, for example with pdfimages, and {CONVERT}"),
    (rb"\x93NUMPY", f"an array of NumPy; {CONVERT}"),
    (rb"\x5c\x01\0\0|\0\0\x01\x5c|.{344}(n\+1|ni1)\0", f"a volume in NIfTI; {CONVERT}"),
    (rb"\x1f\x8b", f"packed by gzip; {UNPACK}"),
    (rb"PK\x03\x04", f"a zip archive; {UNPACK}"),
    (rb"BZh", f"packed by bzip2; {UNPACK}"),
    (rb"\xfd7zXZ", f"packed by xz; {UNPACK}"),
    (rb"7z\xbc\xaf", f"a 7z archive; {UNPACK}"),
    (rb"\x28\xb5\x2f\xfd", f"packed by zstd; {UNPACK}"),
    (rb"Rar!", f"a RAR archive; {UNPACK}"),
    (rb"[\s\x20-\x7e]{16}", "text, such as what a server says in place of a file; fetch it again"),
]
LINES = 8  # from this many line feeds on, a carriage return before each of them is no coincidence
# PNG: channels by colour type, offset of the header's interlace method, and (left, top, step across, step down) of each pass.
CHANNELS, INTERLACED = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}, 28
ADAM7 = [(0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)]


def image_bytes(path: Path) -> bytes:
    """The encoded image: a file's content, or the cell that `name.parquet#row` names.

    Raises:
        ImageError: it is not there, no regular file (a pipe would never end), or larger than MAX_BYTES.
    """
    file, _, row = str(path).partition(".parquet#")
    if row:
        return _parquet_cell(Path(f"{file}.parquet"), row)
    try:
        with _opened(path) as stream:
            content = stream.read(MAX_BYTES + 1)
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        raise ImageError(f"{path}: {getattr(error, 'strerror', None) or error}") from None
    if len(content) > MAX_BYTES:
        raise ImageError(f"{path}: more than {MAX_BYTES:,} bytes; refused")
    return content


def looks_like_image(path: Path) -> bool:
    """Whether the file begins as a JPEG, a PNG or a DICOM file does; True also if it cannot be opened: reading says why."""
    try:
        with _opened(path) as stream:
            head = stream.read(132)
    except ImageError:
        return False
    except (OSError, ValueError):
        return True
    return head.startswith((JPEG, PNG)) or is_dicom(head)


def _opened(path: Path) -> io.BufferedReader:
    """Open a regular file of at most MAX_BYTES. Its type is checked first, since opening a pipe would block."""
    state = path.stat()
    if not stat.S_ISREG(state.st_mode):
        raise ImageError(f"{path}: a folder, pipe, socket or device; an image file is wanted")
    if state.st_size > MAX_BYTES:
        raise ImageError(f"{path}: more than {MAX_BYTES:,} bytes; refused")
    return path.open("rb")


def read_image(path: Path) -> Image.Image:
    """The image at `path` as an RGB picture of its own size.

    DICOM: palette, modality and VOI transforms are applied, MONOCHROME1 is inverted (bones come out bright). Deep grey and
    colours are scaled from the smallest usual detector depth (8, 10, 12, 14, 16 bits) that holds the film's largest value;
    signed numbers that were moved up by 32768 to be stored are moved back.

    Raises:
        ImageError: missing, truncated, not an image, several frames, no information, or no film's size; names the file.
    """
    return decode(image_bytes(path), str(path))


def doubts(path: Path) -> list[str]:
    """Tags of the image at `path` that say it is no frontal chest film; only DICOM files can have them.

    Raises:
        ImageError: it cannot be read.
    """
    content = image_bytes(path)
    try:
        return dicom_doubts(content, path.name) if is_dicom(content[:132]) else []
    except Exception:  # pydicom raises various errors on broken tags, which then count as absent
        return []


def decode(content: bytes, name: str) -> Image.Image:
    """An encoded image's content as an RGB picture; `name` is for the error message."""
    import numpy as np

    if not content:
        raise ImageError(f"{name}: the file is empty")
    begun = content.startswith((JPEG, PNG[:4])) or is_dicom(content[:132])
    if begun and (lines := content.count(b"\n")) >= LINES and lines == content.count(b"\r\n"):
        raise ImageError(f"{name}: copied as if it were text: a byte was put before each line feed; copy it again, as binary")
    try:
        picture = decode_dicom(content, name) if is_dicom(content[:132]) else _decode_picture(content, name)
    except ImageError as error:  # it may quote tags of any length
        raise ImageError(f"{name}: {one_line(str(error).removeprefix(f'{name}: '))}") from None
    except Exception as error:  # decoders raise various errors on hostile bytes; the caller needs only one kind
        why = _foreign(content) if type(error).__name__ == "UnidentifiedImageError" else one_line(error)
        raise ImageError(f"{name}: cannot be read as JPEG, PNG or DICOM: {why}") from None
    refuse_flat(np.asarray(picture.convert("L")), name, ALIKE, NOISE)
    return picture


def _foreign(content: bytes) -> str:
    """Why Pillow does not recognise the content."""
    if content.startswith((JPEG, PNG)):
        return "its header is damaged, or of a kind that is not read here, such as JPEG of 12 bits or JPEG-LS"
    kind = next((f": {what}" for start, what in FOREIGN if re.match(start, content, re.DOTALL)), "")
    return f"it is none of them, it begins with {content[:16]!r}{kind}"


def fit(image: Image.Image, size: int) -> Image.Image:
    """The image made smaller, where needed, so that its longer side is `size` pixels; its aspect stays."""
    from PIL import Image

    scale = size / max(image.size)
    if scale >= 1:
        return image
    width, height = (max(1, round(side * scale)) for side in image.size)
    return image.resize((width, height), Image.Resampling.LANCZOS, reducing_gap=3.0)


def jpeg(image: Image.Image, side: int, quality: int) -> bytes:
    """The image encoded anew as grey JPEG, its longer side at most `side` pixels: pixels alone, no metadata."""
    stream = io.BytesIO()
    fit(image, side).convert("L").save(stream, format="JPEG", quality=quality)
    return stream.getvalue()


def _decode_picture(content: bytes, name: str) -> Image.Image:
    import numpy as np
    from PIL import Image, ImageOps

    if content.startswith(PNG):
        if content[12:16] == b"IHDR" and len(content) > INTERLACED:
            check_size(*_png_head(content)[:2], name)
        content, exif = _essential(content, name)
    else:
        if content.startswith(JPEG) and (head := header(content)):
            check_size(head.width, head.height, name)
        content, exif = without_metadata(content)
    with Image.open(io.BytesIO(content), formats=("JPEG", "PNG")) as file:
        file.load()
        deep = None
        if content.startswith(PNG):
            deep = _deep_colours(content, _png_data(content, name))
        elif damaged(content, file.tobytes()):
            raise ImageError(f"{name}: {CUT}")
        if file.mode.startswith("I") or file.mode == "F":
            deep = np.asarray(file)
        if file.palette and np.asarray(file).max() >= (colours := len(file.palette.palette) // len(file.palette.mode)):
            raise ImageError(f"{name}: some of its pixels are of no colour of its palette, which has {colours}")
        if deep is None:
            picture = file.convert("RGB")
        else:
            refuse_swapped(deep, name, "PNG has them; write it anew")
            picture = rgb(stretched(deep, *black_and_white(deep)))
    picture.getexif()[ORIENTATION] = _orientation(exif)
    return ImageOps.exif_transpose(picture)  # as a viewer turns it


def _orientation(exif: bytes) -> int:
    """The EXIF orientation; 1 (not rotated) if the EXIF data is broken."""
    from PIL import Image

    said = Image.Exif()
    try:
        said.load(exif)
        return int(said.get(ORIENTATION, 1))
    except Exception:  # Pillow raises various errors; the pixels are intact all the same
        return 1


def _chunks(content: bytes) -> Iterator[tuple[bytes, int, int]]:
    """(type, start, end) of each chunk of a PNG."""
    at = len(PNG)
    while (kind := content[at + 4 : at + 8]).isalpha():
        yield kind, at, (end := at + 12 + int.from_bytes(content[at : at + 4], "big"))
        at = end


def _essential(content: bytes, name: str) -> tuple[bytes, bytes]:
    """A PNG without the chunks that a decoder may skip, which may be broken; and its EXIF data, b"" if it has none.

    Raises:
        ImageError: it is animated.
    """
    parts, exif, done = [PNG], b"", len(PNG)
    for kind, begin, done in _chunks(content):
        if kind[:1].isupper():
            parts.append(content[begin:done])
        elif kind == b"eXIf":
            exif = content[begin + 8 : done - 4]
        elif kind == b"acTL" and (frames := int.from_bytes(content[begin + 8 : done - 8], "big")) > 1:
            raise ImageError(f"{name}: {frames} frames; one radiograph a file is wanted, so save the one that is meant")
    return b"".join([*parts, content[done:]]), exif


def _png_head(content: bytes) -> tuple[int, int, int, int]:
    """Width, height, bits per sample and colour type."""
    return int.from_bytes(content[16:20], "big"), int.from_bytes(content[20:24], "big"), content[24], content[25]


def _png_data(content: bytes, name: str) -> bytes:
    """A PNG's deflated rows.

    Raises:
        ImageError: there are fewer rows than the header says (Pillow makes the rest black), or their end or checksum is wrong
            (Pillow also decodes zeros in place of data that was never downloaded).
    """
    data, wanted = b"".join(content[begin + 8 : end - 4] for kind, begin, end in _chunks(content) if kind == b"IDAT"), 0
    width, height, depth, kind = _png_head(content)
    for left, top, across, down in ADAM7 if content[INTERLACED] else [(0, 0, 1, 1)]:
        columns, rows = len(range(left, width, across)), len(range(top, height, down))
        wanted += rows * (1 + (columns * depth * CHANNELS[kind] + 7) // 8) if columns else 0
    unpacker = zlib.decompressobj()
    try:
        held = len(unpacker.decompress(data, wanted))
        unpacker.decompress(unpacker.unconsumed_tail, wanted + 1)  # excess rows are harmless, within bounds
    except zlib.error:
        raise ImageError(f"{name}: its pixel data is damaged or was never written to its end; copy it again") from None
    if held < wanted:
        raise ImageError(f"{name}: its pixel data is cut short: it holds fewer rows than the {height} that its header says")
    if not unpacker.eof:
        raise ImageError(f"{name}: its pixel data is cut short: it has no end; copy it again")
    return data


def _deep_colours(content: bytes, data: bytes) -> np.ndarray | None:
    """The 16-bit colours of a PNG, or its 16-bit grey if it has an alpha channel; None for any other PNG.

    Pillow keeps only the upper eight bits of such samples. Its decoder yields the lower eight if the same data is decoded a
    second time as little-endian instead of big-endian. The alpha channel is not part of a film and is dropped.

    Returns:
        uint16 of (rows, columns) or (rows, columns, 3).
    """
    import numpy as np
    from PIL import Image

    width, height, depth, kind = _png_head(content)
    if depth != 16 or kind not in (2, 4, 6):
        return None

    def channels(mode: str, raw: str) -> np.ndarray:
        return np.asarray(Image.frombytes(mode, (width, height), data, "zip", raw, content[INTERLACED])).astype(np.uint16)

    if kind == 4:  # grey and alpha: four bytes a pixel, as RGBA has
        both = channels("RGBA", "RGBA")
        return both[..., 0] << 8 | both[..., 1]
    mode = "RGB" if kind == 2 else "RGBA"
    return (channels(mode, f"{mode};16B") << 8 | channels(mode, f"{mode};16L"))[..., :3]


def _parquet_cell(path: Path, row: str) -> bytes:
    try:
        number = int(row)
        for group, (start, count) in enumerate(_row_groups(path)):
            if start <= number < start + count:
                cell = _read_group(path, group)[number - start].as_py()
                cell = cell.get("bytes") if isinstance(cell, dict) else cell
                if not isinstance(cell, bytes) or len(cell) > MAX_BYTES:
                    raise ValueError(f"the cell holds no image of at most {MAX_BYTES:,} bytes")
                return cell
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ImageError(f"{path}#{row}: {error}") from None
    raise ImageError(f"{path}#{row}: there is no such row")


@lru_cache(maxsize=32)
def _row_groups(path: Path) -> list[tuple[int, int]]:
    import pyarrow.parquet as parquet

    if not path.is_file():
        raise ValueError("there is no such file")
    metadata = parquet.read_metadata(path)
    counts = [metadata.row_group(group).num_rows for group in range(metadata.num_row_groups)]
    return [(sum(counts[:group]), count) for group, count in enumerate(counts)]


@lru_cache(maxsize=2)
def _read_group(path: Path, group: int) -> Any:
    import pyarrow.parquet as parquet

    return parquet.ParquetFile(path).read_row_group(group, columns=["image"]).column("image")
