"""`torch.compile`, whose results are kept on disk: the second start of a program does not compile again."""

from __future__ import annotations

import hashlib
import logging
from pathlib import Path
from typing import Any, BinaryIO

import torch
from torch import Tensor, nn

from birefnet.cache import cache_folder
from birefnet.errors import ConfigError, first_line
from birefnet.files import write_whole
from birefnet.memory import ran_out
from birefnet.runtimes import machine

logger = logging.getLogger(__name__)


def compiled(network: nn.Module) -> nn.Module:
    """The network, compiled at the first picture of each size, or fetched from what an earlier process compiled."""
    return _Compiled(network)


class _Compiled(nn.Module):
    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network
        self._seen: set[tuple[int, ...]] = set()
        self._compiled: Any = torch.compile(network, dynamic=False)

    def forward(self, picture: Tensor) -> Any:
        shape = tuple(picture.shape)
        if shape in self._seen:
            return self._compiled(picture)
        file = cache_folder() / "compiled" / f"{self._key(picture)}.bin"
        found = _load(file)
        try:
            prediction = self._compiled(picture)
        except Exception as error:  # whatever a compiler raises, the user's way out is the same
            if ran_out(error):
                raise
            raise ConfigError(
                f"torch.compile could not compile the network: {first_line(error)}. On a CPU it needs a C++ compiler, "
                "on a GPU Triton; the mode eager needs neither"
            ) from error
        self._seen.add(shape)
        if not found:
            _save(file)
        return prediction

    def _key(self, picture: Tensor) -> str:
        """Everything that decides what is compiled; a compiled kernel of another processor might not even run here."""
        device = torch.cuda.get_device_name(picture.device) if picture.is_cuda else machine.cpu()["model"]
        weights = [(name, tuple(value.shape), str(value.dtype)) for name, value in self.network.state_dict().items()]
        parts = (torch.__version__, device, machine.cpu()["features"], tuple(picture.shape), weights)
        return hashlib.sha256(repr(parts).encode()).hexdigest()[:32]


def _load(file: Path) -> bool:
    """Hand torch what was compiled before; it checks itself whether it fits."""
    load = getattr(torch.compiler, "load_cache_artifacts", None)  # since torch 2.7
    if load is None or not file.is_file():
        return False
    try:
        load(file.read_bytes())
    except Exception as error:  # a damaged file costs time, nothing else
        logger.warning("`%s` cannot be used, so the network is compiled again: %s", file, error)
        return False
    return True


def _save(file: Path) -> None:
    save = getattr(torch.compiler, "save_cache_artifacts", None)
    artifacts = save() if save is not None else None
    if artifacts is None:
        return
    file.parent.mkdir(parents=True, exist_ok=True)
    write_whole(file, lambda stream: _write(stream, artifacts[0]))


def _write(stream: BinaryIO, content: bytes) -> None:
    stream.write(content)
