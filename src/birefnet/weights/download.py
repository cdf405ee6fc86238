"""Zoo row -> file on this disk: from the package, the cache, the Hugging Face Hub or a release on GitHub.

Settings are read from the environment at each call:
`BIREFNET_CACHE` (folder for all that is fetched), `BIREFNET_OFFLINE` and `HF_HUB_OFFLINE` (never fetch),
`BIREFNET_MIRROR` (in place of https://github.com), `HF_ENDPOINT` (in place of https://huggingface.co).
Needs no torch.
"""

from __future__ import annotations

import inspect
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

from birefnet.cache import cache_folder, is_temporary
from birefnet.errors import DownloadError, WeightsError
from birefnet.libraries import load
from birefnet.weights.entries import BundledFile, File, HubFile, ReleaseFile
from birefnet.weights.formats import HUB_FILES, WEIGHTS_SUFFIXES
from birefnet.weights.transfer import Expected, Progress, Say, check, make_room, readable, transfer

BUNDLED = Path(__file__).parent / "bundled"

_logger = logging.getLogger(__name__)


class NoRepository(DownloadError):
    """The Hub has no such repository, or does not show it to us."""


def is_offline(offline: bool = False) -> bool:
    """Whether nothing may be fetched: because the caller or the environment says so."""
    return offline or any(
        os.environ.get(name, "").strip().lower() in ("1", "true", "yes", "on")
        for name in ("BIREFNET_OFFLINE", "HF_HUB_OFFLINE")
    )


def fetch(file: File, *, offline: bool = False, say: Say = _logger.info, progress: Progress | None = None) -> Path:
    """The path of `file` on this disk, fetching it first if need be.

    Args:
        file: a file of a row of the zoo.
        offline: never fetch; only what is here already.
        say: called with a sentence on what is fetched and how large it is, before it is.
        progress: called with the bytes so far and in all.

    Raises:
        DownloadError: if it is not here and may not or cannot be fetched, or is not the published file.
        WeightsError: if it should be in the package and is not.
    """
    path = find_cached(file)
    if path is not None:
        return path
    if isinstance(file, BundledFile):
        raise WeightsError(f"This build of the package has no `{file.filename}`; choose another model or reinstall it")
    if is_offline(offline):
        raise DownloadError(
            f"{describe(file)} is not on this disk and nothing may be fetched (offline); fetch it first where there "
            f"is a network, or put it into `{_place(file)}`"
        )
    report = progress or _no_progress
    if isinstance(file, HubFile):
        return _fetch_hub(file, say, report)
    target = _place(file)
    expected = Expected(sha256=file.sha256, md5=file.md5, size=file.size)
    transfer(address(file), target, expected, say=say, progress=report)
    return target


def find_cached(file: File) -> Path | None:
    """Where `file` lies on this disk, or None; nothing is fetched."""
    if not isinstance(file, HubFile):
        path = _place(file)
        return path if path.is_file() else None
    found = _hub().try_to_load_from_cache(file.repository, file.path, cache_dir=_hub_cache(), revision=file.revision)
    return Path(found) if isinstance(found, str) else None


def address(file: File) -> str:
    """Where `file` is fetched from, with the mirrors that are set."""
    if isinstance(file, HubFile):
        return f"{_hub_server()}/{file.repository}/resolve/{quote(file.revision, safe='')}/{quote(file.path)}"
    if isinstance(file, ReleaseFile):
        return f"{os.environ.get('BIREFNET_MIRROR', 'https://github.com').rstrip('/')}/{file.path}"
    return _place(file).as_uri()


def describe(file: File) -> str:
    """A file in words: "`model.safetensors` of ZhengPeng7/BiRefNet (about 445 MB)"."""
    words = f"`{file.path}` of {file.repository}" if isinstance(file, HubFile) else f"`{file.filename}`"
    return words if file.megabytes is None else f"{words} (about {readable(file.megabytes * 1e6)})"


