"""Digests follow the content; a cached picture is the picture, or it is made again."""

from __future__ import annotations

import hashlib
import io
import os
import pickle
import re
import shutil
import sqlite3
import threading
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from chexreason.data import cache
from chexreason.data.cache import ImageCache, content_digests
from chexreason.data.images import ImageError, fit, read_image
from chexreason.runs import identity
from chexreason.runs.identity import BATCH

from .layouts import write_image


def cached(folder: Path, size: int = 16, limit: int = 10**9) -> ImageCache:
    return ImageCache(folder / "cache", size, limit)


def test_a_cached_image_is_the_fitted_image_whatever_the_file_is_called(tmp_path: Path) -> None:
    write_image(tmp_path / "a.png")
    (tmp_path / "b.png").write_bytes((tmp_path / "a.png").read_bytes())
    wanted = np.asarray(fit(read_image(tmp_path / "a.png"), 16))
    shutil.copy(tmp_path / "a.png", tmp_path / "film #2.png")
    for name in ("a.png", "b.png", "film #2.png", "a.png"):
        assert np.array_equal(np.asarray(cached(tmp_path).read(tmp_path / name)), wanted)
    assert len(list((tmp_path / "cache").rglob("*.npy"))) == 1


def test_a_changed_image_is_decoded_anew(tmp_path: Path) -> None:
    cache, path = cached(tmp_path), tmp_path / "a.png"
    write_image(path, 1)
    first = np.asarray(cache.read(path))
    write_image(path, 2)
    os.utime(path, ns=(1, 1))
    assert not np.array_equal(np.asarray(cache.read(path)), first)


def test_what_another_versions_code_made_of_an_image_is_decoded_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_image(tmp_path / "a.png")
    right = np.asarray(cached(tmp_path).read(tmp_path / "a.png"))
    with monkeypatch.context() as other:
        other.setattr(cache, "decoder", lambda: "other")
        other.setattr(cache, "decode", lambda content, name: Image.new("RGB", (16, 12)))
        assert not np.array_equal(np.asarray(cached(tmp_path).read(tmp_path / "a.png")), right)
    assert np.array_equal(np.asarray(cached(tmp_path).read(tmp_path / "a.png")), right)


def test_all_code_that_decodes_counts() -> None:
    needed, found = {"images"}, set[str]()
    while left := needed - found:
        found |= left
        sources = [Path(cache.__file__).with_name(f"{name}.py").read_text() for name in left]
        needed |= {name for source in sources for name in re.findall(r"^ *from chexreason\.data\.(\w+) import", source, re.M)}
    assert found == set(cache.DECODER)


def zeros(*shape: int) -> bytes:
    """A whole .npy file, as somebody else may have put it there."""
    stream = io.BytesIO()
    np.save(stream, np.zeros(shape, np.uint8))
    return stream.getvalue()


DAMAGE: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda whole: b"",
    "garbage": lambda whole: b"\x93NUMPY no more",
    "cut": lambda whole: whole[:-1],
    "zeroed": lambda whole: bytes(len(whole)),
    "pixels zeroed": lambda whole: whole[:128] + bytes(len(whole) - 128),
    "a bit flipped": lambda whole: whole[:200] + bytes([whole[200] ^ 1]) + whole[201:],
    "without a checksum": lambda whole: whole[:-32],
    "four dimensions": lambda whole: zeros(1, 12, 16, 3),
    "other numbers": lambda whole: zeros(12, 16).replace(b"|u1", b"<f8"),
    "a pickle": lambda whole: pickle.dumps(np.zeros(3)),
}


@pytest.mark.parametrize("again", ["same process", "new process"])
@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_entry_is_made_again(damage: str, again: str, tmp_path: Path) -> None:
    write_image(tmp_path / "a.png")
    cache, wanted = cached(tmp_path), np.asarray(fit(read_image(tmp_path / "a.png"), 16))
    cache.read(tmp_path / "a.png")
    (entry,) = (tmp_path / "cache").rglob("*.npy")
    whole = entry.read_bytes()
    entry.write_bytes(DAMAGE[damage](whole))
    cache = cache if again == "same process" else cached(tmp_path)
    assert np.array_equal(np.asarray(cache.read(tmp_path / "a.png")), wanted)
    assert entry.read_bytes() == whole, "and it is whole again"


