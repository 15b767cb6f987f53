"""The version of whisper_max, in one place."""

VERSION = "0.2.0"