def hub_weights(repository: str, revision: str = "main", *, offline: bool = False) -> HubFile:
    """The weights file of any repository ("owner/name") on the Hub; no other file of it is looked at.

    Raises:
        DownloadError: if the repository cannot be asked.
        WeightsError: if it has no weights, or several files that might be meant.
    """
    for path in HUB_FILES:
        file = HubFile(repository=repository, path=path, revision=revision)
        if find_cached(file) is not None:
            return file
    if is_offline(offline):
        raise DownloadError(f"No weights of {repository} are on this disk and nothing may be fetched (offline)")
    with _hub_errors(f"{_hub_server()}/{repository}"):
        names = _hub().HfApi(endpoint=_hub_server()).list_repo_files(repository, revision=revision)
    known = [name for name in HUB_FILES if name in names]
    others = [name for name in names if name.lower().endswith(WEIGHTS_SUFFIXES)]
    if not known and len(others) != 1:
        there = f"it has several: {', '.join(others[:6])}" if others else "it has none"
        raise WeightsError(f"Wanted one weights file in {repository}; {there}. Give the path of one file instead")
    return HubFile(repository=repository, path=(known or others)[0], revision=revision)


def _place(file: File) -> Path:
    if isinstance(file, BundledFile):
        return BUNDLED / file.filename
    if isinstance(file, ReleaseFile):
        return cache_folder() / "releases" / file.path.replace("/releases/download/", "/")
    return _hub_cache() or Path(_hub("constants").HF_HUB_CACHE)


def _hub_cache() -> Path | None:
    """Where the Hub's files go; None for the folder that all programs share, which needs a home."""
    return cache_folder() / "hub" if os.environ.get("BIREFNET_CACHE") or is_temporary() else None


def _hub(part: str = "") -> Any:
    """The Hub's library, or a module of it; its types are known only where they are defined, which has moved."""
    return load(f"huggingface_hub.{part}" if part else "huggingface_hub")


def _hub_server() -> str:
    return os.environ.get("HF_ENDPOINT", "https://huggingface.co").rstrip("/")


def _fetch_hub(file: HubFile, say: Say, progress: Progress) -> Path:
    with _hub_errors(address(file)):
        known = _hub().get_hf_file_metadata(address(file))
        size = known.size or 0
        make_room(_place(file), size)
        say(f"Fetching {file.path} of {file.repository} ({readable(size)}) from {urlsplit(_hub_server()).netloc}.")
        if file.seen and not (known.commit_hash or "").startswith(file.seen):
            say(f"{file.repository} has changed since this version of birefnet was written (it was {file.seen} then).")
        found = _hub().hf_hub_download(
            file.repository,
            file.path,
            revision=file.revision,
            cache_dir=_hub_cache(),
            endpoint=_hub_server(),
            **_bar(progress),
        )
    path = Path(found)
    if file.sha256:
        # The cache's entry is a link to the content: check and, if need be, delete the content too.
        check(path.resolve(), Expected(sha256=file.sha256), address(file))
    return path


@contextmanager
def _hub_errors(url: str) -> Iterator[None]:
    """Turn what the Hub's library raises into one sentence."""
    errors = _hub("utils")
    try:
        yield
    except DownloadError:
        raise
    except errors.GatedRepoError as error:
        raise DownloadError(
            f"`{url}` asks for consent: accept its terms on its page, then log in with: hf auth login"
        ) from error
    except errors.RepositoryNotFoundError as error:
        raise NoRepository(f"`{url}`: there is no such repository, or it is private") from error
    except errors.RevisionNotFoundError as error:
        raise DownloadError(f"`{url}`: the repository has no such revision") from error
    except Exception as error:  # the base of the rest changed with the web library beneath: requests, httpx, httpx2
        if isinstance(error, errors.EntryNotFoundError) and not isinstance(error, errors.LocalEntryNotFoundError):
            raise DownloadError(f"`{url}`: the repository has no such file") from error
        first = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise DownloadError(
            f"Could not fetch `{url}`: {first} (run it again to go on; a mirror can be set with HF_ENDPOINT)"
        ) from error


def _bar(progress: Progress) -> dict[str, Any]:
    """The argument that makes the Hub's library draw no bar of its own and pass its count on."""
    from tqdm import tqdm

    if "tqdm_class" not in inspect.signature(_hub().hf_hub_download).parameters:
        return {}  # older ones draw their own

    class Bar(tqdm):  # type: ignore[misc]
        def __init__(self, *arguments: object, **options: object) -> None:
            options.pop("name", None)
            super().__init__(*arguments, **(options | {"disable": True}))

        def update(self, n: float | None = 1) -> bool | None:
            self.n += n or 0
            progress(int(self.n), None if self.total is None else int(self.total))
            return None

    return {"tqdm_class": Bar}


def _no_progress(done: int, total: int | None) -> None:
    """For callers who show none."""
