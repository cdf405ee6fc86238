"""The weights of the loss as a function of the epoch: nothing is multiplied in place, so any epoch can be asked for."""

from __future__ import annotations

from dataclasses import replace

from birefnet.training.config import FinetuneConfig
from birefnet.training.losses import LossWeights


def weights_at(losses: LossWeights, finetune: FinetuneConfig | None, epoch: int, epochs: int) -> LossWeights:
    """The weights in force during `epoch`.

    In the last epochs the terms that `finetune` names are multiplied by its factors: once in mode "switch"; in mode
    "compounding" once more with every epoch, as the reference does by multiplying in place.

    Args:
        losses: the weights of the recipe.
        finetune: what changes near the end, or None.
        epoch: counted from 0.
        epochs: of the whole run; a last one that is not complete counts.
    """
    if finetune is None:
        return losses
    first = max(0, epochs - finetune.last.count)
    if epoch < first:
        return losses
    times = 1 if finetune.mode == "switch" else epoch - first + 1
    return replace(losses, **{term: getattr(losses, term) * f**times for term, f in finetune.factors.items()})
