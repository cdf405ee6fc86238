from __future__ import annotations

import pytest
import torch
from torch import nn

from birefnet.training.average import Average


def _network() -> nn.Sequential:
    network = nn.Sequential(nn.Conv2d(1, 2, 1), nn.BatchNorm2d(2), nn.Conv2d(2, 1, 1))
    network[2].requires_grad_(False)
    return network


def test_the_average_by_hand() -> None:
    network = _network()
    average = Average(network, 0.9)
    start, frozen = network[0].weight.detach().clone(), network[2].weight.detach().clone()
    with torch.no_grad():
        network[0].weight += 1
        network[1].running_mean += 2
    average.move(1)  # young: the decay is (1 + 1) / (10 + 1)
    with average.swapped():
        torch.testing.assert_close(network[0].weight, start + 1 - 2 / 11)
        torch.testing.assert_close(network[1].running_mean, torch.full((2,), 2 * (1 - 2 / 11)))
        assert network[2].weight.equal(frozen)
    assert network[0].weight.equal(start + 1)
    average.move(1000)
    with average.swapped():
        torch.testing.assert_close(network[0].weight, start + 1 - 2 / 11 * 0.9)


def test_what_is_loaded_while_swapped_is_the_average() -> None:
    network = _network()
    average = Average(network, 0.9)
    live = network[0].weight.detach().clone()
    with average.swapped(), torch.no_grad():
        network[0].weight.fill_(5)
    assert network[0].weight.equal(live)
    with average.swapped():
        assert float(network[0].weight.mean()) == 5


def test_an_error_inside_leaves_the_weights_as_they_were() -> None:
    network = _network()
    average = Average(network, 0.5)
    with torch.no_grad():
        network[0].weight.fill_(3)
    with pytest.raises(RuntimeError, match="stop"), average.swapped():
        raise RuntimeError("stop")
    assert float(network[0].weight.mean()) == 3


def test_without_an_average_the_weights_stand_for_it() -> None:
    network = _network()
    average = Average(network, 0.0)
    with torch.no_grad():
        network[0].weight.fill_(3)
    average.move(1)
    with average.swapped():
        assert float(network[0].weight.mean()) == 3
