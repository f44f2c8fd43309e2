"""Films that look alike: a perceptual fingerprint that outlives encoding, resizing, cropping by a few percent and mirroring.

A fingerprint is the signs of a film's low frequencies (pHash: Zauner 2010), finer than the usual 64 bits, since chest films
have their coarse structure in common. A crop moves every frequency, so a film is compared at a grid of crops of its own; a
mirrored film has the signs of its odd columns turned. No packaged hash offers either.

A match is a reason to look, and none to refuse: at this threshold `benches/fingerprints.py` finds nearly every copy, and takes
one pair of different drawn films in 46,000 for copies; a study compares a million pairs, and of real films too few were at hand
to state a rate. What is certain, equal content or a patient in common, is refused elsewhere (`integrity`).
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from PIL import Image

SIDE = 64  # pixels that a film is reduced to
LOW = 20  # frequencies kept each way, the mean left out
CROPS = (0.0, 0.02, 0.04)  # of a side, that may be missing at each edge
ALIKE = 0.75  # likeness from which two films are called look-alikes: measured, see benches/fingerprints.py


def fingerprint(image: Image.Image) -> str:
    """The film's fingerprint as 100 hexadecimal digits."""
    import numpy as np

    return np.packbits(_signs(_small(image)) > 0).tobytes().hex()


def likeness(image: Image.Image, fingerprints: Sequence[str]) -> np.ndarray:
    """(N,) How like `image` the films with these fingerprints are, cropped or mirrored as may be: 1 equal, 0 unrelated."""
    import numpy as np

    packed = np.frombuffer(bytes.fromhex("".join(fingerprints)), np.uint8).reshape(len(fingerprints), -1)
    known = 2.0 * np.unpackbits(packed, axis=1, count=LOW * LOW - 1).astype(np.float32) - 1
    small, side = _small(image), 2 * SIDE
    boxes = itertools.product(CROPS, repeat=4)
    own = np.array([_signs(small, (a * side, b * side, side - c * side, side - d * side)) for a, b, c, d in boxes], np.float32)
    column = np.arange(LOW * LOW)[1:] % LOW
    mirrored = own * np.where(column % 2, -1, 1).astype(np.float32)
    return (known @ np.concatenate([own, mirrored]).T).max(axis=1) / known.shape[1]


def _small(image: Image.Image) -> Image.Image:
    from PIL import Image

    return image.convert("L").resize((2 * SIDE, 2 * SIDE), Image.Resampling.BOX)


def _signs(small: Image.Image, box: tuple[float, float, float, float] | None = None) -> np.ndarray:
    """(LOW * LOW - 1,) The signs (1 | -1) of the low frequencies of what lies in `box`."""
    import numpy as np
    from PIL import Image
    from scipy.fft import dctn

    pixels = np.asarray(small.resize((SIDE, SIDE), Image.Resampling.BILINEAR, box=box), dtype=np.float32)
    return np.where(dctn(pixels)[:LOW, :LOW].ravel()[1:] > 0, 1, -1)
