"""A stand-in for Triton, just large enough to run our kernel's own lines on a CPU, one tile after the other.

Tiles are torch tensors; a pointer is a flat tensor and a tile of places in it. Reading or writing outside of the
tensor, which a GPU might let pass, is an error here.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import product
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor


class Pointer:
    """Places in a tensor's memory."""

    def __init__(self, memory: Tensor, places: Tensor) -> None:
        self.memory, self.places = memory, places
        self.dtype = SimpleNamespace(element_ty=memory.dtype)

    @classmethod
    def to_start(cls, tensor: Tensor) -> Pointer:
        span = 1 + sum((size - 1) * step for size, step in zip(tensor.shape, tensor.stride(), strict=True))
        return cls(tensor.as_strided((span,), (1,)), torch.zeros((), dtype=torch.int64))

    def __add__(self, steps: Tensor | int) -> Pointer:
        return Pointer(self.memory, self.places + steps)

    def __getitem__(self, index: Any) -> Pointer:
        return Pointer(self.memory, self.places[index])

    def inside(self, mask: Tensor) -> tuple[Tensor, Tensor]:
        places, mask = torch.broadcast_tensors(self.places, mask)
        assert ((places >= 0) & (places < len(self.memory)))[mask].all(), "a place outside of the tensor"
        return places, mask


class Language:
    """What the kernel uses of `triton.language`."""

    int32, int64, float32 = torch.int32, torch.int64, torch.float32
    floor = staticmethod(torch.floor)
    program: tuple[int, ...] = (0, 0)

    def program_id(self, axis: int) -> int:
        return self.program[axis]

    @staticmethod
    def arange(start: int, stop: int) -> Tensor:
        assert (stop - start) & (stop - start - 1) == 0, "Triton wants powers of two"
        return torch.arange(start, stop, dtype=torch.int32)

    @staticmethod
    def zeros(shape: tuple[int, int], dtype: torch.dtype) -> Tensor:
        return torch.zeros(shape, dtype=dtype)

    @staticmethod
    def where(condition: Tensor, yes: Tensor, no: float) -> Tensor:
        return torch.where(condition, yes, no)

    @staticmethod
    def load(pointer: Pointer, mask: Tensor, other: float) -> Tensor:
        places, mask = pointer.inside(mask)
        return torch.where(mask, pointer.memory[places.where(mask, 0)], other)

    @staticmethod
    def store(pointer: Pointer, values: Tensor, mask: Tensor) -> None:
        places, mask = pointer.inside(mask)
        assert values.dtype == pointer.memory.dtype
        pointer.memory[places[mask]] = values[mask]

    @staticmethod
    def dot(a: Tensor, b: Tensor, sums: Tensor, input_precision: str) -> Tensor:
        assert a.dtype == b.dtype and sums.dtype == torch.float32 and input_precision == "ieee"
        assert min(*a.shape, b.shape[1]) >= 16, "Triton wants sides of 16 or more"
        return sums + a.float() @ b.float()


class TileMachine:
    """What the launching code uses of `triton`."""

    def __init__(self) -> None:
        self.language = Language()
        self.programs = 0

    @staticmethod
    def cdiv(a: int, b: int) -> int:
        return -(-a // b)

    def jit(self, function: Callable[..., None]) -> Launcher:
        return Launcher(self, function)


class Launcher:
    """A kernel: `launcher[grid](...)` runs it for every program of the grid."""

    def __init__(self, machine: TileMachine, function: Callable[..., None]) -> None:
        self.machine, self.function = machine, function

    def __getitem__(self, grid: tuple[int, int]) -> Callable[..., None]:
        def launch(*arguments: Any, num_warps: int, **constants: int) -> None:
            assert num_warps in (4, 8)
            pointers = [Pointer.to_start(a) if isinstance(a, Tensor) else a for a in arguments]
            for program in product(*map(range, grid)):
                self.machine.language.program = program
                self.machine.programs += 1
                self.function(*pointers, **constants)

        return launch
