"""The network: torch only, no pictures, no files."""

from birefnet.network.birefnet import BiRefNet, Prediction
from birefnet.network.config import BiRefNetConfig

__all__ = ["BiRefNet", "BiRefNetConfig", "Prediction"]
