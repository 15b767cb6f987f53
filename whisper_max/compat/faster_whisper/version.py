"""The version of faster-whisper whose surface this is; that of the code is ``whisper_max.version.VERSION``."""

__version__ = "1.2.1"
