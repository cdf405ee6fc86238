"""Our own API: `/v1/remove` and `/v1/models`."""

from __future__ import annotations

import base64
from collections.abc import Callable
from typing import Any, NamedTuple

from fastapi import APIRouter, Request, Response
from starlette.responses import JSONResponse

from birefnet.errors import ConfigError
from birefnet.pixels.background import find_background
from birefnet.pixels.foreground import check_method
from birefnet.pixels.rendering import Rendering
from birefnet.remover import Cutout
from birefnet.runtimes.select import parse_size
from birefnet.serving.bodies import FORM, Body, read_body
from birefnet.serving.describe import problems
from birefnet.serving.refusal import Refusal
from birefnet.serving.schemas import (
    Limits,
    ModelList,
    ModelRow,
    RemoveAnswer,
    RemoveOptions,
    form_schema,
    query_parameters,
)
from birefnet.serving.service import Service, parse
from birefnet.serving.ticket import Ticket
from birefnet.serving.work import TYPES, Order, encode
from birefnet.weights.entries import ZooEntry

FOREGROUND = "X-Has-Foreground"  # of every answer that is a picture: whether a subject was found
_BINARY = {"schema": {"type": "string", "format": "binary"}}


class Wish(NamedTuple):
    """What is to be made of a cut-out."""

    output: str  # "cutout", "mask" or "json"
    format: str  # a key of `TYPES`
    rendering: Rendering


def router(service: Service) -> APIRouter:
    """The routes."""
    routes = APIRouter(prefix="/v1", tags=["pictures"], dependencies=service.guards())

    @routes.post(
        "/remove",
        summary="Cut the subject out of a picture",
        description="The picture is the form's file `image`, or the whole body. Options are fields of the form or of "
        f"the address. The header `{FOREGROUND}` tells whether a subject was found.",
        response_class=Response,
        responses={200: _made(), **problems(400, 401, 408, 413, 415, 422, 429, 500, 503, 504)},
        openapi_extra={"parameters": query_parameters(RemoveOptions), "requestBody": _request_body()},
    )
    async def remove(request: Request) -> Response:
        with service.line.place() as place:
            reading = read_body(request, files=("image", "background"), either=("background",), raw="image")
            body = await place.receive(reading)
            options = parse(RemoveOptions, body.texts)
            order, wish = _order(service, options, body), _wish(options, body)
            make = _maker(order, wish, place.ticket, service.settings.max_pixels)
            return await service.cut(request, place, order, make)

    @routes.get(
        "/models",
        summary="What may be asked for",
        response_model=ModelList,
        responses=problems(401, 500),
    )
    async def models() -> ModelList:
        settings = service.settings
        loaded = service.models.loaded
        rows = [
            _row(name, service.models.entry_of(name), default=name == settings.default_model, loaded=name in loaded)
            for name in settings.models
        ]
        limits = Limits(
            bytes=settings.max_bytes,
            pixels=settings.max_pixels,
            seconds=settings.deadline,
            fetches_urls=settings.fetch_urls,
        )
        return ModelList(models=rows, limits=limits)

    return routes


def _order(service: Service, options: RemoveOptions, body: Body) -> Order:
    if "image" not in body.files:
        raise Refusal(422, "The form has no file `image`.", field="image")
    if options.refine_method:
        check_method(options.refine_method)
    return Order(
        data=body.files["image"],
        model=service.models.name_of(options.model),
        size=parse_size(options.size),
        refine=options.refine_method or options.refine,
        background=body.files.get("background"),
    )


def _wish(options: RemoveOptions, body: Body) -> Wish:
    """What is wanted, checked before any work is done."""
    output = "mask" if options.mask_only else options.output
    picture = body.files.get("background")
    if options.background is not None and picture is not None:
        raise ConfigError("`background` is given twice, as a text and as a picture; choose one of the two.")
    # What a request says is never looked for on the disk.
    behind = picture if options.background is None else find_background(options.background, files=False)
    rendering = Rendering(mask_only=output == "mask", background=behind, format=options.format, quality=options.quality)
    return Wish(output, options.format, rendering)


def _maker(order: Order, wish: Wish, ticket: Ticket, max_pixels: int) -> Callable[[Cutout], Response]:
    """What makes the answer of a cut-out."""

    def make(cutout: Cutout) -> Response:
        data = encode(cutout, wish.rendering.loaded(max_pixels=max_pixels))
        found = cutout.has_foreground
        if wish.output != "json":
            return Response(data, media_type=TYPES[wish.format], headers={FOREGROUND: str(found).lower()})
        height, width = cutout.alpha.shape
        answer = RemoveAnswer(
            model=order.model,
            width=width,
            height=height,
            has_foreground=found,
            image=data_uri(data, TYPES[wish.format]),
            mask=data_uri(encode(cutout, Rendering(mask_only=True)), TYPES["png"]),
            seconds={name: round(seconds, 4) for name, seconds in ticket.seconds.items()},
        )
        return JSONResponse(answer.model_dump())

    return make


def data_uri(data: bytes, content_type: str) -> str:
    """A file as text that stands in place of its address."""
    return f"data:{content_type};base64,{base64.b64encode(data).decode()}"


def _row(name: str, entry: ZooEntry | None, *, default: bool, loaded: bool) -> ModelRow:
    """What is known of a model; of a file of the operator's own, little, whatever it is called."""
    if entry is None:
        return ModelRow(name=name, default=default, loaded=loaded, size=None, task="", aliases=[], license="")
    return ModelRow(
        name=name,
        default=default,
        loaded=loaded,
        size=list(entry.size),
        task=entry.task,
        aliases=sorted(set(entry.names()) - {name}),
        license=entry.licence,
    )


def _request_body() -> dict[str, Any]:
    form = {"schema": form_schema(RemoveOptions, "image", "background", required="image")}
    raw = {kind: _BINARY for kind in ("image/*", "application/octet-stream")}
    return {"required": True, "content": {FORM: form, **raw}}


def _made() -> dict[str, Any]:
    """The description of an answer that is a picture, or JSON with pictures."""
    kinds = [TYPES[format] for format in ("png", "webp", "tiff", "jpg")]
    answer = {"application/json": {"schema": RemoveAnswer.model_json_schema()}}
    header = {"description": "Whether a subject was found.", "schema": {"type": "string", "enum": ["true", "false"]}}
    return {
        "description": "What was asked for.",
        "content": {kind: _BINARY for kind in kinds} | answer,
        "headers": {FOREGROUND: header},
    }
