"""The server as an ASGI app: the routes, what stands around them, and what errors become."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from fastapi import FastAPI, Request, Response
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import JSONResponse

from birefnet import __version__
from birefnet.errors import BiRefNetError
from birefnet.serving import fal, reference, rembg, v1
from birefnet.serving.describe import problems
from birefnet.serving.guard import Guard
from birefnet.serving.metrics import Metrics
from birefnet.serving.page import PageRoute
from birefnet.serving.proxies import LOCAL, Proxies, address_of, parse_prefix, path_of, root_of
from birefnet.serving.refusal import Refusal, readable, refusal_of
from birefnet.serving.schemas import State
from birefnet.serving.service import Service
from birefnet.serving.target import RequestTarget

_TITLE = "birefnet"
_DESCRIPTION = (
    "Cuts the foreground out of pictures. `/v1` is our own API; `/api` answers clients of rembg, `/fal-ai` clients of "
    'fal. Whatever goes wrong, the answer says so in one sentence: `{"detail": "..."}`.'
)
_FAL_INPUT = ("image_load_error", "image_too_large")  # what fal's servers count as a field that is wrong


def create_app(service: Service, page: Mapping[str, Path | bytes] | None = None) -> FastAPI:
    """The whole server.

    Args:
        service: what its routes share.
        page: the page's files, by path of the address without the leading slash; None for no page.
    """

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        service.line.close()

    app = FastAPI(
        title=_TITLE,
        version=__version__,
        description=_DESCRIPTION,
        lifespan=lifespan,
        openapi_url=None,
        redoc_url=None,
        docs_url=None,
        redirect_slashes=False,
    )
    app.include_router(v1.router(service))
    app.include_router(rembg.router(service))
    app.include_router(fal.router(service))
    app.include_router(fal.files_router(service))
    _add_state(app, service)
    _add_errors(app)
    _add_page(app, page)
    _add_target(app, service.settings.root_path, service.settings.trusted_proxies)
    app.add_middleware(Guard, max_bytes=service.settings.max_bytes, metrics=service.metrics)
    if service.settings.origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=list(service.settings.origins),
            allow_methods=["GET", "POST"],
            allow_headers=["Authorization", "Content-Type", "X-API-Key", "X-Request-ID"],
            expose_headers=["Retry-After", "X-Has-Foreground", "X-Request-ID"],
        )
    return app


def create_page_app(
    page: Mapping[str, Path | bytes], *, root_path: str = "", trusted_proxies: Sequence[str] = LOCAL
) -> FastAPI:
    """The page alone; nothing computes here.

    Args:
        page: as for `create_app`.
        root_path, trusted_proxies: as for `Settings`.

    Raises:
        ConfigError: for a root path or a proxy that cannot be meant.
    """
    app = FastAPI(
        title=_TITLE, version=__version__, openapi_url=None, docs_url=None, redoc_url=None, redirect_slashes=False
    )

    @app.get("/health")
    async def health() -> State:
        return State(status="ok")

    _add_errors(app)
    _add_page(app, page)
    _add_target(app, root_path, trusted_proxies)
    app.add_middleware(Guard, max_bytes=1, metrics=Metrics())
    return app


def _add_state(app: FastAPI, service: Service) -> None:
    """What watches the server."""

    @app.get("/health", tags=["state"], summary="Whether the server lives", responses=problems(500))
    async def health() -> State:
        return State(status="ok")

    @app.get("/ready", tags=["state"], summary="Whether it takes requests", responses={503: {"model": State}})
    async def ready(response: Response) -> State:
        response.status_code = 503 if service.line.stopping else 200
        return State(status="stopping" if service.line.stopping else "ready")

    @app.get(
        "/metrics",
        tags=["state"],
        summary="Counters for Prometheus",
        response_class=Response,
        dependencies=service.guards(),
        responses={
            200: {"description": "Text.", "content": {"text/plain": {"schema": {"type": "string"}}}},
            **problems(401, 500),
        },
    )
    async def metrics() -> Response:
        return Response(service.metrics.text(), media_type="text/plain; version=0.0.4")

    @app.get("/docs", include_in_schema=False)
    async def docs(request: Request) -> Response:
        page = reference.to_page(app.openapi(), address_of(request), root_of(request.scope))
        return Response(page, media_type="text/html", headers=reference.HEADERS)

    @app.get("/openapi.json", include_in_schema=False)
    async def description(request: Request) -> Response:
        root = root_of(request.scope)
        return JSONResponse(app.openapi() | ({"servers": [{"url": root}]} if root else {}))


def _add_errors(app: FastAPI) -> None:
    @app.exception_handler(HTTPException)
    async def refused(request: Request, error: HTTPException) -> Response:
        return _answer(request, error)

    @app.exception_handler(BiRefNetError)
    async def failed(request: Request, error: BiRefNetError) -> Response:
        return _answer(request, refusal_of(error))


def _answer(request: Request, error: HTTPException) -> Response:
    """One sentence; for clients of fal, what is wrong with a request has fal's shape."""
    sentence = readable(str(error.detail))
    headers = dict(error.headers or {})
    kind = error.kind if isinstance(error, Refusal) else ""
    about_input = error.status_code == 422 or kind in _FAL_INPUT
    if not about_input or not path_of(request.scope).startswith(fal.PREFIX):
        return JSONResponse({"detail": sentence}, error.status_code, headers)
    kind = kind or "value_error"
    field = error.field if isinstance(error, Refusal) else None
    location = ["body", *([] if field is None else ["image_url" if field == "image" else field])]
    detail = [{"loc": location, "msg": sentence, "type": kind}]
    return JSONResponse({"detail": detail}, 422, {**headers, "X-Fal-Error-Type": kind})


def _add_target(app: FastAPI, root_path: str, trusted_proxies: Sequence[str]) -> None:
    app.add_middleware(
        RequestTarget, routes=app.routes, root_path=parse_prefix(root_path), proxies=Proxies(trusted_proxies)
    )


def _add_page(app: FastAPI, page: Mapping[str, Path | bytes] | None) -> None:
    if page is not None:
        app.router.routes.append(PageRoute(page))
