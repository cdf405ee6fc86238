"""How many threads a runtime of PyTorch computes with.

PyTorch has one number for a whole process, so only a program that owns its process, as the command line does, sets it
for good (`birefnet.libraries.own_process`). In any other process a runtime that was asked for a number of threads sets
it for the length of each run.
"""

from __future__ import annotations

import logging
from contextlib import AbstractContextManager

from birefnet.cpus import default_threads
from birefnet.libraries import is_own_process
from birefnet.processes import is_fork_of_torch, torch_threads
from birefnet.runtimes.allocator import keep_freed_memory

logger = logging.getLogger(__name__)


class CpuThreads:
    """The threads of one runtime of PyTorch on a CPU.

    Args:
        asked: how many; None for as many as PyTorch takes.
        keep_memory: keep what is freed for the next picture, where the process is ours.
    """

    def __init__(self, asked: int | None, *, keep_memory: bool = False) -> None:
        import torch

        self._each_run = asked
        if is_fork_of_torch():
            logger.warning("PyTorch computed before this process was forked, so here it computes with one thread")
        elif is_own_process():
            self._each_run = None
            wanted = asked or min(default_threads(), torch.get_num_threads())
            if wanted != torch.get_num_threads():
                logger.info("PyTorch takes %d threads", wanted)
                torch.set_num_threads(wanted)
        if is_own_process() and keep_memory:
            keep_freed_memory()

    def __call__(self) -> AbstractContextManager[None]:
        """For the length of a run; afterwards the number is what it was."""
        return torch_threads(self._each_run)
