"""The page's two libraries: which files of them it needs, and where they come from.

They are not part of this package. In this order they are looked for in a folder of one's own (`BIREFNET_VENDOR`), in
the cache, fetched by `npm pack` where npm is there (and so from the registry that it is set to), or else file by file
from a CDN (`BIREFNET_CDN` in place of https://cdn.jsdelivr.net/npm). Nothing is taken that is not, byte for byte, the
file that this package was tested with.
"""

from __future__ import annotations

import hashlib
import logging
import os
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath
from typing import BinaryIO, NamedTuple

from birefnet.cache import cache_folder
from birefnet.errors import DownloadError
from birefnet.files import write_whole
from birefnet.weights.download import is_offline
from birefnet.weights.transfer import Expected, Progress, Say, transfer

CDN = "https://cdn.jsdelivr.net/npm"
_PATIENCE = 300  # seconds for npm

_logger = logging.getLogger(__name__)


class VendorFile(NamedTuple):
    """A file of a package: its path inside, and what it must be."""

    path: str
    size: int
    sha256: str

    @property
    def name(self) -> str:
        return PurePosixPath(self.path).name


class Package(NamedTuple):
    """A library in one version, as npm knows it."""

    name: str
    version: str
    licence: str
    files: tuple[VendorFile, ...]


PACKAGES = (
    Package(
        "onnxruntime-web",
        "1.30.0",
        "MIT, Microsoft Corporation",
        (
            # For WebAssembly alone: smaller, and faster there.
            VendorFile(
                "dist/ort.wasm.min.mjs", 50_126, "219e6a1fc8a9938268d18efca3c91d310bd2f4a59bbd13744df5b2b7fc6cee3b"
            ),
            VendorFile(
                "dist/ort-wasm-simd-threaded.mjs",
                24_381,
                "e13f7f94fc51b4ca72b12faeb1ee95f4ace6dfbc8939bc718aabdc0a27c4299b",
            ),
            VendorFile(
                "dist/ort-wasm-simd-threaded.wasm",
                14_239_897,
                "3398c10d07d229bd91b364548e130e0e51a8e5704b88c7c083ebbeb78842dee2",
            ),
            # With WebGPU.
            VendorFile(
                "dist/ort.webgpu.min.mjs", 66_349, "3dffff71811bc13a3a3d9591c57ca5ee5735b8f5f3eaf789510b02bb040ae3a0"
            ),
            VendorFile(
                "dist/ort-wasm-simd-threaded.asyncify.mjs",
                53_057,
                "3d1c85995364bb643302fc6fd877a0c3ba5ae72401815e0f24828a53d9191e28",
            ),
            VendorFile(
                "dist/ort-wasm-simd-threaded.asyncify.wasm",
                26_781_914,
                "39f9f0894d478800487ed9f7dbe92618498db320cf55c8e3d89adff8dce658da",
            ),
        ),
    ),
    Package(
        "fflate",
        "0.8.3",
        "MIT, Arjun Barrett",
        (
            VendorFile("esm/browser.js", 90_922, "b7ca4450b19559a1d50eb381adcee94b82449674be4cd17789d9beba7e6122a1"),
            VendorFile("LICENSE", 1_069, "0a1df3a083d0c010560aa342e87959c8c1070e6fd54545741f083f22d0c8b551"),
        ),
    ),
)


def vendor_files(
    *, offline: bool = False, say: Say = _logger.info, progress: Progress | None = None
) -> dict[str, Path]:
    """ "package/file name" -> where it lies on this disk, fetching first what is not here.

    Args:
        offline: never fetch; only what is here already.
        say: called with a sentence on what is fetched, before it is.
        progress: called with the bytes so far and in all.

    Raises:
        DownloadError: if a file is not here and may not or cannot be fetched, or is not the published one.
    """
    found: dict[str, Path] = {}
    for package in PACKAGES:
        here = {file.name: _find(package, file) for file in package.files}
        if None in here.values():
            _fetch(package, offline=offline, say=say, progress=progress or _no_progress)
            here = {file.name: _find(package, file) for file in package.files}
        for name, path in here.items():
            assert path is not None
            found[f"{package.name}/{name}"] = path
    return found


