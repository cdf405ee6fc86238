"""Weights of a backbone alone, as its authors publish them -> our backbone. Loading is strict; the report says all.

Files come from this disk or the Hugging Face Hub; how their entries are named is told from the names (`layouts.py`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import torch.nn.functional as F
from torch import Tensor, nn

from birefnet.errors import UnknownModel, WeightsError
from birefnet.network.backbones import BACKBONES, find_backbone
from birefnet.weights.fit import is_finite, several
from birefnet.weights.infer import find_backbone_of
from birefnet.weights.layouts import LAYOUTS, OURS, WHOLE, Layout, find_layout
from birefnet.weights.names import has_our_names, strip_prefixes, to_ours
from birefnet.weights.resolve import resolve
from birefnet.weights.transfer import Progress

SHOWN = 10  # names of each kind of difference
_INSIDE = "encoder.backbone."
_BIAS_TABLE = "relative_position_bias_table"


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadReport:
    """What became of a file's entries. Its text is one sentence for a log.

    Attributes:
        source: the file, for messages.
        layout: how its entries are named.
        loaded: entries that were put in.
        left_out: what the entries are that were not needed -> their names in the file.
        fresh: our entries that such files do not have; they keep their fresh values.
        resized: our entries that were interpolated to another size.
    """

    source: str
    layout: str
    loaded: int
    left_out: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    fresh: tuple[str, ...] = ()
    resized: tuple[str, ...] = ()

    def __str__(self) -> str:
        parts = [f"Started from {self.source} ({self.layout}): {_entries(self.loaded)} loaded"]
        left_out = [f"{what} ({_entries(len(names))})" for what, names in self.left_out.items()]
        parts += [f"left out: {', '.join(left_out)}"] if left_out else []
        parts += [f"fresh: {_few(self.fresh)}"] if self.fresh else []
        parts += [f"interpolated to our window: {_few(self.resized)}"] if self.resized else []
        return "; ".join(parts)


def find_backbone_file(source: str, *, offline: bool = False, progress: Progress | None = None) -> Path:
    """The file that `source` names, fetched if need be.

    Args:
        source: as for `load_model`; of a released BiRefNet, its backbone is meant. Also ``hub:OWNER/NAME/FILE``
            (``@REVISION`` behind the name pins it).
        offline: never fetch anything.
        progress: called with the bytes fetched so far and in all.

    Raises:
        UnknownModel: if there is no such file.
        DownloadError: if it must be fetched and cannot be.
        WeightsError: if a folder or repository has no weights, or several that might be meant.
    """
    try:
        return resolve(source, weights=True).fetch(offline=offline, progress=progress).path
    except UnknownModel as error:
        where = "docs/starting.md says where the weights of each backbone are published"
        raise UnknownModel(str(error), hint=error.hint or where) from error


def fill_backbone(backbone: nn.Module, name: str, state: Mapping[str, Tensor], where: str) -> LoadReport:
    """Give a backbone the weights in `state`, whose names may be of any layout known.

    Args:
        backbone: `BACKBONES[name].build()`; changed in place, and only if everything fits.
        name: its name in the table of backbones.
        state: name -> tensor as in the file; half precision is widened to the backbone's type.
        where: what the weights are of, for messages.

    Raises:
        WeightsError: if they are not finite, of an unknown layout, of another backbone, or do not fit.
    """
    find_backbone(name)
    layout, entries = _named(state, where)
    left_out: dict[str, list[str]] = {}
    kept: dict[str, str] = {}  # our name -> the file's
    for entry in entries:
        what = layout.use_of(entry.plain)
        if not what and layout.must_be_zero(entry.plain):
            what = _zero(entry.theirs, state[entry.theirs], where)
        if what:
            left_out.setdefault(what, []).append(entry.theirs)
        elif entry.ours in kept:
            raise WeightsError(f"{where}: `{kept[entry.ours]}` and `{entry.theirs}` both mean `{entry.ours}`")
        else:
            kept[entry.ours] = entry.theirs
    wanted = backbone.state_dict()
    found = find_backbone_of({ours: tuple(state[theirs].shape) for ours, theirs in kept.items()})
    if found not in (None, name):
        raise WeightsError(
            f"{where} holds a {found} ({layout.title}), but the network has a {name}: set `network.backbone` to "
            f"{found}, or give the file of {name}"
        )
    _check(layout, name, wanted, kept, state, where)
    new = {ours: _like(state[theirs], wanted[ours]) for ours, theirs in kept.items()}
    backbone.load_state_dict({**wanted, **new}, strict=True)
    return LoadReport(
        source=where,
        layout=layout.title,
        loaded=len(new),
        left_out={what: tuple(names) for what, names in left_out.items()},
        fresh=tuple(ours for ours in wanted if ours not in new and wanted[ours].is_floating_point()),
        resized=tuple(ours for ours, theirs in kept.items() if state[theirs].shape != wanted[ours].shape),
    )


class _Entry(NamedTuple):
    theirs: str  # the name in the file
    plain: str  # what the layout's patterns are matched with
    ours: str  # the name in our backbone


def _named(state: Mapping[str, Tensor], where: str) -> tuple[Layout, list[_Entry]]:
    """The layout of a file, and its entries."""
    stripped = strip_prefixes({name: name for name in state})  # plain name -> the file's
    if has_our_names(stripped) or any(name.startswith("bb.") for name in stripped):
        return WHOLE, [_Entry(theirs, ours, ours.removeprefix(_INSIDE)) for ours, theirs in to_ours(stripped).items()]
    layout = find_layout(stripped)
    if layout is None and find_backbone_of({name: tuple(state[theirs].shape) for name, theirs in stripped.items()}):
        layout = OURS
    if layout is None:
        first = ", ".join(f"`{name}`" for name in list(state)[:4])
        raise WeightsError(
            f"{where} is in no layout known for backbones ({'; '.join(row.title for row in LAYOUTS)}; {WHOLE.title}); "
            f"its entries begin with {first}"
        )
    return layout, [_Entry(theirs, name, layout.ours(name)) for name, theirs in stripped.items()]


def _zero(theirs: str, tensor: Tensor, where: str) -> str:
    """What an entry is that must be zero, or an error."""
    if bool(tensor.any()):
        raise WeightsError(f"{where} has values other than zero in `{theirs}`, which our backbone has no place for")
    return "biases of zero"


def _check(
    layout: Layout,
    name: str,
    wanted: Mapping[str, Tensor],
    kept: Mapping[str, str],
    state: Mapping[str, Tensor],
    where: str,
) -> None:
    """Make sure that the file's entries are those of the backbone; the error lists what differs."""
    missing = [
        f"`{ours}`"
        for ours, tensor in wanted.items()
        if ours not in kept and tensor.is_floating_point() and not layout.is_fresh(ours)
    ]
    unexpected = [f"`{theirs}`" for ours, theirs in kept.items() if ours not in wanted]
    shapes = [
        f"`{theirs}` is {list(state[theirs].shape)}, not {list(wanted[ours].shape)}"
        for ours, theirs in kept.items()
        if ours in wanted and not _fits(ours, state[theirs], wanted[ours])
    ]
    kinds = ((missing, "missing"), (unexpected, "unexpected"), (shapes, "of another shape"))
    differences = [several(names, kind, SHOWN) for names, kind in kinds if names]
    if differences:
        raise WeightsError(
            f"{where} ({layout.title}) does not fit a {name}: {'; '.join(differences)}. "
            f"Known are {', '.join(BACKBONES)}"
        )
    bad = [f"`{theirs}`" for theirs in kept.values() if not is_finite(state[theirs])]
    if bad:
        more = f" and {len(bad) - SHOWN} more" if len(bad) > SHOWN else ""
        raise WeightsError(f"{where} holds values that are not finite, in {', '.join(bad[:SHOWN])}{more}")


