"""The page as files: ours, its two libraries, and models; to be written to a folder, or served from memory and disk.

Every address in it is relative, so it also runs below a path, on any host of static files.
"""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath

from birefnet.errors import ConfigError, WeightsError
from birefnet.files import whole_folder
from birefnet.runtimes.web_folder import CONFIG, MANIFEST, PREPROCESSOR, listed_files, read_manifest
from birefnet.serving.nano import nano_files
from birefnet.serving.vendor import vendor_files
from birefnet.weights.transfer import Progress, Say

_logger = logging.getLogger(__name__)

Files = Mapping[str, Path | bytes]
"""Path of the address, without the leading slash -> the file, or its content."""

PAGE = Path(__file__).parent / "web"
START, INDEX = "index.html", "models/index.json"
DEFAULT = "nano"
_HEADERS_WORKER = "headers-worker.js"

# What the page may load. Its header says so, and the page itself, for hosts that cannot send headers.
_POLICY = {
    "default-src": "'none'",
    "script-src": "'self' 'wasm-unsafe-eval'",
    "worker-src": "'self'",
    "connect-src": "'self' blob:",
    "img-src": "'self' blob:",
    "style-src": "'self'",
    "font-src": "'self'",
    "manifest-src": "'self'",
    "base-uri": "'none'",
    "form-action": "'none'",
}
_IN_PAGE = "; ".join(f"{name} {value}" for name, value in _POLICY.items())
_PLACE = "{policy}"  # in the page's source

HEADERS = {
    # These two make a page a world of its own, in which browsers allow threads that share memory.
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Embedder-Policy": "require-corp",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Content-Security-Policy": f"{_IN_PAGE}; frame-ancestors 'self'",  # which a page cannot say of itself
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    "Cache-Control": "no-cache",  # kept, and asked about: a new version is seen at once
}
"""What every file of the page is to be served with."""

_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".mjs": "text/javascript; charset=utf-8",
    ".json": "application/json",
    ".webmanifest": "application/manifest+json",
    ".wasm": "application/wasm",
    ".svg": "image/svg+xml",
    ".png": "image/png",
    ".webp": "image/webp",
    ".jpg": "image/jpeg",
    ".ico": "image/x-icon",
    ".txt": "text/plain; charset=utf-8",
    ".md": "text/plain; charset=utf-8",
}


def content_type(path: str) -> str:
    """The media type of a file of the page; what is unknown is bytes."""
    return _TYPES.get(PurePosixPath(path).suffix.lower(), "application/octet-stream")


class Site:
    """The page, its libraries, the bundled small model, and further models.

    Args:
        folders: web model folders (`birefnet export --to web`), folders of them, or one site that was written before,
            which is then taken as it is.
        offline: never fetch the page's libraries.
        say: called with a sentence on what is fetched.
        progress: called with the bytes fetched so far and in all.

    Raises:
        ConfigError: if a folder is none of these, or two models have one name.
        WeightsError: if a model's files are not what its manifest says.
    """

    def __init__(
        self,
        folders: Sequence[str | Path] = (),
        *,
        offline: bool = False,
        say: Say | None = None,
        progress: Progress | None = None,
    ) -> None:
        paths = [Path(folder) for folder in folders]
        self._written = paths[0] if len(paths) == 1 and is_site(paths[0]) else None
        self._models = {} if self._written else _find_models(paths)
        self._offline, self._say, self._progress = offline, say or _logger.info, progress

    @property
    def models(self) -> tuple[str, ...]:
        """The names of the models, the default one first."""
        if self._written:
            index = json.loads((self._written / INDEX).read_text("utf-8"))
            return tuple(row["name"] for row in index["models"])
        return (DEFAULT, *sorted(name for name in self._models if name != DEFAULT))

    def files(self) -> Files:
        """Every file of the site; nothing that is not listed here is to be served.

        Raises:
            DownloadError: if the page's libraries are not here and may not or cannot be fetched.
        """
        if self._written:
            return _tree(self._written)
        found: dict[str, Path | bytes] = dict(_tree(PAGE))
        found[START] = (PAGE / START).read_text("utf-8").replace(_PLACE, _IN_PAGE, 1).encode()
        found[_HEADERS_WORKER] = Path(__file__).with_name(_HEADERS_WORKER)
        for path, source in self._libraries().items():
            found[f"vendor/{path}"] = source
        for name in self.models:
            model = _model_files(self._models[name]) if name in self._models else nano_files()
            found |= {f"models/{name}/{path}": source for path, source in model.items()}
        rows = [{"name": name, "path": f"models/{name}/"} for name in self.models]
        found[INDEX] = json.dumps({"default": DEFAULT, "models": rows}, indent=2).encode() + b"\n"
        return found

    def _libraries(self) -> Mapping[str, Path]:
        return vendor_files(offline=self._offline, say=self._say, progress=self._progress)

    def write(self, out: str | Path, *, overwrite: bool = False) -> int:
        """Write the site to a folder, whole or not at all, with the headers for hosts that read them from a file.

        Returns:
            How many bytes were written.

        Raises:
            ConfigError: if the folder exists and may not be replaced, or is no site that could be.
            DownloadError: as `files` does.
        """
        out = Path(out)
        check_target(out, overwrite=overwrite)
        files = {**self.files(), "_headers": _headers_file().encode()}
        try:
            with whole_folder(out) as part:
                return sum(_put(part / path, source) for path, source in files.items())
        except OSError as error:
            raise ConfigError(f"`{out}` cannot be written: {error.strerror or error}") from error


