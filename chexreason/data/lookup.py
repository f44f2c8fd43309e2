"""DICOM's lookup tables: modality, VOI and palette (PS3.3 C.11.1.1.1, C.11.2.1.1, C.7.6.3.1.6).

pydicom 3.0's own functions count a table's entries in the data type of the entries, so that an 8-bit table with 256 or more
entries gives noise; they also read a big-endian palette as little-endian. pydicom's expansion of segmented palettes is correct
and is used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from chexreason.data.pixels import ImageError

if TYPE_CHECKING:
    import numpy as np
    from pydicom import Dataset

COLOURS = ("Red", "Green", "Blue")
PALETTE = [
    f"{prefix}{colour}PaletteColorLookupTable{part}"
    for colour in COLOURS
    for prefix, part in (("", "Descriptor"), ("", "Data"), ("Segmented", "Data"))
]


def looked_up(values: np.ndarray, item: Dataset, data: Dataset, name: str) -> np.ndarray:
    """`values` (any shape and number type) through the table of an item of a modality or VOI LUT sequence.

    Raises:
        ImageError: the table is shorter than it says; names the file.
    """
    return _through(values, item.LUTDescriptor, item["LUTData"], data, name)


def coloured(indices: np.ndarray, data: Dataset, name: str) -> np.ndarray:
    """(rows, columns) of PALETTE COLOR as (rows, columns, 3), in the depth of the palette's entries.

    Raises:
        ImageError: the palette is shorter than it says; names the file.
    """
    import numpy as np
    from pydicom.pixels import apply_color_lut

    if "SegmentedRedPaletteColorLookupTableData" in data:
        return apply_color_lut(indices.astype(np.int32), data)
    tables = [f"{colour}PaletteColorLookupTable" for colour in COLOURS]
    channels = (_through(indices, data[f"{t}Descriptor"].value, data[f"{t}Data"], data, name) for t in tables)
    return np.stack(list(channels), axis=-1)


def _through(values: np.ndarray, descriptor: Any, element: Any, data: Dataset, name: str) -> np.ndarray:
    """Map values through a table; values outside it get its first or its last entry."""
    import numpy as np

    if np.size(descriptor) != 3:
        raise ImageError(f"{name}: the descriptor of {element.name} is {descriptor}; three numbers are wanted")
    table = _entries(int(descriptor[0]) % 2**16 or 2**16, int(descriptor[2]), element, data, name)
    first = int(descriptor[1])
    if first >= 2**15 and (int(data.get("PixelRepresentation", 0)) or values.min() < 0):  # negative, but written unsigned
        first -= 2**16
    return table[np.clip(np.rint(values).astype(np.int64) - first, 0, len(table) - 1)]


def _entries(count: int, bits: int, element: Any, data: Dataset, name: str) -> np.ndarray:
    """The `count` entries: one 16-bit word each, or 8-bit entries packed two to a word if there are too few words."""
    import numpy as np

    if isinstance(element.value, bytes):
        even = element.value[: len(element.value) // 2 * 2]
        words = np.frombuffer(even, "<u2" if data.file_meta.TransferSyntaxUID.is_little_endian else ">u2")
    else:
        words = np.asarray(element.value).astype(np.uint16).reshape(-1)
    packed = bits <= 8 and len(words) < count
    table = words.astype("<u2").view(np.uint8) if packed else words
    if len(table) < count:
        raise ImageError(f"{name}: {element.name} has {len(table)} entries, its descriptor says {count}")
    return table[:count]
