"""The shape of a BiRefNet: one frozen record, checked when it is made, saved with the weights."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal, get_args

from birefnet.errors import ConfigError
from birefnet.network.backbones.base import find_backbone

TwoScale = Literal["none", "add", "cat"]
Squeeze = Literal["none", "basic", "residual", "aspp", "aspp_deformable"]
Block = Literal["basic", "residual"]
Attention = Literal["none", "aspp", "aspp_deformable"]
PictureInput = Literal["none", "tiles", "whole"]


@dataclass(frozen=True, slots=True, kw_only=True)
class BiRefNetConfig:
    """Everything that decides which tensors a network has and how they are joined.

    The defaults are those of the released models (Zheng et al., CAAI AIR 2024). No training
    setting belongs here: the batch size, say, must never change the architecture.

    Attributes:
        backbone: a name of `birefnet.network.backbones.BACKBONES`.
        two_scale: how the features of the half-size picture join the full-size ones.
        context: how many finer maps (0..3) are gathered into the stride-32 one.
        squeeze: the block that brings the gathered map back to its width; "none" needs context 0.
        block: the decoder's block.
        attention: what stands in the middle of each block.
        inner_width: channels inside a block, or "adaptive" for a quarter of its input's.
        picture_input: how the picture enters the decoder (the "inward reference"): cut into tiles, whole, or not.
        side_supervision: predictions at strides 32, 16 and 8 while training.
        gradient_reference: the "outward reference": attention from predicted gradients.
        batch_norm: whether decoder and ASPP normalise; the backbone is not touched.
        classes: outputs of the auxiliary classifier; 0 leaves it out.
        neck_widths: widths at strides 4, 8, 16, 32 to which 1x1 convolutions bring the maps before the decoder.
        picture_width: channels inside the blocks that read the picture.
        attention_width: channels of each ASPP branch.
        gradient_width: channels of the gradient features.
    """

    backbone: str = "swin_v1_l"
    two_scale: TwoScale = "cat"
    context: int = 3
    squeeze: Squeeze = "basic"
    block: Block = "basic"
    attention: Attention = "aspp_deformable"
    inner_width: int | Literal["adaptive"] = 64
    picture_input: PictureInput = "tiles"
    side_supervision: bool = True
    gradient_reference: bool = True
    batch_norm: bool = True
    classes: int = 0
    neck_widths: tuple[int, int, int, int] | None = None
    picture_width: int = 64
    attention_width: int = 256
    gradient_width: int = 16

    def __post_init__(self) -> None:
        find_backbone(self.backbone)
        _choose("two_scale", self.two_scale, get_args(TwoScale))
        _choose("squeeze", self.squeeze, get_args(Squeeze))
        _choose("block", self.block, get_args(Block))
        _choose("attention", self.attention, get_args(Attention))
        _choose("picture_input", self.picture_input, get_args(PictureInput))
        if self.context not in range(4):
            raise ConfigError(f"`context` is {self.context!r}; it must be 0, 1, 2 or 3")
        if self.squeeze == "none" and self.context > 0:
            raise ConfigError(
                f'`context` {self.context} widens the stride-32 map and `squeeze` "none" would leave it so: '
                "choose a squeeze block or context 0"
            )
        if self.inner_width != "adaptive":
            _positive("inner_width", self.inner_width)
        for name in ("picture_width", "attention_width", "gradient_width"):
            _positive(name, getattr(self, name))
        for name in ("side_supervision", "gradient_reference", "batch_norm"):
            _choose(name, getattr(self, name), (True, False))
        if not isinstance(self.classes, int) or self.classes < 0:
            raise ConfigError(f"`classes` is {self.classes!r}; it must be 0 or more")
        if self.neck_widths is not None:
            if len(self.neck_widths) != 4:
                raise ConfigError(f"`neck_widths` needs 4 widths (strides 4, 8, 16, 32), got {len(self.neck_widths)}")
            for width in self.neck_widths:
                _positive("neck_widths", width)

    def to_dict(self) -> dict[str, Any]:
        """A plain dictionary (JSON-ready) from which `from_dict` makes an equal config."""
        values = asdict(self)
        if self.neck_widths is not None:
            values["neck_widths"] = list(self.neck_widths)
        return values

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> BiRefNetConfig:
        """The config that `to_dict` wrote.

        Raises:
            ConfigError: on an unknown entry or a value out of range.
        """
        known = {field.name for field in fields(cls)}
        unknown = sorted(set(values) - known)
        if unknown:
            raise ConfigError(
                f"Unknown entries in the network's config: {', '.join(unknown)}; known: {', '.join(sorted(known))}"
            )
        arguments = dict(values)
        if arguments.get("neck_widths") is not None:
            arguments["neck_widths"] = tuple(arguments["neck_widths"])
        return cls(**arguments)


def _choose(name: str, value: object, choices: tuple[object, ...]) -> None:
    if value not in choices:
        raise ConfigError(f"`{name}` is {value!r}; choose one of {', '.join(repr(choice) for choice in choices)}")


def _positive(name: str, value: object) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise ConfigError(f"`{name}` is {value!r}; it must be a whole number above 0")
