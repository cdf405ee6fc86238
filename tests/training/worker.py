"""One of several processes of a test: does the jobs of a JSON file and writes down what came of each.

    RANK=0 WORLD_SIZE=2 ... python worker.py JOBS.json

A job: `recipe`, `set` (overrides), `folder`, `until`; `broken`: the rank whose data cannot be read from step 3 on;
`sharded`: through FSDP.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from birefnet.data.stream import Sample
from birefnet.errors import BiRefNetError, DataError
from birefnet.training.reading import load_recipe
from birefnet.training.trainer import Trainer


def do(job: dict[str, Any]) -> dict[str, Any]:
    recipe = load_recipe(Path(job["recipe"]), job["set"])
    with sharding_on_the_cpu() if job.get("sharded") else contextlib.nullcontext():
        trainer = Trainer(recipe, Path(job["folder"]), "cpu")
    if job.get("broken") == trainer.team.rank:
        trainer.stream = Broken(trainer.stream, trainer.plan.at(2).first)
    outcome = trainer.run(until=job.get("until"))
    judgement = outcome.judgement
    return {
        "step": outcome.step,
        "processes": trainer.team.count,
        "sharded": trainer.team.sharded,
        "scores": judgement.scores["all"].values if judgement is not None else None,
    }


class Broken:
    """A stream that cannot be read from some sample on."""

    def __init__(self, stream: Any, first: int) -> None:
        self.stream, self.first = stream, first

    def sample(self, number: int, size: Any) -> Sample:
        if number >= self.first:
            raise DataError("`7.png` cannot be read")
        sample: Sample = self.stream.sample(number, size)
        return sample


@contextlib.contextmanager
def sharding_on_the_cpu() -> Iterator[None]:
    """Accelerate offers FSDP for GPUs only; this tells its state otherwise, so that all else is the real thing."""
    from accelerate.state import AcceleratorState, PartialState
    from accelerate.utils import DistributedType

    original = AcceleratorState.__init__

    def patched(self: Any, *arguments: Any, fsdp_plugin: Any = None, **settings: Any) -> None:
        original(self, *arguments, fsdp_plugin=fsdp_plugin, **settings)
        if fsdp_plugin is not None:
            PartialState._shared_state["distributed_type"] = DistributedType.FSDP
            self.distributed_type, self.fsdp_plugin = DistributedType.FSDP, fsdp_plugin

    os.environ["ACCELERATE_USE_FSDP"] = "true"
    AcceleratorState.__init__ = patched
    try:
        yield
    finally:
        AcceleratorState.__init__ = original


def main() -> None:
    path = Path(sys.argv[1])
    results = []
    for job in json.loads(path.read_text()):
        try:
            results.append(do(job))
        except BiRefNetError as error:
            results.append({"error": f"{type(error).__name__}: {error}"})
    path.with_name(f"results{os.environ['RANK']}.json").write_text(json.dumps(results))


if __name__ == "__main__":
    main()
