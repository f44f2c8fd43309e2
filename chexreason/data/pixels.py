"""From pixel values to a picture: which sizes are plausible, which values are black and white, and which films are empty."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from chexreason.errors import ChexReasonError

if TYPE_CHECKING:
    import numpy as np
    from PIL import Image

# Detector pixels: the largest films are near 4,300 x 3,600. Anything far above is a mistake or a decompression bomb.
MAX_PIXELS = 64_000_000
# Longer side to shorter side. No film comes near it, and image processors refuse strips (Qwen's from 200 on).
MAX_ASPECT = 100
DEPTHS = (8, 10, 12, 14, 16)  # bits of usual detectors
TAIL = 0.02  # share of the pixels that a burnt-in marker may cover
BORDER = 0.25  # a border of one value that no tag declares covers less than this share of the pixels
ALIKE = "all its pixels are alike"
NOISE = 3  # grey levels that noise spans in an empty film
MOVED = 2**15  # offset of signed 16-bit numbers in formats that have only unsigned ones
LEVELS = 256  # span of values that is more than noise
LEAPS = 0.2  # jumps per row, between neighbouring pixels, across the whole range of values: real films have none
ROUGHER = 3  # times as rough as the other reading: from this ratio on, the other reading is the right one
SAMPLED = 256  # rows or columns that suffice to measure roughness
SAMPLE = 1_000_000  # pixels that suffice to estimate the distribution of values


class ImageError(ChexReasonError):
    """An image file that cannot be read whole; the message names the file."""


def check_size(width: int, height: int, name: str) -> None:
    """Refuse sizes that are no film's, before any pixel is decoded.

    Raises:
        ImageError: no pixels, more than MAX_PIXELS, or longer than MAX_ASPECT times its width (or wider).
    """
    if min(width, height) < 1:
        raise ImageError(f"{name}: {width} x {height} pixels; there is no picture in it")
    if width * height > MAX_PIXELS:
        raise ImageError(
            f"{name}: {width} x {height} pixels are more than {MAX_PIXELS:,}; no film has so many; save it smaller"
        )
    if max(width, height) > MAX_ASPECT * min(width, height):
        raise ImageError(
            f"{name}: {width} x {height} pixels are a strip, no film: one side is over {MAX_ASPECT} times the other"
        )


def refuse_flat(values: np.ndarray, name: str, why: str, noise: float = 0) -> None:
    """Refuse a film that shows nothing.

    Args:
        values: grey values, of any shape.
        why: what to say, after the file's name.
        noise: span up to which values count as equal.

    Raises:
        ImageError: all values are alike, or all but what a marker may cover; there are none, or some are no finite numbers.
    """
    import numpy as np

    if not values.size or not np.isfinite([values.min(), values.max()]).all() or values.min() == values.max():
        raise ImageError(f"{name}: {why}; there is no information in this film")
    below, above = middle(values)
    if above - below <= noise:
        raise ImageError(f"{name}: {why}, but for a marker, specks or noise; there is no information in this film")


def middle(values: np.ndarray, border: float = 0) -> tuple[float, float]:
    """The smallest and the largest value, without the share TAIL of the pixels at either end.

    Before that, the value at either of these ends is excluded if less than the share `border` of the pixels has it.
    """
    import numpy as np

    sample = values.reshape(-1)[:: max(1, values.size // SAMPLE)]
    ends = np.quantile(sample, (TAIL, 1 - TAIL))
    borders = [end for end in ends if border and (sample == end).mean() < border]
    below, above = np.quantile(sample[~np.isin(sample, borders)], (TAIL, 1 - TAIL)) if borders else ends
    return float(below), float(above)


def extent(values: np.ndarray) -> tuple[float, float]:
    """The smallest and the largest value that belong to the film.

    Those are the extremes of all values, unless a few (a lead marker or text burnt in at full white, an unnamed border)
    lie so far out that the film itself would be left with less than half of the greys: then they are not counted.
    """
    low, high = float(values.min()), float(values.max())
    below, above = middle(values, BORDER)
    span = above - below
    if span > 0 and high > above + span:
        high = float(values.max(where=values <= above + span, initial=low))
    if span > 0 and low < below - span:
        low = float(values.min(where=values >= below - span, initial=high))
    return low, high


def black_and_white(values: np.ndarray) -> tuple[int, int]:
    """The values that are black and white in unsigned integers of unknown depth.

    Black is 0; white is the largest value of the smallest usual depth that holds the film. A film that lies entirely in the
    upper half of 16 bits holds signed numbers shifted by MOVED, which is then its black. A film whose values would span less
    than a quarter of the greys was shifted as well, as no film that starts at 0 does so: its black is its smallest value.
    """
    low, high = extent(values)
    whole = 8 * values.dtype.itemsize

    def greys(black: int) -> int:
        return 2 ** next((bits for bits in DEPTHS if high - black < 2**bits), whole)

    black = MOVED if low >= MOVED else 0
    if LEVELS <= high - low < greys(black) / 4:
        black = int(low)
    return black, min(black + greys(black), 2**whole) - 1


def wrapped(values: np.ndarray, bits: int, film: np.ndarray) -> bool:
    """Whether integers were read with the wrong signedness: neighbouring mid-grey pixels then fall at opposite ends.

    Real films read wrongly have three or four such jumps per row; read correctly, none. A sharp edge does not jump that far.

    Args:
        values: signed or unsigned, of (rows, columns).
        bits: number of stored bits per value.
        film: mask of the film, of the same shape. Burnt-in text or background at an extreme value does not count as film.
    """
    import numpy as np

    step = max(1, values.size // SAMPLE)
    rows, film = values[::step].astype(np.int64), film[::step]
    bits = max(bits, int(max(rows.max(), -rows.min())).bit_length())
    middle = 2 ** (bits - 1)

    def leaps(rows: np.ndarray) -> int:
        inner = film & (rows > rows.min()) & (rows < rows.max())
        return int(((np.abs(np.diff(rows)) > 15 / 8 * middle) & inner[:, 1:] & inner[:, :-1]).sum())

    other = rows % (2 * middle) if values.dtype.kind == "i" else (rows + middle) % (2 * middle) - middle
    return leaps(rows) > max(LEAPS * len(rows), 10 * leaps(other))


def rougher(values: np.ndarray, other: np.ndarray) -> bool:
    """Whether pixels differ from their neighbours far more than in the `other` reading of the same numbers.

    A film is smooth along its rows and columns; read with its sides or the bytes of its values swapped, it is not.

    Args:
        values: of (rows, columns) or (rows, columns, 3), as `other`.
    """
    import numpy as np

    def roughness(rows: np.ndarray) -> float:
        sample = rows[:: max(1, len(rows) // SAMPLED)].astype(np.float64)
        return float(np.abs(np.diff(sample, axis=1)).mean() / (sample.std() or 1)) if rows.shape[1] > 1 else 0

    here, there = (max(roughness(one), roughness(one.swapaxes(0, 1))) for one in (values, other))
    return here > ROUGHER * there


def refuse_swapped(values: np.ndarray, name: str, meant: str) -> None:
    """Refuse a film that looks like noise because its byte order is the opposite of the one that `meant` describes.

    Raises:
        ImageError: names the file.
    """
    if values.dtype.itemsize == 2 and rougher(values, values.byteswap()):
        raise ImageError(f"{name}: the bytes of its numbers are in the other order than {meant}")


def stretched(values: np.ndarray, black: float, white: float) -> np.ndarray:
    """Values from `black` to `white` as uint8 from 0 to 255; what lies beyond is clipped."""
    import numpy as np

    grey = np.clip(values.astype(np.promote_types(values.dtype, np.float32)), black, white)  # exact: of small slopes as well
    grey -= black
    grey *= 255.0 / (white - black)
    return grey.round().astype(np.uint8)


def rgb(pixels: np.ndarray) -> Image.Image:
    """uint8 of (rows, columns), or (rows, columns, channels) of which the first three count, as an RGB picture."""
    import numpy as np
    from PIL import Image

    return Image.fromarray(np.ascontiguousarray(pixels[..., :3]) if pixels.ndim == 3 else pixels).convert("RGB")


def one_line(said: object) -> str:
    """The text of a decoder or a tag, shortened to one line of a message and without terminal control characters."""
    text = re.sub(r"<[^<>]* at 0x[0-9a-f]+>", "it", " ".join(str(said)[:1000].split()))[:300]
    return "".join(char if char.isprintable() else "?" for char in text)
