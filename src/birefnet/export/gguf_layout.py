"""The layout of vision.cpp's BiRefNet: how its GGUF files name and shape what a checkpoint holds; both ways.

Source of the facts: the converter and the graph code of github.com/Acly/vision.cpp (MIT). Batch norms are part of the
convolution before them; those behind a deformable convolution are a factor and a summand per channel. The kernels are
stored as PyTorch has them ("whcn", counted from the fastest axis), that of the patch embedding channels-last. The
tables of relative positions stay tables; their indices are worked out by the reader.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from birefnet.errors import ConfigError, WeightsError
from birefnet.inputs import IMAGENET_MEAN, IMAGENET_STD
from birefnet.network.config import BiRefNetConfig
from birefnet.pixels.prepare import InputSpec

MULTIPLE = 128  # of the sides; what the layout's own files say
LONGEST_NAME = 63  # characters
EPS = 1e-5  # of every batch norm
SWIN = {"swin_v1_t": ("tiny", 96), "swin_v1_l": ("large", 192)}  # backbone -> its name there, its first width

# What the reader's graph is made of; all else of a config is seen from the tensors' shapes.
_FIXED = {
    "two_scale": "cat",
    "context": 3,
    "squeeze": "basic",
    "block": "basic",
    "attention": "aspp_deformable",
    "picture_input": "tiles",
    "gradient_reference": True,
    "batch_norm": True,
    "neck_widths": None,
}
_SHORTER = (  # parts of the released names -> what they are called there
    ("decoder_block", "block"),
    ("atrous_conv", "conv"),
    ("modulator_conv", "modulator"),
    ("offset_conv", "offset"),
    ("regular_conv", "conv"),
)
_FOLDED = (  # end of a batch norm's path -> that of the convolution before it
    (r"global_avg_pool\.2", "global_avg_pool.1"),
    (r"dec_att\.bn1", "dec_att.conv1"),
    (r"bn_in", "conv_in"),
    (r"bn_out", "conv_out"),
    (r"(gdt_convs_\d)\.1", r"\1.0"),
)
_LEFT_OUT = ("relative_position_index", "num_batches_tracked")
_CHANNELS_LAST = "bb.patch_embed.proj.weight"


def check_network(config: BiRefNetConfig) -> None:
    """Refuse a network that the layout has no words for.

    Raises:
        ConfigError: for another backbone than Swin tiny and large, or other parts than the released models have.
    """
    if config.backbone not in SWIN:
        raise ConfigError(
            f"The GGUF layout of vision.cpp knows the backbones {' and '.join(SWIN)}, not `{config.backbone}`; "
            "export to ONNX or OpenVINO instead"
        )
    for name, wanted in _FIXED.items():
        got = getattr(config, name)
        if got != wanted:
            raise ConfigError(
                f"The GGUF layout of vision.cpp knows networks with `{name}` {wanted!r} only, not {got!r}; "
                "export to ONNX or OpenVINO instead"
            )


def check_input(spec: InputSpec, *, dynamic: bool) -> int:
    """The side that the file names: of the square input, or -1 for any.

    Raises:
        ConfigError: if the layout cannot say what the input is.
    """
    if (spec.mean, spec.std) != (IMAGENET_MEAN, IMAGENET_STD):
        raise ConfigError(
            f"vision.cpp normalises with mean {IMAGENET_MEAN} and std {IMAGENET_STD} always; "
            f"this network wants {spec.mean} and {spec.std}"
        )
    if dynamic:
        return -1
    if spec.width != spec.height or spec.width % MULTIPLE:
        raise ConfigError(
            f"vision.cpp takes squares in multiples of {MULTIPLE}, got {spec.width}x{spec.height}; "
            "give such a side, or `dynamic`"
        )
    return spec.width


def to_layout(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A state dict in the released names -> the file's tensors, float32, in its order.

    Raises:
        WeightsError: if a name is too long for the format.
    """
    conv_of = _conv_of_norms(state)
    norm_of = {conv: norm for norm, conv in conv_of.items() if conv}
    tensors: dict[str, Tensor] = {}
    for name, value in state.items():
        path, _, leaf = name.rpartition(".")
        if leaf in _LEFT_OUT:
            continue
        if path in conv_of:
            if not conv_of[path] and leaf in ("weight", "bias"):
                factor, summand = _factor_and_summand(state, path)
                tensors[name] = factor if leaf == "weight" else summand
        elif path in norm_of:
            if leaf == "weight":
                factor, summand = _factor_and_summand(state, norm_of[path])
                tensors[name] = value.double() * factor[:, None, None, None]
                bias = state.get(f"{path}.bias")
                tensors[f"{path}.bias"] = summand if bias is None else bias.double() * factor + summand
        else:
            tensors[name] = value
    renamed = {_shorter(name): _axes(name, value).float().contiguous() for name, value in tensors.items()}
    assert len(renamed) == len(tensors)
    longest = max(renamed, key=len)
    if len(longest) > LONGEST_NAME:
        raise WeightsError(f"GGUF names have up to {LONGEST_NAME} letters; this network has `{longest}`")
    return renamed


