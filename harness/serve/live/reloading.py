"""Hot reload: a study's model is replaced when the study has another winner."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

from harness.errors import HarnessError
from harness.records.study_files import DESCRIPTION
from harness.serve.loaded import Loaded, share_weights
from harness.serve.loading import Source


class Service(Protocol):
    """What is asked of a `harness.serve.app.Service`, whose attributes these are."""

    @property
    def models(self) -> Mapping[str, Loaded]:
        """By name."""

    @property
    def precision(self) -> float | None:
        """What they keep."""

    def swap(self, name: str, model: Loaded) -> None:
        """Replace a model."""


_LOG = logging.getLogger(__name__)
State = tuple[Path, int]  # a model's folder, and when its description was written


class Reloader:
    """Looks for new winners from time to time, loads them beside the old ones, and swaps them.

    Requests are answered by the old model until the new one is loaded. What it cannot replace is told once in the log,
    and the old model stays: one with other classes or inputs, for which clients would have to change (of images and
    sounds, also of another size or rate, to which waiting rows were changed), one that does not keep the precision
    asked for, and one that cannot be loaded.

    Args:
        service: whose models are replaced.
        sources: where they are from; those that were not named as studies never change.
        find: returns the folder of the model that a name stands for now.
        load: loads a folder.
        say: told of each replacement.
    """

    def __init__(
        self,
        service: Service,
        sources: Sequence[Source],
        find: Callable[[str], Path],
        load: Callable[[Path], Loaded],
        say: Callable[[str], None],
    ) -> None:
        self._service, self._find, self._load, self._say = service, find, load, say
        self._sources = {source.name: source for source in sources}
        self._known = {source.name: _state(source.directory) for source in sources}

    async def run(self, seconds: float) -> None:
        """Look every so many seconds, until cancelled."""
        while True:
            await asyncio.sleep(seconds)
            await self.look()

    async def look(self) -> None:
        """Look once."""
        for source in self._sources.values():
            try:
                # In a thread, so that requests are answered meanwhile.
                found = await asyncio.to_thread(self._changed, source)
                if found is not None:
                    model = await asyncio.to_thread(self._loaded, source.name, found)
                    self._service.swap(source.name, model)
                    self._sources[source.name] = replace(source, directory=found)
                    self._say(f"{source.name}: now {model.method} on {model.backbone} ({model.engine}), from {found}")
            except HarnessError as error:
                _LOG.warning("%s keeps its model: %s", source.name, error)
            except Exception as error:  # noqa: BLE001 # whatever it is, the old model goes on answering
                _LOG.warning("%s keeps its model: %s", source.name, type(error).__name__)

    def _changed(self, source: Source) -> Path | None:
        """Return the folder of a model that was not looked at before; None if there is none."""
        folder = self._find(source.given)
        state = _state(folder)
        if state == self._known[source.name]:
            return None
        self._known[source.name] = state
        return folder

    def _loaded(self, name: str, folder: Path) -> Loaded:
        """Load a model that can take the place of another.

        Raises:
            HarnessError: it cannot.
        """
        old, new = self._service.models[name], self._load(folder)
        if any(getattr(old, name) != getattr(new, name) for name in ("output_names", "finds", "kind", "reading")):
            raise HarnessError(f"{folder} has other classes or inputs: start the service again to serve it.")
        if self._service.precision is not None and new.labels:
            new.rule(self._service.precision)
        networks: list[Any] = [each.predictor for each in (*self._service.models.values(), new)]
        share_weights([each.network for each in networks if hasattr(each, "network")])
        return new


def _state(folder: Path) -> State:
    try:
        return folder, (folder / DESCRIPTION).stat().st_mtime_ns
    except OSError:
        return folder, 0
