"""Calls that mypy must accept, and calls marked `refused` that it must refuse; read by `test_typing.py`."""

from __future__ import annotations

from pathlib import Path

from birefnet import Cutout, Remover, load_model, remove
from birefnet.runtimes.options import RuntimeOptions
from birefnet.runtimes.select import open_model, select
from birefnet.weights.resolve import resolve


def accepted() -> None:
    cutout: Cutout = remove("cat.jpg", "nano", size=[512, 512], device="cuda:1", dtype="float32", refine=True)
    cutout = remove(b"", model=Path("mine.safetensors"), size="native", threads=2, offline=True)
    remover = Remover("lite", runtime="openvino", mode="eager", memory="low", size=(512, 384))
    remover = Remover.from_runtime(select("nano", size=512), size=512, sharpen=True, max_pixels=1000)
    remover = Remover.from_options("nano", RuntimeOptions(dtype="bfloat16"), size=None)
    open_model(resolve("nano"), RuntimeOptions(device="cpu"))
    cutout = remover(cutout.rgba)
    load_model("nano", device="cpu", offline=True)


def rejected() -> None:
    remove("cat.jpg", devise="cpu")  # refused
    remove("cat.jpg", dtype="float8")  # refused
    remove("cat.jpg", size="big")  # refused
    remove("cat.jpg", "nano", "cpu")  # refused
    Remover("nano", runtime="caffe")  # refused
    Remover("nano", sise=512)  # refused
    Remover.from_runtime(select("nano"), device="cuda:9")  # refused
    select("nano", mode="fast")  # refused
    RuntimeOptions(memory="none")  # refused
    RuntimeOptions("torch")  # refused
