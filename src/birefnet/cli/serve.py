"""`birefnet serve`: answer over HTTP, with a page for people."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from birefnet.cli.messages import FAILED, bytes_bar
from birefnet.cli.options import Dtype, Offline, Runtime, Threads
from birefnet.errors import BiRefNetError, ConfigError, require

if TYPE_CHECKING:
    from birefnet.serving.service import Service
    from birefnet.serving.settings import Settings

logger = logging.getLogger(__name__)

Host = Annotated[
    str, typer.Option("--host", metavar="ADDRESS", help="Where to listen; 0.0.0.0 lets other machines in.")
]
Port = Annotated[int, typer.Option("--port", "-p", min=0, max=65535, metavar="N", help="0 takes a free one.")]
Models = Annotated[
    list[str] | None,
    typer.Option(
        "--model",
        "-m",
        metavar="MODEL",
        help="What may be asked for, the default first; again for more. A name of the zoo, NAME=FILE for a file of "
        "your own, or all [default: nano].",
        show_default=False,
    ),
]
Preload = Annotated[
    list[str] | None,
    typer.Option(
        "--preload", metavar="NAME", help="Load it before listening [default: the first model].", show_default=False
    ),
]
Devices = Annotated[
    list[str] | None,
    typer.Option(
        "--device",
        metavar="DEVICE",
        help="auto, cpu, cuda, cuda:1 or mps; again for more: each computes one picture at a time [default: auto].",
        show_default=False,
    ),
]
MemoryLimit = Annotated[
    str | None,
    typer.Option(
        "--memory-limit",
        metavar="SIZE",
        help="Above it (2GB, say) models not in use are unloaded [default: none].",
        show_default=False,
    ),
]
MaxModels = Annotated[
    int | None,
    typer.Option("--max-models", min=1, metavar="N", help="Models loaded at most [default: all].", show_default=False),
]
Queue = Annotated[int, typer.Option("--queue", min=1, metavar="N", help="Requests under way at most; more get 429.")]
Deadline = Annotated[
    float, typer.Option("--deadline", min=0.1, metavar="SECONDS", help="From a request's beginning to its answer.")
]
Grace = Annotated[
    float, typer.Option("--grace", min=0.1, metavar="SECONDS", help="For finishing what was accepted, at the end.")
]
ApiKey = Annotated[
    str | None,
    typer.Option(
        "--api-key",
        metavar="KEY",
        envvar="BIREFNET_API_KEY",
        help="What every request must bring; better given in the environment, where no list of processes shows it.",
        show_default=False,
        show_envvar=True,
    ),
]
Origins = Annotated[
    list[str] | None,
    typer.Option(
        "--cors-origin",
        metavar="ORIGIN",
        help="Pages of this origin may call from a browser; again for more [default: none].",
        show_default=False,
    ),
]
MaxUpload = Annotated[str, typer.Option("--max-upload", metavar="SIZE", help="Of a picture's file.")]
MaxPixels = Annotated[int, typer.Option("--max-pixels", min=1, metavar="N", help="Of a picture.")]
RootPath = Annotated[
    str,
    typer.Option(
        "--root-path",
        metavar="PATH",
        help="Below which a proxy shows it, for example /cut.",
        show_default=False,
    ),
]
TrustedProxies = Annotated[
    list[str] | None,
    typer.Option(
        "--trusted-proxy",
        metavar="ADDRESS",
        envvar="FORWARDED_ALLOW_IPS",
        help="Whose X-Forwarded-Proto, -Host and -Prefix are believed: an address, a network, or *; again for more "
        "[default: this machine].",
        show_default=False,
    ),
]
FetchUrls = Annotated[
    bool, typer.Option("--fetch-urls", help="Fetch pictures by address, from the public internet only.")
]
NoPage = Annotated[bool, typer.Option("--no-page", help="Only the API.")]
WebOnly = Annotated[
    list[Path] | None,
    typer.Option(
        "--web-only",
        metavar="DIR",
        help="Only the page, which computes in the browser: a folder of `birefnet site`, or models for browsers.",
        show_default=False,
    ),
]
LogLevel = Annotated[str, typer.Option("--log-level", metavar="LEVEL", help="debug, info, warning or error.")]
LogFormat = Annotated[str, typer.Option("--log-format", metavar="FORMAT", help="json or text.")]


def serve(
    host: Host = "127.0.0.1",
    port: Port = 7000,
    models: Models = None,
    preload: Preload = None,
    devices: Devices = None,
    runtime: Runtime = "auto",
    dtype: Dtype = "auto",
    threads: Threads = None,
    memory_limit: MemoryLimit = None,
    max_models: MaxModels = None,
    queue: Queue = 64,
    deadline: Deadline = 60.0,
    grace: Grace = 60.0,
    api_key: ApiKey = None,
    origins: Origins = None,
    max_upload: MaxUpload = "32MB",
    max_pixels: MaxPixels = 50_000_000,
    root_path: RootPath = "",
    trusted_proxies: TrustedProxies = None,
    fetch_urls: FetchUrls = False,
    no_page: NoPage = False,
    web_only: WebOnly = None,
    log_level: LogLevel = "info",
    log_format: LogFormat = "text",
    offline: Offline = False,
) -> None:
    """Answer over HTTP: our own API, rembg's and fal's, and a page for people.

    \b
    birefnet serve                                 nano, on http://127.0.0.1:7000, the page included
    birefnet serve -m general -m lite              other models, fetched now if need be
    birefnet serve --web-only public               only the page, of files; nothing is computed here
    curl -F image=@cat.jpg 127.0.0.1:7000/v1/remove -o cat.png

    Only models named here are ever loaded or fetched, and nothing is fetched by address without --fetch-urls.

    Exit codes: 0 stopped (SIGTERM, Ctrl-C) after all accepted was done, 1 it could not start, 2 wrong use.
    """
    for module in ("fastapi", "uvicorn", "python_multipart", "prometheus_client"):
        require(module, "serve")
    from birefnet.runtimes.options import RuntimeOptions
    from birefnet.serving.app import create_app, create_page_app
    from birefnet.serving.log import logging_to_stderr
    from birefnet.serving.proxies import LOCAL
    from birefnet.serving.run import run
    from birefnet.serving.settings import Settings, parse_bytes, parse_models

    trusted = tuple(trusted_proxies or LOCAL)
    with logging_to_stderr(log_level, log_format):
        if web_only:
            if no_page:
                raise ConfigError("--web-only is the page, which --no-page leaves out; choose one of the two.")
            page = _page(tuple(web_only), offline=offline)
            assert page is not None
            app = create_page_app(page, root_path=root_path, trusted_proxies=trusted)
            _end(run(app, host=host, port=port))
            return
        settings = Settings(
            models=parse_models(models or ["nano"]),
            devices=tuple(devices or ("auto",)),
            options=RuntimeOptions.parse(runtime=runtime, dtype=dtype, threads=threads, offline=offline),
            memory_limit=parse_bytes(memory_limit) if memory_limit else None,
            max_models=max_models,
            queue=queue,
            deadline=deadline,
            grace=grace,
            api_key=api_key or None,
            origins=tuple(origins or ()),
            max_bytes=parse_bytes(max_upload),
            max_pixels=max_pixels,
            root_path=root_path,
            trusted_proxies=trusted,
            fetch_urls=fetch_urls,
        )
        service = _service(settings, preload or [settings.default_model])
        app = create_app(service, None if no_page else _page((), offline=offline, needed=False))
        _end(run(app, host=host, port=port, line=service.line, grace=grace))


def _service(settings: Settings, preload: list[str]) -> Service:
    """What the server's routes share; what cannot be had is said before it listens."""
    from birefnet.serving.heap import share_one_heap
    from birefnet.serving.service import Service

    share_one_heap()
    service = Service(settings)
    for name in preload:
        if name not in settings.models:
            raise ConfigError(f"`{name}` cannot be loaded before listening: it is not among the models offered.")
        with bytes_bar() as progress:
            service.models.load(name, progress=progress)
    return service


def _page(folders: tuple[Path, ...], *, offline: bool, needed: bool = True) -> Mapping[str, Path | bytes] | None:
    """The page's files; where it is not all that is wanted, the server also starts without."""
    from birefnet.serving.site import Site

    try:
        with bytes_bar() as progress:
            return Site(folders, offline=offline, say=logger.info, progress=progress).files()
    except BiRefNetError as error:
        if needed:
            raise
        logger.warning("there is no page: %s", error)
        return None


def _end(listened: bool) -> None:
    if not listened:
        raise typer.Exit(FAILED)
