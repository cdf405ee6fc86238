"""All that the routes of one server share."""

from __future__ import annotations

import hmac
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from fastapi import Security
from fastapi.security import APIKeyHeader
from pydantic import BaseModel, ValidationError
from starlette.requests import Request

from birefnet.remover import Cutout
from birefnet.serving.fetch import Fetcher, decode_data_uri
from birefnet.serving.line import Line, Place
from birefnet.serving.metrics import Metrics
from birefnet.serving.pool import Models
from birefnet.serving.refusal import Refusal, readable
from birefnet.serving.results import Results
from birefnet.serving.settings import Settings
from birefnet.serving.work import Cutter, Order

Result = TypeVar("Result")
Options = TypeVar("Options", bound=BaseModel)

_KEY_HEADER = APIKeyHeader(name="X-API-Key", auto_error=False)
_AUTHORIZATION = APIKeyHeader(
    name="Authorization", scheme_name="Authorization", description="`Bearer KEY` or `Key KEY`", auto_error=False
)


class Service:
    """One server's models, queue, limits and counters."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.models = Models(settings)
        self.line = Line(settings)
        self.cutter = Cutter(self.models, settings.devices, settings.max_pixels)
        self.fetcher = Fetcher(settings.max_bytes)
        self.results = Results(seconds=settings.result_seconds, count=settings.result_count, size=settings.result_bytes)
        self.metrics = Metrics()
        self.metrics.watch("birefnet_queue_taken", "Requests under way.", lambda: self.line.taken)
        self.metrics.watch("birefnet_queue_places", "Requests that may be under way.", lambda: settings.queue)
        self.metrics.watch("birefnet_models_loaded", "Models in memory.", lambda: len(self.models.loaded))

    def guards(self) -> list[Any]:
        """What stands before every route that computes or tells: the key, if there is one."""
        return [Security(self._check_key)] if self.settings.api_key else []

    async def _check_key(
        self, key: str | None = Security(_KEY_HEADER), authorization: str | None = Security(_AUTHORIZATION)
    ) -> None:
        scheme, _, rest = (authorization or "").partition(" ")
        given = key or (rest.strip() if scheme.lower() in ("bearer", "key") else "")
        assert self.settings.api_key is not None
        if not hmac.compare_digest(given.encode(), self.settings.api_key.encode()):
            refusal = Refusal(401, "This server wants its API key: `Authorization: Bearer KEY` or `X-API-Key: KEY`.")
            refusal.headers = {"WWW-Authenticate": "Bearer"}
            raise refusal

    async def cut(self, request: Request, place: Place, order: Order, make: Callable[[Cutout], Result]) -> Result:
        """Cut a picture out, and make of it what is sent, in another thread.

        Raises:
            Refusal, BiRefNetError: for what is wrong with the picture or the options.
        """
        if not order.data:
            raise Refusal(422, "The picture is empty (0 bytes).", field="image", kind="image_load_error")
        limit = self.settings.max_bytes
        for field, data in (("image", order.data), ("background", order.background)):
            if data is not None and len(data) > limit:
                sentence = f"The picture `{field}` is larger than {limit / 1e6:.0f} MB, the limit of this server."
                raise Refusal(413, sentence, field=field)

        def task() -> Result:
            with self.cutter.cut(order, place.ticket) as cutout, place.ticket.stage("write"):
                return make(cutout)

        result = await place.work(request, task)
        self.metrics.picture(order.model, place.ticket.seconds)
        stages = {name: round(seconds, 4) for name, seconds in place.ticket.seconds.items()}
        request.state.told = {"model": order.model, "stages": stages}
        return result

    async def bring(self, request: Request, place: Place, url: str, field: str) -> bytes:
        """The picture that an address or a data URI means.

        Raises:
            Refusal: if it may not or cannot be fetched.
        """
        try:
            if url[:5].lower() == "data:":
                return await place.fetch(request, lambda: decode_data_uri(url, self.settings.max_bytes))
            if not self.settings.fetch_urls:
                sentence = "This server fetches nothing by address (`fetch_urls` is off); send the picture itself."
                raise Refusal(422, sentence, kind="file_download_error")
            return await place.fetch(request, lambda: self.fetcher(url))
        except Refusal as refusal:
            refusal.field = field
            raise


def parse(options: type[Options], texts: Mapping[str, str]) -> Options:
    """Options as they came -> checked.

    Raises:
        Refusal: (422) naming the first that is wrong.
    """
    try:
        return options.model_validate(dict(texts))
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
        name = readable(".".join(str(part) for part in first["loc"]))[:80]
        if first["type"] == "extra_forbidden":
            known = ", ".join(options.model_fields)
            raise Refusal(422, f"There is no option `{name}`; known: {known}.", field=name) from None
        raise Refusal(422, f"The option `{name}` is wrong: {first['msg']}.", field=name) from None
