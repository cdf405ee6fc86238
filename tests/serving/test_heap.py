"""One heap for all threads."""

from __future__ import annotations

import subprocess
import sys

import pytest


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only glibc is known to profit")
def test_it_is_agreed_to_and_threads_still_work() -> None:
    code = (
        "from birefnet.serving.heap import share_one_heap\n"
        "from concurrent.futures import ThreadPoolExecutor\n"
        "agreed = share_one_heap()\n"
        "with ThreadPoolExecutor(4) as pool: sizes = list(pool.map(lambda n: len(bytearray(n)), [10**6] * 40))\n"
        "assert agreed in (True, False) and sizes == [10**6] * 40"
    )
    assert subprocess.run([sys.executable, "-c", code], timeout=60).returncode == 0
