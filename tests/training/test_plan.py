from __future__ import annotations

import itertools
import math

import pytest

from birefnet.errors import ConfigError
from birefnet.training.config import CheckpointConfig
from birefnet.training.plan import Plan, cut, dropout_seed
from birefnet.training.settings import DynamicSize, Interval, Phase, TrainingConfig

STEPS = (Phase(steps=4, size=64, batch=2), Phase(steps=2, size=(96, 32), batch=3))


def _plan(*phases: Phase, epoch_length: int = 5, **settings: object) -> Plan:
    config = TrainingConfig(phases=phases, **{"warmup": 0, **settings})  # type: ignore[arg-type]
    return Plan(config, seed=7, epoch_length=epoch_length)


def test_samples_are_numbered_through_all_phases() -> None:
    plan = _plan(*STEPS)
    steps = [plan.at(number) for number in range(plan.steps)]
    assert [step.first for step in steps] == [0, 2, 4, 6, 8, 11]
    assert [step.batch for step in steps] == [2, 2, 2, 2, 3, 3]
    assert [step.phase for step in steps] == [0, 0, 0, 0, 1, 1]
    assert [step.size for step in steps] == [(64, 64)] * 4 + [(96, 32)] * 2
    assert [step.epoch for step in steps] == [0, 0, 0, 1, 1, 2]
    assert [plan.samples(done) for done in range(7)] == [0, 2, 4, 6, 8, 11, 14]
    assert (plan.steps, plan.epochs) == (6, 3)
    assert [plan.phase_steps(index) for index in range(2)] == [4, 2]


def test_epochs_are_whole_however_batches_fall() -> None:
    plan = _plan(Phase(epochs=3, size=64, batch=2), epoch_length=5)
    assert plan.steps == 8  # 15 samples in batches of 2
    assert plan.epochs == 3
    two = _plan(Phase(epochs=1, size=64, batch=2), Phase(epochs=2, size=32, batch=4), epoch_length=5)
    assert [two.at(number).first for number in range(two.steps)] == [0, 2, 4, 6, 10, 14]
    assert two.epochs == 3
    assert _plan(Phase(epochs=1, size=64, batch=8), epoch_length=5).steps == 1


def test_what_happens_every_so_often() -> None:
    plan = _plan(Phase(epochs=4, size=64, batch=2), epoch_length=5)
    assert [done for done in range(1, plan.steps + 1) if plan.due(Interval(1, "epochs"), done)] == [3, 5, 8, 10]
    assert [done for done in range(1, plan.steps + 1) if plan.due(Interval(2, "epochs"), done)] == [5, 10]
    assert [done for done in range(1, plan.steps + 1) if plan.due(Interval(4), done)] == [4, 8]


def test_the_last_epochs_are_kept_as_the_reference_keeps_them() -> None:
    plan = _plan(Phase(epochs=20, size=64, batch=2), epoch_length=4)
    rule = CheckpointConfig(last=Interval(10, "epochs"), every=Interval(5, "epochs"))
    kept = {done: name for done in range(1, plan.steps + 1) if (name := plan.kept(rule, done))}
    assert kept == {20: "epoch_0010", 30: "epoch_0015", 40: "epoch_0020"}
    by_steps = CheckpointConfig(last=Interval(4), every=Interval(2))
    kept = {done: name for done in range(1, plan.steps + 1) if (name := plan.kept(by_steps, done))}
    assert kept == {36: "step_000036", 38: "step_000038", 40: "step_000040"}
    assert not any(plan.kept(CheckpointConfig(), done) for done in range(1, plan.steps + 1))


def test_drawn_sizes_depend_on_the_step_alone() -> None:
    dynamic = DynamicSize(smallest=64, largest=160, step=32)
    plan = _plan(Phase(steps=200, size=64, batch=1, dynamic=dynamic))
    sizes = [plan.at(number).size for number in range(200)]
    assert {side for size in sizes for side in size} == {64, 96, 128, 160}
    assert any(width != height for width, height in sizes)
    again = _plan(Phase(steps=5, size=32, batch=9), Phase(steps=300, size=64, batch=1, dynamic=dynamic))
    assert [again.at(number).size for number in range(5, 200)] == sizes[5:]
    scales = _plan(Phase(steps=100, size=64, batch=1, sizes=(64, 96)))
    assert {scales.at(number).size for number in range(100)} == {(64, 64), (96, 96)}
    assert plan.sizes() == [((160, 160), 1)] and scales.sizes() == [((96, 96), 1)]


def test_the_rate_rises_then_falls() -> None:
    plan = _plan(Phase(steps=30, size=64, batch=2), warmup=3, final_lr=0.1)
    rates = [plan.at(number).lr for number in range(30)]
    assert rates[:4] == pytest.approx([1 / 3, 2 / 3, 1, 1])
    assert all(a >= b for a, b in itertools.pairwise(rates[2:]))
    assert rates[-1] == pytest.approx(0.1 + 0.9 * 0.5 * (1 + math.cos(math.pi * 26 / 27)))
    flat = _plan(Phase(steps=9, size=64, batch=2), warmup=0, schedule="constant")
    assert {flat.at(number).lr for number in range(9)} == {1.0}


def test_the_rate_grows_with_the_root_of_the_batch() -> None:
    plan = _plan(Phase(steps=1, size=64, batch=16), Phase(steps=1, size=64, batch=1), schedule="constant", lr_batch=4)
    assert [plan.at(number).lr for number in range(2)] == pytest.approx([2.0, 0.5])


def test_no_samples_are_refused() -> None:
    with pytest.raises(ConfigError, match="nothing to train on"):
        _plan(*STEPS, epoch_length=0)


def test_parts_are_even() -> None:
    assert cut(8, None) == [8] and cut(8, 8) == [8] and cut(8, 3) == [3, 3, 2]
    assert cut(5, 4) == [3, 2]  # not 4 and 1: a batch norm would choke on the 1
    assert cut(3, 1) == [1, 1, 1]


def test_what_is_dropped_depends_on_the_sample() -> None:
    seeds = {dropout_seed(seed, sample) for seed in (1, 2) for sample in range(100)}
    assert len(seeds) == 200
    assert all(0 <= seed < 2**64 for seed in seeds)