def _find(package: Package, file: VendorFile) -> Path | None:
    """Where a file lies: in one's own folder, or in the cache.

    Raises:
        DownloadError: if one's own folder has another file by that name.
    """
    own = os.environ.get("BIREFNET_VENDOR")
    for path in _places(Path(own).expanduser(), package, file) if own else ():
        if path.is_file():
            if not _is_published(path, file):
                raise DownloadError(
                    f"`{path}` is not {file.path} of {package.name} {package.version}, which this birefnet was tested "
                    "with; put that version into BIREFNET_VENDOR, or unset it"
                )
            return path
    kept = _cached(package) / file.name
    if not kept.is_file():
        return None
    if _is_published(kept, file):
        return kept
    kept.unlink()  # ours, and damaged: fetched again
    return None


def _places(own: Path, package: Package, file: VendorFile) -> Iterator[Path]:
    """Where a folder of one's own may have it: as npm installs packages, or the files alone."""
    yield own / package.name / file.path
    yield own / package.name / file.name


def _cached(package: Package) -> Path:
    return cache_folder() / "vendor" / f"{package.name}-{package.version}"


def _is_published(path: Path, file: VendorFile) -> bool:
    if path.stat().st_size != file.size:
        return False
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest() == file.sha256


def _fetch(package: Package, *, offline: bool, say: Say, progress: Progress) -> None:
    """Bring a package's files into the cache."""
    label = f"{package.name} {package.version}"
    if is_offline(offline):
        raise DownloadError(
            f"The page needs {label}, which is not on this disk, and nothing may be fetched (offline); run it once "
            f"where there is a network, or let BIREFNET_VENDOR name a folder that holds `{package.name}/`"
        )
    reason = _fetch_by_npm(package, say)
    if reason is None:
        return
    _logger.debug("npm: %s", reason)
    try:
        _fetch_by_file(package, say, progress)
    except DownloadError as error:
        raise DownloadError(
            f"Could not fetch {label}, which the page needs: npm: {reason}; {error}; or let BIREFNET_VENDOR name a "
            f"folder that holds `{package.name}/`"
        ) from error


def _fetch_by_npm(package: Package, say: Say) -> str | None:
    """Unpack a package as npm gives it; None, or why it did not."""
    npm = shutil.which("npm")
    if npm is None:
        return "not installed"
    say(f"Fetching {package.name} {package.version} with npm.")
    with tempfile.TemporaryDirectory() as folder:
        words = [npm, "pack", f"{package.name}@{package.version}", "--ignore-scripts", "--pack-destination", folder]
        try:
            done = subprocess.run(words, cwd=folder, capture_output=True, text=True, timeout=_PATIENCE, check=False)
        except (OSError, subprocess.TimeoutExpired) as error:
            return str(error)
        archive = next(Path(folder).glob("*.tgz"), None)
        if done.returncode or archive is None:
            lines = [line for line in done.stderr.splitlines() if "error" in line.lower()] or ["it failed"]
            return lines[0].strip()
        return _unpack(archive, package)


def _unpack(archive: Path, package: Package) -> str | None:
    """Put the wanted files of an npm package into the cache, each whole or not at all; None, or what is wrong."""
    target = _cached(package)
    target.mkdir(parents=True, exist_ok=True)
    try:
        with tarfile.open(archive) as packed:
            for file in package.files:
                stream = packed.extractfile(f"package/{file.path}")
                content = b"" if stream is None else stream.read(file.size + 1)
                if hashlib.sha256(content).hexdigest() != file.sha256:
                    return f"its {file.path} is not the published one"
                write_whole(target / file.name, _writing(content))
    except (OSError, KeyError, tarfile.TarError) as error:
        return str(error)
    return None


def _writing(content: bytes) -> Callable[[BinaryIO], None]:
    def save(stream: BinaryIO) -> None:
        stream.write(content)

    return save


def _fetch_by_file(package: Package, say: Say, progress: Progress) -> None:
    server = os.environ.get("BIREFNET_CDN", CDN).rstrip("/")
    for file in package.files:
        url = f"{server}/{package.name}@{package.version}/{file.path}"
        expected = Expected(sha256=file.sha256, size=file.size)
        transfer(url, _cached(package) / file.name, expected, say=say, progress=progress)


def _no_progress(done: int, total: int | None) -> None:
    """Nobody watches."""
