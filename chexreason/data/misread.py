"""DICOM pixels that form a film only if they are read differently from what their tags say.

Viewers show such pixels as noise, sheared or in false colours; here an error names the wrong tag instead.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from chexreason.data.pixels import ImageError, refuse_swapped, rougher

if TYPE_CHECKING:
    import numpy as np
    from pydicom import Dataset

COLOURED = 0.05  # share of pixels that annotations in colour may cover
UNWRITTEN = 0.25  # share of a film
TINT = 8  # grey levels, of 256, by which the channels of a grey film may differ after lossy compression


def refuse_excess(data: Dataset, name: str) -> None:
    """Refuse native pixel data that is a row, a column or more longer than announced; a few extra bytes are padding."""
    from pydicom.pixels.utils import get_expected_length

    held, announced = len(data.PixelData), get_expected_length(data)
    if held - announced >= max(2, announced // max(data.Rows, data.Columns)):
        raise ImageError(
            f"{name}: its pixel data is {held:,} bytes, its tags announce {announced:,}: it holds more than one picture, or "
            "a picture of other bits or size; correct Rows, Columns, Bits Allocated, Photometric Interpretation or Number of "
            "Frames"
        )


def refuse_unwritten(data: Dataset, name: str) -> None:
    """Refuse native pixels that break off in the middle of a row, with zeros from there on: space was allocated, not filled.

    A collimated or padded film ends with a full row or a tilted edge. At a tilted edge each row ends at a different column,
    while written rows end at the same one. An edge that is hardly tilted cuts off less than UNWRITTEN of the film.
    """
    from pydicom.pixels.utils import get_expected_length

    announced = get_expected_length(data)
    row = announced // data.Rows
    written = data.PixelData[:announced].rstrip(b"\0")
    whole, part = divmod(len(written), row)
    first, before = (len(written[at * row : (at + 1) * row].rstrip(b"\0")) if at >= 0 else 0 for at in (whole - 2, whole - 1))
    sudden = 0 < part < before - row // 50 and abs(first - before) <= row // 50
    if len(written) < (1 - UNWRITTEN) * announced and sudden:
        raise ImageError(
            f"{name}: its pixel data breaks off amid row {whole + 1} of {data.Rows}, with zeros alone from there on; copy it "
            "again"
        )


def refuse_misread(pixels: np.ndarray, data: Dataset, name: str) -> None:
    """Refuse native pixels, of (rows, columns) or (rows, columns, 3), whose sides, bytes or planes are in another order.

    Raises:
        ImageError: names the file and the tag.
    """
    import numpy as np

    if data.file_meta.TransferSyntaxUID.is_encapsulated:  # compressed streams state their own layout
        return
    rows, columns = pixels.shape[:2]
    if rougher(pixels, pixels.reshape(columns, rows, *pixels.shape[2:])):
        raise ImageError(
            f"{name}: {columns} x {rows} pixels are no film, {rows} x {columns} are one; exchange Rows (0028,0010) and Columns "
            "(0028,0011)"
        )
    refuse_swapped(pixels, name, "its transfer syntax says; correct the one or the other")
    if data.PhotometricInterpretation == "RGB":
        by_plane = data.PlanarConfiguration
        planes = np.moveaxis(pixels.reshape(3, rows, columns), 0, -1)
        other = np.moveaxis(pixels, -1, 0).reshape(pixels.shape) if by_plane else planes
        if _grey_only(other, pixels, 0):
            raise ImageError(
                f"{name}: Planar Configuration (0028,0006) says {by_plane}, but its pixels are those of a grey film only if it "
                f"is {1 - by_plane}; correct it"
            )


def refuse_false_colours(pixels: np.ndarray, raw: np.ndarray, data: Dataset, name: str) -> None:
    """Refuse a grey film that appears green because its colour space is not the one that its tag says.

    Args:
        pixels: RGB of (rows, columns, 3), converted as the tag says.
        raw: the same pixels as stored.

    Raises:
        ImageError: names the file and the tag.
    """
    import numpy as np
    from pydicom.pixels import convert_color_space

    if pixels.dtype != np.uint8:
        return
    said = data.PhotometricInterpretation
    other = convert_color_space(raw, "YBR_FULL", "RGB") if said == "RGB" else raw
    if _grey_only(other, pixels, TINT):
        meant = "YBR_FULL" if said == "RGB" else "RGB"
        raise ImageError(
            f"{name}: Photometric Interpretation (0028,0004) says {said}, but its pixels are those of a grey film only if it "
            f"is {meant}; correct it"
        )


def coloured_share(pixels: np.ndarray, tint: int = TINT) -> float:
    """The share of pixels, of (rows, columns, 3), whose channels differ by more than `tint`."""
    import numpy as np

    return float((np.ptp(pixels, axis=-1) > tint).mean())


def _grey_only(other: np.ndarray, pixels: np.ndarray, tint: int) -> bool:
    """Whether the `other` reading is grey, annotations aside, and `pixels` are not. Grey channels differ by `tint` at most."""
    return coloured_share(pixels, tint) > COLOURED + 10 * coloured_share(other, tint)
