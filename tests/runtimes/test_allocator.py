"""Memory that is kept, and given back."""

from __future__ import annotations

import subprocess
import sys

import pytest

from birefnet.runtimes import allocator

FAULTS = """
import ctypes, resource
ctypes.CDLL(None).prctl(41, 1, 0, 0, 0)  # PR_SET_THP_DISABLE: with pages of 2 MiB there would be few faults
import numpy as np
from birefnet.runtimes.allocator import give_back_freed_memory, keep_freed_memory

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(4):
        np.ones(64 << 20, np.uint8)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

def resident():
    return int(open("/proc/self/statm").read().split()[1])

plain = faults()
assert keep_freed_memory()
faults()
kept, held = faults(), resident()
give_back_freed_memory()
print(plain, kept, held, resident())
"""


@pytest.mark.skipif(allocator._glibc() is None, reason="not glibc")
def test_what_is_freed_is_used_again_and_can_be_given_back() -> None:
    done = subprocess.run([sys.executable, "-c", FAULTS], capture_output=True, text=True, check=True)
    plain, kept, held, given_back = map(int, done.stdout.split())
    assert plain > 1000  # else the system has pages so large that nothing is to be gained
    assert kept < plain / 10
    assert given_back < held - 10_000  # pages of 4 KiB: the 64 MiB are no longer ours


def test_other_libraries_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    assert allocator._glibc() is None
    allocator.give_back_freed_memory()
