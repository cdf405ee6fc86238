"""Block by block, and in training: the values that the reference computes from the same seeded weights.

The arrays hold every n-th value of each map, at most about 600 of them.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from tests.goldens import FOLDER, manifest
from tests.seeded import image, state_dict
from torch import Tensor, nn

from birefnet.network import BiRefNet, BiRefNetConfig
from birefnet.network.backbones.layers import DropPath
from birefnet.weights.names import to_ours

TOLERANCE = 1e-3
HALF = 1e-3  # relative; some reference maps were stored in half precision
PARTS = {  # the reference's name -> ours
    "squeeze_module": "encoder.squeeze",
    **{f"decoder.ipt_blk{5 - stage}": f"decoder.stages.{stage}.picture" for stage in range(4)},
    **{f"decoder.decoder_block{4 - stage}": f"decoder.stages.{stage}.block" for stage in range(4)},
    **{f"decoder.lateral_block{4 - stage}": f"decoder.stages.{stage}.lateral" for stage in range(3)},
    "decoder.ipt_blk1": "decoder.picture",
}


@pytest.fixture
def model() -> BiRefNet:
    with torch.device("meta"):
        model = BiRefNet(BiRefNetConfig(backbone="swin_v1_t"))
    model.load_state_dict(to_ours(state_dict(manifest("swin_v1_t"))), assign=True)
    return model


def test_every_block(model: BiRefNet) -> None:
    golden = np.load(FOLDER / "layers" / "swin_t_128.npz")
    seen: dict[str, Tensor] = {}
    for theirs, ours in PARTS.items():
        model.get_submodule(ours).register_forward_hook(_keep(seen, theirs))
    scales = iter(("bb_full", "bb_half"))

    def keep_maps(_: nn.Module, __: object, maps: tuple[Tensor, ...]) -> None:
        scale = next(scales)
        seen.update({f"{scale}.x{index}": x for index, x in enumerate(maps, start=1)})

    model.encoder.backbone.register_forward_hook(keep_maps)
    with torch.inference_mode():
        seen["logits"] = model.eval()(torch.from_numpy(image(128, 128))).logits
    assert seen.keys() == set(golden.files)
    for name, ours in seen.items():
        relative = HALF if golden[name].dtype == np.float16 else 0
        np.testing.assert_allclose(
            _thin(ours), golden[name].astype(np.float32), atol=TOLERANCE, rtol=relative, err_msg=name
        )


def test_training_outputs_and_statistics(model: BiRefNet) -> None:
    golden = np.load(FOLDER / "layers" / "train_swin_t_128.npz")
    _without_chance(model.train())
    with torch.no_grad():
        prediction = model(torch.from_numpy(image(128, 128, batch=2)))
    for name, tensors in (("side_logits", prediction.side_logits), ("gradient_logits", prediction.edge_logits)):
        for index, ours in enumerate(tensors):
            np.testing.assert_allclose(_thin(ours), golden[f"{name}.{index}"], atol=TOLERANCE, rtol=0)
    np.testing.assert_allclose(_thin(prediction.logits), golden["logits"], atol=TOLERANCE, rtol=0)
    state = model.state_dict()
    means = to_ours({str(name): name for name in golden["running_mean_names"]})
    norms = [state[name].norm().item() for name in means]
    np.testing.assert_allclose(norms, golden["running_mean_norms"], rtol=1e-4)


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


def _thin(x: Tensor) -> np.ndarray:
    flat = x.contiguous().numpy().reshape(-1)
    return flat[:: max(1, -(-flat.size // 600))]
