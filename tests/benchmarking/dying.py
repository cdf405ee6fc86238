"""Stands in for the process of a step: ends as the job's device says."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from pathlib import Path

if __name__ == "__main__":
    step, job, result = sys.argv[1:]
    way = json.loads(Path(job).read_text())["device"]
    if way == "sleep":
        time.sleep(60)
    if way == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    if way == "crash":
        os.kill(os.getpid(), signal.SIGSEGV)
    if way == "exit":
        sys.exit("no such luck")
    Path(result).write_text(json.dumps({"product_seconds": 0.5} if step == "product" else {"median_seconds": 1.0}))
