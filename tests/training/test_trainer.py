from __future__ import annotations

import csv
import logging
import os
import random
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from safetensors import safe_open
from safetensors.torch import load_file

from birefnet.errors import ConfigError, WeightsError
from birefnet.network import BiRefNet
from birefnet.pixels.prepare import InputSpec
from birefnet.remover import Remover
from birefnet.training.config import CheckpointConfig, Recipe, StartConfig
from birefnet.training.reading import load_recipe, parse_recipe
from birefnet.training.settings import Interval, Phase
from birefnet.training.state import averaged_weights, read_state, whole_weights
from birefnet.training.trainer import Report, Trainer
from birefnet.weights.checkpoint import load_model, save_model
from birefnet.weights.facts import from_spec
from birefnet.weights.resolve import resolve


@pytest.fixture
def recipe(recipe_values: dict[str, Any]) -> Recipe:
    return parse_recipe(recipe_values)


def _training(recipe: Recipe, **settings: Any) -> Recipe:
    return replace(recipe, training=replace(recipe.training, **settings))


def _weights(trainer: Trainer) -> dict[str, torch.Tensor]:
    averaged = averaged_weights(trainer.model, trainer.average)
    return {**whole_weights(trainer.model), **{f"average.{name}": value for name, value in averaged.items()}}


def _same(one: Trainer, other: Trainer) -> None:
    theirs = _weights(other)
    assert theirs and theirs.keys() == _weights(one).keys()
    for name, value in _weights(one).items():
        assert torch.equal(value, theirs[name]), name


def _rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_a_broken_run_ends_bit_for_bit_like_an_unbroken_one(recipe: Recipe, tmp_path: Path) -> None:
    whole = Trainer(recipe, tmp_path / "whole", "cpu")
    assert whole.run().finished
    outcome = Trainer(recipe, tmp_path / "broken", "cpu").run(until=4)
    assert (outcome.step, outcome.finished, outcome.signal) == (4, False, 0)
    torch.manual_seed(99)  # another process would be anywhere
    again = Trainer(recipe, tmp_path / "broken", "cpu")
    assert again.step == 4
    again.run()
    _same(whole, again)
    logs = [_rows(tmp_path / name / "log.csv") for name in ("whole", "broken")]
    without_time = [[{**row, "samples_per_second": ""} for row in log] for log in logs]
    assert without_time[0] == without_time[1]


def test_workers_do_not_change_the_weights(recipe: Recipe, tmp_path: Path) -> None:
    alone = Trainer(recipe, tmp_path / "alone", "cpu")
    alone.run(until=2)
    helped = Trainer(_training(recipe, workers=2), tmp_path / "helped", "cpu")
    helped.run(until=2)
    assert alone.step == helped.step == 2
    _same(alone, helped)


def test_the_callers_random_numbers_are_left_alone(recipe: Recipe, tmp_path: Path) -> None:
    torch.manual_seed(5)
    before = torch.get_rng_state()
    Trainer(recipe, tmp_path, "cpu").run(until=1)
    assert torch.get_rng_state().equal(before)


def test_training_lowers_the_loss_and_leaves_a_folder_to_use(recipe: Recipe, tmp_path: Path) -> None:
    longer = _training(
        recipe,
        phases=(Phase(steps=25, size=64, batch=2),),
        lr=5e-3,
        save_every=Interval(25),
        validate_every=Interval(10),
        sheet_every=Interval(20),
    )
    kept = CheckpointConfig(last=Interval(4, "epochs"), every=Interval(2, "epochs"), best="MAE")
    run = tmp_path / "run"
    trainer = Trainer(replace(longer, checkpoints=kept), run, "cpu")
    reports: list[Report] = []
    judgement = trainer.run(reports.append).judgement
    losses = [report.values["loss"] for report in reports]
    assert len(losses) == 25
    assert sum(losses[-5:]) < 0.8 * sum(losses[:5])
    assert judgement is not None and judgement.scores["all"].count == 4
    log = _rows(run / "log.csv")
    assert [int(row["step"]) for row in log] == list(range(2, 26, 2))
    assert float(log[0]["loss"]) == pytest.approx(sum(losses[:2]) / 2, rel=1e-6)
    validations = _rows(run / "validation.csv")
    assert [(row["step"], row["set"]) for row in validations][::2] == [(s, "discs") for s in ("10", "20", "25")]
    assert sorted(path.name for path in (run / "sheets").iterdir()) == ["step_000020.png", "step_000025.png"]
    assert sorted(path.name for path in (run / "checkpoints").iterdir()) == [
        f"epoch_{epoch:04d}.safetensors" for epoch in (10, 12)
    ]
    assert load_recipe(run / "recipe.yaml") == trainer.recipe
    maes = {int(row["step"]): float(row["MAE"]) for row in validations if row["set"] == "all"}
    assert trainer.best == pytest.approx(min(maes.values()), rel=1e-6)
    _check_weights(run / "last.safetensors", trainer)
    assert (run / "best.safetensors").exists()


