"""Lay photos, alphas and cut-outs side by side, on a checkerboard, with names and credits.

    python examples/make_pictures.py -o docs/pictures                 # runs the model in the box
    python examples/make_pictures.py -o demo --cutouts demo           # uses cut-outs made before
    python examples/make_pictures.py -o docs/pictures --model lite    # another model

Writes one row for each photo (`chelsea.jpg`) and all of them below each other (`side-by-side.jpg`).
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

PHOTOS = Path(__file__).parent / "photos"
WIDTH, HEIGHT, GAP, CAPTION, SQUARE = 450, 300, 8, 26, 10  # pixels

Bytes = NDArray[np.uint8]


def checkerboard(height: int, width: int) -> Bytes:
    """Light and lighter grey squares, (height, width, 3) uint8: what stands for transparency."""
    y, x = np.mgrid[:height, :width] // SQUARE
    return np.where((y + x)[..., None] % 2, 255, 204).astype(np.uint8).repeat(3, axis=2)


def row(photo: Image.Image, rgba: Image.Image, caption: str) -> Image.Image:
    """photo | alpha | cut-out on a checkerboard, each as large as its cell, with one line of text below."""
    scale = min(WIDTH / photo.width, HEIGHT / photo.height)
    size = round(photo.width * scale), round(photo.height * scale)
    photo, rgba = (image.resize(size, Image.Resampling.LANCZOS) for image in (photo, rgba))
    board = Image.fromarray(checkerboard(size[1], size[0]))
    board.paste(rgba.convert("RGB"), mask=rgba.getchannel("A"))
    out = Image.new("RGB", (3 * WIDTH + 2 * GAP, HEIGHT + CAPTION), "white")
    for column, image in enumerate((photo, rgba.getchannel("A").convert("RGB"), board)):
        out.paste(image, (column * (WIDTH + GAP) + (WIDTH - size[0]) // 2, (HEIGHT - size[1]) // 2))
    ImageDraw.Draw(out).text((2, HEIGHT + 5), caption, "#444444", ImageFont.load_default(14))
    return out


def stack(rows: Iterable[Image.Image]) -> Image.Image:
    """Rows below each other."""
    rows = list(rows)
    out = Image.new("RGB", (max(r.width for r in rows), sum(r.height for r in rows) + GAP * (len(rows) - 1)), "white")
    y = 0
    for image in rows:
        out.paste(image, (0, y))
        y += image.height + GAP
    return out


def credits(folder: Path) -> dict[str, str]:
    """File name -> "what it shows, by whom, licence", from the table of CREDITS.md beside the photos."""
    found = {}
    table = folder / "CREDITS.md"
    for line in table.read_text(encoding="utf-8").splitlines() if table.exists() else ():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if len(cells) == 5 and "." in cells[0]:
            plain = [cell.partition("](")[0].lstrip("[") for cell in cells[1:4]]  # [text](address) -> text
            found[cells[0]] = f"{plain[0][:1].upper()}{plain[0][1:]} (photo: {plain[1]}, {plain[2]})"
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("-o", "--output", type=Path, required=True, help="folder for the pictures")
    parser.add_argument("--photos", type=Path, default=PHOTOS, help="folder of photos")
    parser.add_argument("--cutouts", type=Path, help="folder of cut-outs (PHOTO.png) made before")
    parser.add_argument("--model", default="nano", help="model that cuts out, where there are no cut-outs yet")
    options = parser.parse_args()
    if options.cutouts is None:
        from birefnet import Remover

        remover = Remover(options.model)
    options.output.mkdir(parents=True, exist_ok=True)
    captions, rows = credits(options.photos), []
    for path in sorted(options.photos.glob("*.jpg")):
        if options.cutouts is None:
            rgba = Image.fromarray(remover(path).rgba)
        else:
            rgba = Image.open(options.cutouts / f"{path.stem}.png").convert("RGBA")
        rows.append(row(Image.open(path).convert("RGB"), rgba, captions.get(path.name, path.stem)))
        rows[-1].save(options.output / path.name, quality=85)
    if not rows:
        parser.error(f"no .jpg photos in {options.photos}")
    stack(rows).save(options.output / "side-by-side.jpg", quality=85)
    print(f"{len(rows)} rows: {options.output / 'side-by-side.jpg'}")


if __name__ == "__main__":
    main()
