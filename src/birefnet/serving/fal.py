"""`/fal-ai/birefnet/v2` as clients of fal call it, and the addresses its results are fetched by."""

from __future__ import annotations

from typing import NamedTuple

from fastapi import APIRouter, Request, Response
from pydantic import ValidationError

from birefnet.pixels.rendering import Rendering
from birefnet.remover import Cutout
from birefnet.serving.bodies import media_type, read_all
from birefnet.serving.describe import problems
from birefnet.serving.proxies import address_of
from birefnet.serving.refusal import Refusal, readable
from birefnet.serving.schemas import FalImage, FalInput, FalOutput
from birefnet.serving.service import Service
from birefnet.serving.v1 import data_uri
from birefnet.serving.work import TYPES, Order, encode, encode_gif

PREFIX = "/fal-ai/"
_BINARY = {"schema": {"type": "string", "format": "binary"}}


class Made(NamedTuple):
    """A file of an answer, not yet named."""

    data: bytes
    format: str
    width: int
    height: int


def router(service: Service) -> APIRouter:
    """The route that computes."""
    routes = APIRouter(prefix="/fal-ai/birefnet", tags=["fal"], dependencies=service.guards())

    @routes.post(
        "/v2",
        summary="As fal's birefnet/v2",
        response_model=FalOutput,
        response_model_exclude_none=True,
        responses=problems(401, 408, 413, 415, 422, 429, 500, 503, 504, fal=True),
        openapi_extra={
            "requestBody": {"required": True, "content": {"application/json": {"schema": FalInput.model_json_schema()}}}
        },
    )
    async def post(request: Request) -> FalOutput:
        with service.line.place() as place:
            asked = _parse(request, await place.receive(read_all(request)))
            data = await service.bring(request, place, asked.image_url, "image_url")
            order = Order(
                data=data,
                model=service.models.name_of(asked.model),
                size=int(asked.operating_resolution.partition("x")[0]) if asked.operating_resolution else None,
                refine=asked.refine_foreground and not asked.mask_only,
            )
            made = await service.cut(request, place, order, lambda cutout: _make(cutout, asked))

        def name(file: Made, stem: str) -> FalImage:
            return _name(service, request, file, stem, inline=asked.sync_mode)

        return FalOutput(image=name(made[0], "image"), mask_image=name(made[1], "mask") if len(made) > 1 else None)

    return routes


def files_router(service: Service) -> APIRouter:
    """The route that hands results out; open to all who know their names, as an `<img>` sends no key."""
    routes = APIRouter(prefix="/files", tags=["fal"])

    @routes.get(
        "/{key}/{name}",
        summary="A result that was made a while ago",
        response_class=Response,
        responses={
            200: {"description": "The file.", "content": {TYPES[kind]: _BINARY for kind in ("png", "webp", "gif")}},
            **problems(404, 500),
        },
    )
    async def get(key: str, name: str) -> Response:
        found = service.results.get(key, name)
        if found is None:
            raise Refusal(404, "There is no such result, or it was kept long enough and has gone.")
        return Response(found.data, media_type=found.content_type)

    return routes


def _parse(request: Request, body: bytes) -> FalInput:
    kind = media_type(request)
    if kind not in ("application/json", ""):
        raise Refusal(415, f"Wanted application/json; got `{readable(kind)[:80]}`.")
    try:
        return FalInput.model_validate_json(body)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
        name = ".".join(str(part) for part in first["loc"])
        raise Refusal(422, str(first["msg"]), field=readable(name)[:80], kind=str(first["type"])) from None


def _make(cutout: Cutout, asked: FalInput) -> list[Made]:
    """The files asked for; a mask of its own is PNG."""
    height, width = cutout.alpha.shape
    format = asked.output_format
    if format == "gif":
        data = encode_gif(cutout.render(mask_only=asked.mask_only))
    else:
        data = encode(cutout, Rendering(mask_only=asked.mask_only, format=format))
    files = [Made(data, format, width, height)]
    if asked.output_mask:
        files.append(Made(encode(cutout, Rendering(mask_only=True)), "png", width, height))
    return files


def _name(service: Service, request: Request, made: Made, stem: str, *, inline: bool) -> FalImage:
    """A file as fal describes it, with its content or the address to fetch it by."""
    kind, name = TYPES[made.format], f"{stem}.{made.format}"
    if inline:
        url = data_uri(made.data, kind)
    else:
        url = address_of(request, f"files/{service.results.put(made.data, kind, name)}")
    return FalImage(
        url=url,
        content_type=kind,
        file_name=name,
        file_size=len(made.data),
        width=made.width,
        height=made.height,
    )
