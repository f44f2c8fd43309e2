"""Radiographs are read whole or not at all, right way up in grey."""

from __future__ import annotations

import importlib.util
import io
import os
import struct
import threading
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from chexreason.data.cache import ImageCache, content_digests
from chexreason.data.images import ImageError, decode, fit, read_image

from .layouts import write_image

STORE = importlib.util.find_spec("data_store")  # the package pydicom-data installs under this name
needs_films = pytest.mark.skipif(STORE is None, reason="pydicom-data is not installed")


def film(name: str) -> Path:
    assert STORE is not None and STORE.submodule_search_locations
    return Path(next(iter(STORE.submodule_search_locations))) / "data" / name


@needs_films
@pytest.mark.parametrize("name", ["RG1_UNCI.dcm", "RG1_J2KI.dcm", "RG1_J2KR.dcm"])
def test_the_real_chest_film_has_bright_bones_on_dark_lungs(name: str) -> None:
    image = read_image(film(name))
    assert image.mode == "RGB" and image.size == (1841, 1955)
    grey = np.asarray(image.convert("L")).astype(float)
    right_lung, left_lung = grey[200:500, 500:750].mean(), grey[600:900, 1100:1300].mean()
    spine, abdomen = grey[300:1500, 860:940].mean(), grey[1500:1700, 250:550].mean()
    assert min(spine, abdomen) > max(right_lung, left_lung) + 40


@needs_films
def test_the_film_of_a_leg_is_read_as_well() -> None:
    image = read_image(film("RG3_UNCI.dcm"))
    grey = np.asarray(image.convert("L")).astype(float)
    assert image.size == (1760, 1760)
    assert grey[400:900, 860:880].mean() > grey[400:900, 480:560].mean() + 60  # bone against the air beside the leg


@needs_films
def test_colour_dicom_of_any_depth_reads_alike_and_several_frames_are_refused() -> None:
    eight, sixteen = (np.asarray(read_image(film(name))) for name in ("SC_rgb.dcm", "SC_rgb_16bit.dcm"))
    assert np.array_equal(eight, sixteen)
    with pytest.raises(ImageError, match="2 frames"):
        read_image(film("SC_rgb_2frame.dcm"))


def test_monochrome1_is_the_inverse_of_monochrome2_and_the_window_is_applied(tmp_path: Path) -> None:
    pydicom = pytest.importorskip("pydicom")
    from pydicom.dataset import FileDataset, FileMetaDataset

    def dicom(photometric: str) -> np.ndarray:
        meta = FileMetaDataset()
        meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
        meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.1"
        meta.MediaStorageSOPInstanceUID = "1.2.3"
        data = FileDataset(None, {}, file_meta=meta, preamble=b"\0" * 128)
        data.Rows, data.Columns, data.SamplesPerPixel = 2, 3, 1
        data.BitsAllocated, data.BitsStored, data.HighBit, data.PixelRepresentation = 16, 12, 11, 0
        data.PhotometricInterpretation = photometric
        data.WindowCenter, data.WindowWidth = 150, 100
        data.PixelData = np.array([[0, 100, 125], [150, 200, 4000]], dtype="<u2").tobytes()
        data.save_as(tmp_path / "x.dcm", enforce_file_format=True)
        return np.asarray(read_image(tmp_path / "x.dcm").convert("L")).astype(int)

    two = dicom("MONOCHROME2")
    assert two[0, 0] == two[0, 1] == 0 and two[1, 1] == two[1, 2] == 255 and 100 < two[1, 0] < 155
    assert np.array_equal(dicom("MONOCHROME1"), 255 - two)


@pytest.mark.parametrize(("bits", "kind"), [(8, np.uint8), (12, np.uint16), (16, np.uint16)])
def test_grey_png_of_any_depth_spans_black_to_white(bits: int, kind: type, tmp_path: Path) -> None:
    ramp = np.linspace(0, 2**bits - 1, 64).astype(kind).reshape(8, 8)
    Image.fromarray(ramp).save(tmp_path / "x.png")
    read = np.asarray(read_image(tmp_path / "x.png"))
    assert read.shape == (8, 8, 3) and read.min() == 0 and read.max() == 255
    assert np.abs(read[..., 0].astype(int) - np.linspace(0, 255, 64).reshape(8, 8)).max() <= 2


def test_one_and_four_bit_palette_and_alpha_pictures_are_read(tmp_path: Path) -> None:
    for mode in ("1", "P", "LA", "RGBA", "RGB"):
        Image.new(mode, (5, 4), 1 if mode in "1P" else None).save(tmp_path / f"{mode}.png")
        assert read_image(tmp_path / f"{mode}.png").mode == "RGB"


@pytest.mark.parametrize("suffix", ["jpg", "png"])
def test_a_truncated_file_is_refused_by_name(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"x.{suffix}"
    write_image(path)
    path.write_bytes(path.read_bytes()[:-60])
    with pytest.raises(ImageError, match=f"x.{suffix}"):
        read_image(path)


def test_missing_empty_and_foreign_files_are_refused(tmp_path: Path) -> None:
    Image.new("L", (4, 4)).save(tmp_path / "x.gif")
    (tmp_path / "empty.jpg").touch()
    for name in ("nowhere.jpg", "empty.jpg", "x.gif"):
        with pytest.raises(ImageError, match=name):
            read_image(tmp_path / name)


def test_a_decompression_bomb_is_refused_before_it_is_decoded(tmp_path: Path) -> None:
    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    for side in (9_000, 60_000):
        head = chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0))
        (tmp_path / "x.png").write_bytes(b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", b"") + chunk(b"IEND", b""))
        with pytest.raises(ImageError, match="x.png"):
            read_image(tmp_path / "x.png")


@given(st.binary(max_size=400), st.sampled_from([b"", b"\xff\xd8\xff\xe0", b"\x89PNG\r\n\x1a\n", b"\0" * 128 + b"DICM"]))
def test_hostile_bytes_raise_nothing_but_an_image_error(body: bytes, head: bytes) -> None:
    try:
        decode(head + body, "x")
    except ImageError as error:
        assert str(error).startswith("x: ")


@given(st.integers(1, 300), st.integers(1, 300), st.integers(1, 300))
def test_fitting_keeps_the_aspect_and_never_enlarges(width: int, height: int, size: int) -> None:
    fitted = fit(Image.new("L", (width, height)), size)
    assert max(fitted.size) == min(size, max(width, height))
    scale = max(fitted.size) / max(width, height)
    assert abs(fitted.width - width * scale) <= 1 and abs(fitted.height - height * scale) <= 1


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
    assert io.BytesIO(path.read_bytes()).read() == b"other"
