"""The door of this room: what a recipe's `data` says, as a stream of samples."""

from __future__ import annotations

from birefnet.data.config import AugmentConfig, DataConfig, Source, parse_sources
from birefnet.data.epochs import Epochs
from birefnet.data.library import Library
from birefnet.data.mixture import Mixture
from birefnet.data.stream import Sample, Size, Stream

__all__ = [
    "AugmentConfig",
    "DataConfig",
    "Epochs",
    "Library",
    "Mixture",
    "Sample",
    "Size",
    "Source",
    "Stream",
    "open_stream",
    "parse_sources",
]


def open_stream(config: DataConfig, seed: int, processes: int = 1) -> Stream:
    """Find, check and load what `config` names, and give its samples.

    Args:
        config: what to train on.
        seed: of everything random.
        processes: how many processes of this machine open the same stream; each keeps its own pictures in memory.

    Raises:
        DataError: one error that lists everything missing, unreadable or not fitting; or if `config.cache` would not
            fit into memory.
    """
    library = Library.load(config, processes)
    return Epochs(library, config, seed) if config.order == "epochs" else Mixture(library, config, seed)
