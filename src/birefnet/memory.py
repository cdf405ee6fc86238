"""Memory that ran out: every library says it in its own way, and here it becomes one error with the ways out."""

from __future__ import annotations

import contextlib
import errno
import re
import traceback
from collections.abc import Iterator

from birefnet.errors import BiRefNetError, OutOfMemory

# What libraries write where memory ran out; none of them has an exception of its own for it on every device.
_SIGNS = re.compile(
    "|".join(
        (
            r"out[ _]of[ _](?:host[ _]|device[ _])?memory",  # CUDA, HIP, XPU, MPS, TensorRT, oneDNN, OpenCL
            r"(?:can(?:'t|not)|could ?n[o']t|unable to|failed to) alloc(?:ate)?\b",  # PyTorch, ONNX Runtime, C
            r"(?:not enough|insufficient) (?:\w+ )?memory",  # PyTorch on Windows, OpenCV
            r"memory (?:allocation (?:error|fail\w*)|exhausted)|allocation (?:of .{1,40} )?failed",
            r"bad[_ ]alloc(?:ation)?\b",  # C++
            r"(?:CUBLAS|CUDNN|CUSPARSE|CUSOLVER)_STATUS_ALLOC_FAILED|cudaErrorMemoryAllocation",
            r"CL_(?:OUT_OF_RESOURCES|MEM_OBJECT_ALLOCATION_FAILURE)|exceed\w* max(?:imum)? size of memory",  # OpenCL
            r"could not create a memory object",  # oneDNN, in OpenVINO
        )
    ),
    re.IGNORECASE,
)
_TYPES = {"OutOfMemoryError"}  # torch.OutOfMemoryError, torch.cuda.OutOfMemoryError


def ran_out(error: BaseException) -> bool:
    """Whether an exception, or what led to it, says that memory ran out."""
    seen: list[BaseException] = []
    while error not in seen:
        seen.append(error)
        if isinstance(error, (MemoryError, OutOfMemory)) or getattr(error, "errno", None) == errno.ENOMEM:
            return True
        if _TYPES & {kind.__name__ for kind in type(error).__mro__}:
            return True
        if not isinstance(error, BiRefNetError) and _SIGNS.search(str(error)):
            return True
        error = error.__cause__ or error.__context__ or error
    return False


@contextlib.contextmanager
def fitting(what: str, *, hint: str | None = None) -> Iterator[None]:
    """Inside, whatever says that memory ran out becomes an `OutOfMemory`; all else passes.

    The values of the functions that failed are let go at once, so that there is memory again for what comes next.

    Args:
        what: what was computed, as the start of a sentence: "`general` at 2048x2048 pixels on `cuda`".
        hint: the ways out; see `ways_out`.

    Raises:
        OutOfMemory: "... did not fit into memory."
    """
    try:
        yield
    except OutOfMemory:
        raise
    except Exception as error:
        if not ran_out(error):
            raise
        traceback.clear_frames(error.__traceback__)
        raise OutOfMemory(f"{what} did not fit into memory.", hint=hint) from error


def ways_out(*, side: int | None = None, low: bool = False, device: str | None = None) -> str:
    """The hint of an `OutOfMemory`.

    Args:
        side: a smaller size to ask for; None where the network takes one size only.
        low: whether `memory="low"` would take less.
        device: another device, with more memory maybe; None for none.
    """
    ways = [] if side is None else [f"a smaller size (`size={side}`)"]
    ways += ['`memory="low"`'] if low else []
    ways += [f'another device (`device="{device}"`)'] if device else []
    ways += [] if ways else ["a smaller model or a machine with more memory"]
    return f"take {' or '.join(ways)}"
