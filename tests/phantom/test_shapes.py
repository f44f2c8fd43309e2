"""Shape images and the phrases that name what is on them."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from chexreason.labels import FINDINGS
from chexreason.phantom.shapes import COLUMNS, KINDS, ROWS, SIDE, SIZES, TONES, draw_shapes


@settings(max_examples=50)
@given(st.integers(0, 2**31))
def test_an_image_and_its_phrases_repeat_and_hold_nothing_medical(seed: int) -> None:
    image, placed = draw_shapes(seed)
    again, same = draw_shapes(seed)
    assert image.shape == (SIDE, SIDE) and image.dtype == np.uint8 and (image == again).all() and placed == same
    assert not any(finding.lower() in " ".join(placed) for finding in FINDINGS)
    for phrase in placed:
        _, scale, tone, kind, row, column = phrase.split()
        assert scale in SIZES and tone in TONES and kind in KINDS and row in ROWS and column in COLUMNS


def test_tones_are_where_the_phrase_and_the_box_say() -> None:
    for seed in range(60):
        image, placed = draw_shapes(seed)
        for phrase, (x0, y0, x1, y1) in placed.items():
            _, scale, tone, kind, row, column = phrase.split()
            if kind in ("circle", "square"):  # the others do not cover their cell's centre
                cell = SIDE * (2 * COLUMNS.index(column) + 1) // 6, SIDE * (2 * ROWS.index(row) + 1) // 6
                for x, y in (cell, (round(SIDE * (x0 + x1) / 2), round(SIDE * (y0 + y1) / 2))):
                    assert abs(image[y - 1 : y + 2, x - 1 : x + 2].mean() - TONES[tone]) < 40