@pytest.mark.parametrize("size", [64, None])
def test_a_fine_tuned_model_keeps_its_starts_input(recipe: Recipe, tmp_path: Path, size: int | None) -> None:
    """Mean, deviation, way of enlarging, and the size unless another is validated at; also in a run that goes on."""
    start = InputSpec(width=96, height=64, mean=(0.3, 0.4, 0.5), std=(0.2, 0.25, 0.5), upsample="guided")
    assert recipe.network is not None and recipe.validation is not None
    weights = save_model(BiRefNet(recipe.network), tmp_path / "start.safetensors", from_spec(start))
    tuned = _training(
        replace(
            recipe,
            network=None,
            start=StartConfig(weights=str(weights)),
            validation=replace(recipe.validation, size=size),
        ),
        validate_every=Interval(1),
    )
    expected = start if size is None else replace(start, width=size, height=size)
    trainer = Trainer(tuned, tmp_path / "run", "cpu")
    assert trainer.spec == trainer.stepper.spec == expected
    trainer.run(until=1)
    weights.unlink()  # a run that goes on has its own
    judged = Trainer(replace(tuned, network=recipe.network), tmp_path / "run", "cpu")
    assert judged.spec == expected
    found = judged.run(until=2).judgement
    assert found is not None
    for name in ("last", "best"):
        assert resolve(tmp_path / "run" / f"{name}.safetensors").fetch().spec() == expected
    # What `birefnet remove` makes of the run's weights is what was judged.
    remover = Remover(tmp_path / "run" / "last.safetensors", dtype="float32")
    for row in found.shown:
        mask = remover(tmp_path / f"{row.name.replace('/', '/im/')}.png").mask
        assert np.abs(mask.astype(int) - row.prediction).max() <= 1  # other sums in another form


def _check_weights(path: Path, trainer: Trainer) -> None:
    with safe_open(path, "pt") as file:
        assert file.metadata()["size"] == "[64, 64]"
    loaded = load_model(path)
    assert loaded.config == trainer.recipe.network
    averaged = averaged_weights(trainer.model, trainer.average)
    for name, value in loaded.state_dict().items():
        torch.testing.assert_close(value, averaged[name])


