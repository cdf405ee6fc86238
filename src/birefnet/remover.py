"""Picture -> prepare -> network -> alpha -> compose -> picture, in one call."""

from __future__ import annotations

import copy
import os
import threading
from collections import OrderedDict
from dataclasses import dataclass, replace
from typing import Any, BinaryIO, Literal

import numpy as np
from numpy.typing import NDArray

from birefnet.errors import ConfigError
from birefnet.memory import fitting
from birefnet.pixels import compose
from birefnet.pixels.alpha import finish, has_foreground
from birefnet.pixels.background import Background, find_background, over_white, read_background
from birefnet.pixels.foreground import DEFAULT, check_method, estimate_foreground
from birefnet.pixels.picture import MAX_PIXELS, Picture, read_picture
from birefnet.pixels.prepare import InputSpec, native_size, prepare
from birefnet.pixels.rendering import Rendering
from birefnet.pixels.sources import Source
from birefnet.pixels.writing import output_format, path_of, write_picture
from birefnet.runtimes.base import Memory, Mode, Runtime
from birefnet.runtimes.options import Dtype, RuntimeName, RuntimeOptions
from birefnet.runtimes.select import Size, check_native, check_size, open_model, resized
from birefnet.weights.resolve import Model
from birefnet.weights.transfer import Progress

KEPT_REMOVERS = 4  # by `remove`; each holds a loaded model


@dataclass(frozen=True, slots=True, eq=False)
class Cutout:
    """A picture and the alpha of its subject.

    Attributes:
        image: (H, W, 3) uint8 sRGB, upright.
        alpha: (H, W) float32 in [0, 1]; the picture's own transparency is already multiplied in.
        foreground: the subject's own colours, (H, W, 3) uint8, with which it is cut out or put before something else;
            None for the picture's, which keep a little of the old background at soft edges. See `refine`.
        own_alpha: the picture's own transparency, (H, W) float32 in [0, 1]; None where it has none.
        dpi: (across, down), pixels an inch, which files that are written keep; None where the picture does not say.
    """

    image: NDArray[np.uint8]
    alpha: NDArray[np.float32]
    foreground: NDArray[np.uint8] | None = None
    own_alpha: NDArray[np.float32] | None = None
    dpi: tuple[float, float] | None = None

    @property
    def mask(self) -> NDArray[np.uint8]:
        """The alpha as (H, W) uint8."""
        return compose.to_mask(self.alpha)

    @property
    def rgba(self) -> NDArray[np.uint8]:
        """The cut-out, (H, W, 4) uint8, straight (not premultiplied) alpha; colour is black where alpha is 0."""
        return compose.cut_out(self._subject, self.alpha)

    @property
    def has_foreground(self) -> bool:
        """False where no subject was found; `alpha` is then near zero everywhere, as computed."""
        return has_foreground(self.alpha)

    @property
    def _subject(self) -> NDArray[np.uint8]:
        return self.image if self.foreground is None else self.foreground

    def refine(self, method: str = DEFAULT) -> Cutout:
        """The same cut-out with the subject's own colours at its soft edges, free of the old background's.

        Args:
            method: as for `birefnet.pixels.foreground.estimate_foreground`.

        Raises:
            ConfigError: for another method.
            MissingExtra: if the method needs `pymatting`, which is not installed.
        """
        return replace(self, foreground=estimate_foreground(self.image, self.alpha, method))

    def over(self, background: Background) -> NDArray[np.uint8]:
        """The subject before a background, (H, W, 3) uint8; (H, W, 4) before a translucent colour.

        Args:
            background: a colour ("white", "#ff8800", "255,136,0", or three or four numbers in 0..255), the word
                "blur" for the picture itself out of focus, or a picture, scaled to cover and cropped to its middle.
                What is transparent in either picture becomes white.

        Raises:
            ConfigError: if it is neither a colour nor the name of a picture.
            PictureError: if the picture cannot be read.
        """
        meant = find_background(background)
        if isinstance(meant, tuple):
            return compose.over_colour(self._subject, self.alpha, meant)
        if isinstance(meant, str):  # "blur"
            scene = over_white(Picture(self.image, self.own_alpha))
            return compose.over_blur(scene, self.alpha, subject=self._subject)
        return compose.over_picture(self._subject, self.alpha, read_background(meant))

    def render(self, *, mask_only: bool = False, background: Background | None = None) -> NDArray[np.uint8]:
        """What `save` writes: the cut-out (H, W, 4), its mask (H, W), or the subject before a background.

        Raises:
            ConfigError: if both are asked for.
        """
        return self.make(Rendering(mask_only=mask_only, background=background))

    def make(self, rendering: Rendering) -> NDArray[np.uint8]:
        """The same for a rendering that is checked already."""
        if rendering.mask_only:
            return self.mask
        return self.rgba if rendering.background is None else self.over(rendering.background)

    def save(
        self,
        target: str | os.PathLike[str] | BinaryIO,
        *,
        mask_only: bool = False,
        background: Background | None = None,
        format: str | None = None,
        quality: int = 90,
    ) -> None:
        """Write the cut-out, its mask, or the subject before a background; whole or not at all; overwrites.

        Args:
            target: a path whose suffix names the format (.png, .webp, .tif; .jpg where nothing is transparent), or a
                binary stream.
            mask_only: write the alpha as a grey picture.
            background: as for `over`.
            format: overrides the suffix; a stream without it gets PNG.
            quality: of JPEG and lossy WebP, 1..100.

        Raises:
            ConfigError: if the format cannot be written, or not with transparency.
            PictureError: if the file cannot be written; no part of it is left.
        """
        chosen = output_format(path_of(target), format)
        self.write(target, Rendering(mask_only=mask_only, background=background, format=chosen, quality=quality))

    def write(self, target: str | os.PathLike[str] | BinaryIO, rendering: Rendering) -> None:
        """The same for a rendering that is checked already; its format counts, not the target's suffix."""
        pixels, kind = self.make(rendering), rendering.format
        write_picture(pixels, target, format=kind, quality=rendering.quality, dpi=self.dpi)


