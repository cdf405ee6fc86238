"""Workers: in order, a few inputs at a time, never more threads than processes."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from birefnet.errors import BiRefNetError, ConfigError
from birefnet.evaluation.crew import WAITING, Crew, cores


def square(number: int) -> int:
    return number * number


def environment(name: str) -> tuple[int, str | None]:
    return os.getpid(), os.environ.get(name)


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


def test_errors_come_through_and_a_lost_worker_is_said() -> None:
    with Crew(2) as crew, pytest.raises(BiRefNetError, match="no 7"):
        list(crew.map(fail, [7, 8]))
    with Crew(2) as crew, pytest.raises(BiRefNetError, match=r"ended from outside.*\nhint: --workers 1"):
        list(crew.map(die, [1]))


def test_numbers_of_workers() -> None:
    assert Crew().workers == cores() >= 1
    with pytest.raises(ConfigError, match="at least one worker, got 0"):
        Crew(0)