def test_the_best_weights_are_those_of_the_best_validation(
    recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer = Trainer(_training(recipe, validate_every=Interval(1)), tmp_path, "cpu")
    values = iter([0.3, None, 0.5, 0.4, 0.5, 0.1])
    kept: list[int] = []
    monkeypatch.setattr("birefnet.training.validation.Judgement.value", lambda _self, _metric: next(values))
    save = trainer._save_weights

    def watch(network: Any, path: Path) -> None:
        if path.name == "best.safetensors":
            kept.append(trainer.step)
        save(network, path)

    monkeypatch.setattr(trainer, "_save_weights", watch)
    trainer.run()
    assert kept == [1, 3] and trainer.best == 0.5
    assert read_state(tmp_path / "state" / "last.pt")["best"] == 0.5
    assert Trainer(trainer.recipe, tmp_path, "cpu").best == 0.5
    by_mae = replace(trainer.recipe, checkpoints=CheckpointConfig(best="MAE"))
    assert Trainer(by_mae, tmp_path, "cpu").best is None  # another measure


def test_without_a_validation_there_are_only_the_last_weights(recipe: Recipe, tmp_path: Path) -> None:
    trainer = Trainer(replace(recipe, validation=None), tmp_path / "run", "cpu")
    assert trainer.run().judgement is None
    assert not (tmp_path / "run" / "best.safetensors").exists()
    with safe_open(tmp_path / "run" / "last.safetensors", "pt") as file:
        assert file.metadata()["size"] == "[96, 96]"


def test_bf16_autocast_trains_on_the_cpu(recipe: Recipe, tmp_path: Path) -> None:
    deformable = replace(recipe, network=replace(recipe.network, attention="aspp_deformable"))
    seen: set[torch.dtype] = set()
    trainer = Trainer(_training(deformable, precision="bf16"), tmp_path, "cpu")
    trainer.network.encoder.backbone.stem.register_forward_hook(lambda _m, _i, output: seen.add(output.dtype))
    trainer.run(until=1)
    assert all(bool(value.isfinite().all()) for value in trainer.network.state_dict().values())
    assert torch.bfloat16 in seen
    again = Trainer(_training(deformable, precision="fp32"), tmp_path, "cpu")  # the same process, another precision
    assert again.step == 1
    with pytest.raises(ConfigError, match="needs a GPU"):
        Trainer(_training(deformable, precision="fp16"), tmp_path, "cpu")


@pytest.mark.slow
def test_a_compiled_network_learns_the_same(recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a compiler that only traces, since a real one takes minutes: it shows what is wrapped, saved and named."""
    monkeypatch.setattr("birefnet.training.distributed._COMPILER", "eager")
    compiled = Trainer(_training(recipe, compile=True), tmp_path / "compiled", "cpu")
    assert type(compiled.model).__name__ == "OptimizedModule"
    compiled.run(until=5)
    plain = Trainer(recipe, tmp_path / "plain", "cpu")
    plain.run(until=5)
    _same(plain, compiled)
    again = Trainer(recipe, tmp_path / "compiled", "cpu")
    assert again.step == 5
    _same(plain, again)


def test_checkpointed_and_frozen_and_one_by_one(recipe: Recipe, tmp_path: Path) -> None:
    single = (Phase(steps=3, size=64, batch=1),)
    with pytest.raises(ConfigError, match=r"single sample.*set `training.batch_norm` to frozen"):
        Trainer(_training(recipe, phases=single), tmp_path, "cpu")
    frozen = _training(recipe, phases=single, batch_norm="frozen", activation_checkpointing="all", freeze=2)
    trainer = Trainer(frozen, tmp_path, "cpu")
    before = {name: value.clone() for name, value in trainer.network.state_dict().items()}
    trainer.run()
    moved = {name for name, value in trainer.network.state_dict().items() if not value.equal(before[name])}
    assert moved and not any("running" in name or name.startswith("encoder.backbone.stem") for name in moved)
    synchronised = Trainer(_training(recipe, batch_norm="synchronised"), tmp_path / "one", "cpu")
    assert synchronised.run(until=1).step == 1  # one process sees all samples anyway


def test_sizes_are_drawn_step_by_step(recipe: Recipe, tmp_path: Path) -> None:
    phases = (Phase(steps=6, size=64, batch=2, sizes=(64, 96)),)
    sizes: list[tuple[int, int]] = []
    trainer = Trainer(_training(recipe, phases=phases), tmp_path, "cpu")
    trainer.run(lambda report: sizes.append(report.size))
    assert sizes == [trainer.plan.at(number).size for number in range(6)]
    assert len(set(sizes)) == 2


def test_the_state_of_another_network_is_refused(recipe: Recipe, tmp_path: Path) -> None:
    Trainer(recipe, tmp_path / "run", "cpu").run(until=1)
    with pytest.raises(ConfigError, match="another network"):
        Trainer(replace(recipe, network=replace(recipe.network, context=0)), tmp_path / "run", "cpu")
    with pytest.raises(ConfigError, match=r"another choice of what is trained.*start\.weights"):
        Trainer(_training(recipe, freeze="all"), tmp_path / "run", "cpu")
    state = tmp_path / "run" / "state" / "last.pt"
    state.write_bytes(state.read_bytes()[:5000])
    with pytest.raises(WeightsError, match=r"damaged.*start anew"):
        Trainer(recipe, tmp_path / "run", "cpu")


def test_a_changed_schedule_goes_on_and_is_said(
    recipe: Recipe, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    Trainer(recipe, tmp_path, "cpu").run(until=2)
    with caplog.at_level(logging.WARNING):
        again = Trainer(_training(recipe, phases=(Phase(steps=7, size=64, batch=2),)), tmp_path, "cpu")
    assert again.step == 2
    assert "another training than the run began with" in caplog.text


def test_making_a_trainer_writes_nothing(recipe: Recipe, tmp_path: Path) -> None:
    Trainer(recipe, tmp_path / "run", "cpu")
    assert not (tmp_path / "run").exists()


def test_a_gradient_that_is_not_finite_stops_the_run_and_keeps_what_was_saved(recipe: Recipe, tmp_path: Path) -> None:
    trainer = Trainer(recipe, tmp_path, "cpu")
    trainer.run(until=2)
    weights = {name: value.clone() for name, value in trainer.network.state_dict().items()}
    head = trainer.network.decoder.head.weight
    handle = head.register_hook(lambda gradient: gradient * float("nan"))
    with pytest.raises(WeightsError, match=r"step 3 is not finite.*training\.lr"):
        trainer.run()
    handle.remove()
    for name, parameter in trainer.network.named_parameters():
        assert parameter.equal(weights[name]), name
    assert Trainer(recipe, tmp_path, "cpu").step == 2


def test_adapters_are_trained_saved_and_merged(recipe: Recipe, tmp_path: Path) -> None:
    pytest.importorskip("peft")
    from birefnet.training.settings import LoraConfig

    adapted = replace(recipe, network=replace(recipe.network, backbone="pvt_v2_b0"))
    adapted = _training(adapted, lora=LoraConfig(rank=2), phases=(Phase(steps=2, size=64, batch=2),))
    whole = Trainer(adapted, tmp_path / "whole", "cpu")
    whole.run()
    Trainer(adapted, tmp_path / "broken", "cpu").run(until=1)
    again = Trainer(adapted, tmp_path / "broken", "cpu")
    again.run()
    _same(whole, again)
    plain = load_model(tmp_path / "whole" / "last.safetensors")
    assert not any("lora" in name for name in plain.state_dict())
    picture = torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.no_grad(), whole.average.swapped():
        torch.testing.assert_close(plain(picture).logits, whole.network.eval()(picture).logits, rtol=1e-4, atol=1e-4)


PROGRAM = [sys.executable, "-m", "birefnet", "train"]


def _start(recipe: Recipe, folder: Path, *words: str) -> subprocess.Popen[str]:
    path = folder.parent / "recipe.yaml"
    path.write_text(yaml.safe_dump(recipe.to_dict()))
    command = [*PROGRAM, str(path), "-o", str(folder), "--device", "cpu", *words]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True)


def _wait_for_step(process: subprocess.Popen[str], step: int) -> None:
    assert process.stderr is not None
    for line in process.stderr:
        if line.startswith(f"step {step}/"):
            return
    raise AssertionError(f"it ended before step {step}")


def test_a_killed_run_ends_bit_for_bit_like_an_unbroken_one(recipe: Recipe, tmp_path: Path) -> None:
    phases = (Phase(steps=14, size=64, batch=2),)
    longer = _training(recipe, phases=phases, report_every=Interval(1), save_every=Interval(3), workers=1)
    whole = Trainer(longer, tmp_path / "whole", "cpu")
    whole.run()
    chance = random.Random(11)
    process = _start(longer, tmp_path / "broken")
    _wait_for_step(process, chance.randrange(4, 12))
    time.sleep(chance.random() * 0.2)  # in the middle of a step, or of saving
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    again = Trainer(longer, tmp_path / "broken", "cpu")
    assert 3 <= again.step < 14
    again.run()
    _same(whole, again)
    for name in ("last", "best"):
        ours, theirs = (load_file(tmp_path / run / f"{name}.safetensors") for run in ("whole", "broken"))
        assert all(torch.equal(ours[key], theirs[key]) for key in ours)
    assert [row["step"] for row in _rows(tmp_path / "broken" / "log.csv")] == [str(step) for step in range(1, 15)]


@pytest.mark.parametrize(
    ("number", "code", "everyone"), [(signal.SIGTERM, 143, False), (signal.SIGINT, 130, True)], ids=["term", "ctrl-c"]
)
def test_a_signal_saves_and_ends_with_its_code(
    recipe: Recipe, tmp_path: Path, number: signal.Signals, code: int, everyone: bool
) -> None:
    phases = (Phase(steps=500, size=64, batch=2),)
    long = _training(recipe, phases=phases, report_every=Interval(1), save_every=Interval(500), workers=1)
    process = _start(long, tmp_path / "run")
    _wait_for_step(process, 2)
    (os.killpg if everyone else os.kill)(process.pid, number)  # a terminal's Ctrl-C reaches the workers too
    _, talk = process.communicate(timeout=60)
    assert process.returncode == code, talk
    assert "the same command goes on" in talk and "Traceback" not in talk
    state = read_state(tmp_path / "run" / "state" / "last.pt")
    assert 2 <= state["step"] < 500
    assert (tmp_path / "run" / "last.safetensors").exists()


def test_a_signal_during_a_validation_leaves_it(
    recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer = Trainer(recipe, tmp_path, "cpu")
    judged: list[int] = []
    cut = Remover.cut

    def interrupted(*arguments: Any) -> Any:
        judged.append(trainer.step)
        os.kill(os.getpid(), signal.SIGINT)
        return cut(*arguments)

    monkeypatch.setattr(Remover, "cut", interrupted)
    outcome = trainer.run()
    assert (outcome.step, outcome.signal, outcome.judgement) == (3, signal.SIGINT, None)
    assert judged == [3]
    assert Trainer(recipe, tmp_path, "cpu").step == 3


def test_an_interrupt_at_once_keeps_what_was_saved_before(recipe: Recipe, tmp_path: Path) -> None:
    def interrupt(report: Report) -> None:
        if report.step == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Trainer(recipe, tmp_path, "cpu").run(interrupt)
    assert Trainer(recipe, tmp_path, "cpu").step == 2
