"""`birefnet doctor`: what is installed, what this machine has, what would be used and why."""

from __future__ import annotations

import json
import re
from importlib import metadata
from typing import Any

import typer

from birefnet.cli.options import Json

_NOT_FOR_USERS = ("all", "test", "clients", "dev")
_REQUIREMENT = re.compile(  # as metadata has it: `birefnet[torch]>=1; extra == "train"`
    r"""(?P<name>[\w.-]+)(?:\[(?P<extras>[\w, .-]+)\])?.*\bextra\s*==\s*['"](?P<extra>[\w-]+)['"]"""
)


def doctor(report: Json = False) -> None:
    """Show versions, devices and extras, what `--device auto` would choose, and why.

    Put its output into a bug report; it holds no personal data but the path of the cache folder.
    """
    from birefnet.runtimes.explain import explain

    facts: dict[str, Any] = {**explain(), "extras": extras()}
    if report:
        typer.echo(json.dumps(facts, indent=2))
        return
    for line in lines(facts):
        typer.echo(line)


def extras() -> dict[str, bool]:
    """Which extras are complete."""
    return {name: all(_installed(part) for part in parts) for name, parts in parts_of_extras().items()}


def parts_of_extras() -> dict[str, frozenset[str]]:
    """Extra -> the distributions that it brings, as the installed package itself says; empty where it says nothing."""
    try:
        found = [_REQUIREMENT.match(text) for text in metadata.requires("birefnet") or ()]
    except metadata.PackageNotFoundError:  # run from its sources
        return {}
    rows = [(row["extra"], row["name"].lower(), (row["extras"] or "").replace(" ", "")) for row in found if row]

    def parts(extra: str) -> frozenset[str]:
        own = frozenset(name for home, name, _ in rows if home == extra and name != "birefnet")
        inner = (one for home, name, more in rows if home == extra and name == "birefnet" for one in more.split(","))
        return own.union(*map(parts, inner))

    names = dict.fromkeys(extra for extra, _, _ in rows)
    return {name: parts(name) for name in names if name not in _NOT_FOR_USERS}


def lines(facts: dict[str, Any]) -> list[str]:
    """The report as text, without the final newlines."""
    system, cpu, cache = facts["system"], facts["cpu"], facts["cache"]
    versions = {name: version for name, version in facts["packages"].items() if version}
    box = ", ".join(f"{name} ({size / 1e6:.1f} MB)" for name, size in facts["bundled"].items())
    rows = [
        ("system", f"Python {system['python']}, {system['platform']}"),
        (
            "processor",
            f"{cpu['model']}: {cpu['cores']} cores, {cpu['threads']} threads {' '.join(cpu['features'])}".strip(),
        ),
        ("packages", ", ".join(f"{name} {version}" for name, version in versions.items())),
        ("onnxruntime", ", ".join(facts["onnxruntime"]["providers"]) or "not usable"),
        ("its telemetry", facts["onnxruntime"]["telemetry"]),
        ("torch", ", ".join(f"{d['name']} ({d['model']})" for d in facts["torch"]["devices"]) or "not installed"),
        ("in the box", box or "nothing"),
        ("cache", f"{cache['folder']} ({cache['bytes'] / 1e6:.0f} MB)"),
    ]
    rows += [
        (f"extra {name}", "installed" if there else f"pip install 'birefnet[{name}]'")
        for name, there in facts["extras"].items()
    ]
    rows += [("--device auto", sentence) for sentence in facts["choice"]["why"]]
    width = max(len(name) for name, _ in rows)
    return [f"{name:{width}}  {value}" for name, value in rows] + [f"warning: {text}" for text in facts["warnings"]]


def _installed(distribution: str) -> bool:
    try:
        metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return False
    return True
