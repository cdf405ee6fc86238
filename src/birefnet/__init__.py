"""Cut the foreground out of a picture with a clean, soft alpha.

```python
from birefnet import remove
cutout = remove("cat.jpg")
cutout.save("cat.png")
cutout.alpha          # (H, W) float32 in [0, 1]
```

Importing this package loads neither a runtime nor numpy: each public name is fetched when first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from birefnet.errors import (
        BiRefNetError,
        ConfigError,
        DataError,
        DeviceError,
        DownloadError,
        InputError,
        MissingExtra,
        OutOfMemory,
        PictureError,
        UnknownModel,
        WeightsError,
    )
    from birefnet.evaluation.judge import evaluate
    from birefnet.evaluation.outcome import Evaluation
    from birefnet.network.birefnet import BiRefNet
    from birefnet.network.config import BiRefNetConfig
    from birefnet.pixels.picture import Picture, read_picture
    from birefnet.pixels.writing import write_picture
    from birefnet.remover import Cutout, Remover, remove
    from birefnet.weights.checkpoint import load_model, save_model

__version__ = "0.1.0"

_HOMES = {
    "remove": "birefnet.remover",
    "Remover": "birefnet.remover",
    "Cutout": "birefnet.remover",
    "Picture": "birefnet.pixels.picture",
    "read_picture": "birefnet.pixels.picture",
    "write_picture": "birefnet.pixels.writing",
    "load_model": "birefnet.weights.checkpoint",
    "save_model": "birefnet.weights.checkpoint",
    "evaluate": "birefnet.evaluation.judge",
    "Evaluation": "birefnet.evaluation.outcome",
    "BiRefNet": "birefnet.network.birefnet",
    "BiRefNetConfig": "birefnet.network.config",
    "BiRefNetError": "birefnet.errors",
    "ConfigError": "birefnet.errors",
    "DataError": "birefnet.errors",
    "DeviceError": "birefnet.errors",
    "DownloadError": "birefnet.errors",
    "InputError": "birefnet.errors",
    "MissingExtra": "birefnet.errors",
    "OutOfMemory": "birefnet.errors",
    "PictureError": "birefnet.errors",
    "UnknownModel": "birefnet.errors",
    "WeightsError": "birefnet.errors",
}

__all__ = [
    "BiRefNet",
    "BiRefNetConfig",
    "BiRefNetError",
    "ConfigError",
    "Cutout",
    "DataError",
    "DeviceError",
    "DownloadError",
    "Evaluation",
    "InputError",
    "MissingExtra",
    "OutOfMemory",
    "Picture",
    "PictureError",
    "Remover",
    "UnknownModel",
    "WeightsError",
    "__version__",
    "evaluate",
    "load_model",
    "read_picture",
    "remove",
    "save_model",
    "write_picture",
]


def __getattr__(name: str) -> Any:
    """Fetch a public name from the module that defines it, at its first use."""
    if name not in _HOMES:
        raise AttributeError(f"module `birefnet` has no attribute `{name}`")
    # The first import of `birefnet.remover` binds only the module's name, never one of these: no name is both.
    value = getattr(_home(_HOMES[name]), name)
    globals()[name] = value
    return value


def _home(module: str) -> Any:
    """The module, or the sentence that says which extra is missing: only PyTorch can be, of what public names need."""
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name != "torch":
            raise
        from birefnet.errors import require

        require("torch", "torch")  # says it
        raise


def __dir__() -> list[str]:
    return sorted(__all__)
