"""Digests follow the content; a cached picture is the picture, or it is made again."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import numpy as np
import pytest

from chexreason.data.cache import ImageCache, content_digests
from chexreason.data.images import ImageError, fit, read_image

from .layouts import write_image


def cached(folder: Path, size: int = 16, limit: int = 10**9) -> ImageCache:
    return ImageCache(folder / "cache", size, limit)


def test_a_cached_image_is_the_fitted_image_whatever_the_file_is_called(tmp_path: Path) -> None:
    write_image(tmp_path / "a.png")
    (tmp_path / "b.png").write_bytes((tmp_path / "a.png").read_bytes())
    wanted = np.asarray(fit(read_image(tmp_path / "a.png"), 16))
    for name in ("a.png", "b.png", "a.png"):
        assert np.array_equal(np.asarray(cached(tmp_path).read(tmp_path / name)), wanted)
    assert len(list((tmp_path / "cache").rglob("*.npy"))) == 1


def test_a_changed_image_is_decoded_anew_and_a_damaged_store_repairs_itself(tmp_path: Path) -> None:
    cache, path = cached(tmp_path), tmp_path / "a.png"
    write_image(path, 1)
    first = np.asarray(cache.read(path))
    write_image(path, 2)
    os.utime(path, ns=(1, 1))
    assert not np.array_equal(np.asarray(cache.read(path)), first)
    for stored in (tmp_path / "cache").rglob("*.npy"):
        stored.write_bytes(b"\x93NUMPY")
    assert np.array_equal(np.asarray(cached(tmp_path).read(path)), np.asarray(fit(read_image(path), 16)))


def test_the_store_stays_within_its_limit_and_keeps_what_was_used_last(tmp_path: Path) -> None:
    cache = cached(tmp_path, limit=8_000)  # an image takes 12 x 16 + 128 bytes
    for number in range(80):
        write_image(tmp_path / f"{number}.png", number)
        cache.read(tmp_path / f"{number}.png")
    files = list((tmp_path / "cache").rglob("*.npy"))
    assert 0 < sum(file.stat().st_size for file in files) <= 8_000 * 1.1
    (digest,) = content_digests([tmp_path / "79.png"], tmp_path / "d.sqlite")
    assert any(file.stem == digest for file in files)


def test_many_readers_at_once_get_whole_images(tmp_path: Path) -> None:
    for number in range(6):
        write_image(tmp_path / f"{number}.png", number)
    wanted = [np.asarray(fit(read_image(tmp_path / f"{n}.png"), 16)) for n in range(6)]
    wrong: list[int] = []

    def reader() -> None:
        cache = cached(tmp_path, limit=2_000)
        for turn in range(60):
            if not np.array_equal(np.asarray(cache.read(tmp_path / f"{turn % 6}.png")), wanted[turn % 6]):
                wrong.append(turn)

    threads = [threading.Thread(target=reader) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_digests_follow_the_content(tmp_path: Path) -> None:
    path, store = tmp_path / "x.bin", tmp_path / "d.sqlite"
    path.write_bytes(b"one")
    first = content_digests([path], store)
    assert content_digests([path], store) == first
    path.write_bytes(b"other")
    assert content_digests([path], store) != first
    with pytest.raises(ImageError, match="nowhere"):
        content_digests([tmp_path / "nowhere"], store)
