from __future__ import annotations

import os
import signal
import threading
import time

import pytest

from birefnet.training.stopping import Stopper


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_first_signal_only_asks(number: signal.Signals) -> None:
    before = signal.getsignal(number)
    with Stopper() as stopper:
        assert not stopper.asked()
        os.kill(os.getpid(), number)
        os.kill(os.getpid(), number)  # a launcher passes on what the terminal has already sent
        assert stopper.asked() and stopper.signal == number
    assert signal.getsignal(number) is before


def test_a_second_ctrl_c_interrupts(monkeypatch: pytest.MonkeyPatch) -> None:
    with Stopper() as stopper:
        os.kill(os.getpid(), signal.SIGINT)
        later = time.monotonic() + 2
        monkeypatch.setattr(time, "monotonic", lambda: later)
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
        assert stopper.signal == signal.SIGINT


def test_another_thread_leaves_signals_alone() -> None:
    before = signal.getsignal(signal.SIGINT)
    seen = []

    def work() -> None:
        with Stopper() as stopper:
            seen.append((stopper.asked(), signal.getsignal(signal.SIGINT)))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [(False, before)]