def is_site(folder: Path) -> bool:
    """Whether `Site.write` wrote it."""
    return (folder / START).is_file() and (folder / INDEX).is_file()


def check_target(out: Path, *, overwrite: bool) -> None:
    """Refuse a place that a site must not be written to.

    Raises:
        ConfigError: if something is there that may not be replaced; other people's files never are.
    """
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return
    if not overwrite:
        raise ConfigError(f"`{out}` exists already.", hint="choose another folder, or `overwrite=True`")
    if not is_site(out):
        raise ConfigError(f"`{out}` is no site that was written by birefnet, so it is not replaced; choose another")


def _find_models(folders: Sequence[Path]) -> dict[str, Path]:
    """Name -> folder, of every model in the folders."""
    found: dict[str, Path] = {}
    for folder in folders:
        if not folder.is_dir():
            raise ConfigError(f"There is no folder `{folder}`; name one that `birefnet export --to web` wrote")
        inside = sorted(path.parent for path in folder.glob(f"*/{MANIFEST}"))
        homes = [folder] if (folder / MANIFEST).is_file() else inside
        if not homes:
            raise ConfigError(f"`{folder}` holds no model for browsers: make one with: birefnet export MODEL --to web")
        for home in homes:
            name = read_manifest(home)["name"]
            if name in found:
                raise ConfigError(f"`{found[name]}` and `{home}` are both named `{name}`; leave one of them out")
            found[name] = home
    return found


def _model_files(home: Path) -> dict[str, Path | bytes]:
    """What of a model's folder belongs to it; whatever else lies there is left alone."""
    names = [MANIFEST, CONFIG, PREPROCESSOR, *(file["path"] for file in listed_files(read_manifest(home)))]
    missing = [name for name in names if not (home / name).is_file()]
    if missing:
        raise WeightsError(f"`{home}` lacks {', '.join(missing)}; make it again with: birefnet export MODEL --to web")
    return {name: home / name for name in names}


def _tree(folder: Path) -> dict[str, Path | bytes]:
    """Every file below a folder but hidden ones and what links lead out of it."""
    root = folder.resolve()
    return {
        path.relative_to(folder).as_posix(): path
        for path in sorted(folder.rglob("*"))
        if path.is_file()
        and path.resolve().is_relative_to(root)
        and not any(part.startswith((".", "__")) for part in path.relative_to(folder).parts)
    }


def _headers_file() -> str:
    """The headers as Cloudflare Pages and Netlify read them from a site's own file."""
    return "\n".join(["/*", *(f"  {name}: {value}" for name, value in HEADERS.items())]) + "\n"


def _put(path: Path, source: Path | bytes) -> int:
    path.parent.mkdir(parents=True, exist_ok=True)
    if isinstance(source, bytes):
        path.write_bytes(source)
    else:
        shutil.copyfile(source, path)
    return path.stat().st_size
