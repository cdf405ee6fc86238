"""The loaded models: a copy of each for every device, and the longest unused unloaded when memory runs short."""

from __future__ import annotations

import gc
import logging
import os
import threading
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from birefnet.errors import ConfigError
from birefnet.runtimes.allocator import give_back_freed_memory
from birefnet.runtimes.base import Runtime
from birefnet.runtimes.select import open_model
from birefnet.serving.refusal import Refusal, readable
from birefnet.serving.settings import Settings
from birefnet.weights import zoo
from birefnet.weights.entries import ZooEntry
from birefnet.weights.resolve import resolve
from birefnet.weights.transfer import Progress

logger = logging.getLogger(__name__)

_STATM = Path("/proc/self/statm")


@dataclass(eq=False)
class _Slot:
    """A model's place; its lock is held while it is loaded, so that this happens once."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    runtimes: tuple[Runtime, ...] = ()
    users: int = 0


class Models:
    """What may be asked for, and what of it is loaded; safe to use from several threads."""

    def __init__(self, settings: Settings) -> None:
        if settings.memory_limit is not None and not resident_bytes():
            raise ConfigError("This system does not tell how much memory is in use; limit the number of models.")
        self._settings = settings
        self._refs = {name: resolve(source) for name, source in settings.models.items()}
        # Of the zoo's models that are offered; a file that is called like one is not one.
        self._names = {ref.entry.name: name for name, ref in self._refs.items() if ref.entry is not None}
        self._lock = threading.Lock()
        self._slots: OrderedDict[str, _Slot] = OrderedDict()  # the most recently used last

    @property
    def loaded(self) -> tuple[str, ...]:
        """Names of the models in memory."""
        with self._lock:
            return tuple(name for name, slot in self._slots.items() if slot.runtimes)

    def name_of(self, wanted: str | None) -> str:
        """The model that a request means: the default, one of the operator's names, or another name of one of these.

        Raises:
            Refusal: (422) if it is none that this server offers; a path or an address never is.
        """
        allowed = self._settings.models
        if not wanted:
            return self._settings.default_model
        if wanted in allowed:
            return wanted
        if zoo.knows(wanted) and (name := self._names.get(zoo.find(wanted).name)):
            return name
        sentence = f"No model `{readable(wanted)[:80]}` is offered here; there is: {', '.join(allowed)}."
        raise Refusal(422, sentence, field="model", kind="unknown_model")

    def entry_of(self, name: str) -> ZooEntry | None:
        """The row of the zoo that one of the names offered means; None for a file of the operator's own."""
        return self._refs[name].entry

    @contextmanager
    def use(self, name: str, progress: Progress | None = None) -> Iterator[tuple[Runtime, ...]]:
        """The model's runtimes, one for each of the settings' devices; loaded if need be, kept while the context lasts.

        A device that is named twice, in whatever spelling, has two of them: each computes one picture at a time.

        Raises:
            BiRefNetError: if it cannot be loaded.
        """
        with self._lock:
            slot = self._slots.setdefault(name, _Slot())
            slot.users += 1
            self._slots.move_to_end(name)
        try:
            with slot.lock:
                if not slot.runtimes:
                    self._make_room()
                    slot.runtimes = self._load(name, progress)
            yield slot.runtimes
        finally:
            with self._lock:
                slot.users -= 1
            self._make_room(spare=0)

    def load(self, name: str, *, progress: Progress | None = None) -> None:
        """Load a model now instead of at the first request for it.

        Args:
            progress: called with the bytes fetched so far and in all, where something is fetched.

        Raises:
            BiRefNetError: if it cannot be loaded.
        """
        with self.use(name, progress):
            pass

    def _load(self, name: str, progress: Progress | None) -> tuple[Runtime, ...]:
        options, ref = self._settings.options, self._refs[name]
        made = tuple(open_model(ref, options.on(device), progress=progress) for device in self._settings.devices)
        logger.info("loaded `%s` on %s", name, ", ".join(runtime.device for runtime in made))
        return made

    def _over(self) -> bool:
        limit = self._settings.memory_limit
        return limit is not None and resident_bytes() > limit

    def _make_room(self, spare: int = 1) -> None:
        """Unload models not in use until memory and number are within their limits, and `spare` fit beside them."""
        most = self._settings.max_models
        while self._over() or (most is not None and len(self.loaded) + spare > most):
            if not self._unload_one(keep=1 - spare):
                return

    def _unload_one(self, keep: int) -> bool:
        """Forget the model that was not used for longest; False if the others are in use, or no more than `keep`."""
        with self._lock:
            idle = [name for name, slot in self._slots.items() if slot.runtimes and not slot.users]
            if not idle or sum(bool(slot.runtimes) for slot in self._slots.values()) <= keep:
                return False
            slot = self._slots.pop(idle[0])
        slot.runtimes = ()
        gc.collect()
        give_back_freed_memory()
        logger.info("unloaded `%s`", idle[0])
        return True


def resident_bytes() -> int:
    """This process's memory in use; 0 where the system does not tell."""
    try:
        return int(_STATM.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, OSError, ValueError, IndexError):
        return 0
