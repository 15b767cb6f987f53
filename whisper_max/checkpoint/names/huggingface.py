"""Hugging Face ``WhisperForConditionalGeneration`` tensor names and what they hold; ``{}`` is a layer number."""

from __future__ import annotations

from whisper_max.checkpoint.table import KEY_BIAS, NameTable

_PROJECTIONS = {"q_proj": "query", "k_proj": "key", "v_proj": "value", "out_proj": "out"}


def _pair(theirs: str, ours: str) -> dict[str, tuple[str, ...]]:
    return {f"{theirs}.{part}": (f"{ours}.{part}",) for part in ("weight", "bias")}


def _attention(theirs: str, ours: str) -> dict[str, tuple[str, ...]]:
    names: dict[str, tuple[str, ...]] = {}
    for projection, canonical in _PROJECTIONS.items():
        names |= _pair(f"{theirs}.{projection}", f"{ours}.{canonical}")
    names[f"{theirs}.k_proj.bias"] = (KEY_BIAS,)  # Whisper has none; some writers add it
    return names | _pair(f"{theirs}_layer_norm", f"{ours}_ln")


def _block(side: str) -> dict[str, tuple[str, ...]]:
    theirs, ours = f"model.{side}.layers.{{}}", f"{side}.blocks.{{}}"
    return {
        **_attention(f"{theirs}.self_attn", f"{ours}.attn"),
        **_pair(f"{theirs}.fc1", f"{ours}.mlp.0"),
        **_pair(f"{theirs}.fc2", f"{ours}.mlp.2"),
        **_pair(f"{theirs}.final_layer_norm", f"{ours}.mlp_ln"),
    }


TABLE = NameTable(
    tensors={
        **_pair("model.encoder.conv1", "encoder.conv1"),
        **_pair("model.encoder.conv2", "encoder.conv2"),
        "model.encoder.embed_positions.weight": ("encoder.positional_embedding",),
        **_block("encoder"),
        **_pair("model.encoder.layer_norm", "encoder.ln_post"),
        "model.decoder.embed_tokens.weight": ("decoder.token_embedding.weight",),
        "model.decoder.embed_positions.weight": ("decoder.positional_embedding",),
        **_block("decoder"),
        **_attention("model.decoder.layers.{}.encoder_attn", "decoder.blocks.{}.cross_attn"),
        **_pair("model.decoder.layer_norm", "decoder.ln"),
    },
    optional=frozenset(
        {
            "model.encoder.embed_positions.weight",
            "model.encoder.layers.{}.self_attn.k_proj.bias",
            "model.decoder.layers.{}.self_attn.k_proj.bias",
            "model.decoder.layers.{}.encoder_attn.k_proj.bias",
        }
    ),
    logits="proj_out.weight",
)
