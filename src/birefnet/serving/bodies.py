"""What a request brings: fields of its address and its form, and pictures; within limits, and never on a disk."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from email.message import Message

from python_multipart.multipart import parse_options_header
from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import ClientDisconnect, Request

from birefnet.pixels.kinds import find_kind
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
    """Gives every part as a file, in memory: sizes are limited, and pictures of users do not belong on a disk.

    A part is a picture by its content and its field, not because it has a file name: many clients send none.
    """

    spool_max_size = 1 << 62

    def on_headers_finished(self) -> None:
        part = self._current_part
        if b"filename" not in parse_options_header(part.content_disposition)[1]:
            part.content_disposition = (part.content_disposition or b"") + b'; filename=""'
        super().on_headers_finished()


def media_type(request: Request) -> str:
    """The request's content type, without its parameters, in small letters."""
    message = Message()
    message["Content-Type"] = request.headers.get("content-type", "")
    return message.get_content_type() if request.headers.get("content-type") else ""


async def read_body(
    request: Request, *, files: Sequence[str], either: Collection[str] = (), raw: str | None = None
) -> Body:
    """Read a form, or a picture that is the whole body.

    Args:
        files: names of the form's fields that are files, the picture's first; no others are.
        either: those of them that may be a text instead.
        raw: the name for a picture that is the whole body; None where only forms are taken.

    Raises:
        Refusal: (400) for a damaged form, (413) for too large a body, (415) for other content, (422) for a field that
            should be a file and is none, or the other way round.
    """
    kind = media_type(request)
    texts = dict(request.query_params)
    if kind == FORM:
        return await _read_form(request, _Sorted(files, either, texts))
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


async def _read_form(request: Request, body: _Sorted) -> Body:
    parser = _InMemory(
        request.headers,
        request.stream(),
        max_files=_FIELDS,
    )
    try:
        form = await parser.parse()
    except MultiPartException as error:
        raise Refusal(400, f"The form is damaged: {error.message}", kind="bad_form") from None
    except ClientDisconnect:
        raise _gone() from None
    except (ValueError, LookupError) as error:  # of headers that are no text
        raise Refusal(400, f"The form is damaged: {error}", kind="bad_form") from None
    try:
        for name, part in form.multi_items():
            assert isinstance(part, UploadFile)  # `_InMemory` gives nothing else
            body.put(name, part)
    finally:
        await form.close()
    return Body(texts=body.texts, files=body.found)


class _Sorted:
    """The parts of a form, where they belong.

    Args:
        files, either: as for `read_body`.
        texts: those that are there already; a form's win.
    """

    def __init__(self, files: Sequence[str], either: Collection[str], texts: dict[str, str]) -> None:
        self.texts = texts
        self.found: dict[str, bytes] = {}
        self._files = files
        self._either = either

    def put(self, name: str, part: UploadFile) -> None:
        """Sort one part.

        Raises:
            Refusal: (422) if it is a file where none is wanted, or the other way round.
        """
        content = part.file.read()
        is_file = bool(part.filename) or find_kind(content[:16]) is not None or _says_it_is_a_file(part)
        if name in self._files and not content and not part.filename:
            return  # how browsers send a field in which no file was chosen
        if not is_file and (name not in self._files or name in self._either):
            self.texts[name] = _to_text(name, content)
        elif name not in self._files:
            raise self._misplaced(name)
        elif not is_file:
            sentence = f"The form's field `{name}` holds no picture; send its file there."
            raise Refusal(422, sentence, field=name, kind="image_load_error")
        elif name in self.found:
            raise Refusal(422, f"The form has the file `{name}` twice.", field=name)
        else:
            self.found[name] = content

    def _misplaced(self, name: str) -> Refusal:
        wanted = self._files[0]
        shown = readable(name)[:80]
        if wanted in self.found:
            others = " and ".join(f"`{file}`" for file in self._files)
            return Refusal(422, f"The form's field `{shown}` is a file, which is not wanted; files belong in {others}.")
        sentence = f"The form has a file in the field `{shown}`; send the picture in the field `{wanted}`."
        return Refusal(422, sentence, field=wanted)


def _says_it_is_a_file(part: UploadFile) -> bool:
    kind = (part.content_type or "").lower()
    return kind.startswith("image/") or (kind.startswith("application/octet-stream") and bool(part.size))


def _to_text(name: str, content: bytes) -> str:
    """A field's text.

    Raises:
        Refusal: (422) if it is longer than any option's.
    """
    if len(content) > _FIELD_BYTES:
        raise Refusal(422, f"The form's field `{readable(name)[:80]}` is neither a picture nor an option's text.")
    try:
        return content.decode()
    except UnicodeDecodeError:
        return content.decode("latin-1")


def _gone() -> Refusal:
    return Refusal(HUNG_UP, "The client has hung up.", kind="hung_up")
