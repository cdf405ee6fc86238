"""How many processors this process may use, and so how many threads it computes with where nobody says."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

_TOPOLOGY = "sys/devices/system/cpu/cpu{}/topology/thread_siblings_list"
_ROOT = Path("/")


def default_threads() -> int:
    """Threads to compute with: `OMP_NUM_THREADS` where it is set, else the physical cores this process may use."""
    outermost = os.environ.get("OMP_NUM_THREADS", "").partition(",")[0].strip()  # a list is for nested regions
    return int(outermost) if outermost.isdecimal() and int(outermost) else physical_cores()


def physical_cores(cpus: set[int] | None = None, *, root: Path = _ROOT) -> int:
    """How many physical cores this process may use: its affinity and container limit counted, hyper-threads not.

    Args:
        cpus: the logical CPUs to count; None for `usable_cpus()`.
        root: where the system tells of itself; another one in tests.
    """
    usable = usable_cpus() if cpus is None else cpus
    cores = {_read(root / _TOPOLOGY.format(cpu)) or str(cpu) for cpu in usable}
    return max(1, min(len(cores), int(quota(root) or len(cores))))


def usable_cpus() -> set[int]:
    """The logical CPUs this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return set(os.sched_getaffinity(0))
    return set(range(os.cpu_count() or 1))


def quota(root: Path = _ROOT) -> float | None:
    """CPUs that Linux's control groups grant: the least of this process's group and all around it; None if unlimited.

    Both versions, also side by side.
    """
    return min((grant for folder in _groups(root) if (grant := _grant(folder)) is not None), default=None)


def _groups(root: Path) -> Iterator[Path]:
    """The folders of the groups that this process is in, with their parents as far as they are mounted."""
    names = _names(root)
    mounts = [line.split() for line in _read(root / "proc/self/mountinfo").splitlines() if " - cgroup" in line]
    for mount in mounts:
        kind, options = mount[mount.index("-") + 1], mount[-1].split(",")
        if kind != "cgroup2" and "cpu" not in options:
            continue
        mounted, point = Path(mount[3]), root / mount[4].lstrip("/")
        name = Path(names.get("" if kind == "cgroup2" else "cpu", "/"))
        # A container may see its own name, or that on the host, of which it has mounted a part or nothing.
        inner = name.relative_to(mounted) if name.is_relative_to(mounted) and ".." not in name.parts else Path()
        yield from (point / part for part in (inner, *inner.parents))


def _names(root: Path) -> dict[str, str]:
    """Controller -> the group this process is in; "" is version 2."""
    lines = [line.split(":", 2) for line in _read(root / "proc/self/cgroup").splitlines()]
    return {controller: line[2] for line in lines if len(line) == 3 for controller in line[1].split(",")}


def _grant(folder: Path) -> float | None:
    limit, _, period = _read(folder / "cpu.max").partition(" ")
    if not period:
        limit, period = _read(folder / "cpu.cfs_quota_us"), _read(folder / "cpu.cfs_period_us")
    try:
        grant = int(limit) / int(period)
    except (ValueError, ZeroDivisionError):  # "max", or no such file
        return None
    return max(1.0, grant) if grant > 0 else None


def _read(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return ""
