from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from birefnet.data.advice import MANY, advise, measure_softness
from birefnet.data.facts import MaskFacts
from birefnet.weights.zoo import ZOO

HARD = MaskFacts(covered=0.3, border=0.0, centre=0.8, grey=0.005, edge=0.8, two_valued=0.995, darkest=0, brightest=255)
SOFT = replace(HARD, grey=0.05, edge=8.0, two_valued=0.95)
EMPTY = replace(HARD, covered=0.0, grey=0.0, edge=0.0, brightest=0)
RECIPES = Path(__file__).parents[2] / "recipes"


@pytest.mark.parametrize(
    ("masks", "task"),
    [([HARD] * 10, "segmentation"), ([SOFT] * 6 + [HARD] * 4, "matting"), ([SOFT] * 3 + [HARD] * 7, "mixed")],
)
@pytest.mark.parametrize("count", [40, MANY])
def test_the_losses_and_the_recipe_follow_the_masks(masks: list[MaskFacts], task: str, count: int) -> None:
    softness = measure_softness([*masks, EMPTY, EMPTY])
    assert softness is not None and softness.task == task
    advice = advise(softness, [(1600, 1200)] * count)
    assert advice.task == task
    assert (advice.losses["iou"] == 0) == (task == "matting") and (advice.losses["mae"] == 0) == (
        task == "segmentation"
    )
    assert (RECIPES / f"{advice.recipe}.yaml").is_file()
    assert (advice.start in ZOO) if count < MANY else (advice.start is None)


@pytest.mark.parametrize("task", ["segmentation", "matting", "mixed"])
def test_the_losses_are_those_of_the_recipe(task: str) -> None:
    masks = {"segmentation": [HARD], "matting": [SOFT], "mixed": [SOFT, HARD, HARD]}[task]
    softness = measure_softness(masks)
    assert softness is not None
    advice = advise(softness, [(1024, 1024)] * MANY)
    written = yaml.safe_load((RECIPES / f"{advice.recipe}.yaml").read_text())["losses"]
    assert {term: weight for term, weight in advice.losses.items() if weight} == {
        term: weight for term, weight in written.items() if weight and term in advice.losses
    }


@pytest.mark.parametrize(
    ("sizes", "wanted"),
    [
        ([(448, 448)] * 5, (512, 512)),
        ([(2000, 2000)] * 5, (1024, 1024)),
        ([(1600, 1200)] * 5, (1184, 896)),
        ([(1200, 1600)] * 5, (896, 1184)),
        ([(1600, 1200), (1200, 1600)] * 5, (1024, 1024)),
        ([(3840, 2160)] * 5, (1376, 768)),
    ],
)
def test_the_size_follows_the_pictures(sizes: list[tuple[int, int]], wanted: tuple[int, int]) -> None:
    softness = measure_softness([HARD])
    assert softness is not None
    advice = advise(softness, sizes)
    assert advice.size == wanted
    assert ("general_2k" in " ".join(advice.reasons)) == (sizes[0][0] == 3840)


def test_without_masks_there_is_nothing_to_judge_by() -> None:
    assert measure_softness([EMPTY, EMPTY]) is None
