"""The models of a server: loaded by name when asked for, unloaded least recently used first."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from whisper_max.server.aliases import Names
from whisper_max.server.engine_thread import EngineThread
from whisper_max.server.errors import NOT_FOUND, OVERLOADED, APIError
from whisper_max.server.loading import Loader
from whisper_max.server.recordings import Workers
from whisper_max.server.settings import MIB, Settings

log = logging.getLogger(__name__)


@dataclass
class _Loaded:
    engine: EngineThread
    n_bytes: int
    n_users: int = 0
    last_used: float = field(default_factory=time.monotonic)


class Engines:
    """The models that requests may name, and the engines of those that are loaded; used on the event loop only.

    Args:
        settings: names, sources, the memory budget and the size of a batch.
        workers: threads that decode recordings.
        loader: how models come into memory.

    Attributes:
        default_id: the model that requests get by default.
        ids: all that they may name.
    """

    def __init__(self, settings: Settings, workers: Workers, loader: Loader) -> None:
        self._sources = settings.sources
        self._budget = None if settings.memory_budget is None else settings.memory_budget * MIB
        self._batch_size = settings.batch_size
        self._workers = workers
        self._loader = loader
        self._loaded: dict[str, _Loaded] = {}
        self._loads: dict[str, asyncio.Task[None]] = {}
        self._loading = asyncio.Lock()  # one at a time: it takes all cores, and memory that must be counted
        self._names = Names(settings.sources, settings.alias_ids)
        self.ids = self._names.ids
        self.default_id = self.ids[0]

    @asynccontextmanager
    async def use(self, id: str | None = None) -> AsyncIterator[EngineThread]:
        """The engine of a model, loaded if need be; it stays loaded as long as the context.

        Args:
            id: of the model, or another of its names; None: the default one.

        Raises:
            APIError: 404 for a model that is not served; 429 where memory is taken by models in use.
            WhisperMaxError: it can't be loaded.
        """
        id = self.known(id)
        while (loaded := self._loaded.get(id)) is None:
            await asyncio.shield(self._load(id))  # who leaves does not stop it: others may wait for it too
        loaded.n_users += 1
        try:
            yield loaded.engine
        finally:
            loaded.n_users -= 1
            loaded.last_used = time.monotonic()

    async def preload(self) -> None:
        """Load the default model."""
        async with self.use():
            pass

    def known(self, id: str | None) -> str:
        """The id that is meant.

        Raises:
            APIError: 404, none of this server's.
        """
        found = self.default_id if id is None else self._names.find(id)
        if found is None:
            known = ", ".join(self.ids)
            raise APIError(
                404,
                f"no such model here: expected {known}",
                type=NOT_FOUND,
                code="model_not_found",
                param="model",
            )
        return found

    def is_loaded(self, id: str) -> bool:
        """True where a model is in memory."""
        return id in self._loaded

    def loads(self) -> dict[str, tuple[int, int]]:
        """Of each loaded model: bytes, by estimate, and recordings in its batch or waiting for it."""
        return {id: (loaded.n_bytes, loaded.engine.n_running) for id, loaded in self._loaded.items()}

    async def unload(self, id: str) -> bool:
        """Take a model out of memory; False where it is not there.

        Raises:
            APIError: 404 for a model that is not served, 409 for one that is in use.
        """
        id = self.known(id)
        async with self._loading:
            loaded = self._loaded.get(id)
            if loaded is None:
                return False
            if loaded.n_users:
                raise APIError(409, f"{id} is in use by {loaded.n_users} requests", code="model_in_use", param="model")
            await self._unload(id)
            return True

    async def close(self) -> None:
        """Unload everything, once what is being loaded is; recordings that are not finished fail."""
        await asyncio.gather(*self._loads.values(), return_exceptions=True)
        for id in list(self._loaded):
            await self._unload(id)

    def _load(self, id: str) -> asyncio.Task[None]:
        """The loading of a model, which is one for all who wait for it."""
        if id not in self._loads:
            self._loads[id] = asyncio.create_task(self._load_now(id))
            self._loads[id].add_done_callback(lambda _: self._loads.pop(id))
        return self._loads[id]

    async def _load_now(self, id: str) -> None:
        source = self._sources[id]
        async with self._loading:
            n_bytes = await asyncio.to_thread(self._loader.estimate, source)
            await self._make_room(id, n_bytes)
            log.info("loading %s", id)
            start = time.monotonic()
            model = await asyncio.to_thread(self._loader.load, source)
            log.info("loaded %s in %.1f s", id, time.monotonic() - start)
            engine = EngineThread(id, model, self._workers, self._batch_size)
            self._loaded[id] = _Loaded(engine, n_bytes)

    async def _make_room(self, id: str, n_bytes: int) -> None:
        """Unload models that nobody uses until the budget holds one more."""
        if self._budget is None:
            return
        if n_bytes > self._budget:
            raise APIError(
                503,
                f"{id} takes about {n_bytes // MIB} MiB, more than the memory budget of {self._budget // MIB} MiB",
                type=OVERLOADED,
                code="memory_budget",
                param="model",
            )
        while sum(loaded.n_bytes for loaded in self._loaded.values()) + n_bytes > self._budget:
            idle = {id: loaded for id, loaded in self._loaded.items() if not loaded.n_users}
            if not idle:
                raise APIError(
                    429,
                    f"no memory for {id} while other models are in use",
                    type=OVERLOADED,
                    code="memory_budget",
                    headers={"Retry-After": "10"},
                )
            await self._unload(min(idle, key=lambda id: idle[id].last_used))

    async def _unload(self, id: str) -> None:
        log.info("unloading %s", id)
        loaded = self._loaded.pop(id)
        await asyncio.to_thread(loaded.engine.close)
