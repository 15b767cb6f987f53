"""The app: its rooms put together, and what lives as long as it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI

from whisper_max.server import health, models, realtime, transcriptions
from whisper_max.server.admission import Admission
from whisper_max.server.engines import Engines
from whisper_max.server.errors import add_error_handlers
from whisper_max.server.loading import Loader, loader
from whisper_max.server.metrics import Metrics
from whisper_max.server.page import add_page
from whisper_max.server.recordings import Workers
from whisper_max.server.security import add_security
from whisper_max.server.settings import Settings
from whisper_max.server.state import Shared
from whisper_max.version import VERSION


def create_app(settings: Settings, load: Loader | None = None) -> FastAPI:
    """The app of these settings. It begins to load the default model when it starts, and answers meanwhile.

    Args:
        settings: how to serve.
        load: how models come into memory; None loads real ones.
    """
    workers = Workers(settings.decode_workers)
    engines = Engines(settings, workers, load or loader(settings))

    @asynccontextmanager
    async def life(app: FastAPI) -> AsyncIterator[None]:
        loading = app.state.loading = asyncio.create_task(engines.preload())
        try:
            yield
        finally:
            loading.cancel()
            await asyncio.gather(loading, return_exceptions=True)
            await engines.close()
            await asyncio.to_thread(workers.close)

    app = FastAPI(
        title="whisper_max",
        version=VERSION,
        description="Speech to text, with OpenAI's audio API.",
        lifespan=life,
        docs_url=None,
        redoc_url=None,
    )
    app.state.shared = Shared(settings, engines, Admission(settings.max_requests), Metrics(), int(time.time()))
    for router in (transcriptions.router, models.router, health.router, realtime.router):
        app.include_router(router)
    add_page(app)
    add_error_handlers(app)
    add_security(app, settings)
    return app
