"""Pictures made up for training: cut-outs on backgrounds, and thin, branching subjects drawn from nothing.

Legend: H, W size of the canvas; a layer is float32 RGB (H, W, 3) in 0..255 with alpha (H, W) in 0..1.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFilter

from birefnet.data.augment import Array, jitter_colours, resize

Float = npt.NDArray[np.float32]


def branching(rng: np.random.Generator, side: int = 384) -> Array:
    """A random plant, filigree or lattice as an RGBA cut-out (side, side, 4): thin parts that photos with masks lack.

    Drawn at twice the size and reduced, so that the alpha of the thinnest parts is true.
    """
    big = side * 2
    canvas = Image.new("RGBA", (big, big))
    draw = ImageDraw.Draw(canvas)
    hue = rng.integers(0, 256, 3)
    leaf = np.clip(hue + rng.integers(-70, 71, 3), 0, 255)
    curl, spread = rng.normal(0, 0.25), rng.uniform(0.3, 0.9)
    leafy = rng.random() < 0.6

    def colour(base: npt.NDArray[np.int64]) -> tuple[int, int, int, int]:
        r, g, b = (int(v) for v in np.clip(base + rng.integers(-25, 26, 3), 0, 255))
        return r, g, b, 255

    def grow(x: float, y: float, angle: float, length: float, width: float, depth: int) -> None:
        steps = 5
        turn = curl * rng.uniform(0.3, 1.2) + rng.normal(0, 0.08)
        for _ in range(steps):
            nx, ny = x + np.cos(angle) * length / steps, y - np.sin(angle) * length / steps
            draw.line((x, y, nx, ny), fill=colour(hue), width=max(2, int(width)))
            x, y, angle, width = nx, ny, angle + turn / 2, width * 0.94
        if leafy and depth <= 2:
            radius = rng.uniform(0.008, 0.03) * big
            draw.ellipse((x - radius, y - radius * 0.6, x + radius, y + radius * 0.6), fill=colour(leaf))
        if depth == 0:
            return
        for _ in range(int(rng.integers(2, 4))):
            grow(x, y, angle + rng.normal(0, spread), length * rng.uniform(0.6, 0.9), width * 0.65, depth - 1)

    for _ in range(int(rng.integers(1, 7))):
        start = big * (0.5 + rng.normal(0, 0.05))
        grow(start, big * 0.93, np.pi / 2 + rng.normal(0, 0.4), big * rng.uniform(0.1, 0.22), rng.uniform(3, 22), 4)
    if rng.random() < 0.4:
        _pot(draw, rng, big, colour(rng.integers(0, 256, 3)))
    return np.asarray(canvas.resize((side, side), Image.Resampling.BOX))


def _pot(draw: ImageDraw.ImageDraw, rng: np.random.Generator, big: int, fill: tuple[int, int, int, int]) -> None:
    half, top = big * rng.uniform(0.06, 0.14), big * rng.uniform(0.8, 0.88)
    foot = half * rng.uniform(0.6, 1.0)
    middle = big / 2
    bottom = big * 0.98
    draw.polygon([(middle - half, top), (middle + half, top), (middle + foot, bottom), (middle - foot, bottom)], fill)


def plain_background(rng: np.random.Generator, size: tuple[int, int]) -> Array:
    """A plain colour or a soft gradient between two, at `size` (width, height), sometimes with a little grain."""
    width, height = size
    a, b = rng.uniform(0, 255, 3).astype(np.float32), rng.uniform(0, 255, 3).astype(np.float32)
    if rng.random() < 0.5:  # studio backdrops are mostly grey or white
        a[:] = a.mean()
        b = np.clip(a + rng.normal(0, 25), 0, 255).astype(np.float32)
    y, x = np.mgrid[0:height, 0:width].astype(np.float32) / np.array([[[height]], [[width]]], np.float32)
    angle = rng.uniform(0, 2 * np.pi)
    t = np.clip(0.5 + (x - 0.5) * np.float32(np.cos(angle)) + (y - 0.5) * np.float32(np.sin(angle)), 0, 1)[..., None]
    out = a + (b - a) * t
    if rng.random() < 0.5:
        out = out + rng.standard_normal((height, width, 1), dtype=np.float32) * np.float32(rng.uniform(0, 6))
    return np.asarray(np.clip(out, 0, 255), np.uint8)


def join(rng: np.random.Generator, one: Array, other: Array) -> Array:
    """Two backgrounds (H, W, 3) as one: each where a smooth random field is above or below its median.

    With few backgrounds to draw from, a network soon knows them by heart and takes all else for the subject; joined,
    they are many, with borders that belong to no subject.
    """
    height, width = one.shape[:2]
    cells = int(rng.integers(2, 5))
    field = Image.fromarray(rng.standard_normal((cells, cells)).astype(np.float32))
    smooth = np.asarray(field.resize((width, height), Image.Resampling.BICUBIC))
    sharpness = np.float32(np.exp(rng.uniform(np.log(2), np.log(200))))
    share = 1 / (1 + np.exp(np.clip((np.median(smooth) - smooth) * sharpness, -30, 30)))[..., None]
    return np.asarray(one + (other.astype(np.float32) - one) * share + 0.5, np.uint8)


def compose(rng: np.random.Generator, background: Array, cutouts: list[Array]) -> tuple[Array, Array]:
    """The cut-outs placed on the background one over the other.

    Args:
        rng: source of randomness.
        background: (H, W, 3) uint8.
        cutouts: RGBA arrays of any size, straight alpha.

    Returns:
        The picture (H, W, 3) and its mask (H, W), both uint8.
    """
    height, width = background.shape[:2]
    canvas = background.astype(np.float32)
    mask = np.zeros((height, width), np.float32)
    like_background = rng.random()
    for cutout in cutouts:
        layer, alpha = _place(rng, cutout, (width, height), alone=len(cutouts) == 1)
        if like_background < 0.45:
            layer = _harmonise(layer, alpha, canvas, amount=rng.uniform(0.3, 1.0))
        if rng.random() < 0.25:
            canvas *= (1 - _shadow(rng, alpha) * np.float32(rng.uniform(0.2, 0.6)))[..., None]
        canvas = canvas + (layer - canvas) * alpha[..., None]
        mask = mask + (1 - mask) * alpha
    return np.asarray(np.clip(canvas + 0.5, 0, 255), np.uint8), np.asarray(np.clip(mask * 255 + 0.5, 0, 255), np.uint8)


def _place(rng: np.random.Generator, cutout: Array, size: tuple[int, int], alone: bool) -> tuple[Float, Float]:
    """One cut-out, trimmed, scaled, turned, recoloured and put somewhere: layer (H, W, 3) 0..255, alpha (H, W) 0..1."""
    (wide, tall), (rows, columns) = size, cutout.shape[:2]
    solid = np.argwhere(cutout[..., 3] > 16)
    if solid.size:
        (top, left), (bottom, right) = solid.min(0), solid.max(0) + 1
        cutout = cutout[top:bottom, left:right]
        rows, columns = cutout.shape[:2]
    extent = rng.uniform(0.45, 1.05) if alone else rng.uniform(0.25, 0.65)
    stretch = np.exp(rng.normal(0, 0.15))
    # `extent` of the canvas, along whichever side the cut-out fills first.
    scale = extent * tall / rows if rows * wide >= columns * tall else extent * wide / columns
    width = int(np.clip(columns * scale * stretch, 8, 1.3 * wide))
    height = int(np.clip(rows * scale / stretch, 8, 1.3 * tall))
    rgb = jitter_colours(rng, cutout[..., :3], 0.8)
    # Pillow resizes and turns RGBA pictures premultiplied, so no colour bleeds in from transparent pixels.
    small = Image.fromarray(np.dstack([rgb, cutout[..., 3]])).resize((width, height), Image.Resampling.BILINEAR)
    if rng.random() < 0.5:
        small = small.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    if rng.random() < 0.35:
        small = small.rotate(rng.normal(0, 12), Image.Resampling.BILINEAR, expand=True)
    layer = Image.new("RGBA", size)
    reach = 0.08 if alone else 0.25
    x = wide / 2 + rng.normal(0, reach) * wide - small.width / 2
    y = tall / 2 + rng.normal(0, reach) * tall - small.height / 2
    layer.paste(small, (int(x), int(y)))
    if rng.random() < 0.3:
        layer = layer.convert("RGBa").filter(ImageFilter.GaussianBlur(rng.uniform(0.3, 1.0))).convert("RGBA")
    array = np.asarray(layer).astype(np.float32)
    return array[..., :3], array[..., 3] / np.float32(255)


def _harmonise(layer: Float, alpha: Float, canvas: Float, amount: float) -> Float:
    """The layer's colours moved towards the background's mean and spread, so that colour alone tells little."""
    inside = alpha > 0.5
    if int(inside.sum()) < 32:
        return layer
    ours, theirs = layer[inside], canvas.reshape(-1, 3)
    mean, spread = ours.mean(0), ours.std(0) + 4
    moved = (layer - mean) * (theirs.std(0) + 4) / spread + theirs.mean(0)
    return np.asarray(np.clip(layer + (moved - layer) * np.float32(amount), 0, 255), np.float32)


def _shadow(rng: np.random.Generator, alpha: Float) -> Float:
    """A soft, displaced copy of the alpha, (H, W) in 0..1."""
    height, width = alpha.shape
    blur = ImageFilter.GaussianBlur(min(height, width) * rng.uniform(0.01, 0.04))
    shadow = Image.fromarray(np.asarray(alpha * 255, np.uint8)).filter(blur)
    dx, dy = rng.normal(0, 0.05, 2) * (width, height)
    moved = shadow.transform((width, height), Image.Transform.AFFINE, (1, 0, -dx, 0, 1, -abs(dy)))
    return np.asarray(moved).astype(np.float32) / np.float32(255)


def cut(picture: Array, mask: Array) -> Array:
    """A picture with its mask as an RGBA cut-out, trimmed of nothing."""
    return np.dstack([picture, mask if mask.shape == picture.shape[:2] else resize(mask, picture.shape[1::-1])])
