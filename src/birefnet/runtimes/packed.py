"""What the runtimes of exported files share: any number of pictures through a network that takes so many at a time."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from birefnet.errors import WeightsError
from birefnet.pixels.prepare import InputSpec
from birefnet.runtimes.base import Batch, Logits, check_batch, check_logits, fits, spec_at
from birefnet.weights.facts import to_spec

OUTPUTS = ("logits", "output_image")  # names of the final map where a file has several outputs


class PackedRuntime(ABC):
    """A network in a file that was made for one library; see `Runtime`.

    A subclass opens the file in its constructor, sets `device`, calls `_describe`, and says how pictures are run.

    Args:
        path: the file.
        name: what to call it; None for the file's name.

    Raises:
        WeightsError: if there is no such file.
    """

    device: str
    spec: InputSpec
    dynamic: bool

    def __init__(self, path: Path, name: str | None) -> None:
        self.path = path
        self.name = name or path.stem
        if not path.is_file():
            raise WeightsError(f"There is no file `{path}`.")

    def _describe(
        self,
        facts: Mapping[str, object],
        *,
        fixed: tuple[int, int] | None,
        size: tuple[int, int] | None,
        defaults: InputSpec | None,
        at_once: tuple[int, int | None] = (1, None),
    ) -> None:
        """Set what the file says of its input.

        Args:
            facts: as of `birefnet.weights.facts`.
            fixed: the (width, height) that the network takes and no other; None if it takes any.
            size: (width, height) to run at instead of the network's own.
            defaults: what to take where the file does not say.
            at_once: the fewest and the most pictures that the network takes; None for any number.

        Raises:
            WeightsError: if the facts are no proper input.
            ConfigError: if the network does not take the size.
        """
        self.dynamic = fixed is None
        own = to_spec(facts, self.path, defaults=defaults, fixed=fixed)
        self.spec = spec_at(own, size, dynamic=self.dynamic, name=self.name)
        self._at_once = at_once
        self._gives_alpha = facts.get("activation") == "none"

    def __call__(self, batch: Batch) -> Logits:
        """(B, 3, h, w) float32 normalised -> (B, 1, h, w) float32 logits; see `Runtime`."""
        check_batch(batch, self.spec, dynamic=self.dynamic)
        self._check_more(batch)
        most = self._at_once[1] or len(batch)
        with fits(self, batch):
            parts = [self._some(batch[start : start + most]) for start in range(0, len(batch), most)]
            logits = np.concatenate(parts)
        return check_logits(logits, batch, self.name)

    def _some(self, batch: Batch) -> Logits:
        """Logits of no more pictures than the network takes at once; the last is repeated where there are too few."""
        missing = self._at_once[0] - len(batch)
        whole = np.concatenate([batch, np.repeat(batch[-1:], missing, axis=0)]) if missing > 0 else batch
        values = self._infer(whole)[: len(batch)]
        return to_logits(values) if self._gives_alpha else np.asarray(values, np.float32)

    def _check_more(self, batch: Batch) -> None:  # noqa: B027  (most have nothing more to check)
        """Refuse what this network does not take, although its input would."""

    @abstractmethod
    def _infer(self, batch: Batch) -> NDArray[np.floating]:
        """Run the network: (N, 3, h, w) -> (N, 1, h, w). What says that memory ran out may pass as it is."""


def to_logits(alpha: NDArray[np.floating]) -> Logits:
    """Alpha in [0, 1] -> the logits it comes from, within what float32 can tell apart."""
    inside = np.clip(np.asarray(alpha, np.float64), 1e-6, 1 - 1e-6)
    return np.log(inside / (1 - inside)).astype(np.float32)
