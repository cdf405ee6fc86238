"""Tensors -> the configuration of the network that they are of: everything that shapes can tell.

Only the way two scales are joined cannot always be told: adding the half-size features and leaving them out need the
same tensors.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Literal

from torch import Tensor

from birefnet.errors import ConfigError, WeightsError
from birefnet.network.backbones import BACKBONES
from birefnet.network.backbones.base import Four
from birefnet.network.config import Attention, BiRefNetConfig, PictureInput, Squeeze, TwoScale
from birefnet.weights.names import to_ours

Shape = tuple[int, ...]
Shapes = Mapping[str, Shape]


def infer_config(state: Mapping[str, Tensor], two_scale: TwoScale | None = None) -> BiRefNetConfig:
    """The configuration of the network that `state` holds the weights of.

    Args:
        state: name -> tensor, in the released names or ours, wrapper prefixes or not; shapes alone are read.
        two_scale: how the two scales are joined, if it is known; needed only for "add", whose tensors are those of
            "none".

    Raises:
        WeightsError: if these are not the weights of a BiRefNet on a known backbone.
        ConfigError: if the tensors contradict `two_scale`.
    """
    return infer_from_shapes({name: tuple(tensor.shape) for name, tensor in to_ours(state).items()}, two_scale)


def infer_from_shapes(shapes: Shapes, two_scale: TwoScale | None = None) -> BiRefNetConfig:
    """`infer_config` of shapes, in our names."""
    backbone = _backbone(shapes)
    widths = BACKBONES[backbone].widths
    two_scale = _two_scale(shapes, widths, two_scale)
    factor = 2 if two_scale == "cat" else 1
    squeeze = _squeeze(shapes)
    attention = _aspp(shapes, "decoder.stages.0.block.attention")
    aspps = [path for path in ("decoder.stages.0.block.attention", "encoder.squeeze") if _aspp(shapes, path) != "none"]
    picture = "decoder.stages.0.picture.conv_in.weight"
    gradient = "decoder.stages.0.gradient.conv.weight"
    return BiRefNetConfig(
        backbone=backbone,
        two_scale=two_scale,
        context=_context(shapes, squeeze, [factor * width for width in widths]),
        squeeze=squeeze,
        block="residual" if "decoder.stages.0.block.shortcut.weight" in shapes else "basic",
        attention=attention,
        inner_width=_inner_width(shapes),
        picture_input=_picture_input(shapes, picture),
        side_supervision="decoder.stages.0.side_head.weight" in shapes,
        gradient_reference=gradient in shapes,
        batch_norm="decoder.stages.0.block.norm_in.weight" in shapes,
        classes=shapes.get("classifier.weight", (0,))[0],
        neck_widths=_neck_widths(shapes, factor),
        picture_width=shapes[picture][0] if picture in shapes else BiRefNetConfig().picture_width,
        attention_width=_branch_width(shapes, aspps),
        gradient_width=shapes[gradient][0] if gradient in shapes else BiRefNetConfig().gradient_width,
    )


def released_config(backbone: str) -> BiRefNetConfig:
    """The configuration that the released code gives a network on `backbone`."""
    vision_transformer = len(set(BACKBONES[backbone].strides)) == 1
    return BiRefNetConfig(backbone=backbone, neck_widths=(192, 384, 768, 1536) if vision_transformer else None)


def find_backbone_of(shapes: Shapes) -> str | None:
    """The backbone that has entries of these shapes (names as in the backbone itself), or None; heads are ignored."""
    for name, sign in ((name, spec.sign) for name, spec in BACKBONES.items() if spec.sign is not None):
        if shapes.get(sign.entry) == sign.shape and _count(shapes, sign.parts) == sign.length:
            return name
    return None


def _backbone(shapes: Shapes) -> str:
    prefix = "encoder.backbone."
    inner = {name.removeprefix(prefix): shape for name, shape in shapes.items() if name.startswith(prefix)}
    if not inner:
        raise WeightsError("These are not the weights of a BiRefNet: they hold no backbone (`bb.*`)")
    found = find_backbone_of(inner)
    if found is not None:
        return found
    first = next(f"`{name}` {list(shape)}" for name, shape in shapes.items() if name.startswith(prefix))
    raise WeightsError(
        f"The backbone in these weights is none of those known ({', '.join(BACKBONES)}); its first entry is {first}"
    )


def _count(names: Iterable[str], path: str) -> int:
    """How many parts the list at `path` has."""
    rests = (name.removeprefix(path + ".") for name in names if name.startswith(path + "."))
    return len({rest.partition(".")[0] for rest in rests})


def _two_scale(shapes: Shapes, widths: Four, hint: TwoScale | None) -> TwoScale:
    # A neck, or else a lateral convolution, takes the joined maps of the backbone.
    neck = "decoder.necks.3.weight"
    joined, single = (
        (_at(shapes, neck)[1], widths[3])
        if neck in shapes
        else (
            _at(shapes, "decoder.stages.0.lateral.weight")[1],
            widths[2],
        )
    )
    concatenated = joined == 2 * single
    if not concatenated and joined != single:
        raise WeightsError(f"The decoder in these weights takes maps of {joined} channels, the backbone gives {single}")
    if hint is None:
        return "cat" if concatenated else "none"
    if concatenated != (hint == "cat"):
        found = '"cat"' if concatenated else '"none" or "add"'
        raise ConfigError(f'`two_scale` "{hint}" contradicts the weights, which were made with {found}')
    return hint


def _squeeze(shapes: Shapes) -> Squeeze:
    if "encoder.squeeze.conv_in.weight" in shapes:
        return "residual" if "encoder.squeeze.shortcut.weight" in shapes else "basic"
    return _aspp(shapes, "encoder.squeeze")


def _aspp(shapes: Shapes, path: str) -> Attention:
    if f"{path}.branches.0.conv.offset.weight" in shapes:
        return "aspp_deformable"
    return "aspp" if f"{path}.branches.0.conv.weight" in shapes else "none"


def _context(shapes: Shapes, squeeze: Squeeze, widths: list[int]) -> int:
    match squeeze:
        case "none":
            return 0
        case "basic" | "residual":
            first = "encoder.squeeze.conv_in.weight"
        case _:
            first = "encoder.squeeze.pooled.conv.weight"
    gathered = _at(shapes, first)[1]
    for context in range(4):
        if gathered == widths[3] + sum(widths[3 - context : 3]):
            return context
    raise WeightsError(f"`{first}` takes {gathered} channels; no choice of gathered maps of {widths} gives that many")


def _inner_width(shapes: Shapes) -> int | Literal["adaptive"]:
    first = [_at(shapes, f"decoder.stages.{stage}.block.conv_in.weight") for stage in range(4)]
    widths = {shape[0] for shape in first}
    if len(widths) == 1:
        return widths.pop()
    if all(shape[0] == shape[1] // 4 for shape in first):
        return "adaptive"
    raise WeightsError(
        f"The decoder's blocks are {sorted(widths)} channels wide inside: neither all alike nor adaptive"
    )


def _picture_input(shapes: Shapes, picture: str) -> PictureInput:
    if picture not in shapes:
        return "none"
    return "whole" if shapes[picture][1] == 3 else "tiles"


def _neck_widths(shapes: Shapes, factor: int) -> Four | None:
    if "decoder.necks.0.weight" not in shapes:
        return None
    x1, x2, x3, x4 = (_at(shapes, f"decoder.necks.{i}.weight")[0] // factor for i in range(4))
    return x1, x2, x3, x4


def _branch_width(shapes: Shapes, aspps: list[str]) -> int:
    if not aspps:
        return BiRefNetConfig().attention_width
    return _at(shapes, f"{aspps[0]}.pooled.conv.weight")[0]


def _at(shapes: Shapes, name: str) -> Shape:
    if name not in shapes:
        raise WeightsError(f"These weights are not complete: `{name}` is missing")
    return shapes[name]
