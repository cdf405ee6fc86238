"""Memory that is short: one sentence and a time to ask again, and the next picture is cut out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from birefnet.errors import OutOfMemory, PictureError
from birefnet.runtimes.base import Batch, Logits, Runtime
from birefnet.serving import pool, v1, work
from tests.serving.live import picture
from tests.serving.test_fal import URL, data_uri


def once(error: BaseException, then: Callable[..., Any]) -> Callable[..., Any]:
    """`then`, which fails the first time it is called."""
    left = [error]

    def call(*arguments: Any, **options: Any) -> Any:
        if left:
            raise left.pop()
        return then(*arguments, **options)

    return call


def no_room(*_: Any, **__: Any) -> Any:
    """What reading a picture says where its pixels do not fit."""
    try:
        raise MemoryError
    except MemoryError as error:
        raise PictureError("cat.png (9000x9000) does not fit into memory.") from error


class Failing:
    """A runtime whose first call fails."""

    def __init__(self, runtime: Runtime, error: BaseException) -> None:
        self.name, self.device, self.spec, self.dynamic = runtime.name, runtime.device, runtime.spec, runtime.dynamic
        self._call = once(error, runtime)

    def __call__(self, batch: Batch) -> Logits:
        logits: Logits = self._call(batch)
        return logits


REQUESTS: dict[str, Callable[[Any], Any]] = {
    "v1": lambda client: client.post("/v1/remove", files={"image": picture()}),
    "rembg": lambda client: client.post("/api/remove", files={"file": picture()}),
    "fal": lambda client: client.post(URL, json={"image_url": data_uri(picture())}),
}


def check(client: Any, request: Callable[[Any], Any]) -> None:
    """The first request is told to come back, the second is answered, and nothing is left taken."""
    told = request(client)
    assert told.status_code == 503 and told.headers["retry-after"] == "30", told.text
    assert isinstance(told.json()["detail"], str) and told.json()["detail"].count(".") == 1
    assert request(client).status_code == 200
    assert client.service.line.taken == 0


@pytest.mark.parametrize("request_", REQUESTS.values(), ids=list(REQUESTS))
@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        OutOfMemory("`bright` at 64x64 pixels on `cuda` did not fit into memory.", hint="take a smaller size"),
        RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB."),
    ],
    ids=["numpy", "ours", "foreign"],
)
def test_a_runtime_without_memory(
    make_client: Any, monkeypatch: pytest.MonkeyPatch, request_: Callable[[Any], Any], error: BaseException
) -> None:
    opened = pool.open_model
    monkeypatch.setattr(pool, "open_model", lambda *a, **o: Failing(opened(*a, **o), error))
    check(make_client(), request_)


@pytest.mark.parametrize(
    ("home", "name"),
    [(pool, "open_model"), (work, "read_picture"), (v1, "encode"), (v1, "parse"), (work, "check_picture")],
)
def test_any_stage_without_memory(client: Any, monkeypatch: pytest.MonkeyPatch, home: Any, name: str) -> None:
    monkeypatch.setattr(home, name, once(MemoryError(), getattr(home, name)))
    check(client, REQUESTS["v1"])


def test_pixels_that_do_not_fit_are_not_the_clients_fault(client: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    read = work.read_picture
    calls = [no_room, read]
    monkeypatch.setattr(work, "read_picture", lambda *a, **o: (calls.pop(0) if len(calls) > 1 else read)(*a, **o))
    check(client, REQUESTS["v1"])
