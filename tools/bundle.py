"""Put a trained small model into the package.

    python tools/bundle.py runs/nano/nano.safetensors [--size 576] [--upsample guided] [--source TEXT]

Writes `nano.safetensors` (half precision, for PyTorch) and `nano.onnx` (the same, for ONNX Runtime) into
src/birefnet/weights/bundled, the ONNX file compared with the network.
"""

from __future__ import annotations

import argparse
import logging
from pathlib import Path

from birefnet.export.onnx import export_onnx
from birefnet.export.options import ExportOptions
from birefnet.pixels.prepare import InputSpec
from birefnet.weights.checkpoint import load_model, save_model
from birefnet.weights.zoo import ZOO

BUNDLED = Path(__file__).parents[1] / "src" / "birefnet" / "weights" / "bundled"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("weights", type=Path)
    row = ZOO["nano"]
    parser.add_argument("--size", type=int, default=row.size[0])
    parser.add_argument("--upsample", choices=("bilinear", "guided"), default=row.upsample)
    parser.add_argument("--source", default="", help="where the weights came from, for the files' metadata")
    parser.add_argument("-o", "--output", type=Path, default=BUNDLED)
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")

    half = save_model(load_model(arguments.weights).half(), arguments.output / "nano.safetensors")
    spec = InputSpec(width=arguments.size, height=arguments.size, upsample=arguments.upsample)
    onnx = arguments.output / "nano.onnx"
    # From the weights as they were, or they would be rounded twice: before their norms are folded in, and after.
    options = ExportOptions(size=(spec.width, spec.height), precision="fp16")
    export_onnx(load_model(arguments.weights), onnx, spec, options, source=arguments.source)
    for path in (half, onnx):
        print(f"{path.name}: {path.stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
