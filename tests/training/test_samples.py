from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import torch

from birefnet.data.stream import Sample, Size, as_size
from birefnet.errors import DataError
from birefnet.training.plan import Plan
from birefnet.training.samples import Keys, batches
from birefnet.training.settings import Phase, TrainingConfig

PLAN = Plan(
    TrainingConfig(phases=(Phase(steps=2, size=64, batch=4), Phase(steps=2, size=(96, 32), batch=2))),
    seed=0,
    epoch_length=9,
)


class Numbers:
    """Samples that show their own number; number 5 is broken."""

    epoch_length = 9
    class_names = ()

    def sample(self, number: int, size: Size) -> Sample:
        width, height = as_size(size)
        if number == 5:
            raise DataError("`5.png` cannot be read")
        mask = np.full((height, width), number, np.uint8)
        return Sample(np.dstack([mask] * 3), mask, number if number % 2 else None)


def test_processes_share_a_step_by_sample_number() -> None:
    whole = list(Keys(PLAN, 0, 4))
    assert [[number for number, _ in step] for step in whole] == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9], [10, 11]]
    assert [step[0][1] for step in whole] == [(64, 64), (64, 64), (96, 32), (96, 32)]
    halves = [list(Keys(PLAN, 0, 4, rank=rank, processes=2)) for rank in range(2)]
    assert [a + b for a, b in zip(*halves, strict=True)] == whole
    assert list(Keys(PLAN, 1, 3)) == whole[1:3] and len(Keys(PLAN, 1, 3)) == 2


@pytest.mark.parametrize("workers", [0, 2])
def test_batches_come_in_order_and_errors_as_they_are(workers: int) -> None:
    made = batches(Numbers(), Keys(PLAN, 0, 4), workers=workers, seed=0, pin=False)
    first = next(made)
    assert first.picture.shape == (4, 3, 64, 64) and first.mask.shape == (4, 1, 64, 64)
    assert first.picture.dtype == torch.uint8
    assert first.mask[:, 0, 0, 0].tolist() == [0, 1, 2, 3]
    assert first.label.tolist() == [-1, 1, -1, 3]
    with pytest.raises(DataError, match=r"^`5\.png` cannot be read$"):
        next(made)


def test_a_killed_worker_is_explained() -> None:
    class Deadly(Numbers):
        def sample(self, number: int, size: Size) -> Sample:
            import os
            import signal

            os.kill(os.getpid(), signal.SIGKILL)
            raise AssertionError

    with pytest.raises(DataError, match="memory ran out"):
        next(batches(Deadly(), Keys(PLAN, 0, 4), workers=1, seed=0, pin=False))


FORGOTTEN = """
import multiprocessing, os, signal, time
from tests.training.test_samples import PLAN, Numbers
from birefnet.training.samples import Keys, batches
made = batches(Numbers(), Keys(PLAN, 0, 1), workers=2, seed=0, pin=False)
next(made)
for worker in multiprocessing.active_children():
    os.kill(worker.pid, signal.SIGTERM)
    os.kill(worker.pid, signal.SIGINT)
time.sleep(0.5)
print(len(multiprocessing.active_children()), flush=True)
sys = __import__("sys")
sys.kept = [made]  # nobody closes it
sys.kept.append(sys.kept)
"""


def test_workers_survive_signals_and_end_with_the_program() -> None:
    done = subprocess.run([sys.executable, "-c", FORGOTTEN], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (0, "2\n"), done.stderr
