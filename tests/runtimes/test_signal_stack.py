"""Signals after OpenVINO: each test is a process of its own, which would end with a segmentation fault."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

openvino = pytest.importorskip("openvino")
if sys.platform != "linux":
    pytest.skip("elsewhere OpenVINO registers no signal stack", allow_module_level=True)

BEGIN = """
import gc, os, signal, sys, threading
import numpy as np
from birefnet.runtimes.openvino import OpenVinoRuntime
seen = []
signal.signal(signal.SIGUSR1, lambda *_: seen.append(1))
path = sys.argv[1]
"""
END = """
gc.collect()
os.kill(os.getpid(), signal.SIGUSR1)
print(seen)
"""
LET_GO = {
    "in the order they came": "a = OpenVinoRuntime(path); b = OpenVinoRuntime(path); del a; gc.collect(); del b",
    "the other way round": "a = OpenVinoRuntime(path); b = OpenVinoRuntime(path); del b; gc.collect(); del a",
    "by another thread": """
kept = [OpenVinoRuntime(path)]
thread = threading.Thread(target=lambda: (kept.clear(), gc.collect()))
thread.start()
thread.join()
""",
    "after a library that makes cores of its own": """
from birefnet.runtimes.signal_stack import signal_stack_kept
import openvino
with signal_stack_kept():
    cores = [openvino.Core() for _ in range(2)]
    models = [core.compile_model(path, "CPU") for core in cores]
for index in range(2):
    cores[index] = models[index] = None
    gc.collect()
""",
}


@pytest.mark.parametrize("how", LET_GO)
def test_a_signal_after_runtimes_are_let_go(how: str, standin: Path) -> None:
    command = [sys.executable, "-c", BEGIN + LET_GO[how] + END, str(standin)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stdout) == (0, "[1]\n"), done.stderr
