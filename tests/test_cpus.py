"""The processors that this process may use: affinity, hyper-threads, and control groups however they are mounted."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from birefnet.cpus import default_threads, physical_cores, quota, usable_cpus

V2 = "30 23 0:26 {root} /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate\n"
V1 = "33 32 0:29 {root} /sys/fs/cgroup/cpu,cpuacct ro,nosuid master:11 - cgroup cgroup rw,cpu,cpuacct\n"
MEMORY = "34 32 0:30 / /sys/fs/cgroup/memory ro,nosuid master:12 - cgroup cgroup rw,memory\n"


def system(root: Path, mounts: str, names: str, files: dict[str, str]) -> Path:
    """A machine's files below `root`."""
    texts = {"proc/self/mountinfo": mounts, "proc/self/cgroup": names, **files}
    for name, text in texts.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


def cfs(folder: str, limit: int, period: int = 100_000) -> dict[str, str]:
    return {f"{folder}/cpu.cfs_quota_us": f"{limit}\n", f"{folder}/cpu.cfs_period_us": f"{period}\n"}


V1_AT, V2_AT = "sys/fs/cgroup/cpu,cpuacct", "sys/fs/cgroup"


@pytest.mark.parametrize(
    ("mounts", "names", "files", "wanted"),
    [
        pytest.param("", "", {}, None, id="none"),
        pytest.param(V2.format(root="/"), "0::/\n", {f"{V2_AT}/cpu.max": "150000 100000\n"}, 1.5, id="v2 container"),
        pytest.param(V2.format(root="/"), "0::/\n", {f"{V2_AT}/cpu.max": "max 100000\n"}, None, id="v2 unlimited"),
        pytest.param(
            V2.format(root="/"),
            "0::/user.slice/a.scope\n",
            {f"{V2_AT}/user.slice/cpu.max": "300000 100000", f"{V2_AT}/user.slice/a.scope/cpu.max": "max 100000"},
            3.0,
            id="v2 the outer one",
        ),
        pytest.param(
            V2.format(root="/"),
            "0::/user.slice/a.scope\n",
            {f"{V2_AT}/user.slice/cpu.max": "300000 100000", f"{V2_AT}/user.slice/a.scope/cpu.max": "200000 100000"},
            2.0,
            id="v2 the inner one",
        ),
        pytest.param(V2.format(root="/"), "0::/../b\n", {f"{V2_AT}/cpu.max": "200000 100000"}, 2.0, id="v2 outside"),
        pytest.param(MEMORY + V1.format(root="/"), "4:cpu,cpuacct:/\n", cfs(V1_AT, 200_000), 2.0, id="v1"),
        pytest.param(V1.format(root="/"), "4:cpu,cpuacct:/\n", cfs(V1_AT, -1), None, id="v1 unlimited"),
        pytest.param(
            V1.format(root="/"),
            "11:memory:/x\n4:cpu,cpuacct:/jobs/7/step\n",
            {**cfs(V1_AT, -1), **cfs(f"{V1_AT}/jobs/7", 400_000), **cfs(f"{V1_AT}/jobs/7/step", -1)},
            4.0,
            id="v1 nested",
        ),
        pytest.param(
            V1.format(root="/docker/0a1b"),
            "4:cpu,cpuacct:/docker/0a1b/inner\n",
            cfs(f"{V1_AT}/inner", 250_000),
            2.5,
            id="v1 in a container, nested",
        ),
        pytest.param(
            V1.format(root="/docker/0a1b"), "4:cpu,cpuacct:/docker/0a1b\n", cfs(V1_AT, 50_000), 1.0, id="v1 container"
        ),
        pytest.param(
            V1.format(root="/") + V2.format(root="/").replace("/sys/fs/cgroup", "/sys/fs/cgroup/unified"),
            "4:cpu,cpuacct:/a\n0::/a\n",
            {**cfs(f"{V1_AT}/a", 300_000), "sys/fs/cgroup/unified/a/cgroup.procs": ""},
            3.0,
            id="both",
        ),
        pytest.param(V2.format(root="/"), "0::/\n", {f"{V2_AT}/cpu.max": "nonsense"}, None, id="nonsense"),
    ],
)
def test_quotas(tmp_path: Path, mounts: str, names: str, files: dict[str, str], wanted: float | None) -> None:
    root = system(tmp_path, mounts, names, files)
    assert quota(root) == wanted
    assert physical_cores(set(range(8)), root=root) == (8 if wanted is None else int(wanted))


def test_hyper_threads_are_one_core(tmp_path: Path) -> None:
    siblings = {0: "0,4", 4: "0,4", 1: "1,5", 5: "1,5"}
    files = {f"sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list": text for cpu, text in siblings.items()}
    root = system(tmp_path, "", "", files)
    assert physical_cores({0, 4, 1}, root=root) == 2
    assert physical_cores({4}, root=root) == 1


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="no affinity on this system")
def test_affinity_counts() -> None:
    assert usable_cpus() == os.sched_getaffinity(0)


@pytest.mark.parametrize(
    ("text", "wanted"), [("3", 3), (" 7 ", 7), ("4,2", 4), ("", None), ("0", None), ("-1", None), ("many", None)]
)
def test_omp_num_threads_is_obeyed(monkeypatch: pytest.MonkeyPatch, text: str, wanted: int | None) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", text)
    assert default_threads() == (wanted or physical_cores())
