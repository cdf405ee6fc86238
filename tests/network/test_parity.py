"""Block by block, and in training: the values that the reference computes from the same seeded weights.

The arrays hold every n-th value of each map, at most about 600 of them. The reference computed them in float32, so our
network in float64 may differ from them by their rounding: see `tests.rounding`.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from tests.goldens import FOLDER, manifest
from tests.rounding import FACTOR, spread
from tests.seeded import image, state_dict
from torch import Tensor, nn

from birefnet.network import BiRefNet, BiRefNetConfig
from birefnet.network.backbones.layers import DropPath
from birefnet.weights.names import to_ours

PARTS = {  # the reference's name -> ours
    "squeeze_module": "encoder.squeeze",
    **{f"decoder.ipt_blk{5 - stage}": f"decoder.stages.{stage}.picture" for stage in range(4)},
    **{f"decoder.decoder_block{4 - stage}": f"decoder.stages.{stage}.block" for stage in range(4)},
    **{f"decoder.lateral_block{4 - stage}": f"decoder.stages.{stage}.lateral" for stage in range(3)},
    "decoder.ipt_blk1": "decoder.picture",
}


HALF = 2.0**-11  # relative: what storing a map in float16 rounds; some were


@pytest.fixture
def model() -> BiRefNet:
    with torch.device("meta"):
        model = BiRefNet(BiRefNetConfig(backbone="swin_v1_t"))
    model.load_state_dict(to_ours(state_dict(manifest("swin_v1_t"))), assign=True)
    return model


class Blocks(nn.Module):
    """Gives what every block of a network makes, by the reference's names."""

    def __init__(self, network: BiRefNet) -> None:
        super().__init__()
        self.network = network

    def forward(self, picture: Tensor) -> dict[str, Tensor]:
        seen: dict[str, Tensor] = {}
        scales = iter(("bb_full", "bb_half"))

        def keep_maps(_: nn.Module, __: object, maps: tuple[Tensor, ...]) -> None:
            scale = next(scales)
            seen.update({f"{scale}.x{index}": x for index, x in enumerate(maps, start=1)})

        hooks = [self.network.encoder.backbone.register_forward_hook(keep_maps)]
        for theirs, ours in PARTS.items():
            hooks.append(self.network.get_submodule(ours).register_forward_hook(_keep(seen, theirs)))
        seen["logits"] = self.network(picture).logits
        for hook in hooks:
            hook.remove()
        return {name: seen[name] for name in sorted(seen)}


def test_every_block(model: BiRefNet) -> None:
    golden = np.load(FOLDER / "layers" / "swin_t_128.npz")
    found = spread(Blocks(model.eval()), torch.from_numpy(image(128, 128)), lambda seen: map(_thin, seen.values()))
    for name, ours, largest in zip(sorted(golden.files), found.exact, found.largest, strict=True):
        stored = torch.from_numpy(golden[name])
        relative = HALF if stored.dtype == torch.float16 else 0
        torch.testing.assert_close(stored.double(), ours, atol=FACTOR * largest, rtol=relative, msg=name)


def test_training_outputs_and_statistics(model: BiRefNet) -> None:
    golden = np.load(FOLDER / "layers" / "train_swin_t_128.npz")
    _without_chance(model.train())
    means = to_ours({str(name): name for name in golden["running_mean_names"]})

    class Outputs(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.network = model

        def forward(self, picture: Tensor) -> list[Tensor]:
            prediction = self.network(picture)
            state = self.network.state_dict()
            norms = torch.stack([state[name].norm() for name in means])
            return [_thin(x) for x in (*prediction.side_logits, *prediction.edge_logits, prediction.logits)] + [norms]

    found = spread(Outputs(), torch.from_numpy(image(128, 128, batch=2)), lambda results: results)
    names = [f"{kind}.{index}" for kind in ("side_logits", "gradient_logits") for index in range(3)]
    found.check(*(torch.from_numpy(golden[name]) for name in (*names, "logits", "running_mean_norms")))


def _keep(seen: dict[str, Tensor], name: str) -> Callable[[nn.Module, object, Tensor], None]:
    def hook(_: nn.Module, __: object, output: Tensor) -> None:
        seen[name] = output

    return hook


def _without_chance(model: nn.Module) -> None:
    for part in model.modules():
        if isinstance(part, nn.Dropout):
            part.p = 0.0
        if isinstance(part, DropPath):
            part.rate = 0.0


def _thin(x: Tensor) -> Tensor:
    flat = x.reshape(-1)
    return flat[:: max(1, -(-flat.numel() // 600))]
