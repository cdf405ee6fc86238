"""What an exported file must show before it gets its name."""

from __future__ import annotations

import re

import numpy as np
import pytest
import torch

from birefnet.errors import WeightsError
from birefnet.export.graph import example_picture
from birefnet.export.proof import Pictures, Proof, compare, rounded_alphas, worst
from birefnet.network import BiRefNet
from tests.export.conftest import TINY_SPEC


@pytest.fixture(scope="module")
def pictures() -> Pictures:
    made: Pictures = example_picture(TINY_SPEC).numpy()
    return made


def shifted(network: BiRefNet, shift: float) -> object:
    def run(batch: Pictures) -> np.ndarray:
        with torch.inference_mode():
            logits: np.ndarray = network(torch.from_numpy(batch)).logits.numpy() + np.float32(shift)
        return logits

    return run


def test_a_file_within_its_limits(tiny: BiRefNet, pictures: Pictures) -> None:
    proof = compare(tiny, shifted(tiny, 1e-4), pictures, largest=1e-4, mean=1e-4)  # type: ignore[arg-type]
    assert 0 < proof.mean <= proof.largest <= 2.6e-5
    assert proof.own_largest is None and set(proof.facts()) == {
        *("largest_alpha_error", "mean_alpha_error", "allowed_largest_alpha_error", "allowed_mean_alpha_error")
    }


@pytest.mark.parametrize("shift", [1e-2, np.nan, np.inf])
def test_a_file_beyond_them(tiny: BiRefNet, pictures: Pictures, shift: float) -> None:
    with pytest.raises(WeightsError, match="it was deleted"):
        compare(tiny, shifted(tiny, shift), pictures, largest=1e-5, mean=1e-5, rounding="fp32")  # type: ignore[arg-type]


def test_what_was_passed_by_how_much_and_the_way_out(tiny: BiRefNet, pictures: Pictures) -> None:
    far = shifted(tiny, 0.5)
    with pytest.raises(WeightsError) as found:
        compare(tiny, far, pictures, largest=1, mean=1e-2, rounding=None)  # type: ignore[arg-type]
    words = str(found.value)
    by, times = re.fullmatch(  # type: ignore[union-attr]
        r"The exported file's alpha, from 0 to 1, differs from the network's by (\S+) on average, (\S+) times the 0.01 "
        r"that is allowed; it was deleted",
        words,
    ).groups()
    assert float(times) == pytest.approx(float(by) / 0.01, rel=0.05)
    assert "birefnet doctor" in str(found.value.hint)
    with pytest.raises(WeightsError, match=r"on average, .* and by .* at one pixel, ") as found:
        compare(tiny, shifted(tiny, 5), pictures, largest=1e-2, mean=1e-2, rounding="fp16")  # type: ignore[arg-type]
    assert found.value.hint == 'take `precision="fp32"`'


def test_limits_grow_with_the_networks_own_rounding(tiny: BiRefNet, pictures: Pictures) -> None:
    wide = compare(tiny, shifted(tiny, 1e-5), pictures, largest=1e-9, mean=1e-9, rounding="fp32")  # type: ignore[arg-type]
    assert wide.own_largest is not None and wide.allowed_largest == pytest.approx(4 * wide.own_largest)
    assert wide.facts()["own_mean_alpha_error"] == wide.own_mean
    with pytest.raises(WeightsError):
        compare(tiny, shifted(tiny, 1e-5), pictures, largest=1e-9, mean=1e-9)  # type: ignore[arg-type]


def test_rounding_is_what_it_says(tiny: BiRefNet, pictures: Pictures) -> None:
    exact = torch.from_numpy(shifted(tiny, 0)(pictures)).sigmoid()  # type: ignore[operator]
    moves = [
        [float((alpha - exact).abs().mean()) for alpha in rounded_alphas(tiny, pictures, kind)]
        for kind in ("fp32", "fp16", "int8")
    ]
    (moved, double), (half,), (eight,) = moves
    assert 0 < moved < 1e-4 < half < eight
    assert 0.2 < moved / double < 5  # a unit in the last place is as much as float32's own rounding


def test_the_worst_of_several() -> None:
    proofs = [Proof(largest=x, mean=0, allowed_largest=1, allowed_mean=1) for x in (0.1, 0.3, 0.2)]
    assert worst(proofs).largest == 0.3
