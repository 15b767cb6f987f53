"""The graphs for a GPU, compiled on a machine that has none."""

from __future__ import annotations

from max.dtype import DType

from whisper_max.dims import ModelDimensions
from whisper_max.engine.compiler import compile_module

DIMS = ModelDimensions(
    n_mels=80, n_audio_ctx=52, n_audio_state=128, n_audio_head=2, n_audio_layer=1,
    n_vocab=211, n_text_ctx=40, n_text_state=128, n_text_head=2, n_text_layer=1,
)  # fmt: skip


def test_all_graphs_cross_compile_for_sm_90a_in_bfloat16():
    module = compile_module(DIMS, DType.bfloat16, DType.bfloat16, "gpu:sm_90a")
    assert len(module) > 100_000
    assert b"sm_90a" in module
