"""The engine: compile, artifact cache, devices, and running the graphs. The only room that touches MAX's runtime."""

from whisper_max.engine.devices import Target, select_target
from whisper_max.engine.engine import WhisperEngine

__all__ = ["Target", "WhisperEngine", "select_target"]
