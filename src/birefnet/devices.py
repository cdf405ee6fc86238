"""Devices: what their names mean, and which of them PyTorch has here. Other libraries keep tables of their own."""

from __future__ import annotations

import re
from collections.abc import Container, Mapping, Sequence
from typing import NamedTuple

from birefnet.errors import DeviceError, did_you_mean, require

# Best first, as "auto" takes them; networks run on the first three, and are trained on all.
RUNS_ON = ("cuda", "mps", "cpu")
TRAINS_ON = ("cuda", "xpu", "mps", "cpu")
KNOWN = (*TRAINS_ON, "gpu", "npu")  # the last two are OpenVINO's

_SINGLE = ("cpu", "mps")  # of these there is one
_NAME = re.compile(r"([a-z]+)(?:[:.](\d+))?", re.IGNORECASE | re.ASCII)


class Device(NamedTuple):
    """A kind of device, and which one of it; None for the one that its library takes."""

    kind: str
    number: int | None = None


def parse_device(name: str, known: Sequence[str] = RUNS_ON) -> Device:
    """ "cuda:1" (or, as OpenVINO has it, "gpu.1") -> its kind and number, in any case of letters.

    Raises:
        DeviceError: if it is no name of a device, or of none of the kinds `known`.
    """
    found = _NAME.fullmatch(name) if isinstance(name, str) else None
    kind = found[1].lower() if found else ""
    if found is None or kind not in known or (kind in _SINGLE and found[2] not in (None, "0")):
        numbered = [one for one in known if one not in (*_SINGLE, "gpu", "npu")]
        wanted = ", ".join(("auto", *known, *(f"{one}:N" for one in numbered)))
        raise DeviceError(f"Unknown device `{name}`; wanted {wanted}.", hint=did_you_mean(str(name), ("auto", *known)))
    return Device(kind, None if found[2] is None or kind in _SINGLE else int(found[2]))


def best_of(kinds: Container[str], order: Sequence[str] = RUNS_ON) -> str | None:
    """What "auto" takes of the kinds that are there; None where none is."""
    return next((kind for kind in order if kind in kinds), None)


def choose_device(name: str = "auto", kinds: Sequence[str] = RUNS_ON) -> str:
    """ "auto" -> the best device PyTorch has here; others are checked.

    Args:
        name: a kind, with or without a number: "cuda", "cuda:1".
        kinds: those that will do, best first.

    Raises:
        DeviceError: if this machine has no such device, or the name is unknown.
        MissingExtra: if PyTorch is not installed.
    """
    torch = require("torch", "torch")
    counts = _counts()
    if name == "auto":
        return best_of([kind for kind, count in counts.items() if count], kinds) or "cpu"
    kind, number = parse_device(name, kinds)
    if (number or 0) >= counts[kind]:
        there = ", ".join(_names({kind: counts[kind] for kind in kinds}))
        raise DeviceError(
            f"PyTorch {torch.__version__} sees no `{name}` here; it sees: {there}.",
            hint="`birefnet doctor` shows what is installed",
        )
    return kind if number is None else f"{kind}:{number}"


def _counts() -> dict[str, int]:
    """How many devices of each kind PyTorch sees."""
    torch = require("torch", "torch")
    xpu = getattr(torch, "xpu", None)
    return {
        "cuda": torch.cuda.device_count() if torch.cuda.is_available() else 0,
        "xpu": xpu.device_count() if xpu is not None and xpu.is_available() else 0,
        "mps": int(torch.backends.mps.is_available()),
        "cpu": 1,
    }


def _names(counts: Mapping[str, int]) -> list[str]:
    """ "cuda:0", "cuda:1", "cpu"."""
    return [
        kind if kind in _SINGLE else f"{kind}:{number}" for kind, count in counts.items() for number in range(count)
    ]
