"""What a JPEG, JPEG-LS or JPEG 2000 stream says of itself, looked at before a decoder allocates what it asks for."""

from __future__ import annotations

from chexreason.data.pixels import ImageError

JPEG, J2K, END = b"\xff\xd8", b"\xff\x4f\xff\x51", b"\xff\xd9"


def check_stream(stream: bytes, expected: tuple[int, int, int], name: str) -> None:
    """Refuse a stream that holds another picture than the file announces, or only a part of one.

    Args:
        expected: width, height and channels by the file's tags.

    Raises:
        ImageError: names the file.
    """
    coded = _size(stream)
    if coded is not None and coded != expected:
        shapes = ["{} x {} of {} channels".format(*shape) for shape in (coded, expected)]
        raise ImageError(f"{name}: the picture inside is {shapes[0]}, its tags say {shapes[1]}; refused")
    if coded is not None and END not in stream[-32:]:  # some decoders fill up what is missing; a few bytes are padding
        raise ImageError(f"{name}: its pixel data is cut short: the compressed picture has no end")


def _size(stream: bytes) -> tuple[int, int, int] | None:
    """(width, height, channels) from the stream's header; None where there is none, which the decoder will say better."""

    def number(at: int, size: int) -> int:
        return int.from_bytes(stream[at : at + size], "big")

    siz = stream.find(J2K, 0, 4096)
    if siz >= 0 and not stream.startswith(JPEG):  # ISO 15444-1, A.5.1: the grid from its offset on
        return number(siz + 8, 4) - number(siz + 16, 4), number(siz + 12, 4) - number(siz + 20, 4), number(siz + 40, 2)
    at = 2 if stream.startswith(JPEG) else len(stream)
    while at + 10 <= len(stream):
        marker = stream[at + 1]
        if marker == 0xF7 or (0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC)):  # start of frame
            return number(at + 7, 2), number(at + 5, 2), stream[at + 9]
        at += 1 if marker == 0xFF else 2 + number(at + 2, 2)  # fill bytes, or a segment with its length
    return None
