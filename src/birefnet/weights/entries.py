"""What a row of the zoo is: a model, its files, and what is known of each. Needs no torch."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Literal

from birefnet.inputs import IMAGENET_MEAN, IMAGENET_STD, Triple


@dataclass(frozen=True, slots=True, kw_only=True)
class HubFile:
    """A file of a repository on the Hugging Face Hub.

    Attributes:
        repository: "owner/name".
        path: the file inside it.
        revision: a full commit, or a branch where only the beginning of one is known.
        seen: beginning of the commit this table was written from, where the revision is a branch.
        sha256: of the file, whole or its first digits; "" where unknown.
        megabytes: about how large it is (10^6 bytes); None where unknown.
    """

    repository: str
    path: str = "model.safetensors"
    revision: str = "main"
    seen: str = ""
    sha256: str = ""
    megabytes: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ReleaseFile:
    """A file attached to a release on GitHub.

    Attributes:
        path: what follows the server in its address.
        sha256: of the file, whole or its first digits; "" where unknown.
        md5: where only that is published; "" otherwise.
        size: exact length in bytes; None where unknown.
        megabytes: about how large it is (10^6 bytes); None where unknown.
    """

    path: str
    sha256: str = ""
    md5: str = ""
    size: int | None = None
    megabytes: float | None = None

    @property
    def filename(self) -> str:
        return PurePosixPath(self.path).name


@dataclass(frozen=True, slots=True, kw_only=True)
class BundledFile:
    """A file that comes with the package, in `birefnet/weights/bundled`."""

    filename: str
    megabytes: float | None = None


File = HubFile | ReleaseFile | BundledFile


@dataclass(frozen=True, slots=True, kw_only=True)
class ZooEntry:
    """One released model.

    Attributes:
        name: what to ask for.
        task: what it is for, in a few words.
        backbone: a name of `birefnet.network.backbones.BACKBONES`.
        size: (width, height) in pixels it was trained for.
        weights: the weights that `load_model` takes.
        data: what is known of the training data's terms.
        release: the author's checkpoint file of the same model, fetched when it is asked for by its own name.
        onnx: a published ONNX file of the same model, output logits; None where there is none.
        dynamic: whether it was trained for many sizes.
        aliases: other names, besides those of its repository and files.
        mean, std: what pictures are normalised with, per channel RGB, in units of the range [0, 1].
        upsample: how its alpha is enlarged, "bilinear" or "guided" by the picture's own edges.
        licence: of the weights.
        note: anything a user should know.
    """

    name: str
    task: str
    weights: File
    data: str
    backbone: str = "swin_v1_l"
    size: tuple[int, int] = (1024, 1024)
    release: ReleaseFile | None = None
    onnx: File | None = None
    dynamic: bool = False
    aliases: tuple[str, ...] = ()
    mean: Triple = IMAGENET_MEAN
    std: Triple = IMAGENET_STD
    upsample: Literal["bilinear", "guided"] = "bilinear"
    licence: str = "MIT"
    note: str = ""

    def files(self) -> Iterator[File]:
        """Its weights, then the release's checkpoint and the ONNX file where there are any."""
        yield self.weights
        if self.release is not None:
            yield self.release
        if self.onnx is not None:
            yield self.onnx

    def names(self) -> Iterator[str]:
        """Everything that `find` knows it by, as published."""
        yield self.name
        yield from self.aliases
        for file in self.files():
            if isinstance(file, HubFile):
                yield file.repository
                yield file.repository.partition("/")[2]
            elif isinstance(file, ReleaseFile):
                yield PurePosixPath(file.path).stem