def from_layout(tensors: Mapping[str, Tensor], like: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The inverse of `to_layout`: batch norms come back as ones that only add what was folded.

    Args:
        tensors: of a file; each must be used.
        like: a state dict in the released names, for names, shapes and what the file leaves out.

    Returns:
        float32 entries for every name of `like`.

    Raises:
        WeightsError: if a tensor is missing, left over or of another shape.
    """
    conv_of = _conv_of_norms(like)
    norm_of = {conv: norm for norm, conv in conv_of.items() if conv}
    left, state = dict(tensors), {}
    for name, old in like.items():
        path, _, leaf = name.rpartition(".")
        if leaf in _LEFT_OUT:
            state[name] = old
        elif path in conv_of and leaf == "running_mean":
            state[name] = torch.zeros_like(old, dtype=torch.float32)
        elif path in conv_of and leaf == "running_var":
            state[name] = torch.full_like(old, 1 - EPS, dtype=torch.float32)
        elif conv_of.get(path):
            folded = f"{conv_of[path]}.bias"
            state[name] = torch.ones_like(old, dtype=torch.float32) if leaf == "weight" else _pop(left, folded)
        elif path in norm_of and leaf == "bias":
            state[name] = torch.zeros_like(old, dtype=torch.float32)  # it is in the norm's
        else:
            state[name] = _pop(left, name)
        if state[name].shape != old.shape:
            shapes = f"{tuple(state[name].shape)} instead of {tuple(old.shape)}"
            raise WeightsError(f"The GGUF tensor `{_shorter(name)}` has the shape {shapes}")
    if left:
        raise WeightsError(f"This GGUF file has tensors that no network here has: {', '.join(sorted(left)[:5])}")
    return state


def kernels(tensors: Mapping[str, Tensor]) -> list[int]:
    """Places in the file of the kernels that a reader may turn to channels-last."""
    names = enumerate(tensors.items())
    return [place for place, (name, value) in names if value.ndim == 4 and name != _shorter(_CHANNELS_LAST)]


def _conv_of_norms(state: Mapping[str, Tensor]) -> dict[str, str]:
    """Path of each batch norm -> that of the convolution it is folded into; "" where it stays a norm."""
    found = {}
    for name in state:
        path, _, leaf = name.rpartition(".")
        if leaf == "running_var":
            replaced = (re.subn(rf"(?<![^.])(?:{norm})$", conv, path) for norm, conv in _FOLDED)
            found[path] = next((conv for conv, changes in replaced if changes), "")
            assert found[path] or path.endswith(".bn"), (
                path
            )  # the networks that `check_network` lets pass have no other
    return found


def _factor_and_summand(state: Mapping[str, Tensor], norm: str) -> tuple[Tensor, Tensor]:
    """A batch norm in evaluation as a product and a sum per channel, float64."""
    weight, bias, mean, var = (state[f"{norm}.{leaf}"].double() for leaf in _NORM)
    factor = weight / torch.sqrt(var + EPS)
    return factor, bias - mean * factor


_NORM = ("weight", "bias", "running_mean", "running_var")


def _axes(name: str, value: Tensor) -> Tensor:
    return value.permute(0, 2, 3, 1) if name == _CHANNELS_LAST else value


def _pop(tensors: dict[str, Tensor], name: str) -> Tensor:
    short = _shorter(name)
    if short not in tensors:
        raise WeightsError(f"This GGUF file has no tensor `{short}`")
    value = tensors.pop(short).float()
    return value.permute(0, 3, 1, 2) if name == _CHANNELS_LAST else value


def _shorter(name: str) -> str:
    for long, short in _SHORTER:
        name = name.replace(long, short)
    return name


def same_eps(network: nn.Module) -> bool:
    """Whether every batch norm adds the layout's epsilon."""
    return all(module.eps == EPS for module in network.modules() if isinstance(module, nn.BatchNorm2d))
