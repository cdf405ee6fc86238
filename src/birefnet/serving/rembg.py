"""`/api/remove` as clients of rembg's server call it."""

from __future__ import annotations

import json
from typing import Any

from fastapi import APIRouter, Request, Response
from starlette.responses import RedirectResponse

from birefnet.pixels.compose import parse_colour
from birefnet.pixels.rendering import Rendering
from birefnet.remover import Cutout
from birefnet.serving.bodies import FORM, read_body
from birefnet.serving.describe import problems
from birefnet.serving.line import Place
from birefnet.serving.proxies import root_of
from birefnet.serving.refusal import Refusal
from birefnet.serving.schemas import RembgOptions, form_schema, query_parameters
from birefnet.serving.service import Service, parse
from birefnet.serving.work import TYPES, Order, encode, smooth

_BINARY = {"schema": {"type": "string", "format": "binary"}}
_PNG: dict[int | str, dict[str, Any]] = {200: {"description": "The cut-out.", "content": {TYPES["png"]: _BINARY}}}
_URL = {
    "name": "url",
    "in": "query",
    "required": True,
    "description": "Of a picture; only where `/v1/models` says that the server fetches addresses.",
    "schema": {"type": "string", "minLength": 1, "maxLength": 8192},
}


def router(service: Service) -> APIRouter:
    """The routes."""
    routes = APIRouter(prefix="/api", tags=["rembg"], dependencies=service.guards())

    async def cut(request: Request, place: Place, data: bytes, options: RembgOptions) -> Response:
        rendering = _rendering(options)
        order = Order(
            data=data,
            model=service.models.name_of(options.model),
            refine=(options.a or options.dc) and not options.om,
        )

        def make(cutout: Cutout) -> Response:
            made = smooth(cutout) if options.ppm else cutout
            return Response(encode(made, rendering), media_type=TYPES["png"])

        return await service.cut(request, place, order, make)

    @routes.post(
        "/remove",
        summary="As rembg: a picture in a form",
        response_class=Response,
        responses={**_PNG, **problems(400, 401, 408, 413, 415, 422, 429, 500, 503, 504)},
        openapi_extra={
            "parameters": query_parameters(RembgOptions),
            "requestBody": {
                "required": True,
                "content": {FORM: {"schema": form_schema(RembgOptions, "file", required="file")}},
            },
        },
    )
    async def post(request: Request) -> Response:
        with service.line.place() as place:
            body = await place.receive(read_body(request, files=("file",)))
            options = parse(RembgOptions, body.texts)
            if "file" not in body.files:
                raise Refusal(422, "The form has no file `file`.", field="file")
            return await cut(request, place, body.files["file"], options)

    @routes.get(
        "/remove",
        summary="As rembg: a picture by its address",
        response_class=Response,
        responses={**_PNG, **problems(401, 413, 415, 422, 429, 500, 503, 504)},
        openapi_extra={"parameters": query_parameters(RembgOptions, _URL)},
    )
    async def get(request: Request) -> Response:
        with service.line.place() as place:
            texts = dict(request.query_params)
            url = texts.pop("url", "")
            options = parse(RembgOptions, texts)
            if not url:
                raise Refusal(422, "The option `url` is missing.", field="url")
            return await cut(request, place, await service.bring(request, place, url, "url"), options)

    @routes.get("", include_in_schema=False)
    async def description(request: Request) -> Response:
        return RedirectResponse(f"{root_of(request.scope)}/docs")

    return routes


def _rendering(options: RembgOptions) -> Rendering:
    """What is made of the cut-out; rembg's extras are refused here as well: they name files on the server's disk."""
    if options.extras:
        try:
            extras = json.loads(options.extras)
        except (ValueError, RecursionError):
            extras = None
        if extras != {}:
            raise Refusal(422, "No model here has extras: `extras` must be {} or left out.", field="extras")
    if options.om and options.bgc is not None:
        raise Refusal(422, "A mask (om) has no background (bgc); choose one of the two.", field="bgc")
    return Rendering(mask_only=options.om, background=None if options.bgc is None else parse_colour(options.bgc))
