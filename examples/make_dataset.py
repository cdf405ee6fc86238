"""Render a small set of pictures with exact masks, to try fine-tuning before you have your own.

    python examples/make_dataset.py my_pictures --count 40
    python examples/make_dataset.py held_out --count 16 --seed 1

Every picture shows one lantern of thin wire (a frame of bars and rings, sometimes with a candle in it) before a
part of a sample photo. The gaps between the wires are background, which is what a model that has
never seen such things gets wrong. FOLDER gets `im/*.jpg` and `gt/*.png`; the same seed gives the same pictures.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

PHOTOS = Path(__file__).with_name("photos")
SIDE = 480  # of a picture, in pixels
SCALE = 3  # drawn so much larger and then reduced, which makes soft, exact edges


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="gets the folders im and gt")
    parser.add_argument("--count", type=int, default=40, help="pictures to make")
    parser.add_argument("--seed", type=int, default=0, help="another seed gives other pictures")
    options = parser.parse_args()
    photos = [Image.open(path).convert("RGB") for path in sorted(PHOTOS.glob("*.jpg"))]
    for name in ("im", "gt"):
        (options.folder / name).mkdir(parents=True, exist_ok=True)
    for number in range(options.count):
        rng = np.random.default_rng((options.seed, number))
        picture, mask = scene(rng, photos)
        picture.save(options.folder / "im" / f"lantern_{number:03}.jpg", quality=90)
        mask.save(options.folder / "gt" / f"lantern_{number:03}.png")
    print(f"{options.count} pictures in {options.folder}/im, their masks in {options.folder}/gt")


def scene(rng: np.random.Generator, photos: list[Image.Image]) -> tuple[Image.Image, Image.Image]:
    """A lantern before a background: picture and mask, both SIDE x SIDE."""
    lantern = draw_lantern(rng).rotate(float(rng.normal(0, 5)), Image.Resampling.BICUBIC)
    width = int(SIDE * rng.uniform(0.75, 1.0))
    lantern = lantern.resize((width, width), Image.Resampling.LANCZOS)
    layer = Image.new("RGBA", (SIDE, SIDE))
    layer.paste(lantern, tuple(int(at) for at in (SIDE - width) / 2 + rng.normal(0, 0.03, 2) * SIDE))
    picture = background(rng, photos)
    picture.paste(layer, (0, 0), layer)
    return picture, layer.getchannel("A")


def background(rng: np.random.Generator, photos: list[Image.Image]) -> Image.Image:
    """A random part of a random photo, mostly a little out of focus."""
    photo = photos[rng.integers(len(photos))]
    side = int(min(photo.size) * rng.uniform(0.4, 0.95))
    left, top = (int(rng.integers(0, length - side + 1)) for length in photo.size)
    part = photo.resize((SIDE, SIDE), Image.Resampling.BICUBIC, (left, top, left + side, top + side))
    return part.filter(ImageFilter.GaussianBlur(rng.uniform(0, 4)))


def draw_lantern(rng: np.random.Generator) -> Image.Image:
    """One lantern, RGBA with straight alpha, in the middle of a square of SIDE * SCALE."""
    big = SIDE * SCALE
    canvas = Image.new("RGBA", (big, big))
    draw = ImageDraw.Draw(canvas)
    light = rng.uniform(20, 235, 3) * rng.uniform(0.5, 1.0)
    metal = [(*tuple(int(c) for c in np.clip(light * shade, 0, 255)), 255) for shade in (0.6, 1.0, 1.4)]
    wire = big * rng.uniform(0.008, 0.016)
    half, top, bottom = big * rng.uniform(0.17, 0.26), big * rng.uniform(0.35, 0.4), big * rng.uniform(0.82, 0.92)
    middle = big / 2
    belly, bars, rings = rng.uniform(0.6, 1.3), int(rng.integers(4, 9)), int(rng.integers(1, 5))

    def width_at(height: float) -> float:
        """Half the lantern's width at `height` (0 top, 1 bottom): straight, bellied or waisted."""
        return float(half * (1 + (belly - 1) * np.sin(np.pi * height)))

    heights = np.linspace(0, 1, 24)
    for turn in np.cos(np.linspace(0, np.pi, bars)):  # bars, evenly around, seen from the side
        points = [(middle + turn * width_at(h), top + h * (bottom - top)) for h in heights]
        draw.line(points, metal[1], int(wire), joint="curve")
        draw.line([(x - wire / 4, y) for x, y in points], metal[2], max(1, int(wire / 4)), joint="curve")
    for h in np.linspace(0, 1, rings + 2):  # rings, seen a little from above
        w, y = width_at(float(h)), top + float(h) * (bottom - top)
        draw.ellipse((middle - w, y - w * 0.12, middle + w, y + w * 0.12), outline=metal[0], width=int(wire))
    lid = half * rng.uniform(0.6, 0.95)
    draw.polygon([(middle - lid, top), (middle, top - lid * 0.7), (middle + lid, top)], fill=metal[1])
    ring = half * rng.uniform(0.15, 0.28)
    peak = top - lid * 0.65
    draw.ellipse((middle - ring, peak - 2 * ring, middle + ring, peak), outline=metal[0], width=int(wire))
    draw.rectangle((middle - half * 0.9, bottom - wire, middle + half * 0.9, bottom + 2 * wire), fill=metal[0])
    if rng.random() < 0.5:
        draw_candle(draw, rng, middle, bottom, half)
    return canvas


def draw_candle(draw: ImageDraw.ImageDraw, rng: np.random.Generator, middle: float, bottom: float, half: float) -> None:
    """A candle on the lantern's floor; part of the subject."""
    thick, tall = half * rng.uniform(0.2, 0.4), half * rng.uniform(0.5, 1.2)
    wax = (*tuple(int(c) for c in rng.uniform(150, 255, 3)), 255)
    draw.rectangle((middle - thick, bottom - tall, middle + thick, bottom), fill=wax)
    draw.ellipse(
        (middle - thick / 3, bottom - tall - thick * 1.6, middle + thick / 3, bottom - tall), (255, 190, 60, 255)
    )


if __name__ == "__main__":
    main()
