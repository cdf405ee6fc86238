"""The map of names is total both ways on every frozen list."""

from __future__ import annotations

import pytest

from birefnet.errors import WeightsError
from birefnet.weights.names import has_our_names, strip_prefixes, to_ours, to_released
from tests.goldens import CASES, MANIFESTS, case, manifest

LISTS = {**{name: manifest(name) for name in MANIFESTS}, **{name: case(name)["shapes"] for name in CASES}}


def test_all_seventeen_backbones_are_here() -> None:
    assert len(MANIFESTS) == 17


@pytest.mark.parametrize("name", LISTS)
@pytest.mark.parametrize("prefix", ["", "module._orig_mod.", "_orig_mod.module.module."])
def test_there_and_back(name: str, prefix: str) -> None:
    shapes = LISTS[name]
    ours = to_ours({prefix + entry: shape for entry, shape in shapes.items()})
    assert has_our_names(ours)
    assert not has_our_names(shapes)
    assert to_released(ours) == shapes
    assert to_ours({prefix + entry: shape for entry, shape in ours.items()}) == ours


@pytest.mark.parametrize("name", LISTS)
def test_no_foreign_word_is_left(name: str) -> None:
    outside_backbone = [entry for entry in to_ours(LISTS[name]) if not entry.startswith("encoder.backbone.")]
    foreign = ("bb.", "squeeze_module", "dec_att", "aspp", "atrous", ".bn", "ipt_blk", "decoder_block", "gdt", "conv1")
    assert not [entry for entry in outside_backbone if any(word in entry for word in foreign)]


def test_parts_compiled_alone() -> None:
    assert strip_prefixes({"module.bb._orig_mod.norm0.weight": 1, "n_averaged": 2}) == {"bb.norm0.weight": 1}


def test_unknown_names_stay() -> None:
    assert to_ours({"bb.norm0.weight": 1, "head.weight": 2, "weight": 3}) == {
        "encoder.backbone.norm0.weight": 1,
        "head.weight": 2,
        "weight": 3,
    }


def test_two_entries_of_one_name() -> None:
    with pytest.raises(WeightsError, match=r"Two entries .* `bb\.norm0\.weight`"):
        strip_prefixes({"bb.norm0.weight": 1, "module.bb.norm0.weight": 2})
