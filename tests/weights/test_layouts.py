"""Foreign names become ours for every backbone, without a tensor."""

from __future__ import annotations

import pytest

from birefnet.weights.layouts import LAYOUTS, find_layout
from tests.weights.foreign import EXTRAS, LAYOUT_OF, backbone_shapes, foreign_names

BOTH = [(backbone, layout) for backbone, layouts in LAYOUT_OF.items() for layout in layouts]


def test_every_released_backbone_has_a_layout() -> None:
    assert len(LAYOUT_OF) == 17
    assert len({layout.title for layout in LAYOUTS}) == len(LAYOUTS) == 8


@pytest.mark.parametrize(("backbone", "foreign"), BOTH)
def test_names_become_ours(backbone: str, foreign: str) -> None:
    names = foreign_names(backbone, foreign)
    layout = find_layout([*names, *EXTRAS[foreign]])
    assert layout is not None
    used = {name: ours for name, ours in names.items() if not ours.endswith("relative_position_index")}
    assert {name: layout.ours(name) for name in used} == used
    assert not [name for name in used if layout.use_of(name)]
    assert [name for name in EXTRAS[foreign] if layout.use_of(name)] == list(EXTRAS[foreign])
    assert set(backbone_shapes(backbone)) >= {layout.ours(name) for name in used}


def test_layouts_are_told_apart() -> None:
    titles = {foreign: find_layout([*foreign_names(backbone, foreign), *EXTRAS[foreign]]) for backbone, foreign in BOTH}
    assert len({layout.title for layout in titles.values() if layout is not None}) == 7  # both VGGs are one here
    assert find_layout(["embeddings.cls_token", "layer.0.attention.q_proj.weight"]) is None


def test_what_an_entry_is() -> None:
    layout = find_layout(["layers.0.blocks.0.attn.relative_position_bias_table"])
    assert layout is not None and layout.title == "Swin as Microsoft names it"
    assert layout.use_of("head.weight") == "classifier"
    assert layout.use_of("norm.bias") == "final norm"
    assert layout.use_of("layers.2.blocks.5.attn_mask") == "masks and index tables"
    assert layout.use_of("norm0.weight") == layout.use_of("layers.0.blocks.0.norm1.weight") == ""


def test_vgg_layers_outside_the_groups_keep_their_names() -> None:
    layout = find_layout(["features.0.weight"])
    assert layout is not None
    assert layout.ours("features.28.bias") == "conv4.28.bias"
    assert layout.ours("features.31.bias") == "features.31.bias"
