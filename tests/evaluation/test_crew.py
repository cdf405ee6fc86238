"""Workers: in order, a few inputs at a time, never more threads than processes."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from birefnet.cpus import usable_cpus
from birefnet.errors import BiRefNetError, ConfigError
from birefnet.evaluation.crew import WAITING, Crew


def square(number: int) -> int:
    return number * number


def environment(name: str) -> tuple[int, str | None]:
    return os.getpid(), os.environ.get(name)


def threads_of_numpy(_number: int) -> int:
    """How many threads the libraries of this process have started."""
    import numpy as np

    np.ones((400, 400)) @ np.ones((400, 400))
    return len(os.listdir("/proc/self/task"))


def die(_number: int) -> None:
    os._exit(1)


def fail(number: int) -> int:
    raise BiRefNetError(f"no {number}")


@pytest.mark.parametrize("workers", [1, 2])
def test_results_come_in_order_and_few_inputs_are_taken_ahead(workers: int) -> None:
    taken = 0

    def inputs() -> Iterator[int]:
        nonlocal taken
        for number in range(1, 61):
            taken = number
            yield number

    with Crew(workers) as crew:
        for number, result in enumerate(crew.map(square, inputs()), 1):
            assert result == number * number
            assert taken - number <= workers * WAITING
    assert taken == 60


def test_workers_are_other_processes_of_one_thread_and_ours_stays_as_it_was() -> None:
    before = dict(os.environ)
    with Crew(2) as crew:
        found = list(crew.map(environment, ["OMP_NUM_THREADS"] * 4))
        assert list(crew.map(square, [3])) == [9]  # the same crew once more
    assert os.getpid() not in {process for process, _ in found}
    assert {value for _, value in found} == {"1"}
    assert dict(os.environ) == before


def test_the_handlers_and_the_environment_of_the_caller_are_never_touched(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another thread could look at them at any moment, so it is no help that they are put back."""
    touched: list[object] = []
    monkeypatch.setattr("signal.signal", lambda *words: touched.append(words))
    monkeypatch.setattr(type(os.environ), "__setitem__", lambda *words: touched.append(words))
    with Crew(2) as crew:
        assert list(crew.map(square, range(9))) == [n * n for n in range(9)]
    assert touched == []


@pytest.mark.skipif(not os.path.isdir("/proc/self/task"), reason="the system has no list of threads")
def test_libraries_of_a_worker_are_loaded_after_it_is_told_to_be_one_thread() -> None:
    with Crew(2) as crew:
        assert set(crew.map(threads_of_numpy, range(4))) == {1}


def test_errors_come_through_and_a_lost_worker_is_said() -> None:
    with Crew(2) as crew, pytest.raises(BiRefNetError, match="no 7"):
        list(crew.map(fail, [7, 8]))
    with Crew(2) as crew, pytest.raises(BiRefNetError, match="ended from outside"):
        list(crew.map(die, [1]))


def test_numbers_of_workers() -> None:
    assert Crew().workers == len(usable_cpus()) >= 1
    with pytest.raises(ConfigError, match="at least one worker, got 0"):
        Crew(0)
