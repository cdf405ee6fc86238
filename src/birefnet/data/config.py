"""What a run trains on: the frozen records that a recipe's `data` is read into, checked at birth."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from birefnet.errors import ConfigError

Range = tuple[float, float]
Cache = Literal["memory", "none"] | int


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """One folder of a mixture.

    Attributes:
        folder: path below the data root; pairs need `im` and `gt` inside, cut-outs and backgrounds are plain folders.
        weight: how often it is drawn, relative to its neighbours; 0 leaves it out.
        only: stems to take; None takes all.
        cut: for pairs, whether the masks are good enough to cut subjects out for composites.
    """

    folder: str
    weight: float = 1.0
    only: tuple[str, ...] | None = None
    cut: bool = False

    def __post_init__(self) -> None:
        if self.weight < 0:
            raise ConfigError(f"The weight of `{self.folder}` is {self.weight}; it must not be negative")


@dataclass(frozen=True, slots=True, kw_only=True)
class AugmentConfig:
    """How a pair is changed before the network sees it; the defaults are the reference's.

    Attributes:
        style: "reference" (what the keys below say, in their order), "strong" (crops to `data.zoom`, turns, exposure,
            colour casts, blur, noise, JPEG; of the keys below only `plain` and `background` count), or "auto": strong
            for a mixture, reference for epochs.
        plain: chance of a plain background behind the subject: 40 % grey, 40 % near the subject's mean colour, 20 % any
            colour. Such a sample is then only mirrored.
        background: chance that the subject is put before one of `data.backgrounds`; needs good, soft masks.
        crop: chance of a crop, near the centre rather than the border.
        crop_smallest: least side of such a crop, as a part of the picture's.
        flip: chance of a mirror image.
        rotate: chance of a turn; `degrees`: the widest turn to either side.
        enhance: chance that the four factors below are drawn, each uniformly from its range (1 changes nothing).
        brightness, contrast, colour, sharpness: least and largest factor.
        pepper: part of the pixels that become black or white.
    """

    style: Literal["auto", "reference", "strong"] = "auto"
    plain: float = 0.0
    background: float = 0.0
    crop: float = 0.0
    crop_smallest: float = 0.85
    flip: float = 0.5
    rotate: float = 0.2
    degrees: float = 15.0
    enhance: float = 1.0
    brightness: Range = (0.5, 1.5)
    contrast: Range = (0.5, 1.5)
    colour: Range = (0.0, 2.0)
    sharpness: Range = (0.0, 3.0)
    pepper: float = 0.0015

    def __post_init__(self) -> None:
        if self.style not in ("auto", "reference", "strong"):
            raise ConfigError(f"`data.augment.style` is {self.style!r}; choose auto, reference or strong")
        for name in ("plain", "background", "crop", "flip", "rotate", "enhance", "pepper"):
            _check_chance(f"data.augment.{name}", getattr(self, name))
        if self.plain + self.background > 1:
            raise ConfigError(
                f"`data.augment.plain` and `background` add up to {self.plain + self.background:g}; at most 1 of all "
                "samples can have another background"
            )
        if not 0 < self.crop_smallest <= 1:
            raise ConfigError(f"`data.augment.crop_smallest` is {self.crop_smallest}; it must lie in (0, 1]")
        if not 0 <= self.degrees <= 180:
            raise ConfigError(f"`data.augment.degrees` is {self.degrees}; it must lie between 0 and 180")
        for name in ("brightness", "contrast", "colour", "sharpness"):
            _check_range(f"data.augment.{name}", getattr(self, name))


@dataclass(frozen=True, slots=True, kw_only=True)
class DataConfig:
    """What a run trains on.

    Attributes:
        root: folder that holds all sources.
        task: folder below `root` that holds the sets, such as "DIS5K"; None where they lie in `root` itself.
        sets: names of sets joined by `+`, such as "DIS-TR+DIS-TE1"; each is root/task/set or root/set, with `im` and
            `gt` inside. Instead of `pairs`.
        pairs, cutouts, backgrounds: weighted sources of each kind.
        order: "mixture" draws every sample anew, by the sources' weights; "epochs" goes through all pairs once, in a
            new order each time.
        composite: chance that a mixture's sample is a composite of cut-outs on a background; the rest are real pairs.
        drawn: chance that a composite's subject is a drawn plant or filigree.
        pasted: chance that a composite is put on a whole real picture, whose own subject counts too.
        joined: chance that the background of a composite is joined from two.
        empty: chance that a mixture's sample is a background alone with an empty mask.
        zoom: least side of a random crop of the strong style, as a part of the picture's.
        longest: side to which longer pictures are reduced when they are read; None keeps them.
        cache: "memory" decodes everything once and keeps it, "none" reads the files at every sample, a number keeps at
            most so many MiB and reads the rest. The samples are the same.
        classes: whether samples carry the class that DIS5K's file names tell, for the auxiliary classification.
        allow_inverted: whether a source may have masks most of which look inverted (white around a dark middle); such
            sources are refused else.
        augment: how pairs are changed.
    """

    root: str
    task: str | None = None
    sets: str | None = None
    pairs: tuple[Source, ...] = ()
    cutouts: tuple[Source, ...] = ()
    backgrounds: tuple[Source, ...] = ()
    order: Literal["mixture", "epochs"] = "mixture"
    composite: float = 0.0
    drawn: float = 0.0
    pasted: float = 0.0
    joined: float = 0.0
    empty: float = 0.0
    zoom: float = 0.7
    longest: int | None = None
    cache: Cache = "memory"
    classes: bool = False
    allow_inverted: bool = False
    augment: AugmentConfig = field(default_factory=AugmentConfig)

    def __post_init__(self) -> None:
        for name in ("composite", "drawn", "pasted", "joined", "empty"):
            _check_chance(f"data.{name}", getattr(self, name))
        if not 0 < self.zoom <= 1:
            raise ConfigError(f"`data.zoom` is {self.zoom}; it must lie above 0 and not above 1")
        if self.longest is not None and self.longest < 1:
            raise ConfigError(f"`data.longest` is {self.longest}; it is a side in pixels, or null for no limit")
        if self.cache not in ("memory", "none") and (isinstance(self.cache, bool | str) or self.cache < 0):
            raise ConfigError(f"`data.cache` is {self.cache!r}; choose memory, none, or a number of MiB")
        if self.order not in ("mixture", "epochs"):
            raise ConfigError(f"`data.order` is {self.order!r}; choose mixture or epochs")
        self._check_sources()
        self._check_order()

    def _check_sources(self) -> None:
        if self.sets and self.pairs:
            raise ConfigError("`data.sets` and `data.pairs` both name pairs; keep one of them")
        if self.sets and not all(name.strip() for name in self.sets.split("+")):
            raise ConfigError(f"`data.sets` is {self.sets!r}; write names joined by +, such as DIS-TR+DIS-TE1")
        if not (self.pairs or self.sets) and (self.composite < 1 or self.order == "epochs"):
            raise ConfigError("`data.pairs` is empty; name folders with `im` and `gt` there or in `data.sets`")
        if self.augment.background > 0 and not self.backgrounds:
            raise ConfigError("`data.augment.background` is above 0 but `data.backgrounds` names no folder")

    def _check_order(self) -> None:
        if self.order == "mixture":
            cuttable = self.cutouts or any(source.cut for source in self.pairs)
            if self.composite > 0 and not cuttable:
                raise ConfigError(
                    "`data.composite` is above 0 but there are neither `data.cutouts` nor pairs to cut from"
                )
            if self.pasted > 0 and not (self.pairs or self.sets):
                raise ConfigError("`data.pasted` is above 0 but there are no pairs to paste on")
            if self.classes:
                raise ConfigError("`data.classes` needs `data.order: epochs`; a mixture's samples have no one class")
            return
        if self.composite or self.drawn or self.pasted or self.joined or self.empty or self.cutouts:
            raise ConfigError(
                "`data.composite`, `drawn`, `pasted`, `joined`, `empty` and `cutouts` belong to `data.order: mixture`; "
                "with epochs, use `data.augment.background`"
            )

    @property
    def style(self) -> Literal["reference", "strong"]:
        """The style of augmentation in force."""
        if self.augment.style == "auto":
            return "strong" if self.order == "mixture" else "reference"
        return self.augment.style


def _check_chance(name: str, value: float) -> None:
    if isinstance(value, bool | str) or not 0 <= value <= 1:
        raise ConfigError(f"`{name}` is {value!r}; it must lie between 0 and 1")


def _check_range(name: str, value: Range) -> None:
    if not isinstance(value, tuple) or len(value) != 2 or not 0 <= value[0] <= value[1]:
        raise ConfigError(f"`{name}` is {value!r}; write the least and the largest factor, such as [0.5, 1.5]")


def parse_sources(entries: Mapping[str, object] | None) -> tuple[Source, ...]:
    """Sources from a recipe's mapping: `folder: weight` or `folder: {weight, only, cut}`.

    Raises:
        ConfigError: on anything else.
    """
    sources = []
    for folder, value in (entries or {}).items():
        if isinstance(value, int | float) and not isinstance(value, bool):
            sources.append(Source(folder=folder, weight=float(value)))
        elif isinstance(value, Mapping) and set(value) <= {"weight", "only", "cut"}:
            options = dict(value)
            if options.get("only") is not None:
                options["only"] = tuple(str(stem) for stem in options["only"])
            sources.append(Source(folder=folder, **options))
        else:
            raise ConfigError(f"`{folder}` in the recipe's data is {value!r}; write a weight, or weight, only and cut")
    return tuple(sources)