def test_an_entry_under_anothers_name_is_not_believed(tmp_path: Path) -> None:
    for number in range(2):
        write_image(tmp_path / f"{number}.png", number)
        cached(tmp_path).read(tmp_path / f"{number}.png")
    one, other = (tmp_path / "cache").rglob("*.npy")
    shutil.copy(one, other)
    for number in range(2):
        wanted = np.asarray(fit(read_image(tmp_path / f"{number}.png"), 16))
        assert np.array_equal(np.asarray(cached(tmp_path).read(tmp_path / f"{number}.png")), wanted)


def test_where_nothing_can_be_stored_images_are_read_all_the_same(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_image(tmp_path / "a.png")
    (tmp_path / "cache").write_text("a file where a folder should be")  # as a full or read-only disk, also for root
    cache = cached(tmp_path)
    for _ in range(2):
        assert cache.read(tmp_path / "a.png").size == (16, 12)
    assert capsys.readouterr().err.count("images are decoded anew each time") == 1


def test_what_a_killed_process_left_half_written_is_dropped_in_time(tmp_path: Path) -> None:
    left = tmp_path / "cache" / "16" / "ab" / "x.partial"
    left.parent.mkdir(parents=True)
    left.write_bytes(bytes(8_000))
    os.utime(left, ns=(1, 1))
    cache = cached(tmp_path, limit=8_000)
    for number in range(20):  # by chance, each of them looks, or does not
        write_image(tmp_path / f"{number}.png", number)
        cache.read(tmp_path / f"{number}.png")
    assert not left.exists()


def test_the_store_stays_within_its_limit_and_keeps_what_was_used_last(tmp_path: Path) -> None:
    cache = cached(tmp_path, limit=8_000)  # an image takes 12 x 16 + 128 + 32 bytes
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


@pytest.mark.parametrize("left", [b"", b"no database at all" * 100, b"SQLite format 3\0" + b"\xff" * 5000])
def test_a_digest_store_that_is_none_is_made_again(left: bytes, tmp_path: Path) -> None:
    path, store = tmp_path / "x.bin", tmp_path / "d.sqlite"
    path.write_bytes(b"one")
    store.write_bytes(left)
    right = [hashlib.sha256(b"one").hexdigest()]
    assert content_digests([path], store) == right
    assert content_digests([path], store) == right
    with closing(sqlite3.connect(store)) as database:
        assert database.execute("SELECT sha256 FROM digests").fetchall() == [(right[0],)]


def test_a_digest_store_that_cannot_be_written_is_done_without(tmp_path: Path) -> None:
    (tmp_path / "x.bin").write_bytes(b"one")
    (tmp_path / "d.sqlite").mkdir()
    assert content_digests([tmp_path / "x.bin"], tmp_path / "d.sqlite") == [hashlib.sha256(b"one").hexdigest()]


def test_what_was_digested_before_a_kill_is_not_digested_again(tmp_path: Path) -> None:
    files = [tmp_path / f"{number}.bin" for number in range(2 * BATCH + 9)]
    for file in files:
        file.write_bytes(file.name.encode())
    read: list[Path] = []

    def look(file: Path) -> str:
        if len(read) == 2 * BATCH + 5:
            raise KeyboardInterrupt
        read.append(file)
        return file.name

    with pytest.raises(KeyboardInterrupt):
        identity.content_digests(files, tmp_path / "d.sqlite", look)
    read.clear()
    assert identity.content_digests(files, tmp_path / "d.sqlite", look) == [file.name for file in files]
    assert read == files[2 * BATCH :]


def test_other_content_of_equal_size_and_time_is_noticed(tmp_path: Path) -> None:
    path, store = tmp_path / "x.png", tmp_path / "d.sqlite"
    one, other = (padded_png(tmp_path / "made.png", seed) for seed in (1, 2))
    cache = cached(tmp_path)
    path.write_bytes(one)
    first, picture = content_digests([path], store), np.asarray(cache.read(path))
    before = path.stat()
    path.write_bytes(other)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert (path.stat().st_size, path.stat().st_mtime_ns) == (before.st_size, before.st_mtime_ns)
    assert content_digests([path], store) != first
    assert not np.array_equal(np.asarray(cache.read(path)), picture)


def padded_png(path: Path, seed: int) -> bytes:
    write_image(path, seed)
    return path.read_bytes().ljust(4096, b"\0")  # what follows the end of a PNG does not matter
