"""What a weights file says of the input it was made for.

Both ONNX files (`metadata_props`) and safetensors files (their header) may hold, each value as JSON: `size`
([width, height] or one side), `mean` and `std` (three numbers, of values in [0, 1]), `activation` ("sigmoid": the
output is logits; "none": it is the alpha itself) and `upsample` ("bilinear" or "guided").
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from birefnet.errors import BiRefNetError, WeightsError
from birefnet.pixels.prepare import InputSpec
from birefnet.weights.entries import ZooEntry

DEFAULT_SIDE = 1024  # of files that do not say: that of most released models
_WORDS = {"activation": ("sigmoid", "none"), "upsample": ("bilinear", "guided")}
_KEYS = ("size", "mean", "std", *_WORDS)


def read_facts(raw: Mapping[str, str], path: Path) -> dict[str, Any]:
    """The entries of a file's metadata that are meant for us, decoded.

    Raises:
        WeightsError: if one of them makes no sense.
    """
    facts: dict[str, Any] = {}
    for key in _KEYS:
        if key not in raw:
            continue
        try:
            facts[key] = json.loads(raw[key])
        except json.JSONDecodeError:
            if key not in _WORDS:  # a bare word is clear enough
                raise WeightsError(f"`{path}` has metadata `{key}` that is not JSON: {raw[key][:80]}") from None
            facts[key] = raw[key]
    for key, known in _WORDS.items():
        if key in facts and facts[key] not in known:
            raise WeightsError(f"`{path}` asks for the {key} `{facts[key]}`; known: {', '.join(known)}.")
    return facts


def read_safetensors(path: Path) -> dict[str, Any]:
    """The facts in the header of a safetensors file; none where the file is of another kind, or its header is not read.

    Raises:
        WeightsError: if one of them makes no sense.
    """
    if path.suffix.lower() != ".safetensors" or not path.is_file():
        return {}
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="np") as file:
            return read_facts(file.metadata() or {}, path)
    except (OSError, SafetensorError):  # whoever reads the tensors says what is wrong, better than we could
        return {}


def to_spec(
    facts: Mapping[str, Any],
    path: Path,
    *,
    defaults: InputSpec | None = None,
    fixed: tuple[int, int] | None = None,
) -> InputSpec:
    """The input that a file's facts tell of.

    Args:
        facts: as of `read_facts`.
        path: the file, for errors.
        defaults: what holds where the file says nothing; None for most released models' input.
        fixed: the (width, height) that the network takes and no other, whatever the facts say.

    Raises:
        WeightsError: if the facts are no proper input.
    """
    spec = defaults or InputSpec(width=DEFAULT_SIDE, height=DEFAULT_SIDE)
    try:
        size = fixed or facts.get("size", (spec.width, spec.height))
        width, height = (size, size) if isinstance(size, int) else size
        mean, std = (tuple(float(v) for v in facts.get(key, getattr(spec, key))) for key in ("mean", "std"))
        changes: dict[str, Any] = {"mean": mean, "std": std, "upsample": facts.get("upsample", spec.upsample)}
        return replace(spec, width=width, height=height, **changes)
    except (TypeError, ValueError) as error:
        detail = str(error) if isinstance(error, BiRefNetError) else f"its metadata are {dict(facts)}"
        raise WeightsError(f"`{path}` does not say properly which input it takes: {detail}") from error


def from_spec(spec: InputSpec) -> dict[str, str]:
    """An input as `to_spec` reads it again: what to put into the metadata of a file, each value as JSON."""
    return {name: json.dumps(value) for name, value in facts_of(spec).items()}


def facts_of(spec: InputSpec, **more: object) -> dict[str, object]:
    """What an exported file is to say of its input, for `to_spec` to read, and whatever else it says.

    Args:
        spec: the input of a network that gives logits.
        more: further facts by name, such as `precision` and `source`.
    """
    facts: dict[str, object] = {
        "size": [spec.width, spec.height],
        "mean": spec.mean,
        "std": spec.std,
        "activation": "sigmoid",
        "upsample": spec.upsample,
    }
    return facts | more


def spec_of(entry: ZooEntry | None) -> InputSpec | None:
    """What a row of the zoo says of the input; None for no row."""
    if entry is None:
        return None
    width, height = entry.size
    return InputSpec(width=width, height=height, mean=entry.mean, std=entry.std, upsample=entry.upsample)
