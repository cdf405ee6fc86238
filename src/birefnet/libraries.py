"""Other people's libraries, loaded so that they neither report on the people who use them nor leave files behind.

Some libraries phone home or write to the user's home unless they are told not to before they load:

- ONNX Runtime since 1.29 writes a device id and a database into the user's cache folder and looks up a telemetry
  host (`ORT_DISABLE_TELEMETRY`);
- NNCF and OpenVINO's converter report to Google Analytics through `openvino_telemetry`, and write a client id into
  `~/intel`; both do without that package;
- huggingface_hub tells the versions of other libraries with every download (`HF_HUB_DISABLE_TELEMETRY`).

So every such library is loaded by `load`, here and nowhere else (`tests/test_one_answer.py`). While one loads, the
environment says no; afterwards it is as it was, because the host of this package may think otherwise of its own
children. Who sets one of these variables, to 0 say, is asked for no more: it stays.

The command line and the server, whose processes are our own, call `own_process` first: there the environment keeps
saying no, to children too, and what others keep on disk (fonts, compiled loops and kernels) goes to our cache.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import sys
import threading
from collections.abc import Iterator
from types import ModuleType

from birefnet.cache import writable_folder
from birefnet.processes import PerProcess

ORT_SWITCH = "ORT_DISABLE_TELEMETRY"
_SWITCHES = {ORT_SWITCH: "1", "HF_HUB_DISABLE_TELEMETRY": "1"}
_REPORTER = "openvino_telemetry"
_FOLDERS = {  # library -> the variable that says where it keeps files, and the folder's name in our cache
    "matplotlib": ("MPLCONFIGDIR", "matplotlib"),
    "pymatting": ("NUMBA_CACHE_DIR", "numba"),
    "torch": ("TORCHINDUCTOR_CACHE_DIR", "inductor"),
}

_lock = PerProcess(threading.RLock)
_ours: set[str] = set()  # what was loaded here, so that nothing of it reports
_own = False  # whether this process is ours to set up


def load(module: str) -> ModuleType:
    """Import a module of another library with its reports switched off.

    Args:
        module: dotted name, for example ``"onnxruntime"`` or ``"onnxruntime.quantization"``.

    Raises:
        ImportError: if it is not installed or does not load.
    """
    top = module.partition(".")[0]
    if module in sys.modules:
        return importlib.import_module(module)  # which waits for another thread that is loading it
    with _lock(), _silence(), _cache_of(top):
        first = top not in sys.modules
        found = importlib.import_module(module)
        if first:
            _ours.add(top)
            if top == "onnxruntime" and os.environ[ORT_SWITCH] == "1":
                sys.modules[top].disable_telemetry_events()  # on Windows it has a way of its own
    return found


def load_onnxruntime() -> ModuleType:
    """ONNX Runtime without telemetry: no device id, no database, no host looked up.

    Raises:
        ImportError: if it is not installed or does not load.
    """
    return load("onnxruntime")


def onnxruntime_telemetry() -> str:
    """Whether ONNX Runtime reports on this process: "off", or "on" with the reason and the way out."""
    said = os.environ.get(ORT_SWITCH)
    if said is not None and said != "1":
        return f"on, because {ORT_SWITCH} is {said}; unset it, or set it to 1"
    if said == "1" or "onnxruntime" in _ours or "onnxruntime" not in sys.modules:
        return "off"
    return (
        "perhaps on: other code loaded ONNX Runtime before birefnet could switch it off; set "
        f"{ORT_SWITCH}=1 in the environment, or import birefnet's runtime first"
    )


def own_process() -> None:
    """Say that this process is our program's (a command, the server, a child of theirs).

    Nothing reports then, in its children neither, and runtimes may set what is one for the whole process: PyTorch's
    number of threads, the allocator. Variables that the user has set stay.
    """
    global _own
    _own = True
    for name, value in _SWITCHES.items():
        os.environ.setdefault(name, value)


def is_own_process() -> bool:
    """Whether `own_process` was called here."""
    return _own


@contextlib.contextmanager
def _silence() -> Iterator[None]:
    """Say no in the environment, and let nobody find the package that reports."""
    hidden = _REPORTER not in sys.modules
    with contextlib.ExitStack() as stack:
        for name, value in _SWITCHES.items():
            stack.enter_context(_variable(name, value))
        if hidden:
            sys.modules[_REPORTER] = None  # type: ignore[assignment]  # what makes an import fail
            stack.callback(sys.modules.pop, _REPORTER, None)
        yield


@contextlib.contextmanager
def _cache_of(library: str) -> Iterator[None]:
    """Let a library keep its files in our cache where the process is ours."""
    if library not in _FOLDERS or (not _own and library != "pymatting"):
        yield
        return
    variable, name = _FOLDERS[library]
    if variable in os.environ:
        yield
        return
    folder = str(writable_folder(name))
    if _own:
        os.environ[variable] = folder
        yield
        return
    # numba looks for a place to keep compiled loops while pymatting loads, and fails where it finds none.
    numba = sys.modules.get("numba")
    before = numba.config.CACHE_DIR if numba else ""
    if numba:
        numba.config.CACHE_DIR = folder
    try:
        with _variable(variable, folder):
            yield
    finally:
        if "numba" in sys.modules:  # the host's own loops go where they went
            sys.modules["numba"].config.CACHE_DIR = before


@contextlib.contextmanager
def _variable(name: str, value: str) -> Iterator[None]:
    """An environment variable for a while, unless it is set."""
    if name in os.environ:
        yield
        return
    os.environ[name] = value
    try:
        yield
    finally:
        os.environ.pop(name, None)
