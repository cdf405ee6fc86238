"""Networks in `.pt2` packages: compiled by AOTInductor for one kind of machine, or as a graph that PyTorch runs.

Opening a compiled package runs the machine code in it, and a graph may hold pickled objects: open only packages that
you made yourself or whose maker you trust. What a package says of its input stands in `extra/birefnet.json`.
"""

from __future__ import annotations

import json
import platform
import threading
import zipfile
from collections.abc import Iterable, Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from birefnet.devices import choose_device
from birefnet.errors import DeviceError, InputError, WeightsError, first_line, require
from birefnet.files import whole_file
from birefnet.memory import ran_out
from birefnet.pixels.prepare import InputSpec
from birefnet.processes import PerProcess
from birefnet.runtimes.base import Batch
from birefnet.runtimes.packed import PackedRuntime
from birefnet.runtimes.threads import CpuThreads
from birefnet.weights.facts import to_spec

FACTS = "extra/birefnet.json"
_ROOT = "birefnet"  # the folder in the archive that holds all of it
SMALLEST_SIDE = 128  # of packages for any size: below, the deepest map of the half-size picture has one place only


class AotiRuntime(PackedRuntime):
    """A network in a `.pt2` package that `birefnet export --to package` wrote.

    Args:
        path: the file; see above whom to trust.
        name: what to call it; None for the file's name.
        size: (width, height) to run at instead of the network's own; multiples of 32.
        device: "auto" for the one that it was made for, or that one's name; a GPU may have a number ("cuda:1").
        threads: CPU threads; as for `birefnet.runtimes.torch.TorchRuntime`.
        defaults: what to take where the package does not say.

    Raises:
        WeightsError: if the file is missing, damaged, or no package of ours.
        DeviceError: if it was made for another device or machine, or another PyTorch.
        MissingExtra: without PyTorch.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        name: str | None = None,
        size: tuple[int, int] | None = None,
        device: str = "auto",
        threads: int | None = None,
        defaults: InputSpec | None = None,
    ) -> None:
        torch = require("torch", "torch")
        super().__init__(Path(path), name)
        facts = read_facts(self.path)
        self.device = _device(facts, device, self.path)
        spec = to_spec(facts, self.path, defaults=defaults)
        fixed = None if facts.get("dynamic") else (spec.width, spec.height)
        count: int | None = facts.get("batch")
        self._describe(facts, fixed=fixed, size=size, defaults=defaults, at_once=(count or 1, count))
        self._torch = torch
        self._lock = PerProcess(threading.Lock)  # a compiled package keeps its buffers between runs
        self._threads = CpuThreads(threads) if self.device == "cpu" else nullcontext
        self._run = _open(torch, self.path, self.device, compiled=bool(facts.get("compiled")))

    def _check_more(self, batch: Batch) -> None:
        if self.dynamic and min(batch.shape[2:]) < SMALLEST_SIDE:
            height, width = batch.shape[2:]
            raise InputError(f"`{self.name}` takes sides from {SMALLEST_SIDE} pixels, got {width}x{height}.")

    def _infer(self, batch: Batch) -> NDArray[np.floating]:
        with self._lock(), self._threads(), self._torch.inference_mode():
            logits = self._run(self._torch.from_numpy(np.ascontiguousarray(batch)).to(self.device))
        return np.asarray(logits.cpu().numpy())


def machine_facts(device: str) -> dict[str, str]:
    """What compiled code depends on."""
    torch = require("torch", "torch")
    facts = {"system": platform.system(), "processor": platform.machine(), "torch": torch.__version__.partition("+")[0]}
    if device.startswith("cuda"):
        return facts | {"gpu": ".".join(map(str, torch.cuda.get_device_capability(device)))}
    return facts | {"instructions": torch.backends.cpu.get_cpu_capability()}


def read_facts(path: Path) -> dict[str, Any]:
    """What a package of ours says of itself; nothing in it is run.

    Raises:
        WeightsError: if the file is missing, damaged, or no package of ours.
    """
    if not path.is_file():
        raise WeightsError(f"There is no file `{path}`.")
    try:
        with zipfile.ZipFile(path) as archive:
            places = [name for name in archive.namelist() if _inner(name) == FACTS]
            facts = json.loads(archive.read(places[0])) if places else None
    except (zipfile.BadZipFile, OSError, ValueError) as error:
        raise WeightsError(f"`{path}` is damaged or no `.pt2` package: {error}") from error
    if not isinstance(facts, dict):
        raise WeightsError(f"`{path}` is a `.pt2` package that this program did not write; it has no `{FACTS}`.")
    return facts


def write_facts(path: Path, facts: Mapping[str, Any], *, forget: Iterable[str] = ()) -> None:
    """Put facts into a package, in place of older ones, and leave out the sources that it was compiled from.

    Args:
        path: the package, replaced.
        facts: plain values.
        forget: folders of this machine; compiled code names them in its messages, and they are blotted out there.
    """
    with whole_file(path) as part, zipfile.ZipFile(path) as old, zipfile.ZipFile(part, "w", zipfile.ZIP_STORED) as new:
        for one in old.infolist():
            inner = _inner(one.filename)
            if inner.endswith(".cpp") or inner == FACTS:
                continue
            content = bytearray(old.read(one))
            for text in (folder.encode() for folder in forget if inner.endswith(".so")):
                content = content.replace(text, b"_" * len(text))
            new.writestr(zipfile.ZipInfo(f"{_ROOT}/{inner}"), content)
        new.writestr(zipfile.ZipInfo(f"{_ROOT}/{FACTS}"), json.dumps(dict(facts)))


def _inner(name: str) -> str:
    """A name in the archive without the folder that holds all of it."""
    return name.partition("/")[2]


def _device(facts: Mapping[str, Any], wanted: str, path: Path) -> str:
    """The device that a package runs on here."""
    made_for = str(facts.get("device"))
    if wanted != "auto" and wanted.partition(":")[0] != made_for:
        raise DeviceError(f"`{path}` was made for the device `{made_for}`, not `{wanted}`; export it again there.")
    device = choose_device(made_for if wanted == "auto" else wanted)
    there = machine_facts(device)
    for name, value in facts.get("machine", {}).items():
        if there.get(name) != value:
            raise DeviceError(
                f"`{path}` was compiled for the {name} {value}, here it is {there.get(name)}; export it again here."
            )
    return device


def _open(torch: Any, path: Path, device: str, *, compiled: bool) -> Any:
    try:
        if not compiled:
            return torch.export.load(path).module().to(device)
        from torch._inductor import aoti_load_package

        _, _, index = device.partition(":")
        return aoti_load_package(str(path), device_index=int(index)) if index else aoti_load_package(str(path))
    except Exception as error:  # the library's exceptions have no common base but this
        if ran_out(error):
            raise
        raise WeightsError(f"`{path}` is damaged or no package that this PyTorch opens: {first_line(error)}") from error