class Remover:
    """Cuts subjects out with one model, loaded once, at the first picture; safe to use from several threads.

    A remover travels to other processes, and is copied, as its options: what it has loaded stays where it is.

    Args:
        model: a name of the zoo, an exported or checkpoint file, a run's folder, or a hub repository; see
            `birefnet.weights.resolve`.
        device: "auto", "cpu", "cuda", "cuda:1" or "mps".
        size: None for the model's own input size; a side or (width, height) in multiples of 32; or "native" for the
            size nearest to each picture (models trained for many sizes).
        dtype: "auto", "float32", "bfloat16" or "float16"; auto is what the device computes fastest, on a CPU bfloat16
            where it has it and else float32.
        runtime: "auto", or which library runs the model; see `birefnet.runtimes.select.select`.
        mode: "eager", or for PyTorch "compiled" or "graphs"; see `birefnet.runtimes.torch.TorchRuntime`.
        memory: "normal", or "low", which is slower; see `birefnet.runtimes.options.RuntimeOptions`.
        offline: never download.
        threads: CPU threads; None for what the runtime takes by itself: the physical cores this process may use (or
            `OMP_NUM_THREADS`), and in PyTorch as many as PyTorch is set to. PyTorch has one number for the process, so
            it is set for the length of each run only.
        sharpen: whether the picture's own edges guide the alpha's enlargement; None for what suits the model.
        refine: whether to find the subject's own colours at its soft edges: True or False, or the name of a method, as
            for `birefnet.pixels.foreground.estimate_foreground`.
        max_pixels: larger pictures are refused before they are decoded.

    Attributes:
        model: as given.
        options: `device`, `dtype`, `runtime`, `mode`, `memory`, `offline` and `threads`, checked.
        size, sharpen, refine, max_pixels: as given; `size` as (width, height), `refine` as the method or None.

    Raises:
        ConfigError: for an option that cannot be meant.
        DeviceError: for a device of no known kind.
    """

    def __init__(
        self,
        model: Model = "nano",
        *,
        device: str = "auto",
        size: Size = None,
        dtype: Dtype = "auto",
        runtime: RuntimeName = "auto",
        mode: Mode = "eager",
        memory: Memory = "normal",
        offline: bool = False,
        threads: int | None = None,
        sharpen: bool | None = None,
        refine: bool | str = False,
        max_pixels: int = MAX_PIXELS,
    ) -> None:
        options = RuntimeOptions(
            runtime=runtime, device=device, dtype=dtype, mode=mode, memory=memory, threads=threads, offline=offline
        )
        self._set(model, options, size, sharpen, refine, max_pixels)

    @classmethod
    def from_options(
        cls,
        model: Model,
        options: RuntimeOptions,
        *,
        size: Size = None,
        sharpen: bool | None = None,
        refine: bool | str = False,
        max_pixels: int = MAX_PIXELS,
    ) -> Remover:
        """The same with the options of the runtime as one record."""
        remover = cls.__new__(cls)
        remover._set(model, options, size, sharpen, refine, max_pixels)
        return remover

    @classmethod
    def from_runtime(
        cls,
        runtime: Runtime,
        *,
        size: Size = None,
        sharpen: bool | None = None,
        refine: bool | str = False,
        max_pixels: int = MAX_PIXELS,
    ) -> Remover:
        """A remover around a runtime of one's own, which is loaded already: how it runs is decided.

        Args:
            runtime: the network.
            size, sharpen, refine, max_pixels: as for `Remover`.

        Raises:
            ConfigError: for a size that the network does not take, or another option that cannot be meant.
        """
        remover = cls.from_options(
            runtime.name, RuntimeOptions(), size=size, sharpen=sharpen, refine=refine, max_pixels=max_pixels
        )
        if isinstance(remover.size, tuple):
            resized(runtime, remover.size)
        elif remover.size == "native":
            check_native(runtime)
        remover._runtime, remover._is_own = runtime, True
        return remover

    def _set(
        self,
        model: Model,
        options: RuntimeOptions,
        size: Size,
        sharpen: bool | None,
        refine: bool | str,
        max_pixels: int,
    ) -> None:
        self.model = model
        self.options = options
        self.size: tuple[int, int] | Literal["native"] | None = "native" if size == "native" else check_size(size)
        _check_rest(sharpen, max_pixels)
        self.sharpen = sharpen
        self.refine = _refining(refine)
        self.max_pixels = max_pixels
        self._is_own = False  # whether the runtime was given, and cannot be made again
        self._runtime: Runtime | None = None
        self._lock = threading.Lock()

    def __getstate__(self) -> dict[str, Any]:
        state = {**self.__dict__}
        del state["_lock"]
        if not self._is_own:
            state["_runtime"] = None
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._lock = threading.Lock()

    def __deepcopy__(self, memo: dict[int, Any]) -> Remover:
        return copy.copy(self)  # everything in it is a plain value, or a runtime, which any number of threads may use

    @property
    def runtime(self) -> Runtime:
        """The network; loaded (and downloaded, if need be and allowed) at the first use."""
        return self._load(None)

    def load(self, *, progress: Progress | None = None) -> Remover:
        """Load the model now instead of at the first picture; returns itself.

        Args:
            progress: called with the bytes fetched so far and in all, where something is fetched.

        Raises:
            BiRefNetError: if the model cannot be had; see `birefnet.runtimes.select.select`.
        """
        self._load(progress)
        return self

    def _load(self, progress: Progress | None) -> Runtime:
        with self._lock:
            if self._runtime is None:
                self._runtime = open_model(self.model, self.options, size=self.size, progress=progress)
            return self._runtime

    def __call__(self, source: Source) -> Cutout:
        """A picture (see `birefnet.pixels.picture.read_picture`) -> its cut-out.

        Raises:
            PictureError: if it is not a picture, damaged, or too large.
            WeightsError: if the model gives values that are not finite.
        """
        return self.cut(read_picture(source, max_pixels=self.max_pixels))

    def cut(self, picture: Picture) -> Cutout:
        """The same for a picture that is read already.

        Raises:
            OutOfMemory: if it does not fit; what is smaller still does.
        """
        height, width = picture.rgb.shape[:2]
        with fitting(f"A picture of {width}x{height} pixels", hint="take a smaller picture"):
            return self._cut(picture)

    def _cut(self, picture: Picture) -> Cutout:
        spec = self._spec_for(picture)
        rgb = compose.visible(picture)  # (H, W, 3) uint8
        batch, frame = prepare(rgb, spec)  # (1, 3, h, w) float32, and the way back
        logits = self.runtime(batch)  # (1, 1, h, w)
        sharpen = spec.upsample == "guided" if self.sharpen is None else self.sharpen
        alpha = finish(logits, frame, rgb=rgb, sharpen=sharpen, threads=self.options.threads)  # (H, W) in [0, 1]
        if picture.alpha is not None:
            alpha *= picture.alpha
        colours = self._colours(picture, rgb, alpha)
        return Cutout(image=picture.rgb, alpha=alpha, foreground=colours, own_alpha=picture.alpha, dpi=picture.dpi)

    def _colours(
        self, picture: Picture, rgb: NDArray[np.uint8], alpha: NDArray[np.float32]
    ) -> NDArray[np.uint8] | None:
        """The subject's own colours, if they are asked for; `rgb` is what a person sees of the picture."""
        if self.refine is None:
            return None
        colours = estimate_foreground(rgb, alpha, self.refine, threads=self.options.threads)
        if picture.alpha is not None:  # whoever made the picture transparent there has left its colours unmixed
            np.copyto(colours, picture.rgb, where=(picture.alpha < 1)[..., None])
        return colours

    def _spec_for(self, picture: Picture) -> InputSpec:
        if self.size is None:
            return self.runtime.spec
        if self.size != "native":
            return resized(self.runtime, self.size)
        height, width = native_size(*picture.rgb.shape[:2])
        return resized(self.runtime, (width, height))


