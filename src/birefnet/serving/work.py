"""What is done with a picture that was sent: read, cut out, and written as asked for."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from birefnet.errors import BiRefNetError, ConfigError, PictureError
from birefnet.pixels.kinds import HEAD, find_kind, open_picture
from birefnet.pixels.picture import read_picture
from birefnet.pixels.prepare import InputSpec
from birefnet.pixels.rendering import Rendering
from birefnet.remover import Cutout, Remover
from birefnet.runtimes.base import Batch, Logits, Runtime
from birefnet.runtimes.select import Size, check_size
from birefnet.serving.pool import Models
from birefnet.serving.refusal import Refusal
from birefnet.serving.suspicion import why_refused
from birefnet.serving.ticket import Ticket
from birefnet.serving.turnstile import Budget, Turnstile

MAX_SIDE = 2560  # of what a network may be asked to see: memory grows with its area
TYPES = {
    "png": "image/png",
    "webp": "image/webp",
    "jpg": "image/jpeg",
    "tiff": "image/tiff",
    "gif": "image/gif",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """A picture to be cut out.

    Attributes:
        data: the picture's file.
        model: one of the server's names.
        size: as for `Remover`.
        refine: as for `Remover`.
        background: the file of a picture that is to stand behind it; None for none.
    """

    data: bytes
    model: str
    size: Size = None
    refine: bool | str = False
    background: bytes | None = None


@dataclass(frozen=True, slots=True)
class _Gate:
    """A network whose callers take turns; a `Runtime`."""

    runtimes: tuple[Runtime, ...]  # equal ones, each for one picture at a time
    turnstile: Turnstile[int]  # lets to their indices
    ticket: Ticket

    @property
    def spec(self) -> InputSpec:
        return self.runtimes[0].spec

    @property
    def name(self) -> str:
        return self.runtimes[0].name

    @property
    def device(self) -> str:
        return self.runtimes[0].device

    @property
    def dynamic(self) -> bool:
        return self.runtimes[0].dynamic

    def __call__(self, batch: Batch) -> Logits:
        with ExitStack() as stack:
            with self.ticket.stage("wait"):
                index = stack.enter_context(self.turnstile.device())
            with self.ticket.stage("network"):
                return self.runtimes[index](batch)


class Cutter:
    """Cuts pictures out; called from several threads, which share the devices."""

    def __init__(self, models: Models, devices: tuple[str, ...], max_pixels: int) -> None:
        self._models = models
        self._turnstile = Turnstile(range(len(devices)))
        self._budget = Budget(max_pixels)
        self._max_pixels = max_pixels

    @contextmanager
    def cut(self, order: Order, ticket: Ticket) -> Iterator[Cutout]:
        """The cut-out; its pixels, and its background's, count as being in memory for as long as the context lasts.

        Raises:
            Refusal: if the picture is too large or no picture.
            BiRefNetError: for what else is wrong with it or the options.
            Abandoned: if nobody waits for it any more.
        """
        _check_side(order.size)
        pixels = check_picture(order.data, self._max_pixels)
        if order.background is not None:
            pixels += check_picture(order.background, self._max_pixels, "background")
        with self._budget.take(pixels):
            with ticket.stage("read"):
                picture = read_picture(order.data, max_pixels=self._max_pixels)
            with ExitStack() as stack:
                with ticket.stage("load"):
                    runtimes = stack.enter_context(self._models.use(order.model))
                gate = _Gate(runtimes, self._turnstile, ticket)
                remover = Remover.from_runtime(gate, size=order.size, refine=order.refine)
                with ticket.stage("cut"):
                    cutout = remover.cut(picture)
            ticket.check()
            yield cutout


def check_picture(data: bytes, max_pixels: int, field: str = "image") -> int:
    """How many pixels a picture's file has, by its header alone.

    Raises:
        Refusal: (413) if there are too many, (415) if it is no picture or not only that, (422) if it is damaged.
    """
    if find_kind(data[:HEAD]) is None:
        sentence = f"`{field}` is not a picture of a kind that can be read (JPEG, PNG, WebP, TIFF, GIF, BMP, AVIF ...)."
        raise Refusal(415, sentence, field=field, kind="image_load_error")
    told = "picture" if field == "image" else f"{field} picture"
    if why := why_refused(data):
        raise Refusal(415, f"The {told} {why}, and is refused.", field=field, kind="image_load_error")
    try:
        with open_picture(io.BytesIO(data), f"the {told}") as image:
            width, height = image.size
    except BiRefNetError as error:
        raise Refusal(422, str(error), field=field, kind="image_load_error") from error
    if width * height > max_pixels:
        sentence = (
            f"The {told} is {width}x{height}, {width * height / 1e6:.0f} megapixels; this server takes "
            f"{max_pixels / 1e6:.0f} at most."
        )
        raise Refusal(413, sentence, field=field, kind="image_too_large")
    return width * height


def _check_side(size: Size) -> None:
    """Refuse a size that would take too much memory.

    Raises:
        ConfigError: for a size of larger sides than `MAX_SIDE`, or that is none.
    """
    wanted = check_size(size)
    if wanted is not None and max(wanted) > MAX_SIDE:
        raise ConfigError(f"A size has sides of {MAX_SIDE} at most here, got {wanted[0]}x{wanted[1]}.")


def encode(cutout: Cutout, rendering: Rendering) -> bytes:
    """What is made of a cut-out, as a file.

    Raises:
        PictureError: where a format cannot hold so many pixels.
    """
    stream = io.BytesIO()
    cutout.write(stream, rendering)
    return stream.getvalue()


def encode_gif(pixels: NDArray[np.uint8]) -> bytes:
    """(H, W), (H, W, 3) or (H, W, 4) uint8 -> a GIF.

    Raises:
        PictureError: where there are too many pixels.
    """
    stream = io.BytesIO()
    _to_palette(pixels).save(stream, "GIF", **({"transparency": 255} if pixels.shape[2:] == (4,) else {}))
    return stream.getvalue()


def _to_palette(pixels: NDArray[np.uint8]) -> Image.Image:
    """A picture in at most 255 colours, and the 256th where alpha is below one half: GIF knows nothing between."""
    image = Image.fromarray(np.ascontiguousarray(pixels))
    if max(image.size) > 65_535:
        raise PictureError("A GIF has sides of 65535 at most; ask for png.")
    if image.mode != "RGBA":
        return image.convert("RGB").quantize(256) if image.mode == "RGB" else image
    flat = image.convert("RGB").quantize(255)
    flat.paste(255, mask=image.getchannel("A").point(lambda value: 255 * (value < 128)))
    return flat


def smooth(cutout: Cutout) -> Cutout:
    """With a hard edge, thin spots removed: what rembg calls post-processing of the mask."""
    mask = Image.fromarray(cutout.mask).filter(ImageFilter.MinFilter(3)).filter(ImageFilter.MaxFilter(3))
    soft = np.asarray(mask.filter(ImageFilter.GaussianBlur(2)))
    return replace(cutout, alpha=(soft >= 128).astype(np.float32))
