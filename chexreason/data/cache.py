"""Two small stores that spare repeated work: content digests of files, and radiographs already decoded and resized.

Both are keyed by content, may be used by several runs at once, and can be deleted at any time.
"""

from __future__ import annotations

import hashlib
import os
import sqlite3
import tempfile
from collections.abc import Callable, Iterable
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

from chexreason.data.images import ImageError, decode, fit, image_bytes, read_image

if TYPE_CHECKING:
    from PIL import Image

DIGESTS, IMAGES = ".digests.sqlite", ".images"


def content_digests(files: Iterable[Path], store: Path) -> list[str]:
    """SHA-256 of each image file's content (of the cell, for `name.parquet#row`).

    `store` remembers them by path, size and time of change, so that a second look costs one `stat` per file.

    Raises:
        ImageError: a file is not there.
    """
    store.parent.mkdir(parents=True, exist_ok=True)
    with closing(sqlite3.connect(store, timeout=60)) as database, database:
        database.execute("CREATE TABLE IF NOT EXISTS digests (file, size, changed, sha256, PRIMARY KEY (file))")
        return [_digest(file, database) for file in files]


def _digest(file: Path, database: sqlite3.Connection) -> str:
    size, changed = _state(file)
    query = "SELECT sha256 FROM digests WHERE file = ? AND size = ? AND changed = ?"
    known = database.execute(query, (str(file.absolute()), size, changed)).fetchone()
    if known:
        return known[0]
    sha256 = hashlib.sha256(image_bytes(file)).hexdigest()
    row = (str(file.absolute()), size, changed, sha256)
    database.execute("INSERT OR REPLACE INTO digests VALUES (?, ?, ?, ?)", row)
    return sha256


def _state(file: Path) -> tuple[int, int]:
    try:
        status = os.stat(str(file).partition("#")[0])
    except OSError as error:
        raise ImageError(f"{file}: {error.strerror}") from None
    return status.st_size, status.st_mtime_ns


def image_reader(runs: Path, size: int | None) -> Callable[[Path], Image.Image]:
    """What reads images for a model: through the cache in `runs`, or (`size` None) each time anew at full size."""
    return read_image if size is None else ImageCache(runs / IMAGES, size).read


class ImageCache:
    """Radiographs with their longer side at most `size` pixels, decoded once per content.

    Each lies in a memory-mapped .npy file (grey where the picture is grey) named by the digest of its encoded content,
    appears by atomic rename, and is dropped, least recently used first, when the store outgrows `limit_bytes`.
    """

    def __init__(self, folder: Path, size: int, limit_bytes: int = 20 * 2**30) -> None:
        self.folder, self.size, self.limit_bytes = folder / str(size), size, limit_bytes
        self._known: dict[tuple[Path, int, int], Path] = {}
        self._written = 0

    def read(self, path: Path) -> Image.Image:
        """The image at `path` as RGB, its longer side at most `size`; raises ImageError as `read_image` does."""
        state = (path, *_state(path))
        if state not in self._known:
            content = image_bytes(path)
            digest = hashlib.sha256(content).hexdigest()
            self._known[state] = self.folder / digest[:2] / f"{digest}.npy"
            if not self._known[state].exists():
                return self._store(self._known[state], content, str(path))
        return self._load(self._known[state]) or self._store(self._known[state], image_bytes(path), str(path))

    def _load(self, file: Path) -> Image.Image | None:
        import numpy as np
        from PIL import Image

        try:
            pixels = np.load(file, mmap_mode="r")
            os.utime(file)  # the order in which files are dropped
        except (OSError, ValueError):
            return None
        return Image.fromarray(np.asarray(pixels)).convert("RGB")

    def _store(self, file: Path, content: bytes, name: str) -> Image.Image:
        import numpy as np

        image = fit(decode(content, name), self.size)
        pixels = np.asarray(image)
        if (pixels == pixels[..., :1]).all():
            pixels = np.ascontiguousarray(pixels[..., 0])
        file.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=file.parent, suffix=".partial", delete=False) as partial:
            np.save(partial, pixels)
        os.replace(partial.name, file)
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
                files = sorted((file.stat().st_mtime_ns, file.stat().st_size, file) for file in self.folder.rglob("*.npy"))
                total = sum(size for _, size, _ in files)
                for _, size, file in files if total > self.limit_bytes else ():
                    file.unlink(missing_ok=True)
                    total -= size
                    if total <= self.limit_bytes * 9 // 10:
                        break
        except Timeout:
            pass  # another process is at it
