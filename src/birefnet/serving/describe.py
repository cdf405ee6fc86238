"""The parts of the API's description that all routes share."""

from __future__ import annotations

from typing import Any

from birefnet.serving.schemas import FalProblems, Problem

_WHY = {
    400: "The request is damaged.",
    401: "The API key is missing or wrong.",
    404: "There is nothing of that name.",
    408: "The request did not arrive in time.",
    413: "Too many bytes or pixels.",
    415: "Not a picture, or not sent as one.",
    422: "An option, or the picture, cannot be used as it is; the sentence says why.",
    429: "Too many requests are under way; `Retry-After` says when to ask again.",
    500: "A fault of the server.",
    503: "The server is stopping, or a model cannot be had now; `Retry-After` says when to ask again.",
    504: "It took longer than this server allows.",
}
_RETRY = {"Retry-After": {"description": "Seconds.", "schema": {"type": "integer", "minimum": 1}}}


def problems(*statuses: int, fal: bool = False) -> dict[int | str, dict[str, Any]]:
    """The description of answers other than the one asked for; of fal's shape where it differs."""
    told: dict[int | str, dict[str, Any]] = {}
    for status in statuses:
        told[status] = {"description": _WHY[status], "model": FalProblems if fal and status == 422 else Problem}
        if status in (429, 503):
            told[status]["headers"] = _RETRY
    return told
