from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from birefnet.errors import ConfigError, WeightsError
from birefnet.training.average import Average
from birefnet.training.state import give_state, read_state, take_state, write_state


def _made(seed: int, width: int = 4, inputs: int = 1) -> tuple[nn.Module, torch.optim.AdamW, Average]:
    torch.manual_seed(seed)
    network = nn.Sequential(nn.Conv2d(inputs, width, 3, bias=False), nn.BatchNorm2d(width), nn.Conv2d(width, 1, 3))
    network[2].bias.requires_grad_(False)  # type: ignore[union-attr, operator]
    groups = [
        {"params": [p for p in network.parameters() if p.ndim > 1], "lr": 0.1, "height": 0.1},
        {"params": [p for p in network.parameters() if p.ndim == 1 and p.requires_grad], "lr": 0.2, "height": 0.2},
    ]
    return network, torch.optim.AdamW(groups, fused=True), Average(network, 0.9)


def _learn(network: nn.Module, optimiser: torch.optim.Optimizer, average: Average, steps: int) -> None:
    for step in range(steps):
        inputs = network[0].in_channels  # type: ignore[index, union-attr]
        x = torch.randn(2, inputs, 8, 8, generator=torch.Generator().manual_seed(step))
        optimiser.zero_grad()
        network(x).square().mean().backward()
        optimiser.step()
        average.move(step + 1)


def _everything(network: nn.Module, optimiser: torch.optim.Optimizer, average: Average) -> list[torch.Tensor]:
    values = [value.clone() for value in network.state_dict().values()]
    with average.swapped():
        values += [value.clone() for value in network.state_dict().values()]
    return values + [value for state in optimiser.state.values() for value in state.values()]


def test_another_network_goes_on_as_if_it_were_the_same(tmp_path: Path) -> None:
    first = _made(0)
    _learn(*first, steps=3)
    network, optimiser, average = first
    write_state({"step": 3, **take_state(network, optimiser, average)}, tmp_path / "state" / "last.pt")
    second = _made(1)
    state = read_state(tmp_path / "state" / "last.pt")
    assert state["step"] == 3
    give_state(state, *second)
    assert [group["height"] for group in second[1].param_groups] == [0.1, 0.2]
    _learn(*first, steps=3)
    _learn(*second, steps=3)
    for ours, theirs in zip(_everything(*first), _everything(*second), strict=True):
        assert torch.equal(ours, theirs)


def test_moments_follow_the_layout_of_their_weights(tmp_path: Path) -> None:
    """Channels last in one run and not in the other: a fused optimiser must not mix the moments up."""
    first, second = _made(0, inputs=3), _made(1, inputs=3)
    second[0].to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    _learn(*first, steps=3)
    network, optimiser, average = first
    write_state(take_state(network, optimiser, average), tmp_path / "last.pt")
    give_state(read_state(tmp_path / "last.pt"), *second)
    _learn(*first, steps=2)
    _learn(*second, steps=2)
    for ours, theirs in zip(_everything(*first), _everything(*second), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)
    back = _made(2, inputs=3)
    give_state(take_state(*second), *back)
    assert all(value.is_contiguous() for state in back[1].state.values() for value in state.values())


def test_nothing_in_the_file_is_executed_and_damage_is_said(tmp_path: Path) -> None:
    path = tmp_path / "last.pt"
    write_state({"step": 1}, path)
    whole = path.read_bytes()
    for content in (whole[: len(whole) // 2], b"", b"no state"):
        path.write_bytes(content)
        with pytest.raises(WeightsError, match="damaged"):
            read_state(path)
    torch.save({"version": 1, "evil": Path}, path)
    with pytest.raises(WeightsError, match="damaged"):
        read_state(path)
    torch.save({"version": 99}, path)
    with pytest.raises(WeightsError, match="version 99"):
        read_state(path)


def test_a_failed_write_leaves_the_old_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "last.pt"
    write_state({"step": 1}, path)

    def full(*_arguments: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(WeightsError, match="No space left"):
        write_state({"step": 2}, path)
    monkeypatch.undo()
    assert read_state(path)["step"] == 1
    assert [entry.name for entry in tmp_path.iterdir()] == ["last.pt"]


def test_what_does_not_fit_is_refused() -> None:
    network, optimiser, average = _made(0)
    state = take_state(network, optimiser, average)
    with pytest.raises(ConfigError, match=r"size mismatch|differ"):
        give_state(state, *_made(0, width=5))
    other, _, _ = _made(0)
    fewer = torch.optim.AdamW([{"params": [other[0].weight], "height": 0.1}])  # type: ignore[index]
    with pytest.raises(ConfigError, match="other parts of it are trained"):
        give_state(state, other, fewer, Average(other, 0.9))
    with pytest.raises(ConfigError, match="its weights differ"):
        give_state({**state, "weights": {}}, network, optimiser, average)
