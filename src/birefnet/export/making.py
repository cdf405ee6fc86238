"""A small maker of ONNX nodes: rewriting a graph reads like the arithmetic it adds."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from birefnet.errors import require


class Maker:
    """Makes nodes in the order of computing, and the constants they need; equal constants are made once.

    Args:
        prefix: stands before every name that is made, so that they are new to the graph.

    Attributes:
        nodes: those made so far.
        initialisers: the constants made so far.
    """

    def __init__(self, prefix: str) -> None:
        self._onnx: Any = require("onnx", "export")
        self._prefix = prefix
        self._constants: dict[tuple[Any, ...], str] = {}
        self.nodes: list[Any] = []
        self.initialisers: list[Any] = []

    def __call__(self, operator: str, *inputs: str, output: str | None = None, **attributes: Any) -> str:
        """A node of one output; gives the output's name."""
        name = f"{self._prefix}.{len(self.nodes)}.{operator}"
        made = output or name
        self.nodes.append(self._onnx.helper.make_node(operator, list(inputs), [made], name, **attributes))
        return made

    def constant(self, values: NDArray[Any]) -> str:
        """An initialiser; gives its name."""
        key = (values.dtype.str, values.shape, values.tobytes())
        if key not in self._constants:
            self._constants[key] = f"{self._prefix}.constant{len(self._constants)}"
            proto = self._onnx.numpy_helper.from_array(np.array(values, order="C"), self._constants[key])
            self.initialisers.append(proto)
        return self._constants[key]

    def int64(self, *values: int) -> str:
        """A constant (n,) of int64, as shapes and axes are given."""
        return self.constant(np.array(values, np.int64))

    def int32(self, value: int) -> str:
        """A scalar of int32, as the places in a table are counted."""
        return self.constant(np.array(value, np.int32))

    def float32(self, value: float) -> str:
        """A scalar of float32."""
        return self.constant(np.array(value, np.float32))
