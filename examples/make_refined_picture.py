"""The same soft edge with the picture's colours and with the subject's own, before a strong colour, enlarged.

python examples/make_refined_picture.py -o docs/pictures/refined.jpg
"""

from __future__ import annotations

import argparse
from pathlib import Path

from make_pictures import CAPTION, GAP, PHOTOS, credits
from PIL import Image, ImageDraw, ImageFont

from birefnet import Remover

PHOTO = "flower.jpg"
CROP = (168, 84, 264, 164)  # left, top, right, bottom: petals before dark leaves
SCALE = 5
COLOUR = "#ff00c8"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("-o", "--output", type=Path, required=True, help="the picture to write")
    options = parser.parse_args()
    cutout = Remover("nano")(PHOTOS / PHOTO)
    width, height = (CROP[2] - CROP[0]) * SCALE, (CROP[3] - CROP[1]) * SCALE
    out = Image.new("RGB", (2 * width + GAP, height + CAPTION), "white")
    draw = ImageDraw.Draw(out)
    for column, (one, words) in enumerate(((cutout, "the picture's colours"), (cutout.refine(), "--refine"))):
        crop = Image.fromarray(one.over(COLOUR)).crop(CROP).resize((width, height), Image.Resampling.NEAREST)
        left = column * (width + GAP)
        out.paste(crop, (left, 0))
        text = words if column == 0 else f"{words}   ({credits(PHOTOS)[PHOTO].partition('(photo: ')[2]}"
        draw.text((left + 2, height + 5), text, "#444444", ImageFont.load_default(14))
    out.save(options.output, quality=85)


if __name__ == "__main__":
    main()
