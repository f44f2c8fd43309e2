"""Radiographs are read whole or not at all, whatever they are called; pictures of every depth."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import socket
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from pydicom import uid

from chexreason.data.images import ImageError, decode, fit, image_bytes, looks_like_image, read_image
from chexreason.data.pixels import extent

from .encodings import COLUMNS, EIGHT, FILM, LARGE, MARKER, ROWS, SIZE, chunk, coded, compressed, dicom, frame, grey, png
from .encodings import jpeg as jpeg_in_dicom
from .layouts import write_image


@pytest.mark.parametrize(("bits", "kind"), [(8, np.uint8), (12, np.uint16), (16, np.uint16)])
def test_grey_png_of_any_depth_spans_black_to_white(bits: int, kind: type, tmp_path: Path) -> None:
    ramp = np.linspace(0, 2**bits - 1, 64).astype(kind).reshape(8, 8)
    Image.fromarray(ramp).save(tmp_path / "x.png")
    read = np.asarray(read_image(tmp_path / "x.png"))
    assert read.shape == (8, 8, 3) and read.min() == 0 and read.max() == 255
    assert np.abs(read[..., 0].astype(int) - np.linspace(0, 255, 64).reshape(8, 8)).max() <= 2


def test_one_and_four_bit_palette_and_alpha_pictures_are_read(tmp_path: Path) -> None:
    half = Image.linear_gradient("L").convert("RGBA")
    for mode in ("1", "P", "LA", "RGBA", "RGB"):
        half.convert(mode).save(tmp_path / f"{mode}.png")
        read = np.asarray(read_image(tmp_path / f"{mode}.png")).astype(float)
        assert read.shape == (256, 256, 3) and read[:64].mean() + 100 < read[192:].mean()


@pytest.mark.parametrize("suffix", ["jpg", "png"])
def test_a_truncated_file_is_refused_by_name(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"x.{suffix}"
    write_image(path)
    path.write_bytes(path.read_bytes()[:-60])
    with pytest.raises(ImageError, match=f"x.{suffix}"):
        read_image(path)


@pytest.mark.parametrize("mode", ["1", "L", "I;16", "LA", "RGB", "RGBA", "P"])
def test_a_picture_that_shows_nothing_is_refused_by_name(mode: str, tmp_path: Path) -> None:
    Image.new(mode, (40, 30), (9, 9, 200) if mode == "RGB" else None).save(tmp_path / "flat.png")
    with pytest.raises(ImageError, match="flat.png: all its pixels are alike; there is no information"):
        read_image(tmp_path / "flat.png")
    Image.new("L", (40, 30), 77).save(tmp_path / "flat.jpg")
    with pytest.raises(ImageError, match="flat.jpg: all its pixels are alike"):
        read_image(tmp_path / "flat.jpg")


@pytest.mark.parametrize("form", ["PNG", "JPEG"])
def test_a_picture_of_nothing_but_a_marker_or_noise_is_refused(form: str) -> None:
    noise = np.random.default_rng(0).integers(127, 129, FILM.shape, dtype=np.uint8)
    speck = np.pad(np.ones((1, 1), np.uint8), ((5, 90), (7, 72)))
    for pixels in (noise, 200 * speck, np.where(MARKER, 255, 40).astype(np.uint8)):
        with pytest.raises(ImageError, match="^x: all its pixels are alike, but for a marker, specks or noise"):
            decode(coded(Image.fromarray(pixels), format=form, quality=95), "x")
    with pytest.raises(ImageError, match="alike, but for a marker"):
        decode(png(np.where(MARKER, 65535, 900)), "x")


def test_an_animated_png_is_no_film(tmp_path: Path) -> None:
    film = Image.fromarray(np.arange(64, dtype=np.uint8).reshape(8, 8))
    film.save(tmp_path / "film.png", save_all=True, append_images=[film.rotate(180)])
    with pytest.raises(ImageError, match=r"film.png: 2 frames"):
        read_image(tmp_path / "film.png")


@pytest.mark.parametrize("colours", [1, 100, int(EIGHT.max()), int(EIGHT.max()) + 1, 256])
def test_a_palette_without_a_colour_for_some_pixels_is_refused(colours: int) -> None:
    greys = b"".join(bytes([grey // 2 * 2] * 3) for grey in range(colours))  # no colour is in it once only
    head = struct.pack(">IIBBBBB", COLUMNS, ROWS, 8, 3, 0, 0, 0)
    lines = zlib.compress(b"".join(b"\0" + line.tobytes() for line in EIGHT))
    content = b"\x89PNG\r\n\x1a\n" + b"".join(
        chunk(*one) for one in ((b"IHDR", head), (b"PLTE", greys), (b"IDAT", lines), (b"IEND", b""))
    )
    if colours > EIGHT.max():
        assert np.array_equal(np.asarray(decode(content, "x"))[..., 0], EIGHT // 2 * 2)
    else:
        with pytest.raises(ImageError, match=f"^x: some of its pixels are of no colour of its palette, which has {colours}"):
            decode(content, "x")


@pytest.mark.parametrize("kind", ["JPEG", "DICOM", "implicit DICOM", "JPEG in DICOM"])
def test_a_film_that_was_copied_as_text_is_refused(kind: str) -> None:
    film = Image.fromarray(EIGHT)
    tags = {"SeriesDescription": "\n".join("as FTP does it in ASCII mode")}
    content = {
        "JPEG": lambda: coded(film, format="JPEG", quality=95),
        "DICOM": lambda: dicom(FILM, **tags),
        "implicit DICOM": lambda: dicom(FILM, uid.ImplicitVRLittleEndian, **tags),
        "JPEG in DICOM": lambda: jpeg_in_dicom(film, "MONOCHROME2"),
    }[kind]()
    assert decode(content, "x").size == film.size
    with pytest.raises(ImageError, match="^x: copied as if it were text"):
        decode(content.replace(b"\n", b"\r\n"), "x")


def test_missing_empty_and_foreign_files_are_refused(tmp_path: Path) -> None:
    Image.new("L", (4, 4)).save(tmp_path / "x.gif")
    (tmp_path / "empty.jpg").touch()
    for name, why in (("nowhere.jpg", "No such file"), ("empty.jpg", "empty"), ("x.gif", "none of them"), ("", "a folder")):
        with pytest.raises(ImageError, match=f"{name}.*{why}"):
            read_image(tmp_path / name)
    with pytest.raises(ImageError, match="null"):
        read_image(tmp_path / "a\0b.png")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("<!DOCTYPE html>\r\n" * 20, "a page of HTML or XML"),
        ("\n<Error>AccessDenied</Error>", "a page of HTML or XML"),
        ("version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "a pointer of Git LFS; .* git lfs pull"),
        (lambda: coded(Image.fromarray(FILM), format="TIFF"), "save it as PNG"),
        (lambda: coded(Image.fromarray(EIGHT), format="WEBP"), "save it as PNG"),
        (lambda: coded(Image.fromarray(EIGHT), format="BMP"), "save it as PNG"),
        (lambda: gzip.compress(png(FILM)), "packed by gzip; unpack it"),
        (lambda: bz2.compress(png(FILM)), "packed by bzip2; unpack it"),
        (lambda: lzma.compress(png(FILM)), "packed by xz; unpack it"),
        (lambda: b"7z\xbc\xaf\x27\x1c" + bytes(50), "a 7z archive; unpack it"),
        (lambda: b"\x28\xb5\x2f\xfd" + bytes(50), "packed by zstd; unpack it"),
        (lambda: b"Rar!\x1a\7\0" + bytes(50), "a RAR archive; unpack it"),
        (lambda: b"PK\3\4" + bytes(50), "a zip archive; unpack it"),
        (lambda: b"\0\0\0\x18ftypheic" + bytes(50), "a photograph in HEIC; save it as PNG"),
        (lambda: b"\0\0\0\x20ftypavif" + bytes(50), "a picture in AVIF; save it as PNG"),
        (lambda: b"\xff\x0a" + bytes(50), "a picture in JPEG XL; save it as PNG"),
        (lambda: frame(compressed(FILM, uid.JPEG2000Lossless)), "a picture in JPEG 2000; save it as PNG"),
        (lambda: b"\xff\x4f\xff\x51" + b"\x33" * 60, "a picture in JPEG 2000; save it as PNG"),
        (lambda: coded(Image.fromarray(EIGHT), format="JPEG2000"), "a picture in JPEG 2000; save it as PNG"),
        (lambda: coded(Image.fromarray(EIGHT), format="TIFF", big_tiff=True), "a picture in TIFF; save it as PNG"),
        (lambda: coded(Image.fromarray(grey(EIGHT)), format="PPM"), "a picture in Netpbm's form; save it as PNG"),
        (lambda: coded(Image.fromarray(EIGHT), format="PPM"), "a picture in Netpbm's form; save it as PNG"),
        (lambda: b"%PDF-1.4" + bytes(50), "a page in PDF; take the film out of it"),
        (lambda: b"\x93NUMPY" + bytes(50), "an array of NumPy; save it as PNG"),
        (lambda: b"\x5c\1\0\0" + bytes(400), "a volume in NIfTI; save it as PNG"),
        ('{"error": "AccessDenied"}', "text in JSON; a download needs its login"),
        ("\ufeff<!DOCTYPE html>", "a page of HTML or XML"),
        ("Access denied. Please sign in.", "text, such as what a server says"),
        (lambda: coded(Image.fromarray(EIGHT), format="JPEG").replace(b"\xff\xc0\0\x0b\x08", b"\xff\xc1\0\x0b\x0c"), "12 bits"),
    ],
)
def test_what_people_have_in_place_of_a_film_is_said_with_what_to_do(content: Any, said: str) -> None:
    with pytest.raises(ImageError, match=f"^x.jpg: cannot be read as JPEG, PNG or DICOM: .*{said}") as raised:
        decode(content.encode() if isinstance(content, str) else content(), "x.jpg")
    assert str(raised.value).isprintable()


@pytest.mark.parametrize("film", [FILM, FILM << 4, grey(FILM)], ids=["12 bits", "16 bits", "colours"])
def test_a_png_whose_bytes_are_in_the_other_order_is_no_noise_but_refused(film: np.ndarray) -> None:
    assert decode(png(film), "x").size == (COLUMNS, ROWS)
    with pytest.raises(
        ImageError, match="^x: the bytes of its numbers are in the other order than PNG has them; write it anew"
    ):
        decode(png(film.byteswap()), "x")


def test_pipes_and_sockets_are_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.png")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(tmp_path / "s.dcm"))
        for path in (tmp_path / "pipe.png", tmp_path / "s.dcm", Path("/dev/zero")):
            assert not looks_like_image(path)
            with pytest.raises(ImageError, match=f"{path.name}: a folder, pipe, socket or device"):
                image_bytes(path)


def test_a_file_too_large_is_refused_without_reading_it(tmp_path: Path) -> None:
    with (tmp_path / "x.png").open("wb") as file:
        file.truncate(2**40)
    with pytest.raises(ImageError, match="x.png: more than 536,870,912 bytes"):
        read_image(tmp_path / "x.png")


def test_content_decides_what_is_an_image(tmp_path: Path) -> None:
    write_image(tmp_path / "film.png")
    (tmp_path / "film.png").rename(tmp_path / "1.2.840.10")
    (tmp_path / "page.png").write_text("<html>" + "no image " * 50)
    assert looks_like_image(tmp_path / "1.2.840.10") and read_image(tmp_path / "1.2.840.10").size == (32, 24)
    assert not looks_like_image(tmp_path / "page.png")


@pytest.mark.parametrize(("width", "height", "right"), [(100, 1, True), (101, 1, False), (8, 5520, False)])
def test_a_strip_is_no_film(width: int, height: int, right: bool, tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (height, width), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "x.png")
    if right:
        assert read_image(tmp_path / "x.png").size == (width, height)
    else:
        with pytest.raises(ImageError, match=f"x.png: {width} x {height} pixels are a strip"):
            read_image(tmp_path / "x.png")


@pytest.mark.parametrize("bits", [10, 12, 14])
def test_every_channel_of_a_deep_colour_picture_keeps_its_lower_bits(bits: int) -> None:
    film = FILM.astype(np.uint32) * 2**bits // 2**12
    colours = np.dstack([film, 2**bits - 1 - film, film // 2]).astype(np.uint16)
    read = np.asarray(decode(png(colours), "x")).astype(float)
    assert np.abs(read - colours * (255.0 / (2**bits - 1))).max() <= 0.5 + 1e-6


def test_a_marker_at_full_white_does_not_darken_the_film() -> None:
    plain, marked = (np.asarray(decode(png(pixels), "x")) for pixels in (FILM, np.where(MARKER, 65535, FILM)))
    assert np.array_equal(plain[~MARKER], marked[~MARKER]) and (marked[MARKER] == 255).all()


FRAME = np.ones(FILM.shape, bool)


FRAME[3:-3, 2:-2] = False


@pytest.mark.parametrize("share", [0.05, 0.1, 0.15])
@pytest.mark.parametrize("white", [65535, 65534])
@pytest.mark.parametrize("colour", [False, True])
def test_a_white_border_does_not_darken_the_film(share: float, white: int, colour: bool) -> None:
    side = np.arange(COLUMNS) < share * COLUMNS
    for border in (np.broadcast_to(side, FILM.shape), np.broadcast_to(side[::-1], FILM.shape), FRAME):
        for marker in (border & False, MARKER & ~border):
            framed = np.where(marker, 65535, np.where(border, white, FILM))
            plain, read = (np.asarray(decode(png(grey(one) if colour else one), "x")) for one in (FILM, framed))
            assert np.array_equal(plain[~border & ~marker], read[~border & ~marker]) and (read[border | marker] == 255).all()


@pytest.mark.parametrize("kind", ["collimated", "saturated", "both"])
def test_a_black_background_and_saturated_bone_are_parts_of_the_film(kind: str) -> None:
    film = FILM.copy()
    if kind != "saturated":
        film[:, :12] = 0
    if kind != "collimated":
        film[np.quantile(FILM, 0.9) < FILM] = 4095
    low, high = extent(film)
    assert (low, high) == (film.min(), film.max())


@pytest.mark.parametrize("border", [None, 0, 65535])
def test_signed_numbers_that_were_moved_up_to_be_stored_are_the_plain_film(border: int | None) -> None:
    moved = FILM.astype(np.int32) + 2**15
    film = FRAME & (border is not None)
    plain, read = (np.asarray(decode(png(one), "x")) for one in (FILM, np.where(film, border or 0, moved)))
    assert np.array_equal(plain[~film], read[~film])
    bright = np.asarray(decode(png(2**15 + FILM.astype(np.int32) * 8), "x"))[..., 0]
    assert bright.max() > 220 and bright.min() < 40, "it may use the whole upper half"


@pytest.mark.parametrize("moved", [5000, 20_000, 40_000, 61_000])
@pytest.mark.parametrize("bits", [10, 12])
def test_a_film_that_was_moved_far_up_keeps_its_contrast(moved: int, bits: int) -> None:
    film = FILM.astype(np.int32) >> 12 - bits
    for pixels in (film + moved, np.where(FRAME, 0, film + moved), grey(film + moved)):
        inner = ~FRAME if pixels.ndim == 2 else FRAME | ~FRAME
        read = np.asarray(decode(png(pixels), "x")).mean(axis=-1)[inner]
        assert np.corrcoef(read, FILM[inner])[0, 1] > 0.999 and np.ptp(read) > 180
    with pytest.raises(ImageError, match="alike"):
        decode(png(np.full(FILM.shape, moved) + FILM % 3), "x")


def test_a_deep_picture_is_turned_as_a_viewer_turns_it(tmp_path: Path) -> None:
    turned = Image.fromarray(FILM)
    exif = Image.Exif()
    exif[0x0112] = 3  # upside down
    turned.save(tmp_path / "grey.png", exif=exif)
    assert np.array_equal(np.asarray(read_image(tmp_path / "grey.png"))[::-1, ::-1], np.asarray(decode(png(grey(FILM)), "x")))


def test_of_a_photograph_with_its_preview_behind_it_the_photograph_is_read() -> None:
    both = coded(LARGE, format="MPO", save_all=True, append_images=[LARGE.rotate(180).resize((32, 40))])
    with Image.open(io.BytesIO(both)) as file:
        assert file.n_frames == 2
    assert decode(both, "x").tobytes() == decode(coded(LARGE, format="JPEG"), "x").tobytes()


def test_a_decompression_bomb_is_refused_before_it_is_decoded(tmp_path: Path) -> None:
    for side in (9_000, 60_000):
        head = chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0))
        (tmp_path / "x.png").write_bytes(b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", b"") + chunk(b"IEND", b""))
        with pytest.raises(ImageError, match=f"x.png: {side} x {side} pixels are more than 64,000,000; .* save it smaller"):
            read_image(tmp_path / "x.png")
    head = coded(LARGE, format="JPEG").replace(struct.pack(">HH", *SIZE[::-1]), b"\xff\xdc\xff\xdc", 1)
    with pytest.raises(ImageError, match="x: 65500 x 65500 pixels are more than 64,000,000"):
        decode(head, "x")


HEADS = [b"", b"\xff\xd8\xff\xe0", b"\x89PNG\r\n\x1a\n", b"\0" * 128 + b"DICM", b"\x02\0\0\0UL", png(FILM)[:400]]


@given(st.binary(max_size=400), st.sampled_from(HEADS))
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
