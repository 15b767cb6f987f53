#!/usr/bin/env bash
# Finding: peft 0.21.2 merges an adapter of a tied embedding twice, though it was trained with ensure_weight_tying.
#
# Expected: merge_and_unload gives the model that the adapter makes: the same logits, but for rounding.
# Happens: with ensure_weight_tying the adapter's layers on the embedding and on the logits share their matrices, and each
# of them adds the change to the one weight that both have. The merged weight is W + 2 d where the adapter means W + d, and
# the logits are others altogether. peft warns that merging tied layers "can lead to complications", and offers
# ensure_weight_tying against them.
#
# Exits 0 while this holds, 1 when it changed.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --disable-pip-version-check peft==0.21.2 transformers==5.24.0 torch==2.14.1 numpy==2.4.6
"$folder/venv/bin/python" -W ignore - <<'PY' && status=0 || status=$?
import copy
import sys

import torch
from peft import LoraConfig, get_peft_model
from transformers import WhisperConfig, WhisperForConditionalGeneration

torch.manual_seed(0)
sizes = {"d_model": 32, "encoder_layers": 1, "decoder_layers": 1, "encoder_attention_heads": 2}
sizes |= {"decoder_attention_heads": 2, "encoder_ffn_dim": 64, "decoder_ffn_dim": 64, "vocab_size": 300}
tokens = {"bos_token_id": 1, "eos_token_id": 1, "pad_token_id": 1, "decoder_start_token_id": 2}
base = WhisperForConditionalGeneration(WhisperConfig(**sizes, **tokens)).eval()
config = LoraConfig(r=4, lora_alpha=4, target_modules=["embed_tokens"], ensure_weight_tying=True)
adapted = get_peft_model(base, config).eval()
embedding = adapted.base_model.model.model.decoder.embed_tokens
mel, said = torch.randn(1, 80, 3000), torch.tensor([[2, 5, 7]])
with torch.no_grad():
    down, up = embedding.lora_embedding_A["default"], embedding.lora_embedding_B["default"]
    for matrix in (down, up):
        matrix.copy_(0.1 * torch.randn(matrix.shape))
    weight, change = embedding.base_layer.weight.clone(), (up @ down).T
    before = adapted(input_features=mel, decoder_input_ids=said).logits
    merged = adapted.merge_and_unload()
    after = merged(input_features=mel, decoder_input_ids=said).logits
    found = merged.model.decoder.embed_tokens.weight - weight
once, twice = ((found - times * change).abs().max().item() for times in (1, 2))
print(f"merged weight: {once:.2g} from W + d, {twice:.2g} from W + 2 d")
print(f"logits, merged and not: {(after - before).abs().max().item():.2g} apart, where they are {before.abs().max().item():.2g} at most")
holds = twice < 1e-6 < once
print("as described" if holds else "CHANGED")
sys.exit(0 if holds else 1)
PY
exit "$status"
