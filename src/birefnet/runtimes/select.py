"""Name or file -> runtime, on the best device of this machine."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from birefnet.devices import choose_device
from birefnet.errors import ConfigError, MissingExtra
from birefnet.inputs import MULTIPLE, nearest_multiple
from birefnet.memory import fitting, ways_out
from birefnet.pixels.prepare import InputSpec
from birefnet.runtimes.base import Memory, Mode, Runtime, spec_at
from birefnet.runtimes.options import Dtype, RuntimeName, RuntimeOptions
from birefnet.weights.formats import FORMATS, RUNTIMES, WEIGHTS, kind_of
from birefnet.weights.resolve import Model, ModelFile, ModelRef, resolve
from birefnet.weights.transfer import Progress

Size = int | tuple[int, int] | list[int] | Literal["native"] | None


def select(
    model: Model = "nano",
    *,
    size: Size = None,
    runtime: RuntimeName = "auto",
    device: str = "auto",
    dtype: Dtype = "auto",
    mode: Mode = "eager",
    memory: Memory = "normal",
    threads: int | None = None,
    offline: bool = False,
) -> Runtime:
    """Make the runtime for a model.

    Exported files run in the runtime they were made for: an ONNX file, and so the bundled small model, in ONNX
    Runtime (or, when asked, in OpenVINO or TensorRT), an OpenVINO file (`.xml`) in OpenVINO, a package (`.pt2`) in
    PyTorch. Any other model is weights and runs in PyTorch. Nothing is measured.

    Args:
        model: what `birefnet.weights.resolve` knows: a name of the zoo, an exported file, a checkpoint file or folder,
            a run's folder, or a hub repository.
        size: None for the model's own; a side or (width, height), multiples of 32; "native" only checks that the model
            takes other sizes.
        runtime, device, dtype, mode, memory, threads, offline: see `birefnet.runtimes.options.RuntimeOptions`.

    Raises:
        UnknownModel: if there is no such model or file.
        MissingExtra: if it needs a library that is not installed.
        ConfigError, DeviceError, DownloadError, WeightsError: as their names say.
    """
    options = RuntimeOptions(
        runtime=runtime, device=device, dtype=dtype, mode=mode, memory=memory, threads=threads, offline=offline
    )
    return open_model(model, options, size=size)


def open_model(
    model: Model | ModelRef, options: RuntimeOptions, *, size: Size = None, progress: Progress | None = None
) -> Runtime:
    """The same with the options as one record.

    Args:
        model: as for `select`, or what was resolved already.
        options: how it is to run.
        size: as for `select`.
        progress: called with the bytes fetched so far and in all, where something is fetched.

    Raises:
        BiRefNetError: as `select`. What cannot be is said before anything is fetched.
    """
    wanted = check_size(size)
    ref = model if isinstance(model, ModelRef) else _resolve(model, options)
    name = choose_runtime(ref, options)
    _check(name, ref, options)
    file = ref.fetch(offline=options.offline, progress=progress)
    elsewhere = None if options.device in ("auto", "cpu") else "cpu"
    with fitting(f"The model `{ref.name}`", hint=ways_out(device=elsewhere)):
        made = OPENERS[name](file, options, wanted)
    if size == "native":
        check_native(made)
    return made


def choose_runtime(ref: ModelRef, options: RuntimeOptions) -> str:
    """The runtime that runs a model: the one asked for if it takes the model's format, else the format's first.

    Raises:
        ConfigError: if the one asked for does not run it; the hint says how to get what it runs.
    """
    takes = FORMATS[ref.kind].runtimes
    if options.runtime == "auto":
        return takes[0]
    if options.runtime in takes:
        return options.runtime
    pack = f"pack it first: birefnet export {{}} --to {options.runtime}"
    if ref.kind == WEIGHTS:
        raise ConfigError(
            f"`{ref.name}` is weights, which run in PyTorch, not in the runtime `{options.runtime}`.",
            hint=pack.format(ref.name),
        )
    raise ConfigError(
        f"`{ref.name}` runs in {' or '.join(takes)}; it does not run in the runtime `{options.runtime}`.",
        hint=pack.format(ref.entry.name)
        if ref.entry
        else "leave it out, or pack the weights that the file was made of",
    )


def parse_size(text: str | None) -> Size:
    """ "1024" -> 1024, "1024x768" -> (1024, 768), "native" and None as they are; see `check_size` for what may be.

    Raises:
        ConfigError: if it is none of these.
    """
    if text is None or text == "native":
        return text  # type: ignore[return-value]  # mypy keeps the type of a text that was compared
    parts = text.lower().split("x")
    if len(parts) > 2 or not all(part.isdecimal() and int(part) > 0 for part in parts):
        raise ConfigError(f"`{text}` is not a size; wanted a side (1024), WIDTHxHEIGHT (1024x768) or native.")
    sides = [int(part) for part in parts]
    return sides[0] if len(sides) == 1 else (sides[0], sides[1])


def check_size(size: Size) -> tuple[int, int] | None:
    """A size as a user may give it -> (width, height), or None where the model or the picture decides.

    Raises:
        ConfigError: if it is no multiple of 32, with the nearest that is.
    """
    if size is None or size == "native":
        return None
    sides = (size, size) if isinstance(size, int) else size
    if isinstance(sides, str) or not hasattr(sides, "__len__") or len(sides) != 2 or not all(map(_is_side, sides)):
        raise ConfigError(f"A size is one side, (width, height) or `native`, got `{size}`.")
    width, height = (int(side) for side in sides)
    if width % MULTIPLE or height % MULTIPLE:
        nearest = f"{nearest_multiple(width)}x{nearest_multiple(height)}"
        raise ConfigError(f"A size must be in multiples of {MULTIPLE}, got {width}x{height}; nearest: {nearest}.")
    return width, height


def check_native(runtime: Runtime) -> None:
    """Make sure that a network can see each picture at the size nearest to its own.

    Raises:
        ConfigError: if it takes one size only.
    """
    if not runtime.dynamic:
        own = f"{runtime.spec.width}x{runtime.spec.height}"
        raise ConfigError(f"`{runtime.name}` takes pictures of {own} only, so its size cannot be `native`.")


def resized(runtime: Runtime, size: tuple[int, int]) -> InputSpec:
    """The runtime's input at another (width, height).

    Raises:
        ConfigError: if its network takes one size only.
    """
    return spec_at(runtime.spec, size, dynamic=runtime.dynamic, name=runtime.name)


def _is_side(side: object) -> bool:
    return isinstance(side, int) and not isinstance(side, bool) and side > 0


def _resolve(model: Model, options: RuntimeOptions) -> ModelRef:
    """What the model means; of a zoo model that is there as weights too, those if PyTorch is asked for."""
    ref = resolve(model)
    unsaid = ref.entry is not None and ref.path is None and kind_of(ref.name) is None
    return resolve(model, weights=True) if unsaid and options.runtime == "torch" else ref


def _check(name: str, ref: ModelRef, options: RuntimeOptions) -> None:
    """Refuse, before any download, what the runtime cannot do.

    Raises:
        MissingExtra: without its library.
        ConfigError: for an option that means nothing to it.
        DeviceError: for a device that is not here.
    """
    if name == "torch":
        from birefnet.runtimes.torch import check_mode, choose_dtype

        device = choose_device(options.device)
        choose_dtype(options.dtype, device)
        check_mode(options.mode, device)
        return
    if RUNTIMES[name].missing:
        raise MissingExtra(f"`{ref.name}` {RUNTIMES[name].missing}")
    if options.mode != "eager":
        raise ConfigError(f"`{ref.name}` runs in `{name}`; the mode `{options.mode}` is PyTorch's.")
    if options.memory != "normal" and name != "onnx":
        raise ConfigError(f"`{ref.name}` runs in `{name}`, which has no other way with memory than normal.")
    computes = {"openvino": ("auto", "float32", "bfloat16")}.get(name, ("auto", "float32"))
    if options.dtype not in computes:
        raise ConfigError(f"`{ref.name}` is packed with a precision of its own; leave out dtype `{options.dtype}`.")


def _torch(file: ModelFile, options: RuntimeOptions, size: tuple[int, int] | None) -> Runtime:
    from birefnet.runtimes.torch import TorchRuntime
    from birefnet.weights.checkpoint import load_model

    return TorchRuntime(
        load_model(file.path),
        file.spec(),
        name=file.label,
        size=size,
        device=options.device,
        dtype=options.dtype,
        mode=options.mode,
        memory=options.memory,
        threads=options.threads,
    )


def _onnx(file: ModelFile, options: RuntimeOptions, size: tuple[int, int] | None) -> Runtime:
    from birefnet.runtimes.onnx import OnnxRuntime

    return OnnxRuntime(
        file.path,
        name=file.label,
        size=size,
        defaults=file.defaults,
        device=options.device,
        threads=options.threads,
        keep_memory=options.memory == "normal",
    )


def _openvino(file: ModelFile, options: RuntimeOptions, size: tuple[int, int] | None) -> Runtime:
    from birefnet.runtimes.openvino import OpenVinoRuntime

    assert options.dtype != "float16"  # see `_check`
    return OpenVinoRuntime(
        file.path,
        name=file.label,
        size=size,
        defaults=file.defaults,
        device=options.device,
        threads=options.threads,
        dtype=options.dtype,
    )


def _tensorrt(file: ModelFile, options: RuntimeOptions, size: tuple[int, int] | None) -> Runtime:
    from birefnet.runtimes.tensorrt import TensorRtRuntime

    return TensorRtRuntime(file.path, name=file.label, size=size, defaults=file.defaults, device=options.device)


def _package(file: ModelFile, options: RuntimeOptions, size: tuple[int, int] | None) -> Runtime:
    from birefnet.runtimes.aoti import AotiRuntime

    return AotiRuntime(
        file.path,
        name=file.label,
        size=size,
        defaults=file.defaults,
        device=options.device,
        threads=options.threads,
    )


# One row for each name of `RUNTIMES`; the libraries are imported when a model is opened.
OPENERS: dict[str, Callable[[ModelFile, RuntimeOptions, tuple[int, int] | None], Runtime]] = {
    "torch": _torch,
    "onnx": _onnx,
    "openvino": _openvino,
    "tensorrt": _tensorrt,
    "package": _package,
}
