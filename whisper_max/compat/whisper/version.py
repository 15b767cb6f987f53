"""The version of openai-whisper whose surface this is; that of the code is ``whisper_max.version.VERSION``."""

__version__ = "20250625"
