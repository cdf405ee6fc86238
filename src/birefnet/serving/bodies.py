"""What a request brings: fields of its address and its form, and pictures; within limits, and never on a disk."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from email.message import Message
from typing import Any

from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import ClientDisconnect, Request

from birefnet.serving.refusal import HUNG_UP, Refusal, readable

FORM = "multipart/form-data"
_RAW = ("application/octet-stream", "application/x-www-form-urlencoded", "")  # the second is what curl says of any file
_FIELDS = 32
_FIELD_BYTES = 65_536


@dataclass(frozen=True, slots=True, kw_only=True)
class Body:
    """What came: texts by name, of the address and the form (which wins), and files by name."""

    texts: dict[str, str] = field(default_factory=dict)
    files: dict[str, bytes] = field(default_factory=dict)


class _InMemory(MultiPartParser):
    """Keeps files in memory: they are limited in size, and pictures of users do not belong on a disk."""

    spool_max_size = 1 << 62


def media_type(request: Request) -> str:
    """The request's content type, without its parameters, in small letters."""
    message = Message()
    message["Content-Type"] = request.headers.get("content-type", "")
    return message.get_content_type() if request.headers.get("content-type") else ""


async def read_body(request: Request, *, files: Collection[str], raw: str | None = None) -> Body:
    """Read a form, or a picture that is the whole body.

    Args:
        files: names of the form's fields that are files; no others are.
        raw: the name for a picture that is the whole body; None where only forms are taken.

    Raises:
        Refusal: (400) for a damaged form, (413) for too large a body, (415) for other content, (422) for a field that
            should be a file and is none, or the other way round.
    """
    kind = media_type(request)
    texts = dict(request.query_params)
    if kind == FORM:
        return await _read_form(request, files, texts)
    if raw is None or not (kind in _RAW or kind.startswith("image/")):
        wanted = FORM if raw is None else f"{FORM}, or a picture as the whole body (image/*)"
        raise Refusal(415, f"Wanted {wanted}; got `{readable(kind)[:80]}`.", kind="unsupported_media_type")
    return Body(texts=texts, files={raw: await read_all(request)})


async def read_all(request: Request) -> bytes:
    """The whole body.

    Raises:
        Refusal: (413) if it is too large; or if the client hangs up meanwhile.
    """
    try:
        return await request.body()
    except ClientDisconnect:
        raise _gone() from None


async def _read_form(request: Request, files: Collection[str], texts: dict[str, str]) -> Body:
    parser = _InMemory(
        request.headers,
        request.stream(),
        max_files=len(files),
        max_fields=_FIELDS,
        max_part_size=_FIELD_BYTES,
    )
    try:
        form = await parser.parse()
    except MultiPartException as error:
        raise Refusal(400, f"The form is damaged: {error.message}", kind="bad_form") from None
    except ClientDisconnect:
        raise _gone() from None
    except (ValueError, LookupError) as error:  # of headers that are no text
        raise Refusal(400, f"The form is damaged: {error}", kind="bad_form") from None
    found: dict[str, bytes] = {}
    try:
        for name, value in form.multi_items():
            _put(name, value, files, texts, found)
    finally:
        await form.close()
    return Body(texts=texts, files=found)


def _put(name: str, value: Any, files: Collection[str], texts: dict[str, str], found: dict[str, bytes]) -> None:
    """Sort one field of a form to where it belongs."""
    if not isinstance(value, UploadFile):
        texts[name] = value
    elif name not in files:
        raise Refusal(422, f"The form's field `{readable(name)[:80]}` is a file, but no such file is wanted.")
    elif name in found:
        raise Refusal(422, f"The form has the file `{name}` twice.", field=name)
    else:
        found[name] = value.file.read()


def _gone() -> Refusal:
    return Refusal(HUNG_UP, "The client has hung up.", kind="hung_up")
