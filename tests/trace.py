"""What a program does to the network and to files, as the kernel sees it: native code and children included."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

CALLS = "%network,open,openat,openat2,creat,mkdir,mkdirat,rename,renameat,renameat2,link,linkat,symlink,symlinkat,mknod"
_CALL = re.compile(r"^\d+\s+(?P<name>\w+)\((?P<rest>.*)\)\s+= (?P<result>-?\d+|\?)", re.DOTALL)
_PATH = re.compile(r'(?:(?P<at>AT_FDCWD|\d+)<(?P<base>[^>]*)>, )?"(?P<path>(?:[^"\\]|\\.)*)"')
_WRITES = re.compile(r"O_WRONLY|O_RDWR|O_CREAT|O_TRUNC")
_NAMES = ("/etc/resolv.conf", "/run/systemd/resolve")


def strace() -> str | None:
    """The tracer, where it is installed and may trace."""
    tool = shutil.which("strace")
    if tool is None or subprocess.run([tool, "-f", "-e", "trace=none", "true"], capture_output=True).returncode:
        return None
    return tool


@dataclass(frozen=True)
class Trace:
    """What was seen."""

    calls: int
    lookups: tuple[str, ...]  # of names: a resolver's file that was opened, a packet to its port
    connections: tuple[str, ...]  # to any other machine
    written: frozenset[str]  # whole paths of files and folders that were made or opened for writing


def read(log: Path, folder: Path) -> Trace:
    """A log of `strace -f -y -s 4096 -e trace=CALLS`; `folder` is where the program was started."""
    lookups: list[str] = []
    connections: list[str] = []
    written: set[str] = set()
    count = 0
    for line in _whole(log.read_text(errors="replace").splitlines()):
        found = _CALL.match(line)
        if found is None:
            continue
        count += 1
        name, rest = found["name"], found["rest"]
        if "sa_family=AF_INET" in rest and name in ("connect", "sendto", "sendmsg", "sendmmsg"):
            if "htons(53)" in rest or "htons(5353)" in rest:
                lookups.append(line)
            elif not re.search(r'inet_addr\("127\.|inet_pton\(AF_INET6, "::1"', rest):
                connections.append(line)
            continue
        paths = [os.path.normpath(os.path.join(p["base"] or folder, p["path"])) for p in _PATH.finditer(rest)]
        if any(path.startswith(_NAMES) for path in paths):
            lookups.append(line)
        if found["result"].startswith("-"):  # nothing came of it
            continue
        if name.startswith(("mkdir", "creat", "mknod")) or (name.startswith("open") and _WRITES.search(rest)):
            written.update(paths[:1])
        elif name.startswith(("rename", "link", "symlink")):
            written.update(paths[-1:])
    return Trace(count, tuple(lookups), tuple(connections), frozenset(written))


def command(tool: str, log: Path, words: Sequence[object]) -> list[str]:
    """The command line that traces another."""
    return [tool, "-f", "-y", "-qq", "-s", "4096", "-o", str(log), "-e", f"trace={CALLS}", *map(str, words)]


def outside(written: frozenset[str], *allowed: Path) -> list[str]:
    """The paths in none of these folders, nor on the way to them.

    Devices, and what Python keeps beside its sources, do not count.
    """
    roots = tuple(f"{folder}/" for folder in allowed)
    on_the_way = {str(parent) for folder in allowed for parent in folder.parents}
    return sorted(
        path
        for path in written - on_the_way
        if not f"{path}/".startswith((*roots, "/dev/", "/proc/")) and "__pycache__" not in path
    )


def _whole(lines: list[str]) -> list[str]:
    """Calls that were interrupted by another thread's, put together again."""
    open_calls: dict[str, str] = {}
    whole = []
    for line in lines:
        thread = line.partition(" ")[0]
        if line.endswith("<unfinished ...>"):
            open_calls[thread] = line.removesuffix("<unfinished ...>")
        elif (resumed := re.match(r"^\d+\s+<\.\.\. \w+ resumed>(.*)", line)) and thread in open_calls:
            whole.append(open_calls.pop(thread) + resumed[1])
        else:
            whole.append(line)
    return whole
