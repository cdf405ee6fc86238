"""What MODEL means: the one place that every command, the server and Python ask. Needs no torch, fetches nothing.

A text is looked at in this order; the first that fits is meant:

1. `hub:OWNER/NAME`, `hub:OWNER/NAME@REVISION`, either with `/FILE` behind it: that repository of the Hub, or its file.
2. A bare name of the zoo (`nano`, `General Use (Light)`), also where a folder or file of that name lies here:
   `./nano` is the folder.
3. A file or folder that exists. Of a folder, the weights: those of a repository's layout, of a run (`best`, else
   `last`), or the only ones; without weights, the only exported file, such as OpenVINO's.
4. A repository or file that the zoo lists (`ZhengPeng7/BiRefNet_HR`, `BiRefNet-general-epoch_244.pth`), or a zoo
   model's ONNX file (`general.onnx`).
5. `OWNER/NAME` or `OWNER/NAME@REVISION`: any other repository of the Hub.

A `pathlib.Path` is always a file or folder. What a model expects of its input is read from the file that was found;
a row of the zoo adds to it only where the row was named: a file of one's own called `hr.safetensors` is not `hr`.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

from birefnet.errors import BiRefNetError, ConfigError, DownloadError, UnknownModel, WeightsError, nearest
from birefnet.pixels.prepare import InputSpec
from birefnet.weights import zoo
from birefnet.weights.download import NoRepository, fetch, find_cached, hub_weights, is_offline
from birefnet.weights.entries import BundledFile, File, HubFile, ReleaseFile, ZooEntry
from birefnet.weights.facts import read_safetensors, spec_of, to_spec
from birefnet.weights.folders import candidates, choose_file, label_of, of_layout
from birefnet.weights.formats import FORMATS, HUB_FILES, SUFFIXES, WEIGHTS, kind_of
from birefnet.weights.transfer import Progress

Model = str | os.PathLike[str]

HUB = "hub:"
_WORD = r"(?![^/@]*(?:--|\.\.))\w(?:[\w.-]*\w)?"  # as the Hub has its names; `./x` and `..` are paths
_REPOSITORY = re.compile(rf"(?P<name>{_WORD}/{_WORD})(?:@(?P<revision>[\w./-]+))?", re.ASCII)
_HUB = re.compile(rf"hub:(?P<name>{_WORD}/{_WORD})(?:@(?P<revision>[\w.-]+))?(?:/(?P<path>.+))?", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelFile:
    """A model's file on this disk.

    Attributes:
        path: the file.
        kind: its format, a name of `birefnet.weights.formats.FORMATS`.
        label: what reports call the model.
        entry: its row of the zoo, where that was named.
    """

    path: Path
    kind: str
    label: str
    entry: ZooEntry | None = None

    @property
    def defaults(self) -> InputSpec | None:
        """The input that holds where the file itself says nothing; None for that of most released models."""
        return spec_of(self.entry)

    def spec(self) -> InputSpec:
        """The input that weights were trained for: what the file's header says, else the zoo's row, else the usual.

        Exported files are read by their runtime, which takes `defaults`.

        Raises:
            WeightsError: if the header makes no sense.
        """
        return to_spec(read_safetensors(self.path), self.path, defaults=self.defaults)


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelRef:
    """What a model's name or path means; nothing has been fetched or loaded.

    Attributes:
        name: as it was given.
        label: what reports call it: `lite`, `owner/name`, a file's name without suffix, `run/best`.
        kind: its format, a name of `birefnet.weights.formats.FORMATS`.
        path: the file; None for what comes from elsewhere.
        source: the published file; None for a path, or a repository whose files are not known yet.
        repository: (name, revision) of such a repository.
        entry: the row of the zoo, only where that was named.
    """

    name: str
    label: str
    kind: str
    path: Path | None = None
    source: File | None = None
    repository: tuple[str, str] | None = None
    entry: ZooEntry | None = None

    @property
    def is_here(self) -> bool:
        """Whether nothing needs to be fetched."""
        if self.repository is not None:
            name, revision = self.repository
            return any(find_cached(HubFile(repository=name, path=file, revision=revision)) for file in HUB_FILES)
        return self.path is not None or (self.source is not None and find_cached(self.source) is not None)

    def fetch(self, *, offline: bool = False, progress: Progress | None = None) -> ModelFile:
        """The model's file, fetched first if need be.

        Args:
            offline: never fetch anything.
            progress: called with the bytes fetched so far and in all.

        Raises:
            UnknownModel: for a repository that the Hub does not have.
            DownloadError: if it must be fetched and cannot be.
            WeightsError: if a repository has no weights, or several that might be meant.
        """
        path = self.path or self._fetch(offline, progress)
        return ModelFile(path=path, kind=self.kind, label=self.label, entry=self.entry)

    def _fetch(self, offline: bool, progress: Progress | None) -> Path:
        if self.source is not None:
            return fetch(self.source, offline=offline, progress=progress)
        assert self.repository is not None
        typed = not self.name.startswith(HUB)  # it could as well be a path with a mistake in it
        if typed and is_offline(offline) and not self.is_here:
            raise DownloadError(
                f"`{self.name}` is neither a file here nor a repository whose weights are on this disk, and nothing "
                "may be fetched (offline)"
            )
        try:
            return fetch(hub_weights(*self.repository, offline=offline), offline=offline, progress=progress)
        except NoRepository as error:
            if not typed:
                raise
            raise UnknownModel(
                f"`{self.name}` is neither a file here nor a repository of the Hub that can be seen",
                hint=_near(self.name),
            ) from error
        except DownloadError as error:
            if not typed:
                raise
            raise DownloadError(
                f"`{self.name}` is no file here, and could not be had as a repository of the Hub: {error}",
                hint=error.hint,
            ) from error


def resolve(model: Model, *, weights: bool = False) -> ModelRef:
    """What `model` means; the order is told at the top of this module.

    Args:
        model: a name of the zoo, a file, a folder, a run's folder or a repository of the Hub.
        weights: the tensors themselves are wanted, to train, export or load them: a model that the zoo has both as
            weights and packed for a runtime gives its weights, and exported files are refused.

    Raises:
        UnknownModel: if it means nothing; the hint says what it is near to.
        ConfigError: if weights are wanted and it is an exported file, or it runs in other programs only.
        WeightsError: if it is a folder without a model, or with several that might be meant.
    """
    text = _text(model)
    named = isinstance(model, str)
    if named and text.startswith(HUB):
        return _of_hub(text, weights=weights)
    path = Path(text)
    if _exists(path) and not (named and _is_bare(text)):
        return _of_path(text, path, weights=weights)
    if named and _is_of_zoo(text):
        return _of_zoo(text, weights=weights)
    repository = _REPOSITORY.fullmatch(text) if named and kind_of(path) is None else None
    if repository is not None:
        return _of_repository(text, repository["name"], repository["revision"])
    if named and path.name == text and kind_of(path) is None:
        raise UnknownModel(
            f"No model named `{text}`, and no file or folder; known: {', '.join(zoo.ZOO)}", hint=_near(text)
        )
    raise UnknownModel(f"There is no file or folder `{text}`", hint=_near(text) if named else _by_text(text))


def names_a_folder(model: Model) -> bool:
    """Whether `model` means a folder that is here, and not a model of that name."""
    return _exists(Path(_text(model))) and Path(model).is_dir() and not (isinstance(model, str) and _is_bare(model))


def resolve_all(model: Model, *, weights: bool = False) -> list[ModelRef]:
    """All that `model` may mean: of a run's folder each of its weights, by the numbers in their names; else the one.

    Raises:
        UnknownModel, ConfigError, WeightsError: as `resolve`; but several weights in a folder are no error.
    """
    path = Path(_text(model))
    if names_a_folder(model) and not of_layout(path):
        found = candidates(path)
        if len(found) > 1 and not (weights and kind_of(found[0]) != WEIGHTS):
            return [_found(str(file), file, path) for file in found]
    return [resolve(model, weights=weights)]


def _text(model: Model) -> str:
    if not isinstance(model, (str, os.PathLike)):
        raise ConfigError(f"A model is a name or a path, got {type(model).__name__}")
    text = os.fspath(model)
    if not isinstance(text, str) or not text.strip():
        raise UnknownModel(f"`{text!r}` names no model")
    return text


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except (OSError, ValueError):  # no possible name of a file
        return False


def _is_bare(text: str) -> bool:
    """Whether a text is a name of the zoo rather than a path."""
    return zoo.knows(text) and Path(text).name == text and kind_of(text) is None


def _is_of_zoo(text: str) -> bool:
    """Whether the zoo is meant where no such file is here: with a suffix only for what is published under that name.

    `my/nano` is not, and neither is `hr.pth`, which can only be a file that is missing.
    """
    if not zoo.knows(text):
        return False
    if kind_of(text) != WEIGHTS:
        return True
    files = [file.filename for file in zoo.find(text).files() if isinstance(file, (ReleaseFile, BundledFile))]
    return text.lower() in map(str.lower, files)


def _of_zoo(text: str, *, weights: bool) -> ModelRef:
    entry = zoo.find(text)
    packed = kind_of(text) == "onnx"
    if packed and weights:
        raise _exported(text)
    if packed or (isinstance(entry.onnx, BundledFile) and not weights):
        return ModelRef(name=text, label=entry.name, kind="onnx", source=zoo.onnx_of(text), entry=entry)
    return ModelRef(name=text, label=entry.name, kind=WEIGHTS, source=zoo.weights_of(text), entry=entry)


def _of_repository(text: str, name: str, revision: str | None, path: str | None = None) -> ModelRef:
    """A repository; the zoo's row says its input where it is one of the zoo's, whatever the revision."""
    entry = zoo.find(name) if zoo.knows(name) else None
    if path is not None:
        source = HubFile(repository=name, path=path, revision=revision or "main")
        return ModelRef(name=text, label=name, kind=kind_of(path) or WEIGHTS, source=source, entry=entry)
    repository = (name, revision or "main")
    return ModelRef(name=text, label=name, kind=WEIGHTS, repository=repository, entry=entry)


def _of_hub(text: str, *, weights: bool) -> ModelRef:
    match = _HUB.fullmatch(text)
    if match is None:
        raise UnknownModel(f"`{text}` names no file of the Hub; write hub:OWNER/NAME or hub:OWNER/NAME/FILE")
    path = match["path"]
    if path is not None and kind_of(path) is None:
        raise UnknownModel(f"`{text}` names no weights file; known are {', '.join(SUFFIXES)}")
    if path is not None:
        _check_kind(text, kind_of(path), weights=weights)
    return _of_repository(text, match["name"], match["revision"], path)


def _of_path(text: str, path: Path, *, weights: bool) -> ModelRef:
    if not path.is_dir():
        _check_kind(text, kind_of(path), weights=weights)
        return _found(text, path)
    file = choose_file(path)
    _check_kind(text, kind_of(file), weights=weights)
    return _found(text, file, path)


def _check_kind(text: str, kind: str | None, *, weights: bool) -> None:
    """Refuse a file that cannot be what is wanted."""
    if kind is None:
        raise WeightsError(f"`{text}` is no weights file; known are {', '.join(SUFFIXES)}")
    if weights and kind != WEIGHTS:
        raise _exported(text)
    if not FORMATS[kind].runtimes:
        raise ConfigError(f"`{text}` is for {FORMATS[kind].help}; nothing here runs it")


def _exported(text: str) -> BiRefNetError:
    return ConfigError(
        f"`{text}` is an exported file already; name the weights it was made of: a model's name, a .safetensors or "
        ".pth file, or a run's folder",
        hint="`birefnet.remove` and `Remover` run exported files",
    )


def _found(name: str, path: Path, folder: Path | None = None) -> ModelRef:
    return ModelRef(name=name, label=label_of(path, folder), kind=kind_of(path) or WEIGHTS, path=path)


def _near(text: str) -> str | None:
    """What lies here, or else in the zoo, under a name like the one that was typed."""
    path = Path(text)
    here = [one.name for one in path.parent.iterdir()] if path.parent.is_dir() else []
    found = nearest(path.name, here)
    return zoo.suggest(text) if found is None else f"did you mean `{path.parent / found}`?"


def _by_text(text: str) -> str | None:
    return f'a model of the zoo is named by text, not by a path: "{text}"' if zoo.knows(text) else None
