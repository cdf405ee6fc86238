"""From the stream of samples to batches: each process makes its own slice of every step's samples."""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from multiprocessing.util import Finalize
from types import FrameType
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from birefnet.data.stream import Stream
from birefnet.errors import BiRefNetError, DataError
from birefnet.training.plan import Plan

_SIGNALS = (signal.SIGINT, signal.SIGTERM)

Key = tuple[int, tuple[int, int]]  # number of a sample, its (width, height)


class Batch(NamedTuple):
    """What one process computes in one step."""

    picture: Tensor  # (B, 3, H, W) uint8
    mask: Tensor  # (B, 1, H, W) uint8
    label: Tensor  # (B,) int64, -1 where a sample has no class


class Samples(Dataset[Any]):
    """Samples by key. A sample that cannot be made is handed on as its error: see `collate`."""

    def __init__(self, stream: Stream) -> None:
        self.stream = stream

    def __getitem__(self, key: Key) -> Batch | BiRefNetError:
        try:
            sample = self.stream.sample(*key)
        except BiRefNetError as error:
            return error
        picture = torch.from_numpy(sample.picture).permute(2, 0, 1)
        label = torch.tensor(-1 if sample.label is None else sample.label)
        return Batch(picture, torch.from_numpy(sample.mask)[None], label)


class Keys(Sampler[list[Key]]):
    """The keys of this process's samples, for the steps from `start` up to, not including, `stop`."""

    def __init__(self, plan: Plan, start: int, stop: int, *, rank: int = 0, processes: int = 1) -> None:
        self.plan, self.start, self.stop = plan, start, stop
        self.rank, self.processes = rank, processes

    def __iter__(self) -> Iterator[list[Key]]:
        for number in range(self.start, self.stop):
            step = self.plan.at(number)
            share = step.batch // self.processes
            first = step.first + self.rank * share
            yield [(first + i, step.size) for i in range(share)]

    def __len__(self) -> int:
        return max(0, self.stop - self.start)


def collate(samples: list[Batch | BiRefNetError]) -> Batch | BiRefNetError:
    """Stack samples; an error among them travels in their place, since a worker would wrap it in its traceback."""
    made: list[Batch] = []
    for sample in samples:
        if isinstance(sample, BiRefNetError):
            return sample
        made.append(sample)
    return Batch(*(torch.stack(tensors) for tensors in zip(*made, strict=True)))


def batches(stream: Stream, keys: Keys, *, workers: int, seed: int, pin: bool) -> Iterator[Batch]:
    """The batches of `keys`, made ahead by `workers` processes.

    Raises:
        DataError: if a sample cannot be made or a worker was killed.
    """
    # Forked workers share the pictures in memory; elsewhere than on Linux forking is not safe or not there.
    context = multiprocessing.get_context("fork" if sys.platform == "linux" else "spawn")
    closing = context.RawValue(ctypes.c_byte, 0)
    loader: DataLoader[Any] = DataLoader(
        Samples(stream),
        batch_sampler=keys,
        num_workers=workers,
        collate_fn=collate,
        pin_memory=pin,
        worker_init_fn=partial(_leave_signals_to_the_trainer, closing) if workers else None,
        # Its own generator: drawing from the one that dropout uses would make resuming inexact.
        generator=torch.Generator().manual_seed(seed),
        multiprocessing_context=context if workers else None,
    )
    # Should nobody have ended this generator, Python runs this before it ends the workers and waits for them.
    close = Finalize(None, _close, (closing,), exitpriority=0)
    try:
        yield from _made(loader)
    finally:
        close()


def _made(loader: DataLoader[Any]) -> Iterator[Batch]:
    with _signals_held():
        made = iter(loader)  # starts the workers
    try:
        for batch in made:
            if isinstance(batch, BiRefNetError):
                raise batch
            yield batch
    except RuntimeError as error:
        if "DataLoader worker" not in str(error):
            raise
        raise DataError(
            "A process that makes samples was killed, usually because memory ran out; "
            "lower `training.workers` or keep fewer pictures in memory (`data.cache`)"
        ) from error
    finally:
        # An error that somebody keeps would keep this frame, and with it the workers alive.
        del made, loader


@contextmanager
def _signals_held() -> Iterator[None]:
    """Workers started meanwhile hold back the signals of `_SIGNALS` until they know what to do with them."""
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _close(closing: ctypes.c_byte) -> None:
    closing.value = 1


def _leave_signals_to_the_trainer(closing: ctypes.c_byte, _worker: int) -> None:
    # Ctrl-C reaches every process of a terminal; workers that died of it would keep the trainer from saving.
    signal.signal(signal.SIGINT, signal.SIG_IGN)

    def end(_number: int, _frame: FrameType | None) -> None:
        if closing.value:  # Python ends what is left of its processes by this signal, and waits for them
            os._exit(0)

    signal.signal(signal.SIGTERM, end)
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
