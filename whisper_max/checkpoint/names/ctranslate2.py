"""CTranslate2 ``model.bin`` variable names and what they hold; ``{}`` is a layer number.

Each variable holds one canonical tensor, or several stacked along its first axis. KEY_BIAS stands for a stacked part
that is no tensor of Whisper's: the key projection has no bias.
"""

from __future__ import annotations

from whisper_max.checkpoint.table import KEY_BIAS, NameTable

PROJECTION = "decoder/projection/weight"
_CROSS = "decoder.blocks.{}.cross_attn"


def _block(side: str) -> dict[str, tuple[str, ...]]:
    block, attn, mlp = f"{side}/layer_{{}}", f"{side}.blocks.{{}}.attn", f"{side}.blocks.{{}}.mlp"
    query, key, value = (f"{attn}.{projection}.weight" for projection in ("query", "key", "value"))
    return {
        f"{block}/self_attention/layer_norm/gamma": (f"{attn}_ln.weight",),
        f"{block}/self_attention/layer_norm/beta": (f"{attn}_ln.bias",),
        f"{block}/self_attention/linear_0/weight": (query, key, value),
        f"{block}/self_attention/linear_0/bias": (f"{attn}.query.bias", KEY_BIAS, f"{attn}.value.bias"),
        f"{block}/self_attention/linear_1/weight": (f"{attn}.out.weight",),
        f"{block}/self_attention/linear_1/bias": (f"{attn}.out.bias",),
        f"{block}/ffn/layer_norm/gamma": (f"{mlp}_ln.weight",),
        f"{block}/ffn/layer_norm/beta": (f"{mlp}_ln.bias",),
        f"{block}/ffn/linear_0/weight": (f"{mlp}.0.weight",),
        f"{block}/ffn/linear_0/bias": (f"{mlp}.0.bias",),
        f"{block}/ffn/linear_1/weight": (f"{mlp}.2.weight",),
        f"{block}/ffn/linear_1/bias": (f"{mlp}.2.bias",),
    }


TABLE = NameTable(
    tensors={
        "encoder/conv1/weight": ("encoder.conv1.weight",),
        "encoder/conv1/bias": ("encoder.conv1.bias",),
        "encoder/conv2/weight": ("encoder.conv2.weight",),
        "encoder/conv2/bias": ("encoder.conv2.bias",),
        "encoder/position_encodings/encodings": ("encoder.positional_embedding",),
        **_block("encoder"),
        "encoder/layer_norm/gamma": ("encoder.ln_post.weight",),
        "encoder/layer_norm/beta": ("encoder.ln_post.bias",),
        "decoder/embeddings/weight": ("decoder.token_embedding.weight",),
        "decoder/position_encodings/encodings": ("decoder.positional_embedding",),
        **_block("decoder"),
        "decoder/layer_{}/attention/layer_norm/gamma": (f"{_CROSS}_ln.weight",),
        "decoder/layer_{}/attention/layer_norm/beta": (f"{_CROSS}_ln.bias",),
        "decoder/layer_{}/attention/linear_0/weight": (f"{_CROSS}.query.weight",),
        "decoder/layer_{}/attention/linear_0/bias": (f"{_CROSS}.query.bias",),
        "decoder/layer_{}/attention/linear_1/weight": (f"{_CROSS}.key.weight", f"{_CROSS}.value.weight"),
        "decoder/layer_{}/attention/linear_1/bias": (KEY_BIAS, f"{_CROSS}.value.bias"),
        "decoder/layer_{}/attention/linear_2/weight": (f"{_CROSS}.out.weight",),
        "decoder/layer_{}/attention/linear_2/bias": (f"{_CROSS}.out.bias",),
        "decoder/layer_norm/gamma": ("decoder.ln.weight",),
        "decoder/layer_norm/beta": ("decoder.ln.bias",),
    },
    logits=PROJECTION,
)

SETTINGS = {
    "decoder/activation": 3,  # GELU, the exact one
    "decoder/alibi": 0,
    "decoder/pre_norm": 1,
    "decoder/scale_embeddings": 0,
    "decoder/start_from_zero_embedding": 0,
}
"""Scalars that say how the model computes, each with the one value that is Whisper."""

HEADS = ("encoder/num_heads", "decoder/num_heads")
"""Scalars that carry dims."""

OPTIONAL_SETTINGS = frozenset(SETTINGS) - {"decoder/activation"}
"""Settings that older converters leave out because Whisper's value is CTranslate2's default."""

IGNORED = (
    "decoder/alignment_heads",  # placeholders: the heads are in config.json
    "decoder/alignment_layer",
    "decoder/alibi_use_positive_positions",  # details of ALiBi, which is off
    "decoder/scale_alibi",
)
"""Scalars without a meaning for Whisper."""

ALIASES = {PROJECTION: "decoder/embeddings/weight"}
"""The output projection is the token embedding, where it is no variable of its own."""
