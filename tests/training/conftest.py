from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image


@pytest.fixture
def recipe_values(tmp_path: Path) -> dict[str, Any]:
    """A recipe that trains a tiny network on discs for six steps."""
    y, x = np.mgrid[0:64, 0:64]
    for i in range(4):
        disc = ((y - 32) ** 2 + (x - 20 - 8 * i) ** 2 < 300).astype(np.uint8) * 255
        for kind, array in (("im", np.dstack([disc // 2 + 60] * 3)), ("gt", disc)):
            (tmp_path / "discs" / kind).mkdir(parents=True, exist_ok=True)
            Image.fromarray(array).save(tmp_path / "discs" / kind / f"{i}.png")
    return {
        "name": "tiny",
        "seed": 3,
        "network": {
            "backbone": "mobilenet_v2",
            "two_scale": "none",
            "context": 1,
            "attention": "aspp",
            "inner_width": 8,
            "picture_input": "whole",
            "neck_widths": [8, 8, 8, 16],
            "picture_width": 4,
            "attention_width": 8,
            "gradient_width": 4,
        },
        "data": {"root": str(tmp_path), "pairs": {"discs": 1}},
        "training": {
            "phases": [{"steps": 4, "size": 64, "batch": 2}, {"steps": 2, "size": 96, "batch": 2}],
            "warmup": 2,
            "precision": "fp32",
            "workers": 0,
            "validate_every": 3,
            "save_every": 2,
            "report_every": 2,
        },
        "validation": {"root": str(tmp_path), "sets": ["discs"], "size": 64},
    }
