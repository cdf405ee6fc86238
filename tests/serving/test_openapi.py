"""The API is what its description says: schemathesis makes requests of it and judges the answers."""

from __future__ import annotations

from typing import Any

import pytest

schemathesis = pytest.importorskip("schemathesis")
from hypothesis import HealthCheck, Phase, given, settings  # noqa: E402
from hypothesis import strategies as st  # noqa: E402

from birefnet.runtimes.options import RuntimeOptions  # noqa: E402
from birefnet.serving.app import create_app  # noqa: E402
from birefnet.serving.fetch import Fetcher  # noqa: E402
from birefnet.serving.service import Service  # noqa: E402
from birefnet.serving.settings import Settings  # noqa: E402
from tests.serving.live import picture  # noqa: E402

# Not asked: that every request that fits the description is answered with 200. No description can say what bytes are a
# picture, which models are loaded, or that JPEG holds no transparency; those get 415 or 422 with a sentence.
CHECKS = (
    *("not_a_server_error", "status_code_conformance", "content_type_conformance", "response_schema_conformance"),
    *("response_headers_conformance", "unsupported_method"),
)
OPERATIONS = (
    *(("POST", "/v1/remove"), ("GET", "/v1/models"), ("POST", "/api/remove"), ("GET", "/api/remove")),
    *(("POST", "/fal-ai/birefnet/v2"), ("GET", "/files/{key}/{name}")),
    *(("GET", "/health"), ("GET", "/ready"), ("GET", "/metrics")),
)


@pytest.fixture(scope="module")
def schema(standin: Any) -> Any:
    pictures = st.sampled_from([picture(), picture(format="JPEG"), b"no picture"])
    for kind in ("image/*", "image/png", "application/octet-stream"):
        schemathesis.openapi.media_type(kind, pictures)
    service = Service(Settings(models={"bright": str(standin)}, options=RuntimeOptions(threads=1), fetch_urls=True))
    service.fetcher = Fetcher(
        1000, resolve=lambda host, port: ["127.0.0.1"]
    )  # no name is looked up: there may be no network
    return schemathesis.openapi.from_asgi("/openapi.json", create_app(service))


def judge(schema: Any, method: str, path: str, examples: int) -> int:
    """Make requests of one operation and judge the answers; how many there were."""
    checks = [check for check in schemathesis.checks.CHECKS.get_all() if check.__name__ in CHECKS]
    assert len(checks) == len(CHECKS)
    made = 0

    @settings(
        max_examples=examples,
        deadline=None,
        derandomize=True,
        database=None,
        phases=[Phase.explicit, Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=st.data())
    def run(case: Any) -> None:
        nonlocal made
        for mode in (schemathesis.GenerationMode.POSITIVE, schemathesis.GenerationMode.NEGATIVE):
            drawn = strategy(schema, method, path, mode)
            if drawn is not None:
                case.draw(drawn).call_and_validate(checks=checks)
                made += 1

    run()
    return made


def strategy(schema: Any, method: str, path: str, mode: Any) -> Any:
    """Requests of one operation; None where nothing can be wrong about one."""
    operation = schema[path][method]
    if mode is schemathesis.GenerationMode.NEGATIVE and not (operation.body or operation.query):
        return None
    return operation.as_strategy(generation_mode=mode)


@pytest.mark.parametrize(("method", "path"), OPERATIONS)
def test_answers_are_as_described(schema: Any, method: str, path: str) -> None:
    assert judge(schema, method, path, 8) >= 1


@pytest.mark.slow
@pytest.mark.parametrize(("method", "path"), OPERATIONS)
def test_answers_are_as_described_at_length(schema: Any, method: str, path: str) -> None:
    assert judge(schema, method, path, 120) >= 1


def test_every_operation_is_judged_and_declares_what_can_happen(client: Any) -> None:
    paths = client.get("/openapi.json").json()["paths"]
    assert {(method.upper(), path) for path, methods in paths.items() for method in methods} == set(OPERATIONS)
    for method, path in OPERATIONS:
        declared = set(paths[path][method.lower()]["responses"])
        assert declared & {"200"}
        if path.endswith(("remove", "v2")):
            assert {"401", "413", "415", "422", "429", "500", "503", "504"} <= declared


def test_the_page_of_the_reference_shows_every_operation(client: Any) -> None:
    answer = client.get("/docs")
    assert answer.status_code == 200 and "<script" not in answer.text
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    for method, path in OPERATIONS:
        assert f"{method} {path}" in answer.text
    assert "curl -F image=@cat.jpg http://testserver/v1/remove" in answer.text
