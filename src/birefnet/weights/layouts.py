"""How the authors of each backbone name the entries of their files, and what those are called here.

One row per layout; the first whose sign is among a file's names is taken. Sources of the names: the published code of
Swin (microsoft/Swin-Transformer), PVTv2 (whai362/PVT), torchvision and timm. Needs no torch.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from itertools import pairwise

Replacement = str | Callable[[re.Match[str]], str]

CLASSIFIER = r"(head|fc|classifier|pre_logits|fc_norm)\."
FINAL_NORM = r"norm\.(weight|bias)$"
WORKED_OUT = r".*\.(attn_mask|relative_position_index)$"


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """The names that one group of authors gives to a backbone's entries.

    Attributes:
        title: for messages.
        sign: pattern of a name that every file of this layout has, and none of a layout further down.
        rules: (pattern of a name's beginning, what replaces it); the first that fits is applied. Other names stay.
        left_out: what it is -> pattern of names that we have no use for.
        zeros: pattern of names that we have no place for and that must be zero throughout; None for no name.
        fresh: pattern of our names that such files do not have; None for no name.
    """

    title: str
    sign: str
    rules: tuple[tuple[str, Replacement], ...] = ()
    left_out: Mapping[str, str] = field(default_factory=dict)
    zeros: str | None = None
    fresh: str | None = None

    def use_of(self, name: str) -> str:
        """What an entry is that we have no use for; "" for all others."""
        return next((what for what, pattern in self.left_out.items() if re.match(pattern, name)), "")

    def must_be_zero(self, name: str) -> bool:
        """Whether an entry is one of `zeros`."""
        return self.zeros is not None and re.match(self.zeros, name) is not None

    def is_fresh(self, ours: str) -> bool:
        """Whether such files do not have our entry of this name."""
        return self.fresh is not None and re.match(self.fresh, ours) is not None

    def ours(self, name: str) -> str:
        """Our name of the entry called `name`."""
        for pattern, replacement in self.rules:
            renamed, changes = re.subn(rf"^(?:{pattern})", replacement, name)
            if changes:
                return renamed
        return name


def _shifted(template: str, by: int) -> Callable[[re.Match[str]], str]:
    """A replacement that puts the pattern's number, moved by `by`, into `template`."""
    return lambda match: template.format(int(match[1]) + by)


def _vgg(ends: tuple[int, int, int, int]) -> Callable[[re.Match[str]], str]:
    """`features.N.` -> `convG.N.`, where group G ends before layer `ends[G - 1]`."""

    def rename(match: re.Match[str]) -> str:
        number = int(match[1])
        groups = enumerate(pairwise((0, *ends)), start=1)
        group = next((group for group, (start, end) in groups if start <= number < end), None)
        return match[0] if group is None else f"conv{group}.{number}."

    return rename


_CLASSIFIER = {"classifier": CLASSIFIER}
_SWIN = {**_CLASSIFIER, "final norm": FINAL_NORM, "masks and index tables": WORKED_OUT}

LAYOUTS: tuple[Layout, ...] = (
    Layout(
        title="Swin as timm names it",  # the patch merging stands at the beginning of a stage, not at the end
        sign=r"layers\.3\.downsample\.",
        rules=((r"layers\.(\d+)\.downsample\.", _shifted("layers.{}.downsample.", -1)),),
        left_out=_SWIN,
        fresh=r"norm[0-3]\.",
    ),
    Layout(
        title="Swin as Microsoft names it",
        sign=r"layers\.0\.blocks\.0\.attn\.relative_position_bias_table$",
        left_out=_SWIN,
        fresh=r"norm[0-3]\.",
    ),
    Layout(title="PVTv2 as its authors name it", sign=r"patch_embed1\.proj\.", left_out=_CLASSIFIER),
    Layout(
        title="PVTv2 as timm names it",
        sign=r"stages\.0\.blocks\.0\.attn\.kv\.",
        rules=(
            (r"patch_embed\.", "patch_embed1."),
            (r"stages\.(\d+)\.downsample\.", _shifted("patch_embed{}.", 1)),
            (
                r"stages\.(\d+)\.blocks\.(\d+)\.mlp\.dwconv\.",
                lambda m: f"block{int(m[1]) + 1}.{m[2]}.mlp.dwconv.dwconv.",
            ),
            (r"stages\.(\d+)\.blocks\.", _shifted("block{}.", 1)),
            (r"stages\.(\d+)\.norm\.", _shifted("norm{}.", 1)),
        ),
        left_out=_CLASSIFIER,
    ),
    Layout(
        title="VGG with batch norm as torchvision names it",
        sign=r"features\.1\.running_mean$",
        rules=((r"features\.(\d+)\.", _vgg((14, 24, 34, 44))),),
        left_out=_CLASSIFIER,
    ),
    Layout(
        title="VGG as torchvision names it",
        sign=r"features\.0\.weight$",
        rules=((r"features\.(\d+)\.", _vgg((10, 17, 24, 31))),),
        left_out=_CLASSIFIER,
    ),
    Layout(
        title="ResNet as torchvision names it",
        sign=r"layer1\.0\.conv1\.",
        rules=(
            (r"conv1\.", "conv1.0."),
            (r"bn1\.", "conv1.1."),
            (r"layer1\.", "conv1.4."),
            (r"layer(\d)\.", _shifted("conv{}.", 0)),
        ),
        left_out=_CLASSIFIER,
    ),
    Layout(
        title="DINOv3 as timm names it",
        sign=r"blocks\.0\.gamma_1$",
        left_out={
            **_CLASSIFIER,
            "final norm": FINAL_NORM,
            "rotation": r"rope\.",
            "mask token": r"mask_token$",
        },
        zeros=r"blocks\.\d+\.attn\.([qkv]_bias|qkv\.bias)$",  # of the variants called `qkvb`
    ),
)

OURS = Layout(title="a backbone as this package names it", sign="")
WHOLE = Layout(title="the backbone of a whole BiRefNet", sign="", left_out={"decoder": r"(?!encoder\.backbone\.)"})


def find_layout(names: Iterable[str]) -> Layout | None:
    """The layout that these names have, or None."""
    names = list(names)
    return next((layout for layout in LAYOUTS if any(re.match(layout.sign, name) for name in names)), None)