def remove(
    source: Source,
    model: Model = "nano",
    *,
    device: str = "auto",
    size: Size = None,
    dtype: Dtype = "auto",
    runtime: RuntimeName = "auto",
    mode: Mode = "eager",
    memory: Memory = "normal",
    offline: bool = False,
    threads: int | None = None,
    sharpen: bool | None = None,
    refine: bool | str = False,
    max_pixels: int = MAX_PIXELS,
) -> Cutout:
    """Cut the subject out of one picture.

    The remover is kept: the next call with the same options loads nothing.

    Args:
        source: a path, bytes, a binary stream, a Pillow image, or an array or a tensor of (H, W, 3) uint8.
        model, device, size, dtype, runtime, mode, memory, offline, threads, sharpen, refine, max_pixels: see `Remover`.

    Raises:
        BiRefNetError: for a picture, a model or an option that cannot be had or meant.
    """
    options = RuntimeOptions(
        runtime=runtime, device=device, dtype=dtype, mode=mode, memory=memory, threads=threads, offline=offline
    )
    made = Remover.from_options(model, options, size=size, sharpen=sharpen, refine=refine, max_pixels=max_pixels)
    key = (type(model).__name__, str(model), options, made.size, made.sharpen, made.refine, made.max_pixels)
    with _keep_lock:
        remover = _kept.pop(key, made)
        _kept[key] = remover  # the most recent last
        while len(_kept) > KEPT_REMOVERS:
            _kept.popitem(last=False)
    return remover(source)


_kept: OrderedDict[tuple[object, ...], Remover] = OrderedDict()
_keep_lock = threading.Lock()


def _refining(refine: bool | str) -> str | None:
    """The method that `refine` means; None for none."""
    if isinstance(refine, str):
        return check_method(refine)
    if not isinstance(refine, bool):
        raise ConfigError(f"`refine` is True, False or the name of a method, got {refine!r}.")
    return DEFAULT if refine else None


def _check_rest(sharpen: bool | None, max_pixels: int) -> None:
    if not (sharpen is None or isinstance(sharpen, bool)):
        raise ConfigError(f"`sharpen` is True, False or None, got {sharpen!r}.")
    if not isinstance(max_pixels, int) or max_pixels < 1:
        raise ConfigError(f"`max_pixels` is a whole number of 1 or more, got {max_pixels!r}.")
