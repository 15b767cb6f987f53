"""whisper.cpp ggml tensor names: OpenAI's, with the convolutions' biases stored as columns."""

from __future__ import annotations

from whisper_max.checkpoint.names.openai import TABLE

COLUMNS = ("encoder.conv1.bias", "encoder.conv2.bias")
"""Vectors stored with shape (n, 1)."""

TYPES = {0: "float32", 1: "float16", 30: "bfloat16"}
"""ggml tensor types that hold weights as they are."""

__all__ = ["COLUMNS", "TABLE", "TYPES"]
