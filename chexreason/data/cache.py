"""Caches: file digests, fingerprints, decoded images, image features.

All are keyed by content, may be used by several runs at once, and can be deleted at any time. Damaged entries are computed
again; if a cache cannot be written, the work is repeated each time.
"""

from __future__ import annotations

import hashlib
import io
import os
import random
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from chexreason.data.fingerprint import fingerprint
from chexreason.data.images import ImageError, decode, fit, image_bytes, read_image
from chexreason.runs import identity
from chexreason.runs.files import PARTIAL, replacing
from chexreason.runs.identity import file_state

if TYPE_CHECKING:
    from PIL import Image

IMAGES, FEATURES, FINGERPRINTS = ".images", ".features", ".fingerprints-2.sqlite"
DECODER = ("codestream", "dicom", "images", "lookup", "misread", "pixels", "tags")  # modules that determine the decoded pixels
LIMIT_BYTES = 20 * 2**30
SEAL = 32  # bytes
CHANCE = random.Random()  # a separate generator, so that runs' seeded ones are not disturbed
_TOLD: set[tuple[Path, str]] = set()  # (folder, reason) pairs that this process has reported
ABANDONED = 3600  # seconds after which a half-written file counts as left behind by a killed process


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

    with tqdm(desc="fingerprints", unit="image", delay=5) as bar:  # thousands of full-size images take minutes, but only once

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
    """A reader of images for a model: through the cache in `runs`, or decoding at full size each time if `size` is None."""
    return read_image if size is None else ImageCache(runs / IMAGES, size).read


class Entries:
    """Bytes by kind and name in a folder that several runs may use at once.

    Each entry is a file that ends with a checksum and is created by atomic rename. The least recently used entries are dropped
    when their total exceeds `limit_bytes`. If the folder cannot be written, a message says so once; `otherwise` is the
    consequence that it names.
    """

    def __init__(self, folder: Path, otherwise: str, limit_bytes: int = LIMIT_BYTES) -> None:
        self.folder, self.otherwise, self.limit_bytes = folder, otherwise, limit_bytes

    def load(self, kind: str, name: str) -> bytes | None:
        """The entry's content; None if there is no such entry or its checksum does not match."""
        file = self._file(kind, name)
        try:
            content = file.read_bytes()
        except OSError:
            return None
        body = content[:-SEAL]
        if content[-SEAL:] != _seal(f"{kind}/{name}", body):
            return None
        with suppress(OSError):
            os.utime(file)  # mark as recently used
        return body

    def store(self, kind: str, name: str, body: bytes) -> None:
        """Store an entry; if it cannot be written (a full disk), only a message is printed."""
        try:
            with replacing(self._file(kind, name)) as partial:
                partial.write_bytes(body + _seal(f"{kind}/{name}", body))
        except OSError as error:
            self.tell(error.strerror or str(error))
        if CHANCE.random() * self.limit_bytes < 20 * len(body):  # on average once per twentieth of the limit written
            self._shrink()

    def tell(self, why: str) -> None:
        """Print, once per process, why nothing is stored in the folder."""
        if (self.folder, why) not in _TOLD:
            print(f"{self.folder}: {why}; {self.otherwise}", file=sys.stderr, flush=True)
        _TOLD.add((self.folder, why))

    def _file(self, kind: str, name: str) -> Path:
        return self.folder / kind / name[:2] / name

    def _shrink(self) -> None:
        """Drop the least recently used files until nine tenths of the limit are left; one process at a time."""
        from filelock import FileLock, Timeout

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
            pass  # another process is shrinking the folder, or it is read-only


def _seal(name: str, body: bytes) -> bytes:
    """A checksum of the entry's content and of its name, which identifies what the entry was made from."""
    return hashlib.sha256(name.encode() + body).digest()


def _stored(folder: Path) -> Iterator[tuple[int, int, Path]]:
    """(time of last use, size, file) of all entries, and of partial files that killed processes left behind."""
    for file in folder.rglob("*.*"):
        with suppress(OSError):  # another process has renamed it
            status = file.stat()
            if file.suffix and (file.suffix != PARTIAL or status.st_mtime < time.time() - ABANDONED):
                yield status.st_mtime_ns, status.st_size, file


@lru_cache
def decoder() -> str:
    """A digest of the code that decodes image files."""
    return hashlib.sha256(b"".join(Path(__file__).with_name(f"{name}.py").read_bytes() for name in DECODER)).hexdigest()[:8]


class ImageCache:
    """Radiographs with their longer side at most `size` pixels, decoded once per content: .npy entries, with one channel if the
    picture is grey, named by the digest of the encoded content. Entries of another version of the decoder are not used."""

    def __init__(self, folder: Path, size: int, limit_bytes: int = LIMIT_BYTES) -> None:
        self.entries, self.size = Entries(folder, "images are decoded anew each time", limit_bytes), size
        self.kind = f"{size}-{decoder()}"
        self._known: dict[tuple[Path, int, str], str] = {}

    def read(self, path: Path) -> Image.Image:
        """The image at `path` as RGB, its longer side at most `size`; raises ImageError as `read_image` does."""
        state = (path, *_state(path))
        if state in self._known and (image := self._load(self._known[state])):
            return image
        content = image_bytes(path)
        name = self._known[state] = f"{hashlib.sha256(content).hexdigest()}.npy"
        return self._load(name) or self._store(name, content, str(path))

    def _load(self, name: str) -> Image.Image | None:
        import numpy as np
        from PIL import Image

        body = self.entries.load(self.kind, name)
        return None if body is None else Image.fromarray(np.load(io.BytesIO(body))).convert("RGB")

    def _store(self, name: str, content: bytes, path: str) -> Image.Image:
        import numpy as np

        image = fit(decode(content, path), self.size)
        pixels = np.asarray(image)
        if (pixels == pixels[..., :1]).all():
            pixels = np.ascontiguousarray(pixels[..., 0])
        stream = io.BytesIO()
        np.save(stream, pixels)
        self.entries.store(self.kind, name, stream.getvalue())
        return image


def feature_entries(runs: Path) -> Entries:
    """The cache of image features that all runs in the folder `runs` share."""
    return Entries(runs / FEATURES, "image features are computed anew each time")
