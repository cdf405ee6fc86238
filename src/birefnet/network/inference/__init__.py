"""The same function with fewer operations: `inference_form` makes an equal, faster module of a network."""

from __future__ import annotations

from birefnet.network.inference.form import inference_form

__all__ = ["inference_form"]
