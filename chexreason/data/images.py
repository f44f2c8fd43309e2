"""One way to read a radiograph: JPEG or PNG of any bit depth, or DICOM, into an 8-bit RGB picture.

Grey values are never windowed beyond what a DICOM file itself asks for, and the aspect is never touched. What cannot be
read whole is refused: a model must not be trained or scored on half an image.
"""

from __future__ import annotations

import io
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from chexreason.errors import ChexReasonError

if TYPE_CHECKING:
    import numpy as np
    from PIL import Image

# Detector pixels: the largest films are near 4,300 x 3,600. Anything far above is a mistake or a decompression bomb.
MAX_PIXELS = 64_000_000
MAX_BYTES = 512 * 2**20
_GREY_DEPTHS = (8, 10, 12, 14, 16)


class ImageError(ChexReasonError):
    """An image file that cannot be read whole; the message names the file."""


RADIOGRAPHS = ("CR", "DX", "RG", "RF", "XA", "SC", "OT")  # DICOM modalities that a chest film may come under


def image_bytes(path: Path) -> bytes:
    """The encoded image: a file's content, or the cell that `name.parquet#row` names.

    Raises:
        ImageError: it is not there, or larger than MAX_BYTES.
    """
    file, _, row = str(path).partition(".parquet#")
    if row:
        return _parquet_cell(Path(f"{file}.parquet"), row)
    try:
        if path.stat().st_size > MAX_BYTES:
            raise ImageError(f"{path}: more than {MAX_BYTES} bytes; refused")
        return path.read_bytes()
    except OSError as error:
        raise ImageError(f"{path}: {error.strerror or error}") from None


def read_image(path: Path) -> Image.Image:
    """The image at `path` as an RGB picture of its own size.

    DICOM: modality and VOI transforms are applied, MONOCHROME1 is inverted (bones come out bright). 16-bit grey is
    scaled from the smallest usual detector depth (8, 10, 12, 14, 16 bits) that holds its largest value.

    Raises:
        ImageError: missing, truncated, not an image, several frames, or more than MAX_PIXELS; names the file.
    """
    return decode(image_bytes(path), str(path))


def decode(content: bytes, name: str) -> Image.Image:
    """An encoded image's content as an RGB picture; `name` is for the error message."""
    try:
        if content[128:132] == b"DICM":
            return _decode_dicom(content, name)
        return _decode_picture(content, name)
    except ImageError:
        raise
    except Exception as error:  # decoders raise all kinds on hostile bytes; to the caller it is one: not readable
        why = "it is none of them" if type(error).__name__ == "UnidentifiedImageError" else error
        raise ImageError(f"{name}: cannot be read as JPEG, PNG or DICOM: {why}") from None


def fit(image: Image.Image, size: int) -> Image.Image:
    """The image made smaller, where needed, so that its longer side is `size` pixels; its aspect stays."""
    from PIL import Image

    scale = size / max(image.size)
    if scale >= 1:
        return image
    width, height = (max(1, round(side * scale)) for side in image.size)
    return image.resize((width, height), Image.Resampling.LANCZOS, reducing_gap=3.0)


def _decode_picture(content: bytes, name: str) -> Image.Image:
    from PIL import Image, ImageOps

    with Image.open(io.BytesIO(content), formats=("JPEG", "PNG")) as file:
        _check_size(file.size, name)
        image = ImageOps.exif_transpose(file)  # as a viewer turns it
        if image.mode.startswith("I") or image.mode == "F":
            import numpy as np

            return _grey_picture(np.asarray(image))
        return image.convert("RGB")


def _decode_dicom(content: bytes, name: str) -> Image.Image:
    import numpy as np
    import pydicom
    from PIL import Image
    from pydicom.pixels import apply_modality_lut, apply_voi_lut, convert_color_space

    data = pydicom.dcmread(io.BytesIO(content))
    if data.get("Modality", "CR") not in RADIOGRAPHS:
        raise ImageError(f"{name}: its modality is {data.Modality}; a radiograph is wanted ({', '.join(RADIOGRAPHS)})")
    _check_size((int(data.Columns), int(data.Rows)), name)
    if int(data.get("NumberOfFrames", 1) or 1) > 1:
        raise ImageError(f"{name}: {data.NumberOfFrames} frames; one radiograph a file is wanted")
    pixels = data.pixel_array
    if int(data.SamplesPerPixel) == 3:
        if data.PhotometricInterpretation != "RGB":
            pixels = convert_color_space(pixels, data.PhotometricInterpretation, "RGB")
        return Image.fromarray(_scaled(pixels, 2**data.BitsStored - 1))
    grey = apply_voi_lut(apply_modality_lut(pixels, data), data).astype(np.float32)
    low, high = float(grey.min()), float(grey.max())
    grey = (grey - low) * (255.0 / max(high - low, 1e-6))
    if data.PhotometricInterpretation == "MONOCHROME1":
        grey = 255.0 - grey
    return _rgb(grey)


def _grey_picture(pixels: np.ndarray) -> Image.Image:
    largest = float(pixels.max())
    depth = next((bits for bits in _GREY_DEPTHS if largest < 2**bits), 16)
    return _rgb(_scaled(pixels, 2**depth - 1))


def _scaled(pixels: np.ndarray, top: int) -> np.ndarray:
    import numpy as np

    return (np.clip(pixels.astype(np.float32), 0, top) * (255.0 / top)).round().astype(np.uint8)


def _rgb(grey: np.ndarray) -> Image.Image:
    import numpy as np
    from PIL import Image

    return Image.fromarray(grey.round().astype(np.uint8)).convert("RGB")


def _check_size(size: tuple[int, int], name: str) -> None:
    width, height = size
    if width * height > MAX_PIXELS:
        raise ImageError(f"{name}: {width} x {height} pixels are more than {MAX_PIXELS}; refused")


def _parquet_cell(path: Path, row: str) -> bytes:
    try:
        number = int(row)
        for group, (start, count) in enumerate(_row_groups(path)):
            if start <= number < start + count:
                return _read_group(path, group)[number - start].as_py()["bytes"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ImageError(f"{path}#{row}: {error}") from None
    raise ImageError(f"{path}#{row}: there is no such row")


@lru_cache(maxsize=32)
def _row_groups(path: Path) -> list[tuple[int, int]]:
    import pyarrow.parquet as parquet

    metadata = parquet.read_metadata(path)
    counts = [metadata.row_group(group).num_rows for group in range(metadata.num_row_groups)]
    return [(sum(counts[:group]), count) for group, count in enumerate(counts)]


@lru_cache(maxsize=2)
def _read_group(path: Path, group: int) -> Any:
    import pyarrow.parquet as parquet

    return parquet.ParquetFile(path).read_row_group(group, columns=["image"]).column("image")
