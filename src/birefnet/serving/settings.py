"""The settings of the server, checked before anything starts."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from birefnet.errors import ConfigError
from birefnet.runtimes.options import RuntimeOptions
from birefnet.serving.proxies import LOCAL, Proxies, parse_prefix
from birefnet.weights import zoo
from birefnet.weights.resolve import resolve

MEGABYTE = 1_000_000
_ORIGIN = re.compile(r"\*|null|[a-z][a-z0-9+.-]*://[^/\s]+", re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Settings of the server.

    Attributes:
        models: what may be asked for: name -> what is loaded for it (a name of the zoo or a file). The first is the
            default. Nothing else is loaded or fetched, whatever a request says.
        devices: where they run; each gets a copy of every loaded model, and computes one picture at a time. One
            that is named twice, in whatever spelling, has two copies.
        options: how models run, and whether they may be fetched; its device stands back behind `devices`.
        memory_limit: bytes of memory above which models not in use are unloaded, the longest unused first; None for no
            limit. The one asked for is always loaded.
        max_models: how many are loaded at most; None for no limit.
        queue: how many requests are under way at most, those being received and computed included; more get 429.
        deadline: seconds from a request's beginning to its answer, at most.
        upload_seconds: seconds for receiving a request, at most.
        grace: seconds for finishing what was accepted, when the server is told to stop.
        api_key: what a request must bring; None for nothing.
        origins: whose pages may call from a browser (CORS); none by default. Our own page needs none.
        max_bytes: of an uploaded or fetched picture.
        max_pixels: of a picture, and of a background; those being computed have no more together, except that one
            picture and its background may.
        root_path: the path below which a proxy shows the server ("/cut"), whether or not it cuts it off; "" for none,
            or for what a trusted proxy says (`X-Forwarded-Prefix`).
        trusted_proxies: whose `X-Forwarded-Proto`, `-Host` and `-Prefix` are believed: addresses, networks, or "*".
        fetch_urls: whether the server fetches pictures by address; then from public addresses only.
        result_seconds, result_count, result_bytes: how long results that are fetched by address are kept, and how
            much of them.

    Raises:
        ConfigError: for a value that cannot be meant.
    """

    models: Mapping[str, str] = field(default_factory=lambda: {"nano": "nano"})
    devices: tuple[str, ...] = ("auto",)
    options: RuntimeOptions = field(default_factory=RuntimeOptions)
    memory_limit: int | None = None
    max_models: int | None = None
    queue: int = 64
    deadline: float = 60.0
    upload_seconds: float = 30.0
    grace: float = 60.0
    api_key: str | None = field(default=None, repr=False)
    origins: tuple[str, ...] = ()
    max_bytes: int = 32 * MEGABYTE
    max_pixels: int = 50_000_000
    root_path: str = ""
    trusted_proxies: tuple[str, ...] = LOCAL
    fetch_urls: bool = False
    result_seconds: float = 600.0
    result_count: int = 200
    result_bytes: int = 256 * MEGABYTE

    def __post_init__(self) -> None:
        self._check_kinds()
        if not self.models or not self.devices:
            raise ConfigError("A server needs a model and a device.")
        for device in self.devices:
            self.options.on(device)  # says so if there is no such kind
        parse_prefix(self.root_path)
        Proxies(self.trusted_proxies)
        for origin in self.origins:
            if not _ORIGIN.fullmatch(origin):
                raise ConfigError(f"`{origin}` is not the origin of a page; wanted for example https://example.org.")
        if self.api_key is not None and (len(self.api_key) < 8 or not self.api_key.isascii()):
            raise ConfigError("An API key is at least 8 ASCII characters; make one with: openssl rand -hex 24")

    def _check_kinds(self) -> None:
        """Refuse values of another kind than a field's, which would be noticed by a request only, or never."""
        if not isinstance(self.models, Mapping) or not _are_texts([*self.models, *self.models.values()]):
            raise ConfigError(f"`models` maps names to models, got {self.models!r}.")
        if not isinstance(self.options, RuntimeOptions):
            raise ConfigError(f"`options` are RuntimeOptions, got {self.options!r}.")
        for name in ("devices", "origins", "trusted_proxies"):
            if isinstance(getattr(self, name), str) or not _are_texts(getattr(self, name)):
                raise ConfigError(f"`{name}` are several texts, got {getattr(self, name)!r}.")
        for name in ("queue", "max_bytes", "max_pixels", "result_count", "result_bytes"):
            _check_positive(name, getattr(self, name), int)
        for name in ("memory_limit", "max_models"):
            if getattr(self, name) is not None:
                _check_positive(name, getattr(self, name), int)
        for name in ("deadline", "upload_seconds", "grace", "result_seconds"):
            _check_positive(name, getattr(self, name), int, float)
        if not isinstance(self.fetch_urls, bool):
            raise ConfigError(f"`fetch_urls` is True or False, got {self.fetch_urls!r}.")
        if not isinstance(self.root_path, str) or not isinstance(self.api_key, str | None):
            raise ConfigError("`root_path` and `api_key` are texts.")

    @property
    def default_model(self) -> str:
        return next(iter(self.models))


def parse_models(names: list[str]) -> dict[str, str]:
    """["nano", "mine=cut.onnx"] -> {"nano": "nano", "mine": "cut.onnx"}; "all" stands for every name of the zoo.

    A model without a name of its own is offered under that which reports call it by: `runs/mine` as `mine-best`.

    Raises:
        ConfigError: for a name given to two models, or one that cannot stand in an address.
        UnknownModel, WeightsError: for what means no model.
    """
    models: dict[str, str] = {}
    for text in names:
        name, given, source = text.partition("=")
        if text == "all":
            models |= {entry: entry for entry in zoo.ZOO if entry not in models}
            continue
        if not given:
            name, source = resolve(text).label.replace("/", "-"), text
        elif source:
            resolve(source)
        if not name or not source or set(name) & set("/\\\0"):
            raise ConfigError(
                f"`{text}` is no model: wanted a name of the zoo, a file, or NAME=FILE to give it a name."
            )
        if models.get(name, source) != source:
            raise ConfigError(f"The name `{name}` is given to two models, `{models[name]}` and `{source}`.")
        models[name] = source
    return models


def parse_bytes(text: str) -> int:
    """ "500MB", "2GB", "1.5 GiB" or a number of bytes -> bytes.

    Raises:
        ConfigError: if it is none of these.
    """
    units = {"": 1, "B": 1}
    for power, letter in enumerate("KMGT", start=1):
        units |= {letter: 1000**power, f"{letter}B": 1000**power, f"{letter}IB": 1024**power}
    number = text.strip().upper().rstrip("KMGTIB ")
    unit = text.strip().upper()[len(number) :].strip()
    try:
        size = int(float(number) * units[unit])
    except (ValueError, KeyError, OverflowError):
        size = 0
    if size <= 0:
        raise ConfigError(f"`{text}` is no amount of memory; wanted for example 500MB or 2GB.")
    return size


def _check_positive(name: str, value: object, *kinds: type[int] | type[float]) -> None:
    if not isinstance(value, kinds) or isinstance(value, bool) or not value > 0:
        what = "a number" if float in kinds else "a whole number"
        raise ConfigError(f"`{name}` must be {what}, more than 0, got {value!r}.")


def _are_texts(values: object) -> bool:
    return isinstance(values, Sequence) and all(isinstance(value, str) for value in values)
