"""OpenVINO's processor plugin and the stack on which signals are handled.

Loaded, the plugin registers an alternate signal stack for the thread that loads it. Unloaded, it frees that memory. But
it registers what was there before only if the same thread unloads it while its own stack is the current one. After two
models that overlapped and went in the order they came, or one that another thread let go, the thread is left with a
stack that is no longer mapped (seen with OpenVINO 2026.4.1). Python handles signals on it, and so the next one, such as
the SIGCHLD of a worker that ends, kills the process with a segmentation fault.

So whatever may load the plugin runs inside `signal_stack_kept`: then its stack is never left registered, and unloading,
whenever and wherever, changes nothing.
"""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Iterator
from contextlib import contextmanager


class _Stack(ctypes.Structure):
    """`stack_t` of Linux."""

    _fields_ = (("address", ctypes.c_void_p), ("flags", ctypes.c_int), ("size", ctypes.c_size_t))


@contextmanager
def signal_stack_kept() -> Iterator[None]:
    """Afterwards this thread handles signals on the stack on which it did before."""
    if sys.platform != "linux":  # the plugin does it nowhere else
        yield
        return
    sigaltstack = ctypes.CDLL(None).sigaltstack
    before = _Stack()
    sigaltstack(None, ctypes.byref(before))
    try:
        yield
    finally:
        # Refused for a stack too small for the registers of this processor: then the plugin's stays.
        sigaltstack(ctypes.byref(before), None)
