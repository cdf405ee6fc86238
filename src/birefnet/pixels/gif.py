"""GIF: the first frame on its canvas."""

from __future__ import annotations

from typing import BinaryIO

from PIL import GifImagePlugin, Image

from birefnet.pixels.opened import Decoded, Opened


def open_gif(stream: BinaryIO, name: str) -> Opened:
    """Read the header of a GIF, at whose beginning the stream is."""
    image = GifImagePlugin.GifImageFile(stream)

    def decode() -> Decoded:
        box = image.tile[0][1] if image.tile else (0, 0, *image.size)
        image.load()
        if box == (0, 0, *image.size):
            return Decoded(image)
        canvas = Image.new("RGBA", image.size)  # transparent where the frame does not reach
        canvas.paste(image.convert("RGBA").crop(box), box)
        canvas.info = {key: value for key, value in image.info.items() if key != "transparency"}
        return Decoded(canvas)

    return Opened(image.size, decode, image)
