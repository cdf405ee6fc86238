"""Every published name leads to one row, and the rows hold together."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from birefnet.errors import UnknownModel
from birefnet.weights.entries import HubFile, ReleaseFile
from birefnet.weights.zoo import ZOO, find, knows, onnx_of, weights_of

DOCS = Path(__file__).parents[2] / "docs" / "weights.md"

REPOSITORIES = {
    "BiRefNet": "general",
    "BiRefNet_lite": "lite",
    "BiRefNet_T": "lite",
    "BiRefNet_lite-2K": "lite-2k",
    "BiRefNet_512x512": "general-512",
    "BiRefNet_HR": "hr",
    "BiRefNet_HR-matting": "hr-matting",
    "BiRefNet_dynamic": "dynamic",
    "BiRefNet_dynamic-matting": "dynamic-matting",
    "BiRefNet-matting": "matting",
    "BiRefNet_lite-matting": "lite-matting",
    "BiRefNet_lite-anime": "lite-anime",
    "BiRefNet-portrait": "portrait",
    "BiRefNet-legacy": "legacy",
    "BiRefNet-DIS5K": "dis",
    "BiRefNet-DIS5K-TR_TEs": "dis-tr-tes",
    "BiRefNet-HRSOD": "hrsod",
    "BiRefNet-COD": "cod",
}
RELEASES = {
    "BiRefNet-general-epoch_244": "general",
    "BiRefNet-general-bb_swin_v1_tiny-epoch_232": "lite",
    "BiRefNet_lite-general-2K-epoch_232": "lite-2k",
    "BiRefNet-general-resolution_512x512-fp16-epoch_216": "general-512",
    "BiRefNet_HR-general-epoch_130": "hr",
    "BiRefNet_HR-matting-epoch_135": "hr-matting",
    "BiRefNet_dynamic-general-epoch_174": "dynamic",
    "BiRefNet_dynamic-matting-epoch_159": "dynamic-matting",
    "BiRefNet-matting-epoch_100": "matting",
    "BiRefNet-portrait-epoch_150": "portrait",
    "BiRefNet-DIS-epoch_590": "dis",
    "BiRefNet-HRSOD_DHU-epoch_115": "hrsod",
    "BiRefNet-COD-epoch_125": "cod",
    "BiRefNet-massive-TR_DIS5K_TR_TEs-epoch_420": "dis-tr-tes",
    "BiRefNet-DIS_ep580": "dis-580",
    "BiRefNet-ep480": "ep480",
    "BiRefNet-massive-epoch_240": "massive-240",
    "BiRefNet-massive-bb_swin_v1_tiny-epoch_235": "massive-lite-235",
    "BiRefNet-portrait-TR_P3M_10k-epoch_120": "portrait-120",
}
REMBG = {
    "birefnet-general": "general",
    "birefnet-general-lite": "lite",
    "birefnet-portrait": "portrait",
    "birefnet-dis": "dis",
    "birefnet-hrsod": "hrsod",
    "birefnet-cod": "cod",
    "birefnet-massive": "dis-tr-tes",
}


@pytest.mark.parametrize(("name", "short"), REPOSITORIES.items())
def test_repositories(name: str, short: str) -> None:
    assert find(name) is find(f"ZhengPeng7/{name}") is find(name.upper()) is ZOO[short]
    assert isinstance(weights_of(name), HubFile)


@pytest.mark.parametrize(("stem", "short"), RELEASES.items())
def test_release_files(stem: str, short: str) -> None:
    assert find(stem) is find(f"{stem}.pth") is find(f"{stem}.onnx") is ZOO[short]
    file = weights_of(f"{stem}.pth")
    assert isinstance(file, ReleaseFile)
    assert file.path == f"ZhengPeng7/BiRefNet/releases/download/v1/{stem}.pth"


@pytest.mark.parametrize(("name", "short"), REMBG.items())
def test_names_of_rembg(name: str, short: str) -> None:
    assert find(name) is ZOO[short]
    assert isinstance(onnx_of(name), ReleaseFile)


def test_names_of_fal() -> None:
    names = ("General Use (Light)", "General Use (Light 2K)", "General Use (Heavy)", "Matting", "Portrait")
    assert [find(name).name for name in names] == ["general", "lite-2k", "lite", "matting", "portrait"]
    assert find("General Use (Dynamic)").name == "dynamic"


def test_every_short_name_is_a_short_name() -> None:
    for name, entry in ZOO.items():
        assert find(name) is entry
        assert re.fullmatch(r"[a-z0-9-]+", name)


def test_what_is_said_to_be_known_is_well_formed() -> None:
    for entry in ZOO.values():
        width, height = entry.size
        assert width % 32 == 0
        assert height % 32 == 0
        assert entry.licence
        assert entry.data
        for file in entry.files():
            if isinstance(file, HubFile):
                assert file.revision == "main" or re.fullmatch(r"[0-9a-f]{40}", file.revision)
                assert re.fullmatch(r"[0-9a-f]{0,64}", file.sha256 + file.seen)
            elif isinstance(file, ReleaseFile):
                assert len(file.sha256) in (0, 8, 64)
                assert len(file.md5) in (0, 32)


@pytest.mark.parametrize(
    ("name", "meant"),
    [("genral", "general"), ("birefnet_lit", "lite"), ("Portait", "portrait"), ("hr-mating", "hr-matting")],
)
def test_did_you_mean(name: str, meant: str) -> None:
    assert not knows(name)
    with pytest.raises(UnknownModel, match=rf"No model named `{name}`; known: nano, general, ") as caught:
        find(name)
    assert caught.value.hint == f"did you mean `{meant}`?"


def test_nothing_like_it() -> None:
    with pytest.raises(UnknownModel, match=r"portrait-120$") as caught:
        find("xyzzy")
    assert caught.value.hint is None


def test_model_without_onnx_file() -> None:
    with pytest.raises(UnknownModel, match="its weights run with PyTorch"):
        onnx_of("BiRefNet_dynamic")


def test_documented() -> None:
    text = DOCS.read_text(encoding="utf-8")
    assert not [name for name in ZOO if f"| `{name}` |" not in text]


def test_needs_no_torch() -> None:
    code = "import sys, birefnet.weights.zoo, birefnet.weights.download, birefnet.weights.names, birefnet.cli.models; "
    code += "assert not {'torch', 'onnxruntime', 'numpy', 'huggingface_hub'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_one_mean_and_deviation_of_imagenet() -> None:
    pytest.importorskip("torch")
    from birefnet.pixels.prepare import IMAGENET_MEAN, IMAGENET_STD

    assert (ZOO["general"].mean, ZOO["general"].std) == (IMAGENET_MEAN, IMAGENET_STD)
