"""The graph with kernels of our own for a GPU, compiled on a machine that has none; under a minute of one core."""

from __future__ import annotations

from max.dtype import DType

from whisper_max.compile.compiler import compile_module
from whisper_max.dims import ModelDimensions

DIMS = ModelDimensions(
    n_mels=64, n_audio_ctx=32, n_audio_state=64, n_audio_head=1, n_audio_layer=1,
    n_vocab=192, n_text_ctx=32, n_text_state=64, n_text_head=1, n_text_layer=1,
)  # fmt: skip


def test_the_fast_step_cross_compiles_for_sm_90a_in_bfloat16():
    module = compile_module(DIMS, DType.bfloat16, DType.bfloat16, "gpu:sm_90a:fast", ["step"])
    assert len(module) > 100_000
    assert b"sm_90a" in module
    assert b"token_block" in module
