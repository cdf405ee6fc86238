"""Around every request: names, keys, other pages' scripts, the log."""

from __future__ import annotations

import json
import logging
from typing import Any

import pytest

from birefnet.serving.log import JsonLines, TextLines, logging_to_stderr
from tests.serving.live import picture

KEY = "secret-of-mine"
GUARDED = (
    *(("POST", "/v1/remove"), ("GET", "/v1/models"), ("POST", "/api/remove"), ("GET", "/api/remove")),
    *(("POST", "/fal-ai/birefnet/v2"), ("GET", "/metrics")),
)


def test_a_request_keeps_the_name_it_brings(client: Any) -> None:
    assert client.get("/health", headers={"X-Request-ID": "my-name_1.2"}).headers["x-request-id"] == "my-name_1.2"
    for given in ("", "a b", "x" * 65, "a\tb"):
        made = client.get("/health", headers={"X-Request-ID": given}).headers["x-request-id"]
        assert len(made) == 32 and made != given


@pytest.mark.parametrize(("method", "path"), GUARDED)
def test_without_the_key_nothing_is_computed_or_told(make_client: Any, method: str, path: str) -> None:
    client = make_client(api_key=KEY)
    wrong = [{}, {"X-API-Key": KEY + "x"}, {"Authorization": KEY}, {"Authorization": f"Basic {KEY}"}]
    for headers in [*wrong, {"Authorization": "Bearer "}, {"X-API-Key": "\u00e4".encode()}]:
        answer = client.request(method, path, headers=headers)
        assert answer.status_code == 401 and answer.headers["www-authenticate"] == "Bearer"
    for headers in ({"X-API-Key": KEY}, {"Authorization": f"Bearer {KEY}"}, {"Authorization": f"Key {KEY}"}):
        assert client.request(method, path, headers=headers).status_code != 401
    assert client.get("/health").status_code == client.get("/ready").status_code == 200


def test_a_large_body_without_the_key_takes_no_place(make_client: Any) -> None:
    client = make_client(api_key=KEY)
    assert client.post("/v1/remove", content=bytes(3_000_000)).status_code == 401
    assert client.service.line.taken == 0


def test_scripts_of_other_pages_are_let_in_only_by_name(make_client: Any) -> None:
    asking = {"Origin": "https://shop.example", "Access-Control-Request-Method": "POST"}
    closed = make_client()
    assert "access-control-allow-origin" not in closed.options("/v1/remove", headers=asking).headers
    assert "access-control-allow-origin" not in closed.get("/v1/models", headers=asking).headers
    opened = make_client(origins=("https://shop.example",), api_key=KEY)
    assert opened.options("/v1/remove", headers=asking).headers["access-control-allow-origin"] == asking["Origin"]
    other = opened.get("/v1/models", headers={"Origin": "https://other.example"})
    assert "access-control-allow-origin" not in other.headers
    assert "access-control-allow-credentials" not in opened.get("/v1/models", headers=asking).headers


def test_the_log_tells_what_happened_and_nothing_private(client: Any, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "birefnet"):
        client.post("/v1/remove?background=red", content=picture(), headers={"Authorization": f"Key {KEY}"})
    (record,) = [record for record in caplog.records if record.getMessage() == "request"]
    line = json.loads(JsonLines().format(record))
    assert (line["method"], line["path"], line["status"], line["model"]) == ("POST", "/v1/remove", 200, "bright")
    assert line["received"] == len(picture()) and line["sent"] > 100 and line["stages"]["network"] >= 0
    assert "red" not in json.dumps(line) and KEY not in json.dumps(line)
    assert "status=200" in TextLines().format(record)


def test_a_path_cannot_forge_a_line_of_the_log(client: Any, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "birefnet"):
        client.get("/x%0a12:00:00 info loaded everything")
    for formatter in (JsonLines(), TextLines()):
        assert "\n" not in formatter.format(caplog.records[-1])


def test_a_fault_of_ours_is_one_sentence_and_in_the_log(
    client: Any, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fault(*arguments: Any) -> Any:
        raise RuntimeError("secret details")

    monkeypatch.setattr(client.service.models, "name_of", fault)
    answer = client.post("/v1/remove", content=picture(), headers={"X-Request-ID": "findme"})
    assert answer.status_code == 500 and "findme" in answer.json()["detail"] and "secret" not in answer.text
    assert "secret details" in caplog.text and client.service.line.taken == 0


def test_metrics_count_by_route_not_by_address(client: Any) -> None:
    client.post("/v1/remove", content=picture())
    client.get("/nowhere/1")
    client.get("/nowhere/2")
    text = client.get("/metrics").text
    assert 'birefnet_requests_total{route="/v1/remove",status="200"} 1.0' in text
    assert 'birefnet_requests_total{route="none",status="404"} 2.0' in text and "nowhere" not in text
    assert 'birefnet_pictures_total{model="bright"} 1.0' in text
    assert 'birefnet_stage_seconds_count{stage="network"} 1.0' in text
    assert "birefnet_queue_places 64.0" in text and "birefnet_queue_taken 0.0" in text
    assert "process_resident_memory_bytes" in text


def test_logging_is_put_back_as_it_was(capsys: pytest.CaptureFixture[str]) -> None:
    root, ours = logging.getLogger(), logging.getLogger("birefnet")
    before = (list(root.handlers), ours.level)
    with logging_to_stderr("info", "json"):
        ours.info("hello", extra={"fields": {"id": "x"}})
        try:
            raise ValueError("wrong")
        except ValueError:
            ours.exception("failed")
    lines = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    assert (lines[0]["message"], lines[0]["id"], lines[0]["level"]) == ("hello", "x", "info")
    assert "ValueError: wrong" in lines[1]["exception"]
    assert (list(root.handlers), ours.level) == before
