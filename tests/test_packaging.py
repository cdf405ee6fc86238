"""pyproject.toml, the constraint files and the code that repeats parts of them say the same."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

from birefnet.cli.doctor import parts_of_extras

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def project() -> dict[str, Any]:
    with (ROOT / "pyproject.toml").open("rb") as file:
        return dict(tomllib.load(file)["project"])


def pins(name: str) -> dict[str, str]:
    """Distribution -> version of a constraints file."""
    lines = (line.partition("#")[0].strip() for line in (ROOT / name).read_text().splitlines())
    return dict(line.lower().split("==") for line in lines if line)


def bounds(requirements: list[str]) -> dict[str, str]:
    """Distribution -> its lower bound, "" where it has none."""
    found = {}
    for text in requirements:
        match = re.fullmatch(r"([\w-]+)(?:>=([\d.]+))?", text)
        assert match, f"`{text}` is more than a lower bound"
        found[match[1].lower()] = match[2] or ""
    return found


def test_the_lowest_versions_are_the_bounds(project: dict[str, Any]) -> None:
    lowest = pins("constraints-lowest.txt")
    for name, bound in bounds(project["dependencies"]).items():
        assert lowest[name] == bound or lowest[name] == f"{bound}.0", name


def test_everything_direct_is_pinned_for_development(project: dict[str, Any]) -> None:
    pinned = pins("constraints.txt")
    wanted = bounds(project["dependencies"])
    for requirements in project["optional-dependencies"].values():
        wanted |= bounds([text for text in requirements if not text.startswith("birefnet[")])
    assert set(wanted) == set(pinned)
    assert pinned["torch"] == "2.13.0"


def test_doctor_knows_every_extra(project: dict[str, Any]) -> None:
    extras = project["optional-dependencies"]

    def parts(name: str) -> set[str]:
        found: set[str] = set()
        for text in extras[name]:
            inner = re.fullmatch(r"birefnet\[(.+)\]", text)
            found |= set().union(*map(parts, inner[1].split(","))) if inner else set(bounds([text]))
        return found

    known = parts_of_extras()
    assert known == {name: parts(name) for name in known}
    assert set(extras) == {*known, "all", "test", "clients", "dev"}
    assert parts("all") == set().union(*map(parts, known))


def test_every_sample_photo_has_its_credit() -> None:
    photos = ROOT / "examples" / "photos"
    credits = (photos / "CREDITS.md").read_text(encoding="utf-8")
    for path in photos.glob("*.jpg"):
        assert f"| {path.name} |" in credits
        assert path.stat().st_size < 150_000


def test_the_changelog_knows_this_version() -> None:
    from birefnet import __version__

    assert f"## {__version__}" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
