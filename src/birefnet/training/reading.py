"""From YAML to records: every key and every type is checked, and a mistake is one sentence that names its key."""

from __future__ import annotations

import math
import re
import types
from collections.abc import Callable, Mapping
from dataclasses import MISSING, fields, is_dataclass
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from birefnet.data.config import Source
from birefnet.errors import ConfigError, require
from birefnet.training.config import Recipe
from birefnet.training.settings import unknown

_PACKAGE = Path(__file__).parents[1]
# Those of an installed package, then those of a checkout.
_BOOKS = (_PACKAGE / "recipes", _PACKAGE.parents[1] / "recipes")


def load_recipe(path: Path, overrides: Mapping[str, str] | None = None) -> Recipe:
    """Read a recipe.

    Args:
        path: a YAML file, or the name of a recipe of the package, such as ``dis5k``.
        overrides: dotted keys with values as YAML, such as ``{"training.lr": "2e-5"}``; entries of lists go by
            number, as in ``training.phases.0.size``.

    Raises:
        ConfigError: if the file is missing or no YAML, if a key is unknown (the nearest is named) or a value wrong.
    """
    yaml = require("yaml", "train")
    path = find_recipe(path)
    try:
        values = read_yaml(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is no text"
        raise ConfigError(f"The recipe `{path}` cannot be read: {reason}") from error
    except yaml.YAMLError as error:
        raise ConfigError(f"The recipe `{path}` is no YAML: {error}") from error
    if not isinstance(values, dict):
        raise ConfigError(f"The recipe `{path}` holds no keys")
    for key, text in (overrides or {}).items():
        try:
            value = read_yaml(text)
        except yaml.YAMLError as error:
            raise ConfigError(f"`{key}` cannot be set to `{text}`, which is no YAML") from error
        _set(values, key, value)
    return parse_recipe(values)


def find_recipe(path: Path) -> Path:
    """The file that `path` names: itself, or the package's recipe of that name.

    Raises:
        ConfigError: if a plain name is no recipe of the package; the message lists them.
    """
    if path.exists() or path.suffix or path.name != str(path):
        return path
    known = {file.stem: file for book in reversed(_BOOKS) for file in sorted(book.glob("*.yaml"))}
    if path.name not in known:
        if not known:
            raise ConfigError(f"There is no recipe `{path}`", hint="give the path of a YAML file")
        raise unknown("There is no recipe", path.name, list(known))
    return known[path.name]


def parse_recipe(values: Mapping[str, Any]) -> Recipe:
    """A recipe from plain values, such as `Recipe.to_dict` gives; see `load_recipe` for the errors."""
    entries = dict(values)
    start, validation, data = (entries.get(key) for key in ("start", "validation", "data"))
    if entries.get("network") is None and not (isinstance(start, Mapping) and start.get("weights")):
        entries["network"] = {}
    if isinstance(validation, Mapping) and isinstance(data, Mapping):
        # What lies beside the training pictures need not be said twice.
        near = {key: data[key] for key in ("root", "task") if "root" not in validation and key in data}
        entries["validation"] = {**near, **validation}
    recipe: Recipe = make(Recipe, entries)
    return recipe


def make(record: type[Any], values: object, prefix: str = "") -> Any:
    """An instance of the dataclass `record` from a mapping.

    Args:
        record: its fields' types decide what is taken; fields may be records themselves.
        values: a mapping; None stands for an empty one.
        prefix: dotted keys of the parents with a dot at the end, for messages.

    Raises:
        ConfigError: if a key is unknown or missing, or a value is of a wrong type or out of range.
    """
    if values is not None and not isinstance(values, Mapping):
        raise ConfigError(f"`{prefix.rstrip('.') or 'recipe'}` should hold keys, got {values!r}")
    kinds = get_type_hints(record)
    entries = dict(values or {})
    for key in entries:
        if key not in kinds:
            raise unknown("Unknown key", str(key), list(kinds), prefix)
    for entry in fields(record):
        if entry.name not in entries and entry.default is MISSING and entry.default_factory is MISSING:
            raise ConfigError(f"`{prefix}{entry.name}` is missing")
    return record(**{key: _convert(kinds[key], value, f"{prefix}{key}") for key, value in entries.items()})


def _convert(kind: object, value: object, key: str) -> Any:
    """`value` as the type `kind` wants it, or a ConfigError that names `key`."""
    if get_origin(kind) in (Union, types.UnionType):
        return _convert_any(get_args(kind), value, key)
    if kind == tuple[Source, ...]:
        return _sources(value, key)
    if is_dataclass(kind) and isinstance(kind, type):
        from_text: Callable[[str], Any] | None = getattr(kind, "from_text", None)
        if from_text is None or isinstance(value, Mapping | None):
            return make(kind, value, f"{key}.")
        try:
            return from_text(str(value))
        except ConfigError as error:
            raise ConfigError(f"`{key}`: {error}") from error
    if get_origin(kind) is tuple:
        return _convert_tuple(get_args(kind), value, key)
    if isinstance(value, Mapping) and get_args(kind) and get_origin(kind) is not Literal:
        return {str(name): _convert(get_args(kind)[1], entry, f"{key}.{name}") for name, entry in value.items()}
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if kind is int and isinstance(value, float) and value.is_integer():
        return int(value)
    if _is(kind, value):
        return value
    quotes = "; put it in quotes" if kind is str and isinstance(value, int | float) else ""
    raise ConfigError(f"`{key}` is {value!r}; it must be {_wish(kind)}{quotes}")


def _convert_any(kinds: tuple[Any, ...], value: object, key: str) -> Any:
    """The first of several types that takes the value."""
    if value is None and type(None) in kinds:
        return None
    kinds = tuple(kind for kind in kinds if kind is not type(None))
    if len(kinds) == 1:
        return _convert(kinds[0], value, key)
    for kind in kinds:
        try:
            return _convert(kind, value, key)
        except ConfigError:
            continue
    raise ConfigError(f"`{key}` is {value!r}; it must be {' or '.join(_wish(kind) for kind in kinds)}")


def _convert_tuple(kinds: tuple[Any, ...], value: object, key: str) -> tuple[Any, ...]:
    if isinstance(value, str) and kinds[0] is str:
        value = [part.strip() for part in value.split("+")]  # sets are joined so everywhere
    if not isinstance(value, list | tuple) or (kinds[-1] is not Ellipsis and len(value) != len(kinds)):
        raise ConfigError(f"`{key}` is {value!r}; it must be {_wish_list(kinds)}")
    each = [kinds[0]] * len(value) if kinds[-1] is Ellipsis else list(kinds)
    return tuple(_convert(kind, entry, f"{key}.{i}") for i, (kind, entry) in enumerate(zip(each, value, strict=True)))


def _sources(value: object, key: str) -> tuple[Source, ...]:
    """Sources from `folder: weight` or `folder: {weight, only, cut}`."""
    value = value or {}
    if not isinstance(value, Mapping):
        raise ConfigError(f"`{key}` is {value!r}; write folders with their weights, such as {{train: 1.0}}")
    sources = []
    for folder, options in value.items():
        known = dict(options) if isinstance(options, Mapping) else {"weight": options}
        if isinstance(known.get("only"), list):
            known["only"] = [str(stem) for stem in known["only"]]  # 007 is a name, whatever YAML thinks
        sources.append(make(Source, {"folder": str(folder), **known}, f"{key}.{folder}."))
    return tuple(sources)


def _is(kind: object, value: object) -> bool:
    if get_origin(kind) is Literal:
        return any(value == choice and type(value) is type(choice) for choice in get_args(kind))
    if kind is Any:
        return True
    if isinstance(value, float) and not math.isfinite(value):
        return False
    return isinstance(kind, type) and isinstance(value, kind) and (kind is bool or not isinstance(value, bool))


def _wish(kind: object) -> str:
    """A type in words."""
    if get_origin(kind) is Literal:
        choices = [str(choice) for choice in get_args(kind)]
        return f"one of {', '.join(choices)}" if len(choices) > 1 else choices[0]
    if get_origin(kind) is tuple:
        return _wish_list(get_args(kind))
    if is_dataclass(kind) or (get_args(kind) and isinstance(get_origin(kind), type)):
        return "keys with values"
    words: dict[object, str] = {int: "a whole number", float: "a number", str: "text", bool: "true or false"}
    return words.get(kind, str(kind))


def _wish_list(kinds: tuple[Any, ...]) -> str:
    return f"a list of {'several' if kinds[-1] is Ellipsis else len(kinds)}, each {_wish(kinds[0])}"


def read_yaml(text: str) -> Any:
    """YAML in which 2e-5 is a number, as everybody means it (YAML 1.1 asks for a dot), and no key stands twice."""
    yaml = require("yaml", "train")

    class Loader(yaml.SafeLoader):  # type: ignore[misc, name-defined]
        """A class of its own, so nobody else's loader changes."""

        def construct_mapping(self, node: Any, deep: bool = False) -> Any:
            keys = [key.value for key, _ in node.value if not isinstance(key.value, list)]
            twice = next((key for key in keys if keys.count(key) > 1), None)
            if twice is not None:
                line = node.start_mark.line + 1
                raise ConfigError(f"The key `{twice}` stands twice in what begins at line {line}; keep one of them")
            return super().construct_mapping(node, deep)

    Loader.add_implicit_resolver(
        "tag:yaml.org,2002:float", re.compile(r"[-+]?[0-9][0-9_]*(\.[0-9_]*)?[eE][-+]?[0-9]+"), list("-+0123456789")
    )
    return yaml.load(text, Loader)


def _set(values: dict[str, Any], key: str, value: object) -> None:
    """Put `value` under a dotted key; parents that are missing or empty are made."""
    place: Any = values
    for part in key.split("."):
        if isinstance(place, list):
            if not part.isdecimal() or int(part) >= len(place):
                raise ConfigError(
                    f"`{key}` cannot be set: `{part}` is none of the list's entries 0 to {len(place) - 1}"
                )
            index: Any = int(part)
        elif isinstance(place, dict):
            index = part
            if place.get(index) is None:
                place[index] = {}
        else:
            raise ConfigError(f"`{key}` cannot be set: above `{part}` there is {place!r} and not keys")
        above, place = place, place[index]
    above[index] = value
