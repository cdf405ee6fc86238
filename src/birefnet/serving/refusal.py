"""Why a request is not answered as asked: a status and one sentence."""

from __future__ import annotations

from fastapi import HTTPException

from birefnet.errors import (
    BiRefNetError,
    ConfigError,
    DeviceError,
    DownloadError,
    InputError,
    MissingExtra,
    PictureError,
    UnknownModel,
)
from birefnet.memory import ran_out

HUNG_UP = 499  # nobody reads it; it is what logs and metrics say of a client that has gone

_CLIENTS_FAULT = (ConfigError, InputError, UnknownModel, PictureError, MissingExtra)
_NOT_NOW = (DownloadError, DeviceError)


class Refusal(HTTPException):
    """An answer other than the one asked for.

    Args:
        status: of HTTP.
        sentence: for a person.
        field: which field of the request it is about, where that is known.
        kind: one word for programs.
        retry_after: seconds after which to ask again.
    """

    def __init__(
        self, status: int, sentence: str, *, field: str | None = None, kind: str = "", retry_after: float | None = None
    ) -> None:
        headers = {} if retry_after is None else {"Retry-After": str(max(1, round(retry_after)))}
        super().__init__(status, readable(sentence[:1].upper() + sentence[1:]), headers=headers)
        self.field = field
        self.kind = kind


def out_of_memory() -> Refusal:
    """What a request is told where memory is short, on whatever device."""
    return Refusal(503, "There is not enough memory for this now; ask again.", kind="no_memory", retry_after=30)


def refusal_of(error: BiRefNetError, *, field: str | None = None) -> Refusal:
    """What a request is told about an error of ours; weights that are damaged are the server's fault, and say so."""
    if ran_out(error):
        return out_of_memory()
    sentence = str(error).splitlines()[0]
    if isinstance(error, _CLIENTS_FAULT):
        return Refusal(422, _with_hint(sentence, error.hint), field=field)
    if isinstance(error, _NOT_NOW):
        return Refusal(503, sentence, retry_after=30)
    return Refusal(500, sentence)


def _with_hint(sentence: str, hint: str | None) -> str:
    """Both in one sentence: a request's answer has no second line."""
    return f"{sentence.rstrip('.')}; {hint}{'' if hint.endswith('?') else '.'}" if hint else sentence


def readable(text: str) -> str:
    """Text that can be sent: what a request held may have been no text at all, or endless."""
    whole = text.encode("utf-8", "replace").decode()
    shown = "".join(character if character.isprintable() else " " for character in whole)
    return shown if len(shown) <= 600 else f"{shown[:600]} ..."
