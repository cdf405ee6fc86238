"""What the server's tests share."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("fastapi")
pytest.importorskip("uvicorn")
pytest.importorskip("prometheus_client")
pytest.importorskip("python_multipart")

Make = Callable[..., Any]


@pytest.fixture
def make_client(standin: Path) -> Iterator[Make]:
    """Makes test clients; their server's model is `bright` unless settings say otherwise."""
    from starlette.testclient import TestClient

    from birefnet.runtimes.options import RuntimeOptions
    from birefnet.serving.app import create_app
    from birefnet.serving.service import Service
    from birefnet.serving.settings import Settings

    with ExitStack() as stack:

        def make(**settings: Any) -> TestClient:
            settings = {
                "models": {"bright": str(standin), "nano": "nano"},
                "options": RuntimeOptions(threads=1),
                **settings,
            }
            service = Service(Settings(**settings))
            client = stack.enter_context(TestClient(create_app(service)))
            client.service = service  # type: ignore[attr-defined]
            return client

        yield make


@pytest.fixture
def client(make_client: Make) -> Any:
    """A server that takes what is bright for the subject, without limits of its own."""
    return make_client()
