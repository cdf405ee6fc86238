"""Backbones as their authors publish them: every value arrives where it belongs, and what does not fit is said."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from safetensors.torch import save, save_file
from torch import Tensor, nn

from birefnet.errors import DownloadError, UnknownModel, WeightsError
from birefnet.network.backbones import BACKBONES
from birefnet.network.birefnet import BiRefNet
from birefnet.weights.backbones import LoadReport, fill_backbone, find_backbone_file
from birefnet.weights.names import to_released
from birefnet.weights.reading import read_weights
from tests.weights.foreign import EXTRAS, foreign_names, foreign_state
from tests.weights.serving import Served, serving

SMALL = [
    ("swin_v1_t", "microsoft"),
    ("swin_v1_t", "timm swin"),
    ("pvt_v2_b0", "pvt"),
    ("pvt_v2_b0", "timm pvt"),
    ("vgg16", "torchvision vgg"),
    ("vgg16bn", "torchvision vgg"),
    ("resnet50", "torchvision resnet"),
    ("dino_v3_s", "dinov3"),
    ("dino_v3_s_plus", "dinov3"),
]


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(0)


def made(name: str) -> nn.Module:
    return BACKBONES[name].build()


@pytest.mark.parametrize(("name", "layout"), SMALL)
def test_every_value_arrives(name: str, layout: str) -> None:
    backbone, state = made(name), foreign_state(name, layout)
    before = {key: tensor.clone() for key, tensor in backbone.state_dict().items()}
    report = fill_backbone(backbone, name, state, "the file")
    names = {ours: theirs for theirs, ours in foreign_names(name, layout).items()}
    after = backbone.state_dict()
    for ours, tensor in after.items():
        same = before if ours not in names or ours.endswith("relative_position_index") else None
        torch.testing.assert_close(tensor, before[ours] if same else state[names[ours]], rtol=0, atol=0)
    masks = [theirs for theirs in names.values() if theirs.endswith("relative_position_index")]
    assert sorted(entry for entries in report.left_out.values() for entry in entries) == sorted(
        [*EXTRAS[layout], *masks]
    )
    swin = name.startswith("swin")
    assert report.fresh == (tuple(f"norm{i}.{part}" for i in range(4) for part in ("weight", "bias")) if swin else ())
    assert report.loaded == len(names) - len(masks)
    assert not report.resized


def load_backbone(backbone: nn.Module, name: str, source: str, *, offline: bool = False) -> LoadReport:
    path = find_backbone_file(source, offline=offline)
    return fill_backbone(backbone, name, read_weights(path).state, f"`{path}`")


def test_the_report_is_one_sentence() -> None:
    report = fill_backbone(made("swin_v1_t"), "swin_v1_t", foreign_state("swin_v1_t", "microsoft"), "`a.pth`")
    assert str(report) == (
        "Started from `a.pth` (Swin as Microsoft names it): 169 entries loaded; left out: masks and index tables "
        "(14 entries), final norm (2 entries), classifier (2 entries); fresh: norm0.weight, norm0.bias, norm1.weight, "
        "norm1.bias and 4 more"
    )


def test_from_a_file_as_published(tmp_path: Path) -> None:
    state = foreign_state("pvt_v2_b0", "pvt")
    torch.save(state, tmp_path / "pvt_v2_b0.pth")
    torch.save({"model": state}, tmp_path / "nested.pt")
    save_file({name: tensor.half() for name, tensor in state.items()}, tmp_path / "half.safetensors")
    (tmp_path / "folder").mkdir()
    save_file({f"module.{name}": tensor for name, tensor in state.items()}, tmp_path / "folder" / "model.safetensors")
    for name in ("pvt_v2_b0.pth", "nested.pt", "half.safetensors", "folder"):
        backbone = made("pvt_v2_b0")
        report = load_backbone(backbone, "pvt_v2_b0", str(tmp_path / name))
        weight = backbone.state_dict()["block1.0.attn.q.weight"]
        assert weight.dtype == torch.float32
        tolerance = 1e-2 if name.startswith("half") else 0.0
        torch.testing.assert_close(weight, state["block1.0.attn.q.weight"], rtol=tolerance, atol=tolerance)
        assert report.loaded == len(state) - 2


def test_code_is_never_run(tmp_path: Path) -> None:
    torch.save({"model": foreign_state("pvt_v2_b0", "pvt"), "config": Path("x")}, tmp_path / "a.pth")
    with pytest.raises(WeightsError, match="never done"):
        load_backbone(made("pvt_v2_b0"), "pvt_v2_b0", str(tmp_path / "a.pth"))


# -- Swin with other windows ------------------------------------------------------------------------------------


def test_windows_of_another_size_are_interpolated() -> None:
    backbone, state = made("swin_v1_t"), foreign_state("swin_v1_t", "microsoft")
    name = "layers.0.blocks.0.attn.relative_position_bias_table"
    rows, columns = torch.meshgrid(torch.arange(23.0), torch.arange(23.0), indexing="ij")
    # A plane stays a plane: down and right must not be exchanged, nor the heads.
    planes = [rows + 3 * columns, 2 * rows - columns, columns]
    state[name] = torch.stack([plane.flatten() for plane in planes], dim=1)  # windows of 12: (23 * 23, 3 heads)
    report = fill_backbone(backbone, "swin_v1_t", state, "the file")
    assert report.resized == (name,)
    assert str(report).endswith(f"interpolated to our window: {name}")
    table = backbone.state_dict()[name].reshape(13, 13, 3)
    middle = slice(2, -2)  # bicubic interpolation bends at the border, and wriggles by less than 0.2 elsewhere
    place = (torch.arange(13.0) + 0.5) * 23 / 13 - 0.5
    for head, (down, right) in enumerate([(1, 3), (2, -1), (0, 1)]):
        wanted = down * place[:, None] + right * place[None]
        torch.testing.assert_close(table[middle, middle, head], wanted[middle, middle], rtol=0, atol=0.25)


def test_a_table_of_no_window_is_refused() -> None:
    state = foreign_state("swin_v1_t", "microsoft")
    name = "layers.0.blocks.0.attn.relative_position_bias_table"
    for shape in ((170, 3), (144, 3), (529, 4)):
        with pytest.raises(WeightsError, match=rf"`{name}` is \[{shape[0]}, {shape[1]}\], not \[169, 3\]"):
            fill_backbone(made("swin_v1_t"), "swin_v1_t", state | {name: torch.zeros(shape)}, "the file")


# -- what does not fit ------------------------------------------------------------------------------------------


def test_another_variant_says_which() -> None:
    state = {
        name: torch.zeros(())[(None,) * len(shape)].expand(shape)
        for name, shape in ((key, tensor.shape) for key, tensor in foreign_state("swin_v1_t", "microsoft").items())
    }
    deeper = {
        name.replace("layers.2.blocks.0.", f"layers.2.blocks.{block}."): tensor
        for block in range(18)
        for name, tensor in state.items()
        if name.startswith("layers.2.blocks.0.")
    }
    with pytest.raises(WeightsError, match=r"holds a swin_v1_s .* network has a swin_v1_t: set `network\.backbone` to"):
        fill_backbone(made("swin_v1_t"), "swin_v1_t", state | deeper, "the file")
    with pytest.raises(WeightsError, match=r"holds a vgg16bn .* network has a vgg16:"):
        fill_backbone(made("vgg16"), "vgg16", foreign_state("vgg16bn", "torchvision vgg"), "the file")


def test_differences_are_listed_and_nothing_is_changed() -> None:
    state = foreign_state("pvt_v2_b0", "pvt")
    del state["patch_embed1.proj.weight"], state["norm4.bias"]
    state |= {f"pos_embed{i}": torch.zeros(1) for i in range(12)}
    state["norm1.weight"] = torch.zeros(5)
    backbone = made("pvt_v2_b0")
    before = {key: tensor.clone() for key, tensor in backbone.state_dict().items()}
    with pytest.raises(WeightsError) as caught:
        fill_backbone(backbone, "pvt_v2_b0", state, "the file")
    text = str(caught.value)
    assert "does not fit a pvt_v2_b0: 2 entries missing (`patch_embed1.proj.weight`, `norm4.bias`)" in text
    assert "12 entries unexpected (`pos_embed0`" in text and "`pos_embed9`, ...)" in text
    assert "1 entry of another shape (`norm1.weight` is [5], not [32])" in text
    torch.testing.assert_close(backbone.state_dict(), before, rtol=0, atol=0)


def test_values_that_are_not_finite() -> None:
    state = foreign_state("pvt_v2_b0", "pvt")
    state["norm4.bias"][3] = float("nan")
    with pytest.raises(WeightsError, match=r"the file holds values that are not finite, in `norm4\.bias`"):
        fill_backbone(made("pvt_v2_b0"), "pvt_v2_b0", state, "the file")


def test_a_layout_that_nobody_knows() -> None:
    state = {"embeddings.cls_token": torch.zeros(1), "layer.0.attention.q_proj.weight": torch.zeros(1)}
    with pytest.raises(WeightsError, match=r"no layout known for backbones .*`embeddings\.cls_token`"):
        fill_backbone(made("pvt_v2_b0"), "pvt_v2_b0", state, "the file")


def test_biases_of_zero_are_left_out_and_others_refused() -> None:
    state = foreign_state("dino_v3_s", "dinov3")
    biases = {f"blocks.{i}.attn.{part}_bias": torch.zeros(384) for i in range(12) for part in "qv"}
    report = fill_backbone(made("dino_v3_s"), "dino_v3_s", state | biases, "the file")
    assert report.left_out["biases of zero"] == tuple(biases)
    biases["blocks.3.attn.v_bias"][7] = 0.1
    with pytest.raises(WeightsError, match=r"other than zero in `blocks\.3\.attn\.v_bias`"):
        fill_backbone(made("dino_v3_s"), "dino_v3_s", state | biases, "the file")


# -- other sources ----------------------------------------------------------------------------------------------


def _same(backbone: nn.Module, other: nn.Module) -> bool:
    ours, theirs = backbone.state_dict(), other.state_dict()
    return ours.keys() == theirs.keys() and all(torch.equal(ours[name], theirs[name]) for name in ours)


@pytest.mark.parametrize("released", [True, False])
def test_cut_from_a_whole_network(tiny: BiRefNet, released: bool) -> None:
    state: dict[str, Tensor] = tiny.state_dict()
    state = {f"module.{name}": tensor for name, tensor in (to_released(state) if released else state).items()}
    backbone = made("mobilenet_v2")
    report = fill_backbone(backbone, "mobilenet_v2", state, "the file")
    assert _same(backbone, tiny.encoder.backbone)
    inside = len(backbone.state_dict())
    assert report.loaded == inside and len(report.left_out["decoder"]) == len(state) - inside
    assert not report.fresh


def test_a_backbone_in_our_own_names(tiny: BiRefNet) -> None:
    backbone = made("mobilenet_v2")
    report = fill_backbone(backbone, "mobilenet_v2", tiny.encoder.backbone.state_dict(), "the file")
    assert _same(backbone, tiny.encoder.backbone) and not report.left_out
    resnet = made("resnet50")
    assert fill_backbone(made("resnet50"), "resnet50", resnet.state_dict(), "the file").loaded == 318


def test_the_backbone_of_the_model_in_the_box() -> None:
    from birefnet.weights.checkpoint import load_model

    backbone = made("mobilenet_v2")
    load_backbone(backbone, "mobilenet_v2", "nano", offline=True)
    assert _same(backbone, load_model("nano", offline=True).encoder.backbone)


def test_files_that_are_not_there(tmp_path: Path) -> None:
    with pytest.raises(UnknownModel, match=r"no file or folder `weights/swin\.pth`") as caught:
        find_backbone_file("weights/swin.pth")
    assert "docs/starting.md" in str(caught.value.hint)
    with pytest.raises(DownloadError, match="`data/backbones` is neither a file here nor a repository"):
        find_backbone_file("data/backbones", offline=True)
    for source in ("hub:", "hub:timm", "hub:timm/a b"):
        with pytest.raises(UnknownModel, match="names no file of the Hub"):
            find_backbone_file(source)
    with pytest.raises(UnknownModel, match="names no weights file"):
        find_backbone_file("hub:timm/resnet50/README.md")


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Served]:
    for name in ("BIREFNET_OFFLINE", "HF_HUB_OFFLINE", "HF_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("BIREFNET_CACHE", str(tmp_path / "cache"))
    with serving() as served:
        monkeypatch.setenv("HF_ENDPOINT", served.address)
        yield served


def test_from_the_hub(server: Served, caplog: pytest.LogCaptureFixture) -> None:
    state = foreign_state("pvt_v2_b0", "timm pvt")
    server.files["timm/pvt_v2_b0.in1k/model.safetensors"] = save(state)
    server.files["timm/pvt_v2_b0.in1k/old/other.safetensors"] = save({"x": torch.zeros(1)})
    with caplog.at_level("INFO"):
        report = load_backbone(made("pvt_v2_b0"), "pvt_v2_b0", "hub:timm/pvt_v2_b0.in1k")
    assert report.layout == "PVTv2 as timm names it"
    assert "model.safetensors of timm/pvt_v2_b0.in1k (14 MB)" in caplog.text  # the size is said
    other = find_backbone_file("hub:timm/pvt_v2_b0.in1k@main/old/other.safetensors")
    assert other.name == "other.safetensors"
    asked = len(server.requests)
    load_backbone(made("pvt_v2_b0"), "pvt_v2_b0", "hub:timm/pvt_v2_b0.in1k/model.safetensors", offline=True)
    assert len(server.requests) == asked


def test_offline_fetches_nothing(server: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    server.files["timm/a/model.safetensors"] = b"x"
    for source in ("hub:timm/a", "hub:timm/a/model.safetensors"):
        with pytest.raises(DownloadError, match="offline"):
            find_backbone_file(source, offline=True)
    monkeypatch.setenv("BIREFNET_OFFLINE", "1")
    with pytest.raises(DownloadError, match="offline"):
        find_backbone_file("hub:timm/a")
    assert not server.requests
