"""What the documents tell people to type works as typed."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image

from birefnet.cli.main import _EPILOG, COMMANDS, _parser
from tests.cli.test_nasty import disc

ROOT = Path(__file__).parents[1]
DOCUMENTS = sorted([ROOT / "README.md", *(ROOT / "docs").glob("*.md")])


def blocks(path: Path, language: str) -> list[str]:
    """The fenced blocks of a document in one language ("" for none: the indented ones too)."""
    text = path.read_text(encoding="utf-8")
    indented = re.findall(r"(?:^ {4}\S.*\n)+", text, re.M) if not language else []
    fenced = re.findall(r"^```(\w*)\n(.*?)^```$", text, re.M | re.S)
    return [block for name, block in fenced if name == language] + indented


def commands() -> Iterator[str]:
    """Every `birefnet ...` line of the documents and of the help's first steps."""
    texts = [_EPILOG, *(block for path in DOCUMENTS for block in blocks(path, "") + blocks(path, "sh"))]
    for line in "\n".join(texts).splitlines():
        if match := re.search(r"(?:^|\| )\s*(birefnet (?!COMMAND).*)", re.split(r"\s{2,}|\s#|\s>", line.strip())[0]):
            yield match[1]


@pytest.mark.parametrize("line", dict.fromkeys(commands()))
def test_every_command_line_is_understood(line: str) -> None:
    _, command, *arguments = shlex.split(line)
    homes = {row.name: row.home for row in COMMANDS}
    assert command in homes
    parser = _parser(homes[command])
    with parser.make_context(f"birefnet {command}", arguments) as context:  # parsed and checked, not run
        assert context.params or context.args is not None


def test_the_python_of_the_readme_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("cat.jpg", "dog.jpg"):
        Image.fromarray(disc()).save(name)
    Path("cutouts").mkdir()
    code = blocks(ROOT / "README.md", "python")
    assert len(code) == 2
    for block in code:
        exec(compile(block, "README.md", "exec"), {})
    assert Path("cat.png").exists() and Path("cutouts/dog.jpg.png").exists()


def test_links_between_documents_lead_somewhere() -> None:
    for path in DOCUMENTS:
        for target in re.findall(r"\]\((?!https?:|#)([^)#]+)", path.read_text(encoding="utf-8")):
            file = (path.parent / target).resolve()
            assert file.exists(), f"{path.name}: {target}"
