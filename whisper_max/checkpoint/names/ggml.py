"""whisper.cpp ggml tensor names: OpenAI's, with the convolutions' biases stored as columns."""

from __future__ import annotations

from whisper_max.checkpoint.names.openai import TABLE

COLUMNS = ("encoder.conv1.bias", "encoder.conv2.bias")
"""Vectors stored with shape (n, 1)."""

TYPES = {0: "float32", 1: "float16", 30: "bfloat16"}
"""ggml tensor types that hold weights as they are."""

QUANTISED = {
    2: "Q4_0",
    3: "Q4_1",
    6: "Q5_0",
    7: "Q5_1",
    8: "Q8_0",
    9: "Q8_1",
    10: "Q2_K",
    11: "Q3_K",
    12: "Q4_K",
    13: "Q5_K",
    14: "Q6_K",
    15: "Q8_K",
}
"""ggml tensor types that hold quantised blocks."""

__all__ = ["COLUMNS", "QUANTISED", "TABLE", "TYPES"]
