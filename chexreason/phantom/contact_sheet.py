"""A contact sheet of the phantom world: two films of each finding with the sign's name, one patient at every site."""

from __future__ import annotations

from pathlib import Path

from PIL import Image, ImageDraw

from chexreason.labels import FINDINGS
from chexreason.phantom.drawing import draw
from chexreason.phantom.styles import CHEXPERT, MIMIC, NIH, PRETRAINING

COLUMNS, TILE, CAPTION = 8, 256, 46


def contact_sheet(path: Path, seed: int) -> Path:
    """Write the sheet as PNG."""
    tiles = []
    for number, finding in enumerate(FINDINGS):
        for copy, (style, view) in enumerate(((MIMIC, "PA"), (CHEXPERT, "AP"))):
            phantom = draw([finding], style, seed + 2 * number + copy, TILE, view)
            sign = phantom.signs[0] if phantom.signs else None
            about = f"{sign.severity}, {sign.side} {sign.zone}\n{sign.kind}" if sign else "no sign"
            tiles.append((phantom.image, f"{finding} ({style.name}, {view})\n{about}"))
    for style in (MIMIC, CHEXPERT, NIH, PRETRAINING):
        tiles.append((draw(["Support Devices"], style, seed + 99, TILE).image, f"one patient\nas {style.name} sees it"))
    rows = -(-len(tiles) // COLUMNS)
    sheet = Image.new("L", (COLUMNS * TILE, rows * (TILE + CAPTION)))
    pen = ImageDraw.Draw(sheet)
    for place, (pixels, caption) in enumerate(tiles):
        x, y = place % COLUMNS * TILE, place // COLUMNS * (TILE + CAPTION)
        sheet.paste(Image.fromarray(pixels), (x, y + CAPTION))
        pen.text((x + 4, y + 3), caption, fill=230)
    sheet.save(path)
    return path
