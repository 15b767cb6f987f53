"""What the server counts, in Prometheus' text format; a registry for each app."""

from __future__ import annotations

from collections.abc import Mapping

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.platform_collector import PlatformCollector
from prometheus_client.process_collector import ProcessCollector

_SECONDS = (0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600, 1800, 3600)


class Metrics:
    """The counters of one server; all names begin with ``whisper_max_``."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        PlatformCollector(registry=self.registry)
        self.requests = Counter(
            "whisper_max_requests", "Requests answered", ["endpoint", "status"], registry=self.registry
        )
        self.seconds = Histogram(
            "whisper_max_request_seconds",
            "From the first byte of a request to its answer",
            ["endpoint"],
            buckets=_SECONDS,
            registry=self.registry,
        )
        self.audio_seconds = Counter(
            "whisper_max_audio_seconds", "Seconds of audio transcribed", ["model"], registry=self.registry
        )
        self.upload_bytes = Counter("whisper_max_upload_bytes", "Bytes of audio uploaded", registry=self.registry)
        self.disconnects = Counter(
            "whisper_max_disconnects", "Clients that left before their answer", registry=self.registry
        )
        self.in_flight = Gauge("whisper_max_requests_in_flight", "Requests taken, unanswered", registry=self.registry)
        self.live_sessions = Gauge("whisper_max_live_sessions", "Open realtime sessions", registry=self.registry)
        self.recordings = Gauge(
            "whisper_max_recordings_running",
            "Recordings in a model's batch or waiting for it",
            ["model"],
            registry=self.registry,
        )
        self.model_bytes = Gauge(
            "whisper_max_model_bytes", "Estimated memory of each loaded model", ["model"], registry=self.registry
        )

    def observe(self, in_flight: int, loads: Mapping[str, tuple[int, int]]) -> None:
        """Set what is true right now; loads: bytes and running recordings of each loaded model."""
        self.in_flight.set(in_flight)
        self.model_bytes.clear()
        self.recordings.clear()
        for model, (n_bytes, n_running) in loads.items():
            self.model_bytes.labels(model).set(n_bytes)
            self.recordings.labels(model).set(n_running)

    def render(self) -> bytes:
        """Everything, as text."""
        return generate_latest(self.registry)
