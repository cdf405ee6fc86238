"""The one map between the names of the released checkpoints and ours, both ways.

Source of the foreign names: the released weights of BiRefNet (Zheng et al., CAAI AIR 2024). A name is a dotted
path; every rule replaces the longest beginning that it knows and leaves the rest (`weight`, `running_mean`, the
inner names of a backbone) alone. A name that no rule knows stays as it is, so that strict loading can report it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from functools import cache
from typing import TypeVar

from birefnet.errors import WeightsError

T = TypeVar("T")
Rules = tuple[tuple[str, str], ...]  # (foreign, ours)

# -- inside the blocks ------------------------------------------------------------------------------------------

PICTURE: Rules = (("conv1", "conv_in"), ("conv_out", "conv_out"))

_ASPP_TAIL: Rules = (
    ("global_avg_pool.1", "pooled.conv"),
    ("global_avg_pool.2", "pooled.norm"),
    ("conv1", "fuse"),
    ("bn1", "fuse_norm"),
)
PLAIN_BRANCH: Rules = (("atrous_conv", "conv"), ("bn", "norm"))
DEFORMABLE_BRANCH: Rules = (
    ("atrous_conv.offset_conv", "conv.offset"),
    ("atrous_conv.modulator_conv", "conv.modulation"),
    ("atrous_conv.regular_conv", "conv.kernel"),
    ("bn", "norm"),
)


def _nest(outer: Rules, inner: Rules) -> Rules:
    """Each rule of `outer` followed by each of `inner`."""
    return tuple((f"{foreign}.{f}", f"{ours}.{o}") for foreign, ours in outer for f, o in inner)


PLAIN_ASPP: Rules = (
    *_nest(
        (("aspp1", "branches.0"), ("aspp2", "branches.1"), ("aspp3", "branches.2"), ("aspp4", "branches.3")),
        PLAIN_BRANCH,
    ),
    *_ASPP_TAIL,
)
DEFORMABLE_ASPP: Rules = (
    *_nest(
        (
            ("aspp1", "branches.0"),
            ("aspp_deforms.0", "branches.1"),
            ("aspp_deforms.1", "branches.2"),
            ("aspp_deforms.2", "branches.3"),
        ),
        DEFORMABLE_BRANCH,
    ),
    *_ASPP_TAIL,
)


def _block(aspp: Rules) -> Rules:
    return (
        ("conv_in", "conv_in"),
        ("bn_in", "norm_in"),
        *_nest((("dec_att", "attention"),), aspp),
        ("conv_out", "conv_out"),
        ("bn_out", "norm_out"),
        ("conv_resi", "shortcut"),
    )


# -- where the blocks stand -------------------------------------------------------------------------------------

SQUEEZE: Rules = (("squeeze_module.0", "encoder.squeeze"),)
BLOCKS: Rules = (
    ("decoder.decoder_block4", "decoder.stages.0.block"),
    ("decoder.decoder_block3", "decoder.stages.1.block"),
    ("decoder.decoder_block2", "decoder.stages.2.block"),
    ("decoder.decoder_block1", "decoder.stages.3.block"),
)
PICTURES: Rules = (
    ("decoder.ipt_blk5", "decoder.stages.0.picture"),
    ("decoder.ipt_blk4", "decoder.stages.1.picture"),
    ("decoder.ipt_blk3", "decoder.stages.2.picture"),
    ("decoder.ipt_blk2", "decoder.stages.3.picture"),
    ("decoder.ipt_blk1", "decoder.picture"),
)
SINGLE: Rules = (
    ("cls_head.0", "classifier"),
    ("decoder.pyramid_neck_x1.conv", "decoder.necks.0"),
    ("decoder.pyramid_neck_x2.conv", "decoder.necks.1"),
    ("decoder.pyramid_neck_x3.conv", "decoder.necks.2"),
    ("decoder.pyramid_neck_x4.conv", "decoder.necks.3"),
    ("decoder.conv_ms_spvn_4", "decoder.stages.0.side_head"),
    ("decoder.conv_ms_spvn_3", "decoder.stages.1.side_head"),
    ("decoder.conv_ms_spvn_2", "decoder.stages.2.side_head"),
    ("decoder.gdt_convs_4.0", "decoder.stages.0.gradient.conv"),
    ("decoder.gdt_convs_3.0", "decoder.stages.1.gradient.conv"),
    ("decoder.gdt_convs_2.0", "decoder.stages.2.gradient.conv"),
    ("decoder.gdt_convs_4.1", "decoder.stages.0.gradient.norm"),
    ("decoder.gdt_convs_3.1", "decoder.stages.1.gradient.norm"),
    ("decoder.gdt_convs_2.1", "decoder.stages.2.gradient.norm"),
    ("decoder.gdt_convs_attn_4.0", "decoder.stages.0.gradient.attention"),
    ("decoder.gdt_convs_attn_3.0", "decoder.stages.1.gradient.attention"),
    ("decoder.gdt_convs_attn_2.0", "decoder.stages.2.gradient.attention"),
    ("decoder.gdt_convs_pred_4.0", "decoder.stages.0.gradient.head"),
    ("decoder.gdt_convs_pred_3.0", "decoder.stages.1.gradient.head"),
    ("decoder.gdt_convs_pred_2.0", "decoder.stages.2.gradient.head"),
    ("decoder.lateral_block4.conv", "decoder.stages.0.lateral"),
    ("decoder.lateral_block3.conv", "decoder.stages.1.lateral"),
    ("decoder.lateral_block2.conv", "decoder.stages.2.lateral"),
    ("decoder.conv_out1.0", "decoder.head"),
)
BACKBONE: Rules = (("bb", "encoder.backbone"),)
DINO_BACKBONE: Rules = (("bb.model", "encoder.backbone"),)  # the released DINOv3 ones sit one level deeper


def _table(aspp: Rules, backbone: Rules) -> Rules:
    blocks = _nest(BLOCKS, _block(aspp))
    squeeze = (*_nest(SQUEEZE, _block(aspp)), *_nest(SQUEEZE, aspp))  # a squeeze block is a block or a bare ASPP
    return (*backbone, *squeeze, *SINGLE, *_nest(PICTURES, PICTURE), *blocks)


def to_ours(state: Mapping[str, T]) -> dict[str, T]:
    """`state` (name -> anything) in the released names, with or without wrapper prefixes -> the same in our names.

    A state that has our names already is returned as it is, less the prefixes.

    Raises:
        WeightsError: if two entries would get one name.
    """
    state = strip_prefixes(state)
    if has_our_names(state):
        return state
    return _rename(state, lambda name: _replace(name, _foreign_to_ours()))


def to_released(state: Mapping[str, T]) -> dict[str, T]:
    """`state` (name -> anything) in our names -> the same in the released ones; the inverse of `to_ours`.

    Raises:
        WeightsError: if two entries would get one name.
    """
    state = strip_prefixes(state)
    dino = "encoder.backbone.cls_token" in state
    # What a branch of an ASPP is called depends on what it is, and its norm's own name does not tell.
    deformable = {_aspp_of(name) for name in state if ".conv.offset." in name}
    return _rename(state, lambda name: _replace(name, _ours_to_foreign(_aspp_of(name) in deformable, dino)))


def strip_prefixes(state: Mapping[str, T]) -> dict[str, T]:
    """Drop what data parallelism, averaging and compiling put before the names: `module.` and `_orig_mod.`.

    They go in any order and number; `_orig_mod.` also inside a name (a part of the model compiled alone), as does
    the averaging's own counter.

    Raises:
        WeightsError: if two entries would get one name.
    """
    kept = {name: value for name, value in state.items() if name != "n_averaged"}
    return _rename(kept, lambda name: re.sub(r"^(?:module\.)+", "", re.sub(r"(?:^|(?<=\.))_orig_mod\.", "", name)))


def has_our_names(names: Iterable[str]) -> bool:
    """Whether the names are ours (and not the released ones)."""
    return any(name.startswith(("encoder.backbone.", "decoder.stages.")) for name in names)


def _rename(state: Mapping[str, T], rename: Callable[[str], str]) -> dict[str, T]:
    renamed: dict[str, T] = {}
    for name, value in state.items():
        new = rename(name)
        if new in renamed:
            raise WeightsError(f"Two entries of these weights mean `{new}`; one of them is `{name}`")
        renamed[new] = value
    return renamed


def _aspp_of(name: str) -> str:
    """The path of the ASPP that an entry of one of its branches belongs to; "" for all others."""
    return name.partition(".branches.")[0] if ".branches." in name else ""


def _replace(name: str, table: Mapping[str, str]) -> str:
    """`name` with the longest beginning that `table` knows replaced; whole dotted parts only."""
    end = len(name)
    while end > 0:
        end = name.rfind(".", 0, end)
        if end > 0 and name[:end] in table:
            return table[name[:end]] + name[end:]
    return name


@cache
def _foreign_to_ours() -> dict[str, str]:
    tables = [_table(aspp, (*BACKBONE, *DINO_BACKBONE)) for aspp in (PLAIN_ASPP, DEFORMABLE_ASPP)]
    return {foreign: ours for table in tables for foreign, ours in table}


@cache
def _ours_to_foreign(deformable: bool, dino: bool) -> dict[str, str]:
    table = _table(DEFORMABLE_ASPP if deformable else PLAIN_ASPP, DINO_BACKBONE if dino else BACKBONE)
    return {ours: foreign for foreign, ours in table}
