"""Made-up files in the layouts in which others publish backbones: a table of its own, from our names to theirs.

Names and shapes were compared once with the state dicts of torchvision 0.29 and timm 1.0; see docs/starting.md.
"""

from __future__ import annotations

import torch
from torch import Tensor

from tests.goldens import manifest

Shapes = dict[str, tuple[int, ...]]

# layout -> beginnings of our names -> of theirs; the longest that fits counts, other names are the same there
TABLES: dict[str, dict[str, str]] = {
    "microsoft": {},
    "pvt": {},
    "dinov3": {},
    "torchvision vgg": {f"conv{group}.": "features." for group in (1, 2, 3, 4)},
    "torchvision resnet": {
        "conv1.0.": "conv1.",
        "conv1.1.": "bn1.",
        "conv1.4.": "layer1.",
        "conv2.": "layer2.",
        "conv3.": "layer3.",
        "conv4.": "layer4.",
    },
    "timm swin": {
        "layers.0.downsample.": "layers.1.downsample.",
        "layers.1.downsample.": "layers.2.downsample.",
        "layers.2.downsample.": "layers.3.downsample.",
    },
    "timm pvt": {
        **{f"block{stage + 1}.": f"stages.{stage}.blocks." for stage in range(4)},
        **{f"norm{stage + 1}.": f"stages.{stage}.norm." for stage in range(4)},
        "patch_embed1.": "patch_embed.",
        **{f"patch_embed{stage + 1}.": f"stages.{stage}.downsample." for stage in (1, 2, 3)},
    },
}
# layout -> entries that we have no use for
EXTRAS: dict[str, Shapes] = {
    "microsoft": {
        "norm.weight": (8,),
        "norm.bias": (8,),
        "head.weight": (10, 8),
        "head.bias": (10,),
        "layers.0.blocks.1.attn_mask": (4, 49, 49),
        "layers.1.blocks.1.attn_mask": (4, 49, 49),
    },
    "timm swin": {"norm.weight": (8,), "norm.bias": (8,), "head.fc.weight": (10, 8), "head.fc.bias": (10,)},
    "pvt": {"head.weight": (10, 8), "head.bias": (10,)},
    "timm pvt": {"head.weight": (10, 8), "head.bias": (10,)},
    "torchvision vgg": {f"classifier.{layer}.{part}": (10,) for layer in (0, 3, 6) for part in ("weight", "bias")},
    "torchvision resnet": {"fc.weight": (10, 8), "fc.bias": (10,)},
    "dinov3": {"norm.weight": (8,), "norm.bias": (8,), "rope.periods": (16,), "mask_token": (1, 8)},
}
LAYOUT_OF: dict[str, tuple[str, ...]] = {
    **{f"swin_v1_{size}": ("microsoft", "timm swin") for size in "tsbl"},
    **{f"pvt_v2_b{size}": ("pvt", "timm pvt") for size in (0, 1, 2, 5)},
    "vgg16": ("torchvision vgg",),
    "vgg16bn": ("torchvision vgg",),
    "resnet50": ("torchvision resnet",),
    **{f"dino_v3_{size}": ("dinov3",) for size in ("s", "s_plus", "b", "l", "h_plus", "7b")},
}


def backbone_shapes(backbone: str) -> Shapes:
    """Our names of a backbone's entries and their shapes, from the frozen lists of the released checkpoints."""
    inner = "bb.model." if backbone.startswith("dino") else "bb."
    shapes = manifest(backbone)
    return {name.removeprefix(inner): tuple(shape) for name, shape in shapes.items() if name.startswith(inner)}


def their_name(layout: str, ours: str) -> str:
    """What an entry of ours is called in a layout."""
    if layout == "timm pvt":
        ours = ours.replace("mlp.dwconv.dwconv.", "mlp.dwconv.")
    for beginning, theirs in sorted(TABLES[layout].items(), key=lambda row: -len(row[0])):
        if ours.startswith(beginning):
            return theirs + ours.removeprefix(beginning)
    return ours


def in_the_file(layout: str, ours: str) -> bool:
    """Whether files of a layout have an entry of ours."""
    fresh = layout in ("microsoft", "timm swin") and ours.startswith(("norm0.", "norm1.", "norm2.", "norm3."))
    return not fresh and not (layout == "timm swin" and ours.endswith("relative_position_index"))


def foreign_names(backbone: str, layout: str) -> dict[str, str]:
    """Their name -> ours, of all entries that files have and we use."""
    return {their_name(layout, ours): ours for ours in backbone_shapes(backbone) if in_the_file(layout, ours)}


def foreign_state(backbone: str, layout: str) -> dict[str, Tensor]:
    """A file's tensors: random, no two alike, with everything that we have no use for."""
    shapes = backbone_shapes(backbone)
    state: dict[str, Tensor] = {}
    for theirs, ours in foreign_names(backbone, layout).items():
        whole = ours.endswith(("num_batches_tracked", "relative_position_index"))
        state[theirs] = torch.full(shapes[ours], 7) if whole else torch.randn(shapes[ours])
    return state | {name: torch.randn(shape) for name, shape in EXTRAS[layout].items()}
