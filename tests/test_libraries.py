"""Other libraries are loaded with their reports off, through every door, and the environment is given back."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

SWITCHES = ("ORT_DISABLE_TELEMETRY", "HF_HUB_DISABLE_TELEMETRY", "NUMBA_CACHE_DIR", "MPLCONFIGDIR")


def python(code: str, home: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run code in a fresh interpreter that has a home of its own and no switch set."""
    clean = {name: value for name, value in os.environ.items() if name not in (*SWITCHES, "BIREFNET_CACHE")}
    home.mkdir(exist_ok=True)
    env = {**clean, "HOME": str(home), "XDG_CACHE_HOME": str(home / "cache"), **environment}
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=env, timeout=300)


def test_onnxruntime_loads_silenced_and_the_environment_is_as_it_was(tmp_path: Path) -> None:
    code = """
import os
from birefnet.libraries import load_onnxruntime, onnxruntime_telemetry
import importlib
seen, load = [], importlib.import_module
importlib.import_module = lambda name: (seen.append(os.environ.get("ORT_DISABLE_TELEMETRY")), load(name))[1]
before = dict(os.environ)
load_onnxruntime()
assert dict(os.environ) == before
assert seen == ["1"], seen
print(onnxruntime_telemetry())
"""
    result = python(code, tmp_path / "home")
    assert result.stdout.split() == ["off"], result.stderr


@pytest.mark.parametrize(
    "door",
    [
        "from birefnet import Remover; Remover().load()",
        "from birefnet.runtimes.explain import explain; explain()",
        "from birefnet.serving.nano import nano_files; nano_files()",
        "from birefnet.libraries import load; load('onnxruntime.quantization')",
    ],
    ids=["remover", "doctor", "site", "quantise"],
)
def test_onnxruntime_leaves_nothing_in_the_home(door: str, tmp_path: Path) -> None:
    home = tmp_path / "home"
    model = Path(__file__).parents[1] / "src/birefnet/weights/bundled/nano.onnx"
    code = f"{door}\nimport onnxruntime; onnxruntime.InferenceSession({str(model)!r})"
    result = python(code, home)
    assert result.returncode == 0, result.stderr
    left = [path for path in home.rglob("*") if path.is_file() and "birefnet" not in path.parts]
    assert not left


def test_who_wants_telemetry_keeps_it(tmp_path: Path) -> None:
    code = """
import os
from birefnet.libraries import load_onnxruntime, onnxruntime_telemetry, own_process
own_process()
print(os.environ["ORT_DISABLE_TELEMETRY"], onnxruntime_telemetry())
"""
    words = python(code, tmp_path / "home", ORT_DISABLE_TELEMETRY="0").stdout
    assert words.startswith("0 on, because ORT_DISABLE_TELEMETRY is 0")


def test_doctor_says_that_other_code_was_first(tmp_path: Path) -> None:
    code = """
import onnxruntime
from birefnet.runtimes.explain import explain
print("\\n".join(explain()["warnings"]))
"""
    warnings = python(code, tmp_path / "home").stdout
    assert "other code loaded ONNX Runtime before birefnet" in warnings
    assert "ORT_DISABLE_TELEMETRY=1" in warnings
    assert "telemetry" not in python(code, tmp_path / "home", ORT_DISABLE_TELEMETRY="1").stdout


@pytest.mark.parametrize("module", ["nncf", "openvino"])
def test_nothing_reports_to_google_analytics(module: str, tmp_path: Path) -> None:
    pytest.importorskip(module)
    code = f"""
import json, sys
from birefnet.errors import require
require({module!r}, "int8")
print(json.dumps([name for name in sys.modules if name.startswith("openvino_telemetry")]))
"""
    home = tmp_path / "home"
    result = python(code, home)
    assert json.loads(result.stdout.splitlines()[-1]) == [], result.stderr
    assert not (home / "intel").exists()


def test_commands_hand_the_switches_to_their_children(tmp_path: Path) -> None:
    code = """
import subprocess, sys
from birefnet.libraries import own_process
own_process()
show = "import os; print(os.environ['ORT_DISABLE_TELEMETRY'], os.environ['HF_HUB_DISABLE_TELEMETRY'])"
print(subprocess.run([sys.executable, "-c", show], capture_output=True, text=True).stdout)
"""
    assert python(code, tmp_path / "home").stdout.split() == ["1", "1"]


def test_compiled_loops_go_to_our_cache_and_the_hosts_go_where_they_went(tmp_path: Path) -> None:
    pytest.importorskip("pymatting")
    code = """
import os
from birefnet.errors import require
require("pymatting", "matting")
import numba
print(repr(numba.config.CACHE_DIR), "NUMBA_CACHE_DIR" in os.environ)
from pymatting.foreground.estimate_foreground_ml import _resize_nearest_multichannel as loop
print(loop._cache.cache_path)
"""
    cache = tmp_path / "cache"
    first, place = python(code, tmp_path / "home", BIREFNET_CACHE=str(cache)).stdout.splitlines()
    assert first == "'' False"
    assert Path(place).is_relative_to(cache / "numba")


def test_fonts_of_commands_go_to_our_cache(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    code = """
from birefnet.libraries import own_process
own_process()
from birefnet.errors import require
print(require("matplotlib", "evaluate").get_cachedir())
"""
    cache = tmp_path / "cache"
    place = python(code, tmp_path / "home", BIREFNET_CACHE=str(cache)).stdout.strip()
    assert place == str(cache / "matplotlib")
