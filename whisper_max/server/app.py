"""The app: its rooms put together, and what lives as long as it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from fastapi import FastAPI

from whisper_max.server.admission import Admission
from whisper_max.server.decoding.parent import Decoders
from whisper_max.server.desk.desk import Desk
from whisper_max.server.doors import asr_webservice, whisper_cpp
from whisper_max.server.doors.wyoming import WyomingServer
from whisper_max.server.engines import Engines
from whisper_max.server.errors import add_error_handlers
from whisper_max.server.http import alignments, health, models, peaks, transcriptions
from whisper_max.server.http import desk as desk_routes
from whisper_max.server.http.docs import add_docs
from whisper_max.server.http.page import add_page
from whisper_max.server.loading import Loader, loader
from whisper_max.server.logs import RequestLog
from whisper_max.server.metrics import Metrics
from whisper_max.server.realtime import socket as realtime
from whisper_max.server.realtime import tickets
from whisper_max.server.realtime.tickets import Tickets
from whisper_max.server.recordings import Workers
from whisper_max.server.security import add_security
from whisper_max.server.settings import MIB, Settings
from whisper_max.server.spool import SpoolBudget
from whisper_max.server.state import Shared
from whisper_max.version import VERSION


def create_app(settings: Settings, load: Loader | None = None) -> FastAPI:
    """The app of these settings. It begins to load the default model when it starts, and answers meanwhile.

    Args:
        settings: how to serve.
        load: how models come into memory; None loads real ones.
    """
    decoders = Decoders(settings.decode_memory * MIB, settings.decode_timeout, settings.decode_processor_seconds)
    workers = Workers(settings.decode_workers, decoders)
    engines = Engines(settings, workers, load or loader(settings))
    admission, spool = Admission(settings.max_requests), SpoolBudget(settings.spool_budget * MIB)
    desk = None if settings.jobs is None else Desk(Path(settings.jobs), settings, engines, admission, spool)

    @asynccontextmanager
    async def life(app: FastAPI) -> AsyncIterator[None]:
        await asyncio.to_thread(decoders.start)
        wyoming = app.state.wyoming = WyomingServer(app.state.shared)
        if settings.wyoming_address is not None:
            await wyoming.start(*settings.wyoming_address)
        loading = app.state.loading = asyncio.create_task(engines.preload())
        if desk is not None:
            await desk.start()
        try:
            yield
        finally:
            if desk is not None:
                await desk.close()
            await wyoming.close()
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
    app.state.shared = Shared(
        settings,
        engines,
        admission,
        spool,
        workers,
        Metrics(),
        int(time.time()),
    )
    for router in (transcriptions.router, alignments.router, peaks.router, models.router, health.router):
        app.include_router(router)
    for router in (realtime.router, tickets.router, whisper_cpp.router, asr_webservice.router):
        app.include_router(router)
    if desk is not None:
        app.state.desk = desk
        app.include_router(desk_routes.router)
    add_page(app)
    add_docs(app)
    add_error_handlers(app, {**whisper_cpp.REFUSE, **asr_webservice.REFUSE})
    app.state.tickets = Tickets()
    add_security(app, settings, app.state.tickets)
    app.add_middleware(RequestLog)
    return app
