"""Memory that ran out becomes one error, whoever says it and however."""

from __future__ import annotations

import errno

import numpy as np
import pytest

import birefnet
from birefnet.errors import DeviceError, OutOfMemory, WeightsError
from birefnet.memory import fitting, ran_out, ways_out


class OutOfMemoryError(RuntimeError):
    """As PyTorch has it."""


SAID = [
    MemoryError(),
    OutOfMemoryError("MPS backend ran short"),
    OSError(errno.ENOMEM, "whatever the system's language is"),
    RuntimeError("CUDA out of memory. Tried to allocate 20.00 GiB. GPU 0 has a total capacity of 15.77 GiB"),
    RuntimeError("CUDA error: out of memory\nCUDA kernel errors might be asynchronously reported"),
    RuntimeError("MPS backend out of memory (MPS allocated: 17.90 GB, other allocations: 40.00 MB)"),
    RuntimeError("[enforce fail at alloc_cpu.cpp:127] err == 0. DefaultCPUAllocator: can't allocate memory: you tried"),
    RuntimeError(
        "[enforce fail at alloc_cpu.cpp:80] data. DefaultCPUAllocator: not enough memory: you tried to allocate"
    ),
    RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
    RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"),
    RuntimeError("unable to mmap 1073741824 bytes from file <model.safetensors>: Cannot allocate memory (12)"),
    Exception(
        "[ONNXRuntimeError] : 1 : FAIL : Non-zero status code returned while running Conv node. Status Message: "
        "bfc_arena.cc:360 Failed to allocate memory for requested buffer of size 4294967296"
    ),
    Exception("[ONNXRuntimeError] : 6 : RUNTIME_EXCEPTION : Status Message: std::bad_alloc"),
    Exception("[ONNXRuntimeError] : 6 : RUNTIME_EXCEPTION : Status Message: bad allocation"),  # Microsoft's C++
    RuntimeError("Exception from src/inference/src/cpp/infer_request.cpp:224:\ncould not create a memory object"),
    RuntimeError("[GPU] Exceeded max size of memory object allocation: requested 5 GB"),
    RuntimeError("[GPU] clEnqueueNDRangeKernel, error code: -5 CL_OUT_OF_RESOURCES"),
    RuntimeError("could not execute a primitive: out_of_memory"),
]


@pytest.mark.parametrize("error", SAID, ids=lambda error: str(error)[:30] or type(error).__name__)
def test_every_library_is_understood(error: Exception) -> None:
    assert ran_out(error)
    with pytest.raises(OutOfMemory, match="did not fit into memory") as caught, fitting("It", hint=ways_out(side=256)):
        raise error
    assert isinstance(caught.value, DeviceError)
    assert caught.value.hint == "take a smaller size (`size=256`)"
    assert caught.value.__cause__ is error


def test_numpy_is_understood() -> None:
    with pytest.raises(OutOfMemory), fitting("It"):
        np.zeros(1 << 56)


def test_what_came_of_it_is_understood() -> None:
    with pytest.raises(OutOfMemory), fitting("It"):
        try:
            raise OutOfMemoryError
        except OutOfMemoryError:
            raise RuntimeError("the capture was invalidated")  # noqa: B904


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("mat1 and mat2 shapes cannot be multiplied"),
        ValueError("a memory format"),
        KeyboardInterrupt(),
        WeightsError("`out of memory.pth` is damaged"),
        OSError(errno.ENOSPC, "No space left on device"),
    ],
)
def test_all_else_passes(error: BaseException) -> None:
    assert not ran_out(error)
    with pytest.raises(type(error)) as caught, fitting("It"):
        raise error
    assert caught.value is error


def test_what_failed_lets_go_of_its_values() -> None:
    gone = []

    class Map:
        def __del__(self) -> None:
            gone.append(self)

    def work() -> None:
        kept = Map()
        raise MemoryError(kept is None)

    with pytest.raises(OutOfMemory), fitting("It"):
        work()
    assert gone


def test_an_error_that_is_one_already_is_left_as_it_is() -> None:
    inner = OutOfMemory("`nano` did not fit into memory.", hint="x")
    with pytest.raises(OutOfMemory) as caught, fitting("A batch"):
        raise inner
    assert caught.value is inner


def test_the_ways_out() -> None:
    assert ways_out(side=512, low=True, device="cpu") == (
        'take a smaller size (`size=512`) or `memory="low"` or another device (`device="cpu"`)'
    )
    assert ways_out() == "take a smaller model or a machine with more memory"
    assert birefnet.OutOfMemory is OutOfMemory
