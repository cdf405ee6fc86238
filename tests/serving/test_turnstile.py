"""Taking turns."""

from __future__ import annotations

import threading
import time

from birefnet.serving.turnstile import Budget, Turnstile


def run(threads: list[threading.Thread]) -> None:
    for thread in threads:
        thread.start()
        time.sleep(0.02)  # so that they come in this order
    for thread in threads:
        thread.join(timeout=20)
        assert not thread.is_alive()


def test_a_device_computes_for_one_at_a_time_in_order_of_arrival() -> None:
    turnstile, busy, most, order = Turnstile(["one", "two"]), 0, 0, []
    lock = threading.Lock()

    def work(number: int) -> None:
        nonlocal busy, most
        with turnstile.device() as device:
            with lock:
                order.append(number)
                busy += 1
                most = max(most, busy)
            assert device in ("one", "two")
            time.sleep(0.05)
            with lock:
                busy -= 1

    run([threading.Thread(target=work, args=[number]) for number in range(8)])
    assert most == 2 and order == list(range(8))


def test_a_budget_is_never_overdrawn_and_a_giant_still_gets_its_turn() -> None:
    budget, used, most, seen = Budget(10), 0, 0, []
    lock = threading.Lock()

    def work(amount: int) -> None:
        nonlocal used, most
        with budget.take(amount):
            with lock:
                seen.append(amount)
                used += min(amount, 10)
                most = max(most, used)
            time.sleep(0.03)
            with lock:
                used -= min(amount, 10)

    amounts = [4, 4, 99, 4, 4, 2]
    run([threading.Thread(target=work, args=[amount]) for amount in amounts])
    assert most <= 10 and seen == amounts


def test_what_is_taken_is_given_back_after_a_fault() -> None:
    turnstile, budget = Turnstile(["one"]), Budget(1)
    for _ in range(2):
        try:
            with turnstile.device(), budget.take(1):
                raise ValueError
        except ValueError:
            pass
    with turnstile.device() as device, budget.take(1):
        assert device == "one"
