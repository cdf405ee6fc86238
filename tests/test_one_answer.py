"""Questions that have one answer are not answered a second time anywhere; see docs/architecture.md."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import birefnet

PACKAGE = Path(birefnet.__file__).parent

# what only one place may do -> (pattern, where else than in comments it may stand)
ONLY = {
    "what MODEL means": (
        r"\b(hub_weights|try_to_load_from_cache|hf_hub_download|weights_of|onnx_of)\(",
        # The command that fetches one published file, and the page's own model.
        {"weights/resolve.py", "weights/download.py", "weights/zoo.py", "cli/models.py", "serving/nano.py"},
    ),
    "whether a text names a row of the zoo": (
        r"\bzoo\.(knows|find)\(",
        # The server knows its own models by their other names, and the page its own.
        {"weights/resolve.py", "serving/pool.py", "serving/nano.py"},
    ),
    "what a repository calls its weights": (r"pytorch_model\.bin", {"weights/formats.py"}),
    "which suffixes models have": (r"\"\.(pth|pt|pt2|engine|gguf)\"", {"weights/formats.py"}),
    "which known word was meant": (r"get_close_matches", {"errors.py"}),
    "which input a model was made for": (
        r"\bto_spec\(",
        # Runtimes read exported files, and a run reads what it has kept of its start.
        {"weights/facts.py", "weights/resolve.py", "runtimes", "serving/nano.py", "training/start.py"},
    ),
}


@pytest.mark.parametrize("question", ONLY)
def test_nobody_else_answers(question: str) -> None:
    pattern, allowed = ONLY[question]
    found = set()
    for path in PACKAGE.rglob("*.py"):
        name = path.relative_to(PACKAGE).as_posix()
        if re.search(pattern, path.read_text(encoding="utf-8")):
            found.add(name)
    assert found, "the pattern finds nothing any more, not even the one answer"
    assert not {name for name in found if name not in allowed and name.partition("/")[0] not in allowed}
