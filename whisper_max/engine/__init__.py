"""The engine: a checkpoint's weights in compiled graphs, run on a device."""

from whisper_max.engine.engine import WhisperEngine
from whisper_max.engine.gpu.engine import check_utilization, open_engine
from whisper_max.hardware.target import Target, select_target

__all__ = ["Target", "WhisperEngine", "check_utilization", "open_engine", "select_target"]
