import numpy as np
import pytest
from PIL import Image, ImageFilter

from birefnet.data.facts import measure_mask


def _disc(radius: float = 20, centre: tuple[int, int] = (50, 60), size: tuple[int, int] = (100, 120)) -> np.ndarray:
    y, x = np.mgrid[0 : size[0], 0 : size[1]]
    return (((y - centre[0]) ** 2 + (x - centre[1]) ** 2) < radius**2).astype(np.uint8) * 255


def _blurred(mask: np.ndarray, radius: float) -> np.ndarray:
    return np.asarray(Image.fromarray(mask).filter(ImageFilter.GaussianBlur(radius)))


def test_a_hard_mask_has_two_values_and_no_soft_edge() -> None:
    facts = measure_mask(_disc())
    assert facts.grey == 0 and facts.edge == 0 and facts.two_valued == pytest.approx(1)
    assert facts.covered == pytest.approx(np.pi * 400 / 12000, rel=0.02)
    assert facts.border == 0 and (facts.darkest, facts.brightest) == (0, 255)


def test_the_edge_is_measured_in_pixels() -> None:
    ramp = np.tile(np.clip(np.arange(100) * 255 // 10 - 1147, 0, 255).astype(np.uint8), (50, 1))
    assert measure_mask(ramp).edge == pytest.approx(9, abs=1)  # a ramp of ten pixels from black to white
    edges = [measure_mask(_blurred(_disc(), radius)).edge for radius in (1, 2, 4)]
    assert edges == sorted(edges) and edges[2] > 2 * edges[0]


def test_softer_masks_are_less_two_valued() -> None:
    values = [measure_mask(_blurred(_disc(), radius)).two_valued for radius in (0.5, 3, 8)]
    assert 1 > values[0] > values[1] > values[2] > 0.5
    assert measure_mask(np.tile(np.arange(256, dtype=np.uint8), (9, 1))).two_valued == pytest.approx(0.75, abs=0.01)


def test_empty_and_full_masks_bear_some_noise() -> None:
    noise = np.random.default_rng(0).integers(0, 8, (40, 40)).astype(np.uint8)
    assert measure_mask(noise).empty and not measure_mask(noise).full
    assert measure_mask(255 - noise).full and not measure_mask(255 - noise).empty
    assert not measure_mask(_disc()).empty and not measure_mask(_disc()).full


@pytest.mark.parametrize("mask", [_disc(), _disc(45), _disc(8, (35, 85)), _disc(60, (100, 60)), _blurred(_disc(), 5)])
def test_an_inverted_mask_looks_inverted_and_the_mask_itself_does_not(mask: np.ndarray) -> None:
    assert not measure_mask(mask).looks_inverted
    assert measure_mask(255 - mask).looks_inverted


def test_a_subject_that_fills_the_picture_does_not_look_inverted() -> None:
    assert not measure_mask(_disc(75)).looks_inverted
    assert not measure_mask(np.full((30, 30), 255, np.uint8)).looks_inverted


@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (2, 3)])
def test_tiny_masks_can_be_measured(shape: tuple[int, int]) -> None:
    assert measure_mask(np.full(shape, 255, np.uint8)).covered == 1
