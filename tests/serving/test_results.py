"""Results kept for a while."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from birefnet.serving.results import Results


def test_the_oldest_go_when_there_are_too_many() -> None:
    results = Results(seconds=100, count=2, size=1000)
    keys = [results.put(b"x", "image/png", "image.png").split("/")[0] for _ in range(3)]
    assert [results.get(key, "image.png") is not None for key in keys] == [False, True, True]


def test_the_oldest_go_when_they_are_too_large_but_the_newest_stays() -> None:
    results = Results(seconds=100, count=9, size=10)
    first, second = (results.put(bytes(8), "image/png", "a").split("/")[0] for _ in range(2))
    assert results.get(first, "a") is None and results.get(second, "a") is not None
    large = results.put(bytes(99), "image/png", "a").split("/")[0]
    assert results.get(large, "a") is not None and len(results) == 1


def test_they_go_when_their_time_is_over(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr("birefnet.serving.results.time", SimpleNamespace(monotonic=lambda: now[0]))
    results = Results(seconds=5, count=9, size=1000)
    key = results.put(b"x", "image/png", "a").split("/")[0]
    assert results.get(key, "a") is not None
    now[0] += 4.9
    assert results.get(key, "a") is not None
    now[0] += 0.2
    assert results.get(key, "a") is None and len(results) == 0
