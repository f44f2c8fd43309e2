"""Films that look alike: a perceptual fingerprint that survives encoding, resizing, cropping by a few percent and mirroring.

A fingerprint is the signs of a film's low frequencies (pHash: Zauner 2010), finer than the usual 64 bits, since chest films
have their coarse structure in common. A crop changes every frequency, so each film is compared at a grid of its own crops;
mirroring flips the signs of the odd columns. ImageHash, the library for such hashes, supports neither: it would have to hash
each crop and its mirror image, which takes hundreds of times as long.

A match is a reason to look at both films, not to refuse one: at this threshold `benches/fingerprints.py` finds nearly every
copy, and takes one pair of different drawn films in 98,000 for copies; a study compares a million pairs, and too few real films
were available to state a rate. Certain overlap, equal content or a shared patient, is refused elsewhere (`integrity`).
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from PIL import Image

SIDE = 128  # pixels that a film is reduced to
LOW = 20  # frequencies kept each way, the mean left out
CROPS = (0.0, 0.02, 0.04)  # shares of a side that may be missing at each edge
ALIKE = 0.75  # likeness from which two films are called look-alikes: measured, see benches/fingerprints.py


def fingerprint(image: Image.Image) -> str:
    """The film's fingerprint as 100 hexadecimal digits."""
    import numpy as np

    return np.packbits(_signs(image, (0.0,))[0] > 0).tobytes().hex()


def likeness(images: Iterable[Image.Image], fingerprints: Sequence[str]) -> Iterator[np.ndarray]:
    """For each image, its (N,) likeness to the films with these fingerprints, if cropped or mirrored: 1 equal, 0 unrelated."""
    import numpy as np

    packed = np.frombuffer(bytes.fromhex("".join(fingerprints)), np.uint8).reshape(len(fingerprints), -1)
    known = 2 * np.unpackbits(packed, axis=1, count=LOW * LOW - 1).astype(np.float32) - 1
    odd = np.arange(LOW * LOW)[1:] % LOW % 2 == 1  # mirroring flips the signs of these columns
    evens, odds = known[:, ~odd], known[:, odd]
    for image in images:
        own = _signs(image, CROPS)
        yield (evens @ own[:, ~odd].T + np.abs(odds @ own[:, odd].T)).max(axis=1) / known.shape[1]


def _signs(image: Image.Image, crops: tuple[float, ...]) -> np.ndarray:
    """(len(crops) ** 4, LOW * LOW - 1) The signs (1 | -1) of the film's low frequencies, with so much of each edge cropped."""
    import numpy as np
    from PIL import Image

    small = image.convert("L").resize((SIDE, SIDE), Image.Resampling.BOX)
    waves = _waves(crops)
    seen = np.einsum("akr,rs,bls->abkl", waves, np.asarray(small, np.float32), waves, optimize=True)
    return np.where(seen.reshape(len(waves) ** 2, -1)[:, 1:] > 0, np.float32(1), np.float32(-1))


@cache
def _waves(crops: tuple[float, ...]) -> np.ndarray:
    """(len(crops) ** 2, LOW, SIDE) Cosines (of a DCT-II) over the rest of a side after cropping each end."""
    import numpy as np

    pixels = np.arange(SIDE)
    waves = []
    for before, after in itertools.product(crops, repeat=2):
        first, last = before * SIDE, (1 - after) * SIDE
        within = np.clip(np.minimum(pixels + 1, last) - np.maximum(pixels, first), 0, 1)  # a pixel may be cut
        waves.append(within * np.cos(np.pi * np.arange(LOW)[:, None] * (pixels + 0.5 - first) / (last - first)))
    return np.array(waves, np.float32)
