"""A `BiRefNet` -> an equal module with fewer operations, for any device and for exporters; the list of the rewrites."""

from __future__ import annotations

import copy

from birefnet.network.birefnet import BiRefNet
from birefnet.network.inference.composing import merge_picture_into_head
from birefnet.network.inference.folding import fold_batch_norms
from birefnet.network.inference.joining import join_deformable_convs

REWRITES = (fold_batch_norms, join_deformable_convs, merge_picture_into_head)


def inference_form(network: BiRefNet, *, in_place: bool = False) -> BiRefNet:
    """A network that gives the same logits in evaluation mode, with fewer operations.

    It is no longer a network to train or to save: its tensors have other names and shapes. Only `logits` of its
    prediction is filled.

    Args:
        network: left as it is, unless `in_place`.
        in_place: change `network` itself, so that its weights are not in memory twice.
    """
    form = network if in_place else copy.deepcopy(network)
    form.eval().requires_grad_(False)
    for rewrite in REWRITES:
        rewrite(form)
    return form