def _fits(ours: str, tensor: Tensor, wanted: Tensor) -> bool:
    """Whether a tensor has the shape wanted, or is the bias table of windows of another size."""
    if tensor.shape == wanted.shape:
        return True
    if not ours.endswith(_BIAS_TABLE) or tensor.ndim != 2 or tensor.shape[1] != wanted.shape[1]:
        return False
    side = math.isqrt(tensor.shape[0])
    return side % 2 == 1 and side * side == tensor.shape[0]


def _like(tensor: Tensor, wanted: Tensor) -> Tensor:
    """`tensor` in the shape wanted: a bias table (places, heads) is resized as Swin's authors do, bicubically."""
    if tensor.shape == wanted.shape:
        return tensor
    old, new = (math.isqrt(table.shape[0]) for table in (tensor, wanted))
    grid = tensor.float().T.reshape(1, -1, old, old)  # (1, heads, places down, places right)
    resized = F.interpolate(grid, size=(new, new), mode="bicubic", align_corners=False)
    return resized.reshape(-1, new * new).T


def _entries(count: int) -> str:
    return f"{count} {'entry' if count == 1 else 'entries'}"


def _few(names: tuple[str, ...]) -> str:
    return f"{', '.join(names[:4])}{f' and {len(names) - 4} more' if len(names) > 4 else ''}"
