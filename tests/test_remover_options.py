"""The front doors' signatures: options are checked at once, mean the same everywhere, and travel."""

from __future__ import annotations

import copy
import inspect
import multiprocessing
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from birefnet import remover as module
from birefnet.errors import BiRefNetError, ConfigError, DeviceError
from birefnet.remover import Remover, remove
from birefnet.runtimes.options import RuntimeOptions
from birefnet.runtimes.select import select
from tests.brightness import brightness_model

PICTURE = np.full((40, 60, 3), 200, np.uint8)


@pytest.fixture(autouse=True)
def _forget() -> None:
    module._kept.clear()


@pytest.fixture(scope="module")
def any_size(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return brightness_model(tmp_path_factory.mktemp("any") / "any.onnx", size=None, metadata={"size": 64})


@pytest.mark.parametrize("door", [remove, Remover.__init__, Remover.from_runtime, Remover.from_options, select])
def test_every_door_has_a_real_signature(door: Any) -> None:
    kinds = {one.kind for one in inspect.signature(door).parameters.values()}
    assert inspect.Parameter.VAR_KEYWORD not in kinds and inspect.Parameter.VAR_POSITIONAL not in kinds


def test_the_doors_take_the_same_options() -> None:
    record = set(inspect.signature(RuntimeOptions).parameters)
    whole = set(inspect.signature(Remover.__init__).parameters) - {"self"}
    assert record <= whole
    assert set(inspect.signature(remove).parameters) - {"source"} == whole
    assert set(inspect.signature(select).parameters) == {*record, "model", "size"}
    for name, one in inspect.signature(Remover.__init__).parameters.items():
        if name in record:
            assert one.default == inspect.signature(RuntimeOptions).parameters[name].default
            assert inspect.signature(remove).parameters[name].default == one.default


@pytest.mark.parametrize(
    ("options", "kind", "said", "hint"),
    [
        ({"device": "cdua"}, DeviceError, "Unknown device `cdua`", "did you mean `cuda`?"),
        ({"device": "cuda:x"}, DeviceError, "Unknown device", None),
        ({"device": 0}, DeviceError, "Unknown device", None),
        ({"device": ""}, DeviceError, "Unknown device", None),
        ({"dtype": "float33"}, ConfigError, "Unknown dtype `float33`", "did you mean `float32`?"),
        ({"runtime": "onyx"}, ConfigError, "Unknown runtime `onyx`", "did you mean `onnx`?"),
        ({"mode": "eagre"}, ConfigError, "Unknown mode", "did you mean `eager`?"),
        ({"memory": "lo"}, ConfigError, "Unknown memory", "did you mean `low`?"),
        ({"threads": 0}, ConfigError, "`threads`", None),
        ({"threads": "2"}, ConfigError, "`threads`", None),
        ({"offline": "yes"}, ConfigError, "`offline`", None),
        ({"size": 1000}, ConfigError, "multiples of 32", None),
        ({"size": [512]}, ConfigError, "one side", None),
        ({"size": "nativ"}, ConfigError, "one side", None),
        ({"size": True}, ConfigError, "one side", None),
        ({"size": 3.5}, ConfigError, "one side", None),
        ({"refine": "blur"}, ConfigError, "blur", None),
        ({"refine": 3}, ConfigError, "`refine`", None),
        ({"sharpen": "yes"}, ConfigError, "`sharpen`", None),
        ({"max_pixels": 0}, ConfigError, "`max_pixels`", None),
        ({"max_pixels": "many"}, ConfigError, "`max_pixels`", None),
    ],
)
def test_what_cannot_be_meant_is_refused_at_once(
    options: dict[str, Any], kind: type[BiRefNetError], said: str, hint: str | None
) -> None:
    for door in (Remover, lambda **words: remove(PICTURE, **words)):
        with pytest.raises(kind, match=said) as caught:
            door(**options)
        assert hint is None or caught.value.hint == hint
    for word in ("devise", "sise", "modl"):
        with pytest.raises(TypeError):
            Remover(**{word: "x"})
        with pytest.raises(TypeError):
            remove(PICTURE, **{word: "x"})


def test_a_device_that_is_not_here_is_said_before_a_picture_is_computed(standin: Path) -> None:
    with pytest.raises(DeviceError):
        remove(PICTURE, standin, device="cuda:9")


def test_a_runtime_of_ones_own_takes_only_what_it_can_obey(any_size: Path, standin: Path) -> None:
    """Bug F: `from_runtime(rt, size=512)` ran at 576, and `device="cuda:9"` was accepted."""
    runtime = select(any_size, threads=1)
    seen: list[tuple[int, ...]] = []

    class Watched:
        name, device, spec, dynamic = runtime.name, runtime.device, runtime.spec, True

        def __call__(self, batch: Any) -> Any:
            seen.append(batch.shape)
            return runtime(batch)

    for size, shape in ((128, (128, 128)), ((96, 32), (32, 96)), ([96, 32], (32, 96)), (None, (64, 64))):
        Remover.from_runtime(Watched(), size=size)(PICTURE)  # type: ignore[arg-type]
        assert seen.pop() == (1, 3, *shape)
    Remover.from_runtime(Watched(), size="native")(PICTURE)
    assert seen.pop() == (1, 3, 256, 384)
    with pytest.raises(ConfigError, match="only, not 2048x2048"):
        Remover.from_runtime(select(standin), size=2048)
    with pytest.raises(ConfigError, match="cannot be `native`"):
        Remover.from_runtime(select(standin), size="native")
    for word in ({"device": "cuda:9"}, {"dtype": "float32"}, {"model": "nano"}):
        with pytest.raises(TypeError):
            Remover.from_runtime(runtime, **word)  # type: ignore[arg-type]


def test_a_size_is_the_same_as_list_and_tuple(any_size: Path) -> None:
    assert Remover(any_size, size=[96, 32]).size == Remover(any_size, size=(96, 32)).size == (96, 32)
    assert Remover(any_size, size=96).size == (96, 96) and Remover(any_size, size="native").size == "native"
    first = remove(PICTURE, any_size, size=[96, 32], threads=1)
    np.testing.assert_array_equal(remove(PICTURE, any_size, size=(96, 32), threads=1).alpha, first.alpha)
    assert len(module._kept) == 1
    remove(PICTURE, model=str(any_size), size=(96, 32), threads=1)
    assert len(module._kept) == 2  # a text and a path need not mean the same


def test_memory_low_is_obeyed_or_refused(standin: Path) -> None:
    assert Remover(standin, memory="low", threads=1)(PICTURE).alpha.shape == (40, 60)
    with pytest.raises(ConfigError, match="mode `compiled` is PyTorch's"):
        Remover(standin, mode="compiled").load()


@pytest.mark.parametrize("used", [False, True])
def test_a_remover_travels_as_its_options(any_size: Path, used: bool) -> None:
    remover = Remover(any_size, size=(96, 32), threads=1, sharpen=True, max_pixels=10_000)
    wanted = remover(PICTURE).alpha
    if not used:
        remover = Remover(any_size, size=(96, 32), threads=1, sharpen=True, max_pixels=10_000)
    for made in (pickle.loads(pickle.dumps(remover)), copy.deepcopy(remover), copy.copy(remover)):
        assert made._runtime is None and made.options == remover.options and made.size == (96, 32)
        assert (made.model, made.sharpen, made.refine, made.max_pixels) == (any_size, True, None, 10_000)
        np.testing.assert_array_equal(made(PICTURE).alpha, wanted)
    assert (remover._runtime is not None) == used


def test_a_copy_of_a_remover_keeps_a_runtime_of_ones_own(standin: Path) -> None:
    remover = Remover.from_runtime(select(standin, threads=1))
    assert copy.deepcopy(remover).runtime is remover.runtime


def _mean(remover: Remover) -> float:
    return float(remover(PICTURE).alpha.mean())


def test_a_remover_is_an_argument_of_another_process(any_size: Path) -> None:
    remover = Remover(any_size, threads=1)
    wanted = _mean(remover)
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        assert pool.apply(_mean, (remover,)) == pytest.approx(wanted)
