"""What the routes of one server share; found at ``app.state``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

from starlette.requests import HTTPConnection

from whisper_max.server.admission import Admission
from whisper_max.server.engines import Engines
from whisper_max.server.metrics import Metrics
from whisper_max.server.recordings import Workers
from whisper_max.server.settings import Settings
from whisper_max.server.spool import SpoolBudget


@dataclass(frozen=True)
class Shared:
    """One server's settings, models, places and counters; started: when it was made, in Unix time."""

    settings: Settings
    engines: Engines
    admission: Admission
    spool: SpoolBudget
    workers: Workers
    metrics: Metrics
    started: int


def shared(connection: HTTPConnection) -> Shared:
    """What is shared by the server that this request or WebSocket came to."""
    return cast(Shared, connection.app.state.shared)
