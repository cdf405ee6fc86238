"""Taking turns."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

import pytest

from birefnet.serving.turnstile import Budget, Turnstile
from tests.waiting import wait_until


@contextmanager
def queued(gate: Turnstile[str] | Budget, work: Callable[[int], None], numbers: list[int]) -> Iterator[None]:
    """Threads that have come to a gate in this order, and have done their work when the context ends."""
    threads = [threading.Thread(target=work, args=[number]) for number in numbers]
    for count, thread in enumerate(threads, start=1):
        thread.start()
        wait_until(lambda count=count: gate.waiting == count)  # type: ignore[misc]
    yield
    for thread in threads:
        thread.join(timeout=60)
        assert not thread.is_alive()


def test_a_device_is_for_one_at_a_time_in_order_of_arrival() -> None:
    turnstile, order = Turnstile(["one"]), []

    def work(number: int) -> None:
        with turnstile.device() as device:
            assert device == "one"
            order.append(number)

    first = turnstile.device()
    first.__enter__()
    with queued(turnstile, work, list(range(8))):
        assert not order
        first.__exit__(None, None, None)
    assert order == list(range(8))


def test_two_devices_compute_at_once_and_no_more() -> None:
    turnstile, lock, both, busy = Turnstile(["one", "two"]), threading.Lock(), threading.Barrier(2, timeout=60), []
    seen: list[set[str]] = []

    def work(_: int) -> None:
        with turnstile.device() as device:
            with lock:
                busy.append(device)
                seen.append(set(busy))
                assert len(busy) == len(set(busy))  # no device has two
            both.wait()  # another one computes meanwhile
            with lock:
                busy.remove(device)

    threads = [threading.Thread(target=work, args=[number]) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    assert len(seen) == 8 and max(map(len, seen)) == 2


def test_a_giant_gets_its_turn_and_all_of_the_budget() -> None:
    budget, seen = Budget(10), []

    def work(amount: int) -> None:
        with budget.take(amount):
            seen.append(amount)

    held = budget.take(9)
    held.__enter__()
    with queued(budget, work, [99, 1, 2]):  # the small ones would fit, and do not pass it
        assert not seen
        held.__exit__(None, None, None)
    assert seen[0] == 99 and sorted(seen) == [1, 2, 99]


def test_a_budget_is_never_overdrawn() -> None:
    budget, lock, both, used = Budget(10), threading.Lock(), threading.Barrier(2, timeout=60), 0

    def work(amount: int) -> None:
        nonlocal used
        with budget.take(amount):
            with lock:
                used += amount
                assert used <= 10
            both.wait()  # two of them fit, and three do not
            with lock:
                used -= amount

    threads = [threading.Thread(target=work, args=[4]) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
        assert not thread.is_alive()
    assert used == 0


@pytest.mark.parametrize("error", [ValueError(), MemoryError(), KeyboardInterrupt()])
def test_what_is_taken_is_given_back_after_a_fault(error: BaseException) -> None:
    turnstile, budget = Turnstile(["one"]), Budget(1)

    def both() -> tuple[AbstractContextManager[str], AbstractContextManager[None]]:
        return turnstile.device(), budget.take(1)

    for _ in range(2):
        device, room = both()
        with pytest.raises(type(error)), device, room:
            raise error
    device, room = both()
    with device as name, room:
        assert name == "one"
