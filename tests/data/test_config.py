from typing import Any

import pytest

from birefnet.data.config import AugmentConfig, DataConfig, Source
from birefnet.errors import ConfigError

PAIRS = (Source(folder="p"),)
CUT = (Source(folder="p", cut=True),)


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"pairs": ()}, "`data.pairs` is empty"),
        ({"pairs": (), "order": "epochs", "composite": 1.0}, "`data.pairs` is empty"),
        ({"sets": "a+b"}, "keep one of them"),
        ({"pairs": (), "sets": "a++b"}, "joined by +"),
        ({"order": "shuffled"}, "mixture or epochs"),
        ({"composite": 0.5}, "nor pairs to cut from"),
        ({"pairs": CUT, "composite": 0.5, "order": "epochs"}, "belong to `data.order: mixture`"),
        ({"classes": True}, "needs `data.order: epochs`"),
        ({"cache": "disk"}, "number of MiB"),
        ({"cache": True}, "number of MiB"),
        ({"cache": -1}, "number of MiB"),
        ({"longest": 0}, "side in pixels"),
        ({"empty": 1.5}, "between 0 and 1"),
        ({"augment": AugmentConfig(background=0.5)}, "`data.backgrounds` names no folder"),
    ],
)
def test_what_cannot_be_meant_is_refused(change: dict[str, Any], text: str) -> None:
    with pytest.raises(ConfigError, match=text):
        DataConfig(**{"root": "r", "pairs": PAIRS} | change)


@pytest.mark.parametrize(
    "change",
    [
        {"style": "wild"},
        {"flip": 1.2},
        {"pepper": -0.1},
        {"plain": 0.7, "background": 0.7},
        {"crop_smallest": 0.0},
        {"degrees": 200.0},
        {"brightness": (1.5, 0.5)},
        {"colour": (-1.0, 2.0)},
        {"sharpness": 3.0},
    ],
)
def test_every_chance_and_strength_is_checked(change: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=r"data\.augment"):
        AugmentConfig(**change)


def test_the_style_follows_the_order_unless_it_is_named() -> None:
    assert DataConfig(root="r", pairs=PAIRS).style == "strong"
    assert DataConfig(root="r", pairs=PAIRS, order="epochs").style == "reference"
    named = DataConfig(root="r", pairs=PAIRS, order="epochs", augment=AugmentConfig(style="strong"))
    assert named.style == "strong"
