"""The engine: compile, artifact cache, devices, and running the graphs. The only room that touches MAX's runtime."""

from whisper_max.engine.devices import Target, select_target
from whisper_max.engine.engine import WhisperEngine
from whisper_max.engine.gpu_engine import check_utilization, open_engine

__all__ = ["Target", "WhisperEngine", "check_utilization", "open_engine", "select_target"]
