"""The same function with fewer operations.

`inference_form` is for exporters and GPUs, `fixed_form` for exporters to graphs of one size, `cpu_form` for torch on a
CPU.
"""

from __future__ import annotations

from birefnet.network.inference.cpu import cpu_form
from birefnet.network.inference.fixed import fixed_form
from birefnet.network.inference.form import inference_form

__all__ = ["cpu_form", "fixed_form", "inference_form"]
