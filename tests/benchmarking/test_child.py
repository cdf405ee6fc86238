"""One step of a row, in this process: real networks, tiny."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest

from birefnet.benchmarking import child
from birefnet.benchmarking.job import Job
from birefnet.benchmarking.picture import rendered
from birefnet.benchmarking.random_weights import random_network
from birefnet.errors import ConfigError
from birefnet.pixels.prepare import InputSpec, prepare

pytest.importorskip("torch")


@pytest.fixture(scope="module")
def job(tmp_path_factory: pytest.TempPathFactory) -> Job:
    """The reference's, for a network of a few thousand weights."""
    from birefnet.network import BiRefNet, BiRefNetConfig
    from birefnet.weights.checkpoint import save_model
    from tests.seeded import fill

    folder = tmp_path_factory.mktemp("child")
    network = BiRefNet(BiRefNetConfig(backbone="mobilenet_v2", inner_width=8, attention_width=8, picture_width=8))
    network.load_state_dict(fill(network.state_dict()))
    weights = save_model(network, folder / "tiny.safetensors")
    batch, _ = prepare(rendered(80), InputSpec(width=96, height=64))
    np.save(folder / "batch.npy", batch)
    return Job(
        runtime="eager",
        precision="fp32",
        width=96,
        height=64,
        weights=str(weights),
        facts={"mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225], "upsample": "bilinear"},
        batch=str(folder / "batch.npy"),
        reference=str(folder / "alpha.npy"),
        device="cpu",
        repeats=2,
    )


def test_rows_are_measured_and_compared_with_the_reference(job: Job) -> None:
    first = child.measure(job)
    assert first["mean_difference"] == first["largest_difference"] == 0
    assert first["load_seconds"] > 0 and first["first_seconds"] > 0
    assert first["median_seconds"] >= first["least_seconds"] > 0
    assert first["peak_mib"] > 50 and first["gpu_mib"] is None
    fast = child.measure(replace(job, runtime="torch"))
    assert fast["largest_difference"] < 1e-4
    half = child.measure(replace(job, runtime="torch", precision="bf16"))
    assert fast["largest_difference"] < half["largest_difference"] < 0.2
    assert np.load(job.reference).std() > 0.01  # the network says something


def test_what_goes_wrong_is_a_sentence(job: Job, tmp_path: Path) -> None:
    def step(changed: Job) -> dict[str, object]:
        (tmp_path / "job.json").write_text(json.dumps(asdict(changed)))
        child.main("measure", str(tmp_path / "job.json"), str(tmp_path / "result.json"))
        found: dict[str, object] = json.loads((tmp_path / "result.json").read_text())
        return found

    assert step(job)["median_seconds"]
    cannot = step(replace(job, runtime="torch", precision="fp16"))
    assert cannot["status"] == "left out" and "float16" in str(cannot["reason"])
    assert step(replace(job, device="toaster"))["status"] == "left out"
    gone = step(replace(job, weights=str(tmp_path / "nothing.safetensors")))
    assert gone["status"] == "failed" and "nothing.safetensors" in str(gone["reason"])
    assert "FileNotFoundError: " in str(step(replace(job, batch="nothing.npy"))["reason"])


def test_a_matrix_product(job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(child, "PRODUCT_SIDE", 64)
    assert 0 < child.product(job)["product_seconds"] < 1


@pytest.mark.slow
@pytest.mark.parametrize(
    ("runtime", "precision"), [("onnx", "fp32"), ("onnx-decomposed", "fp32"), ("openvino", "bf16")]
)
def test_exported_files_are_made_and_run(job: Job, tmp_path: Path, runtime: str, precision: str) -> None:
    for library in ("onnx", "onnxscript", "openvino"):
        pytest.importorskip(library)
    child.measure(job)
    changed = replace(job, runtime=runtime, precision=precision, file=str(tmp_path / "out.onnx"))
    if runtime == "openvino":
        changed = replace(changed, file=str(tmp_path / "out"))
    made = child.export(changed)
    assert made["file_bytes"] > 1000 and made["export_seconds"] > 0
    assert child.measure(changed)["largest_difference"] < (1e-4 if precision == "fp32" else 0.2)


def test_random_networks_are_the_same_everywhere() -> None:
    network = random_network("mobilenet_v2")
    state = network.state_dict()
    assert network.config.attention == "aspp_deformable"
    offsets = [value for name, value in state.items() if "offset" in name and name.endswith("weight")]
    assert offsets and all(value.abs().max() > 0 for value in offsets)
    again = random_network("mobilenet_v2").state_dict()
    assert all((state[name] == again[name]).all() for name in state)
    with pytest.raises(ConfigError, match="No backbone"):
        random_network("swin_v9")
