"""One answer to which size is near another, for networks and for pictures."""

from __future__ import annotations

import pytest

from birefnet.errors import ConfigError, InputError
from birefnet.inputs import nearest_multiple
from birefnet.pixels.prepare import InputSpec


@pytest.mark.parametrize("side", [1, 16, 47, 48, 49, 80, 100, 1000, 1040])
def test_networks_and_specs_name_the_same_size(side: int) -> None:
    torch = pytest.importorskip("torch")
    from birefnet.network.birefnet import check_picture

    near = nearest_multiple(side)
    assert near % 32 == 0 and near >= 32 and abs(near - side) <= max(16, 32 - side)
    with pytest.raises(InputError, match=f"{near}x{near}"):
        check_picture(torch.zeros(1, 3, side, side))
    with pytest.raises(ConfigError, match=f"{near}x{near}"):
        InputSpec(width=side, height=side)
