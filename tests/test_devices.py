"""What names of devices mean, and which are here."""

from __future__ import annotations

import sys
from types import SimpleNamespace

import pytest

from birefnet.devices import KNOWN, TRAINS_ON, Device, best_of, choose_device, parse_device
from birefnet.errors import DeviceError


def test_names() -> None:
    assert parse_device("cuda") == Device("cuda")
    assert parse_device("CUDA:1") == Device("cuda", 1)
    assert parse_device("gpu.1", KNOWN) == Device("gpu", 1)
    assert parse_device("cpu:0") == Device("cpu")
    assert parse_device("mps:0") == Device("mps")
    for name in (
        "gpu",
        "cuda:x",
        "cpu:x",
        "cpu:1",
        "mps:1",
        "cuda:",
        "cuda:-1",
        "cuda:1:2",
        "",
        "auto",
        "xpu",
        "cuda:\u0661",
    ):
        with pytest.raises(DeviceError, match="Unknown device"):
            parse_device(name)
    with pytest.raises(DeviceError) as caught:
        parse_device("cudda")
    assert caught.value.hint == "did you mean `cuda`?"


def test_the_best() -> None:
    assert best_of({"cpu", "mps"}) == "mps"
    assert best_of({"cpu", "mps", "cuda"}) == "cuda"
    assert best_of(set()) is None


def machine(monkeypatch: pytest.MonkeyPatch, *, cuda: int = 0, xpu: int = 0, mps: bool = False) -> None:
    """A PyTorch that sees so many devices."""

    def kind(count: int) -> SimpleNamespace:
        return SimpleNamespace(is_available=lambda: count > 0, device_count=lambda: count)

    backends = SimpleNamespace(mps=SimpleNamespace(is_available=lambda: mps))
    torch = SimpleNamespace(__version__="9.9", cuda=kind(cuda), xpu=kind(xpu), backends=backends)
    monkeypatch.setitem(sys.modules, "torch", torch)


def test_what_is_here_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    machine(monkeypatch)
    assert choose_device() == choose_device("cpu") == choose_device("auto", TRAINS_ON) == "cpu"
    machine(monkeypatch, mps=True)
    assert choose_device() == "mps"
    machine(monkeypatch, cuda=2, xpu=1, mps=True)
    assert choose_device() == "cuda"
    assert choose_device("cuda:1") == "cuda:1"
    machine(monkeypatch, xpu=1)
    assert (choose_device(), choose_device("auto", TRAINS_ON)) == ("cpu", "xpu")


def test_what_is_not_here_is_refused_with_what_is(monkeypatch: pytest.MonkeyPatch) -> None:
    machine(monkeypatch, cuda=2)
    with pytest.raises(DeviceError, match=r"PyTorch 9\.9 sees no `cuda:9` here; it sees: cuda:0, cuda:1, cpu\."):
        choose_device("cuda:9")
    with pytest.raises(DeviceError, match="sees no `mps`"):
        choose_device("mps")
    machine(monkeypatch)
    with pytest.raises(DeviceError, match=r"sees no `cuda` here; it sees: cpu\."):
        choose_device("cuda")
