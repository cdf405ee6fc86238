"""The same function with fewer operations: `inference_form` for exporters and GPUs, `cpu_form` for torch on a CPU."""

from __future__ import annotations

from birefnet.network.inference.cpu import cpu_form
from birefnet.network.inference.form import inference_form

__all__ = ["cpu_form", "inference_form"]
