"""A network as a `.pt2` file that runs without this package: compiled by AOTInductor, or as a graph of PyTorch's.

A name that ends in `.exported.pt2` asks for the graph (torch.export), any other for compiled code for this machine.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from dataclasses import replace
from operator import attrgetter
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from birefnet.errors import ConfigError, DeviceError
from birefnet.export.aoti_deform import deform_in_plain_operations
from birefnet.export.graph import example_picture
from birefnet.export.onnx import Limits, further_sizes
from birefnet.export.options import ExportOptions
from birefnet.export.proof import Pictures, Proof, Run, compare, worst
from birefnet.files import whole_file
from birefnet.inputs import MULTIPLE
from birefnet.network import BiRefNet
from birefnet.network.inference import inference_form
from birefnet.pixels.prepare import InputSpec
from birefnet.runtimes.aoti import SMALLEST_SIDE, AotiRuntime, machine_facts, write_facts
from birefnet.weights.facts import facts_of

log = logging.getLogger(__name__)

PLAIN_ENDING = ".exported.pt2"
LIMITS = {"fp32": Limits(1e-5, 1e-5, "fp32"), "fp16": Limits(5e-2, 5e-3, "fp16")}
_OLDEST = (2, 6)  # PyTorch that packages
_LARGEST = 4096  # side of dynamic inputs
_TRACES = ("stack_trace", "nn_module_stack", "source_fn_stack", "torch_fn", "from_node")


class _Packed(nn.Module):
    """float32 in, float32 logits out, whatever is between."""

    def __init__(self, network: nn.Module, dtype: torch.dtype) -> None:
        super().__init__()
        self.network, self.dtype = network.to(dtype), dtype

    def forward(self, input_image: Tensor) -> Tensor:
        """(B, 3, H, W) -> (B, 1, H, W)."""
        logits: Tensor = self.network(input_image.to(self.dtype)).logits
        return logits.float()


def export_package(
    network: BiRefNet, path: Path, spec: InputSpec, options: ExportOptions | None = None, *, source: str = ""
) -> Proof:
    """Write `network` as a `.pt2` package for this machine's device (a CUDA GPU if there is one) and compare both.

    Args:
        network: in float32, on the CPU.
        path: the file to write; replaced whole or not at all. See the module for what its name decides.
        spec: size, mean and std of the input, which go into the package.
        options: precision fp32, or fp16, which means float16 on a GPU and bfloat16 on a CPU.
        source: where the weights came from, for the package.

    Raises:
        ConfigError: for another precision, or any size asked for and an own one below 128 pixels.
        DeviceError: where PyTorch is too old, there is no C++ compiler, or the compiling fails.
        WeightsError: if the package gives another alpha; it is removed.
    """
    options = options or ExportOptions(size=(spec.width, spec.height))
    if options.size is not None:
        spec = replace(spec, width=options.size[0], height=options.size[1])
    if options.precision not in LIMITS:
        raise ConfigError(f"A `.pt2` package is made in fp32 or fp16, not `{options.precision}`")
    if options.size is None and min(spec.width, spec.height) < SMALLEST_SIDE:
        raise ConfigError(
            f"A package for any size takes sides from {SMALLEST_SIDE} pixels; name the size to export for"
        )
    compiled = not path.name.endswith(PLAIN_ENDING)
    check_torch(compiled=compiled)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    options.report("tracing the network")
    program = trace(network, spec, options, device)
    facts = _facts(spec, options, device, compiled=compiled) | {"source": source}
    with whole_file(path, parents=True) as part:
        options.report("compiling it, which takes minutes" if compiled else "writing the graph")
        (_compile if compiled else _save)(program, part)
        write_facts(part, facts, forget=_folders() if compiled else ())
        options.report("comparing the package with the network")
        runtime = AotiRuntime(part, device=device)
        proof = prove(network, runtime, spec, options)
        del runtime
        write_facts(part, facts | proof.facts())
    log.debug("%s: alpha differs by %.1e at most, %.1e on average", path, proof.largest, proof.mean)
    return proof


def check_torch(*, compiled: bool) -> None:
    """Refuse before minutes of work what cannot be done here.

    Raises:
        DeviceError: where PyTorch is older than 2.6, or code is to be compiled and there is no C++ compiler.
    """
    found = tuple(int(number) for number in torch.__version__.split(".")[:2])
    if found < _OLDEST:
        raise DeviceError(f"Packages are made by PyTorch 2.6 or newer, this is {torch.__version__}; upgrade torch")
    if not compiled:
        return
    from torch._inductor.cpp_builder import get_cpp_compiler

    try:
        get_cpp_compiler()
    except RuntimeError as error:
        raise DeviceError(
            "AOTInductor compiles the network with a C++ compiler, and none is found; install g++ or clang, name it in "
            f"CXX, or write the graph alone: a file name ending in `{PLAIN_ENDING}`"
        ) from error


def trace(network: BiRefNet, spec: InputSpec, options: ExportOptions, device: str) -> Any:
    """The network's inference form as a `torch.export.ExportedProgram` of PyTorch's own operators alone."""
    half = torch.float16 if device == "cuda" else torch.bfloat16
    dtype = torch.float32 if options.precision == "fp32" else half
    module = _Packed(inference_form(network), dtype).eval().to(device)
    free = _free_sides(options)
    # An example of one picture, or of equal sides, would make the exporter take the two for the same number.
    width = spec.width + MULTIPLE if options.size is None and spec.width == spec.height else spec.width
    example = torch.zeros(options.batch or 2, 3, spec.height, width, device=device)
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore", FutureWarning)  # PyTorch's, of its own parts
        program = torch.export.export(module, (example,), dynamic_shapes=(free,) if free else None, strict=False)
        program = program.run_decompositions(_table())
    for node in program.graph.nodes:
        for name in _TRACES:
            node.meta.pop(name, None)
    return program


def prove(
    network: BiRefNet, run: Run, spec: InputSpec, options: ExportOptions, *, smallest: int = SMALLEST_SIDE
) -> Proof:
    """Compare in every size that the file was asked to take, down to sides of `smallest`.

    Raises:
        WeightsError: if the alphas differ by more than `LIMITS`.
    """
    limits = LIMITS[options.precision]._asdict()
    return worst([compare(network, run, pictures, **limits) for pictures in examples(spec, options, smallest)])


def examples(spec: InputSpec, options: ExportOptions, smallest: int) -> Iterator[Pictures]:
    """(N, 3, h, w) each: the size of `spec`, and where any is taken, two further ones; the batch of the options."""
    further = further_sizes(spec) if options.size is None else ()
    free = [replace(one, width=max(one.width, smallest), height=max(one.height, smallest)) for one in further]
    for one in (spec, *free):
        picture = example_picture(one).numpy()
        yield np.concatenate([np.roll(picture, 32 * shift, axis=3) for shift in range(options.batch or 2)])


def _table() -> dict[Any, Any]:
    import birefnet.network.deform  # noqa: F401  (defines the operator)

    return {torch.ops.birefnet.deform_conv2d.default: deform_in_plain_operations}


def _free_sides(options: ExportOptions) -> dict[int, Any]:
    free: dict[int, Any] = {}
    if options.batch is None:
        free[0] = torch.export.Dim("batch", min=1, max=1024)
    if options.size is None:
        height, width = (
            torch.export.Dim(name, min=SMALLEST_SIDE // MULTIPLE, max=_LARGEST // MULTIPLE)
            for name in ("rows", "columns")
        )
        free |= {2: MULTIPLE * height, 3: MULTIPLE * width}
    return free


def _compile(program: Any, path: Path) -> None:
    from torch._inductor import aoti_compile_and_package, config

    wanted = {
        "cpp.dynamic_threads": True,  # as many as there are where it runs, not where it was made
        "aot_inductor.enable_line_tables": False,  # they would hold this machine's paths
        "assert_indirect_indexing": False,  # the rows of a table are clamped where they are worked out
    }
    settings = {name: value for name, value in wanted.items() if _knows(config, name)}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # PyTorch's, of its own parts
            aoti_compile_and_package(program, package_path=str(path), inductor_configs=settings)
    except Exception as error:  # the compiler's exceptions have no common base but this
        detail = (str(error) or type(error).__name__).strip().splitlines()[0][:300]
        raise DeviceError(f"AOTInductor could not compile the network here: {detail}") from error


def _knows(config: Any, name: str) -> bool:
    """Whether this PyTorch has a setting; they come and go."""
    try:
        attrgetter(name)(config)
    except AttributeError:
        return False
    return True


def _folders() -> list[str]:
    """Where the code was compiled, and where PyTorch stands."""
    from torch._inductor import codecache

    cache: Any = codecache  # PyTorch does not tell its types of it
    return [str(cache.cache_dir()), str(Path(torch.__file__).parent.parent)]


def _save(program: Any, path: Path) -> None:
    torch.export.save(program, path)


def _facts(spec: InputSpec, options: ExportOptions, device: str, *, compiled: bool) -> dict[str, object]:
    return facts_of(
        spec,
        dynamic=options.size is None,
        batch=options.batch,
        precision=options.precision,
        device=device,
        compiled=compiled,
        machine=machine_facts(device) if compiled else {},
    )
