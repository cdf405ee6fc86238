"""The API's description as a page to read: made here, without scripts and without anything from elsewhere."""

from __future__ import annotations

from collections.abc import Iterator
from html import escape
from typing import Any

HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'self'",
    "Referrer-Policy": "no-referrer",
}
_STYLE = """
:root { color-scheme: light dark }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem }
code, pre { font-family: ui-monospace, monospace; font-size: .9em }
pre { padding: .8rem; overflow-x: auto; border: 1px solid #8886; border-radius: .4rem }
table { border-collapse: collapse; width: 100% }
th, td { text-align: left; vertical-align: top; padding: .2rem .6rem .2rem 0; border-bottom: 1px solid #8884 }
h2 { margin-top: 2.5rem }
"""
EXAMPLES = {
    "post /v1/remove": (
        "curl -F image=@cat.jpg {base}v1/remove -o cat.png\n"
        "curl -F image=@cat.jpg -F background=white -F format=jpg {base}v1/remove -o cat-on-white.jpg\n"
        "curl --data-binary @cat.jpg '{base}v1/remove?output=json'"
    ),
    "get /v1/models": "curl {base}v1/models",
    "post /api/remove": "curl -F file=@cat.jpg -F om=true {base}api/remove -o mask.png",
    "get /api/remove": "curl '{base}api/remove?url=https://example.org/cat.jpg' -o cat.png",
    "post /fal-ai/birefnet/v2": (
        "curl -H 'Content-Type: application/json' {base}fal-ai/birefnet/v2 \\\n"
        '  -d "{{\\"image_url\\": \\"data:image/jpeg;base64,$(base64 -w0 cat.jpg)\\", \\"sync_mode\\": true}}"'
    ),
}


def to_page(description: dict[str, Any], base: str, root: str = "") -> str:
    """An OpenAPI description -> HTML.

    Args:
        base: the server's address, with a slash at its end; for the examples.
        root: the path in it, without one.
    """
    info = description["info"]
    parts = [
        "<!doctype html><html lang=en><meta charset=utf-8>",
        f"<meta name=viewport content='width=device-width'><title>{escape(info['title'])}: API</title>",
        f"<style>{_STYLE}</style><h1>{escape(info['title'])} {escape(info['version'])}</h1>",
        f"<p>{_text(info['description'])}</p>",
        f"<p>For programs: <a href='{escape(root)}/openapi.json'>openapi.json</a></p>",
    ]
    for path, methods in description["paths"].items():
        for method, operation in methods.items():
            parts += _operation(path, method, operation, base)
    return "".join(parts)


def _operation(path: str, method: str, operation: dict[str, Any], base: str) -> Iterator[str]:
    yield f"<h2><code>{method.upper()} {escape(path)}</code></h2><p>{_text(operation.get('summary', ''))}."
    yield f" {_text(operation.get('description', ''))}</p>"
    example = EXAMPLES.get(f"{method} {path}")
    if example:
        yield f"<pre>{escape(example.format(base=base))}</pre>"
    rows = [(row["name"], row["schema"], row.get("description", "")) for row in operation.get("parameters", [])]
    content = operation.get("requestBody", {}).get("content", {})
    for schema in (content[kind].get("schema", {}) for kind in content):
        known = {name for name, _, _ in rows}
        rows += [(name, field, "") for name, field in schema.get("properties", {}).items() if name not in known]
    if rows:
        yield "<table><tr><th>Field<th>Values<th>Meaning"
        for name, schema, told in rows:
            meaning = told or schema.get("description", "")
            yield f"<tr><td><code>{escape(name)}</code><td>{escape(_values(schema))}<td>{_text(meaning)}"
        yield "</table>"
    yield "<p>Answers:</p><table>"
    for status, answer in operation["responses"].items():
        yield f"<tr><td><code>{status}</code><td>{_text(answer['description'])}"
    yield "</table>"


def _values(schema: dict[str, Any]) -> str:
    """What a field may hold, in a few words."""
    inner = next((one for one in schema.get("anyOf", []) if one.get("type") != "null"), schema)
    words = " | ".join(str(value) for value in inner["enum"]) if "enum" in inner else str(inner.get("type", ""))
    if inner.get("format") == "binary":
        words = "file"
    if "minimum" in inner:
        words += f" from {inner['minimum']}" + (f" to {inner['maximum']}" if "maximum" in inner else "")
    default = schema.get("default")
    return words if default is None else f"{words}; {str(default).lower() if isinstance(default, bool) else default}"


def _text(text: str) -> str:
    """Text with `code` in it."""
    pieces = escape(text).split("`")
    return "".join(f"<code>{piece}</code>" if index % 2 else piece for index, piece in enumerate(pieces))
