"""Small stores that spare repeated work: digests and fingerprints of films, and radiographs already decoded and resized.

All are keyed by content, may be used by several runs at once, and can be deleted at any time. What is found damaged in
them is made again; where they cannot be written, the work is done anew each time.
"""

from __future__ import annotations

import hashlib
import io
import os
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from chexreason.data.fingerprint import fingerprint
from chexreason.data.images import ImageError, decode, fit, image_bytes, read_image
from chexreason.runs import identity
from chexreason.runs.files import replacing
from chexreason.runs.identity import file_state

if TYPE_CHECKING:
    from PIL import Image

IMAGES, FINGERPRINTS = ".images", ".fingerprints.sqlite"
SEAL = 32  # bytes
ABANDONED = 3600  # seconds that nobody takes to write a file


def content_digests(files: Iterable[Path], store: Path) -> list[str]:
    """SHA-256 of each image file's content (of the cell, for `name.parquet#row`), remembered in `store`.

    Raises:
        ImageError: a file is not there.
    """
    files = list(files)
    for file in files:
        _state(file)
    return identity.content_digests(files, store, lambda file: hashlib.sha256(image_bytes(file)).hexdigest())


def fingerprints(files: Sequence[Path], read: Callable[[Path], Image.Image], runs: Path) -> list[str]:
    """The perceptual fingerprint of each image as `read` reads it, remembered as its digest is; raises what `read` raises."""
    from tqdm import tqdm

    with tqdm(desc="fingerprints", unit="image", delay=5) as bar:  # of thousands of full size it takes minutes, once

        def look(file: Path) -> str:
            bar.update()
            return fingerprint(read(file))

        return identity.content_digests(files, runs / FINGERPRINTS, look)


def _state(file: Path) -> tuple[int, str]:
    try:
        return file_state(file)
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        raise ImageError(f"{file}: {getattr(error, 'strerror', None) or error}") from None


def image_reader(runs: Path, size: int | None) -> Callable[[Path], Image.Image]:
    """What reads images for a model: through the cache in `runs`, or (`size` None) each time anew at full size."""
    return read_image if size is None else ImageCache(runs / IMAGES, size).read


class ImageCache:
    """Radiographs with their longer side at most `size` pixels, decoded once per content.

    Each lies in a .npy file (grey where the picture is grey) that is named by the digest of its encoded content and ends
    with a checksum; appears by atomic rename; and is dropped, least recently used first, when the store outgrows
    `limit_bytes`.
    """

    def __init__(self, folder: Path, size: int, limit_bytes: int = 20 * 2**30) -> None:
        self.folder, self.size, self.limit_bytes = folder / str(size), size, limit_bytes
        self._known: dict[tuple[Path, int, str], Path] = {}
        self._written = 0

    def read(self, path: Path) -> Image.Image:
        """The image at `path` as RGB, its longer side at most `size`; raises ImageError as `read_image` does."""
        state = (path, *_state(path))
        if state in self._known and (image := self._load(self._known[state])):
            return image
        content = image_bytes(path)
        digest = hashlib.sha256(content).hexdigest()
        file = self._known[state] = self.folder / digest[:2] / f"{digest}.npy"
        return self._load(file) or self._store(file, content, str(path))

    def _load(self, file: Path) -> Image.Image | None:
        """The picture in `file`; None where there is none, or not the one that was put there."""
        import numpy as np
        from PIL import Image

        try:
            content = file.read_bytes()
        except OSError:
            return None
        if content[-SEAL:] != _seal(file, content[:-SEAL]):
            return None
        with suppress(OSError):
            os.utime(file)  # the order in which files are dropped
        return Image.fromarray(np.load(io.BytesIO(content))).convert("RGB")

    def _store(self, file: Path, content: bytes, name: str) -> Image.Image:
        import numpy as np

        image = fit(decode(content, name), self.size)
        pixels = np.asarray(image)
        if (pixels == pixels[..., :1]).all():
            pixels = np.ascontiguousarray(pixels[..., 0])
        stream = io.BytesIO()
        np.save(stream, pixels)
        try:
            with replacing(file) as partial:
                partial.write_bytes(stream.getvalue() + _seal(file, stream.getvalue()))
        except OSError as error:
            warnings.warn(f"{self.folder}: {error.strerror}; images are decoded anew each time", stacklevel=2)
        self._written += pixels.nbytes
        if self._written > self.limit_bytes // 20:
            self._shrink()
        return image

    def _shrink(self) -> None:
        """Drop the least recently used files until nine tenths of the limit are left; one process at a time."""
        from filelock import FileLock, Timeout

        self._written = 0
        try:
            with FileLock(self.folder / ".lock", timeout=0):
                files = sorted(_stored(self.folder))
                total = sum(size for _, size, _ in files)
                for _, size, file in files if total > self.limit_bytes else ():
                    file.unlink(missing_ok=True)
                    total -= size
                    if total <= self.limit_bytes * 9 // 10:
                        break
        except (Timeout, OSError):
            pass  # another process is at it, or the folder is read-only


def _seal(file: Path, body: bytes) -> bytes:
    """A checksum that also knows the entry's name, and with it the image that the picture was made of."""
    return hashlib.sha256(file.stem.encode() + body).digest()


def _stored(folder: Path) -> Iterator[tuple[int, int, Path]]:
    """(time of last use, size, file) of all entries, and of what a killed process left half written."""
    for file in folder.rglob("*.*"):
        with suppress(OSError):  # another process has renamed it
            status = file.stat()
            if file.suffix == ".npy" or (file.suffix == ".partial" and status.st_mtime < time.time() - ABANDONED):
                yield status.st_mtime_ns, status.st_size, file
