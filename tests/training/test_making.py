from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import nn

from birefnet.data.dataset import open_stream
from birefnet.errors import ConfigError
from birefnet.network.backbones.layers import DropPath
from birefnet.pixels.prepare import InputSpec
from birefnet.training.config import Recipe
from birefnet.training.making import check_batches, check_classes, learn, make_network, make_optimiser, set_rates
from birefnet.training.plan import Plan
from birefnet.training.reading import parse_recipe
from birefnet.training.settings import Phase, TrainingConfig

SPEC = InputSpec(width=64, height=64)
CPU = torch.device("cpu")


@pytest.fixture
def recipe(recipe_values: dict[str, Any]) -> Recipe:
    return parse_recipe(recipe_values)


def _network(recipe: Recipe) -> nn.Module:
    stream = open_stream(recipe.data, recipe.seed)
    return make_network(recipe, stream, CPU, SPEC, start=False, contiguous=False)


def test_the_seed_decides_the_weights_and_nothing_else_is_disturbed(recipe: Recipe) -> None:
    torch.manual_seed(1)
    before = torch.get_rng_state()
    one = _network(recipe).state_dict()
    assert torch.get_rng_state().equal(before)
    torch.manual_seed(2)
    two, other = _network(recipe).state_dict(), _network(replace(recipe, seed=8)).state_dict()
    assert all(torch.equal(one[name], two[name]) for name in one)
    assert not all(torch.equal(one[name], other[name]) for name in one)


def test_the_backbone_learns_slower_and_norms_do_not_decay(recipe: Recipe) -> None:
    config = replace(recipe.training, lr=1e-3, backbone_lr=0.1, weight_decay=0.3)
    network = _network(recipe)
    groups = make_optimiser(network, config).param_groups
    assert {group["height"] for group in groups} == {1e-3, 1e-4}
    for group in groups:
        assert {p.ndim > 1 for p in group["params"]} == {group["weight_decay"] > 0}
    assert sum(len(group["params"]) for group in groups) == len(list(network.parameters()))
    every = make_optimiser(network, replace(config, decay="all")).param_groups
    assert {group["weight_decay"] for group in every} == {0.3} and len(every) == 2
    network.requires_grad_(False)
    with pytest.raises(ConfigError, match="Nothing of the network learns"):
        make_optimiser(network, config)


def test_rates_of_dropout_are_overridden_and_blocks_keep_their_proportions(recipe: Recipe) -> None:
    network = nn.Sequential(DropPath(0.0), DropPath(0.1), nn.Dropout(0.5), DropPath(0.2))
    set_rates(network, replace(recipe.training, drop_path=0.4, dropout=0.1))
    assert [module.rate for module in network if isinstance(module, DropPath)] == pytest.approx([0, 0.2, 0.4])
    assert network[2].p == 0.1
    set_rates(network, recipe.training)
    assert network[2].p == 0.1
    set_rates(network, replace(recipe.training, drop_path=0.0))
    set_rates(network, replace(recipe.training, drop_path=0.3))  # nothing to scale: a network without it stays so
    assert {module.rate for module in network if isinstance(module, DropPath)} == {0.0}


def test_frozen_norms_stay_frozen_when_training_begins_anew(recipe: Recipe) -> None:
    config = replace(recipe.training, batch_norm="frozen", freeze="all")
    network = _network(replace(recipe, training=config))
    for _ in range(2):
        assert network.training and not network.encoder.backbone.stem.conv.training  # type: ignore[union-attr]
        assert not any(m.training for m in network.modules() if isinstance(m, nn.BatchNorm2d))
        network.eval()
        learn(network, config)


def test_a_batch_norm_needs_two_samples(recipe: Recipe) -> None:
    network = nn.Sequential(nn.BatchNorm2d(2))

    def check(batch: int, processes: int = 1, **settings: Any) -> None:
        config = TrainingConfig(phases=(Phase(steps=1, size=32, batch=batch),), **settings)
        check_batches(network, config, Plan(config, seed=0, epoch_length=4), processes)

    check(2)
    check(4, processes=2)
    check(5, micro_batch=3)
    check(2, processes=2, batch_norm="synchronised")
    for wrong in ({"batch": 1}, {"batch": 2, "processes": 2}, {"batch": 5, "micro_batch": 2}):
        with pytest.raises(ConfigError, match=r"phases\.0.*single sample.*frozen"):
            check(**wrong)
    network.eval()
    check(1)


def test_more_classes_than_the_network_knows_are_refused(recipe: Recipe) -> None:
    class Stream:
        class_names = ("bird", "cat", "dog")

    assert recipe.network is not None
    classes = replace(recipe.data, classes=True, order="epochs")
    three = replace(recipe, data=classes, network=replace(recipe.network, classes=3))
    check_classes(three, Stream())  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match=r"3 classes, `network\.classes` is 2"):
        check_classes(replace(three, network=replace(recipe.network, classes=2)), Stream())  # type: ignore[arg-type]
