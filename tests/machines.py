"""The numeric rooms as other machines compute them: `make test-machines` runs this.

A processor of the present can be told to leave out what older ones lack. Every row of `MACHINES` is a run of `TESTS` in
a process of its own and prints one line. ONNX Runtime and OpenVINO have no such switches: what they compute on older
processors is proved by arithmetic, in `tests/export`.

    python tests/machines.py             every row
    python tests/machines.py sse busy    those rows
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).parent.parent

TESTS = (
    "tests/network",
    "tests/weights/test_parity.py",
    "tests/training/test_losses.py",
    "tests/training/test_terms.py",
    "tests/training/test_step.py",
    "tests/runtimes/test_torch.py",
    "tests/runtimes/test_onnx.py",
    "tests/runtimes/test_openvino.py",
    "tests/export/test_onnx.py",
    "tests/export/test_quantise.py",
    "tests/export/test_decompose.py",
    "tests/pixels",
)
# Golden cases that have no operation which others lack, and what computes a step twice: `make test` computes them too.
LEFT_OUT = (
    *("swin_t_256", "swin_t_wide", "swin_t_adap", "swin_t_nosplit", "swin_t_nocxt", "swin_t_nosqueeze_nocxt"),
    *("swin_t_noref", "swin_t_nobn", "swin_t_squeeze_aspp", "swin_t_scale_add", "pvt_b2", "dino_s]"),
    *("swin_t_resblk", "swin_t_scale_none", "references_window"),
)


@dataclass(frozen=True)
class Machine:
    """How one row runs.

    Attributes:
        says: what it stands for.
        threads: of PyTorch and oneDNN (OMP_NUM_THREADS).
        settings: environment variables.
        plain_numpy: leave out everything that numpy would choose by the processor.
        busy: whether other processes keep every core busy meanwhile.
    """

    says: str
    threads: int
    settings: dict[str, str] = field(default_factory=dict)
    plain_numpy: bool = False
    busy: bool = False


MACHINES = {
    "sse": Machine(
        "no AVX anywhere",
        threads=1,
        settings={"ATEN_CPU_CAPABILITY": "default", "ONEDNN_MAX_CPU_ISA": "SSE41"},
        plain_numpy=True,
    ),
    "avx2": Machine(
        "AVX2 and nothing newer",
        threads=2,
        settings={"ATEN_CPU_CAPABILITY": "avx2", "ONEDNN_MAX_CPU_ISA": "AVX2"},
    ),
    "three": Machine("this processor with three threads", threads=3),
    "busy": Machine("this processor beside busy processes", threads=2, busy=True),
}


def main(names: list[str]) -> int:
    unknown = set(names) - MACHINES.keys()
    if unknown:
        sys.exit(f"error: no row {', '.join(sorted(unknown))}; known: {', '.join(MACHINES)}")
    failed = [name for name in names or MACHINES if not run(name, MACHINES[name])]
    if failed:
        print(f"failed: {', '.join(failed)}")
    return bool(failed)


def run(name: str, machine: Machine) -> bool:
    """Whether all tests pass on a machine; prints its line, and before it what failed."""
    # Waiting threads sleep: with more of them than cores, or beside others, spinning costs many times the work.
    settings = {**machine.settings, "OMP_NUM_THREADS": str(machine.threads), "OMP_WAIT_POLICY": "PASSIVE"}
    if machine.plain_numpy:
        settings["NPY_DISABLE_CPU_FEATURES"] = " ".join(numpy_features())
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *TESTS]
    command += ["-k", " and ".join(f"not {case}" for case in LEFT_OUT)]
    began = time.monotonic()
    with ExitStack() as stack:
        if machine.busy:
            stack.enter_context(_busy())
        done = subprocess.run(command, cwd=ROOT, env={**os.environ, **settings}, capture_output=True, text=True)
    lines = (done.stdout + done.stderr).strip().splitlines() or ["no output"]
    if done.returncode:
        print("\n".join(lines[-200:]))
    seconds = time.monotonic() - began
    print(f"{name}: {machine.says}, {machine.threads} threads: {lines[-1].strip('= ')} ({seconds:.0f} s)", flush=True)
    return done.returncode == 0


def numpy_features() -> list[str]:
    """What this build of numpy would choose by the processor, of what this processor has."""
    from numpy._core import _multiarray_umath as core

    return [name for name in core.__cpu_dispatch__ if core.__cpu_features__.get(name)]


@contextmanager
def _busy() -> Iterator[None]:
    """Inside, every core has a process that never rests."""
    others = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(os.cpu_count() or 1)]
    try:
        yield
    finally:
        for other in others:
            other.kill()
            other.wait()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
