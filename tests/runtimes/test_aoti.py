"""`.pt2` packages that are damaged, foreign or made for another machine are refused with a sentence, unopened."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from birefnet.errors import DeviceError, WeightsError
from birefnet.pixels.prepare import InputSpec
from birefnet.runtimes import aoti
from birefnet.runtimes.aoti import FACTS, AotiRuntime, machine_facts, read_facts, write_facts


class Brightness(nn.Module):
    """In place of a network: the mean of the channels."""

    def forward(self, input_image: Tensor) -> Tensor:
        return input_image.mean(1, keepdim=True)


FACTS_OF_IT: dict[str, Any] = {"size": [64, 32], "batch": 2, "dynamic": False, "device": "cpu", "compiled": False}


@pytest.fixture
def package(tmp_path: Path) -> Path:
    path = tmp_path / "net.pt2"
    torch.export.save(torch.export.export(Brightness(), (torch.zeros(2, 3, 32, 64),)), path)
    write_facts(path, FACTS_OF_IT)
    return path


def test_runs_a_package_of_fixed_number(package: Path) -> None:
    runtime = AotiRuntime(package, threads=torch.get_num_threads())
    assert runtime.spec == InputSpec(width=64, height=32)
    pictures = np.random.default_rng(0).standard_normal((3, 3, 32, 64), dtype=np.float32)
    np.testing.assert_allclose(runtime(pictures), pictures.mean(1, keepdims=True), atol=1e-6)
    pictures[1] = np.nan
    with pytest.raises(WeightsError, match="not finite"):
        runtime(pictures)


def test_facts_are_replaced_and_folders_blotted_out(package: Path) -> None:
    with zipfile.ZipFile(package, "a") as archive:
        archive.writestr("birefnet/data/code.so", b"before /a/folder/file.h after")
        archive.writestr("birefnet/data/code.cpp", b"source")
    write_facts(package, {"size": 32}, forget=["/a/folder"])
    assert read_facts(package) == {"size": 32}
    with zipfile.ZipFile(package) as archive:
        assert archive.namelist().count(f"birefnet/{FACTS}") == 1
        assert archive.read("birefnet/data/code.so") == b"before _________/file.h after"
        assert "birefnet/data/code.cpp" not in archive.namelist()


def test_packages_that_are_none_of_ours(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="no file"):
        AotiRuntime(tmp_path / "none.pt2")
    path = tmp_path / "net.pt2"
    path.write_bytes(b"anything")
    with pytest.raises(WeightsError, match=r"damaged or no `\.pt2` package"):
        AotiRuntime(path)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("net/archive_format", "pt2")
    with pytest.raises(WeightsError, match="did not write"):
        AotiRuntime(path)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(f"net/{FACTS}", json.dumps(FACTS_OF_IT))
    with pytest.raises(WeightsError, match="no package that this PyTorch opens"):
        AotiRuntime(path)


def test_other_machines_and_devices_are_refused_before_anything_runs(
    package: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(aoti, "_open", lambda *_, **__: pytest.fail("opened"))
    with pytest.raises(DeviceError, match="made for the device `cpu`, not `cuda`"):
        AotiRuntime(package, device="cuda")
    for name in ("torch", "processor", "instructions"):
        machine = machine_facts("cpu") | {name: "another"}
        write_facts(package, FACTS_OF_IT | {"compiled": True, "machine": machine})
        with pytest.raises(DeviceError, match=f"compiled for the {name} another, here it is"):
            AotiRuntime(package)
