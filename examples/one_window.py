"""One window of 30 s by hand: samples, mel, encoder, prefill, one step a token, text.

``python examples/one_window.py [RECORDING]``. It is greedy and knows no timestamps, no fallback and no prompt; what
``Model.transcribe`` adds stands in ``whisper_max/decode``, whose ``pool.py`` has the same loop for many windows, and in
``whisper_max/transcribe``.
"""

from __future__ import annotations

import sys

import numpy as np

from whisper_max import load_model
from whisper_max.audio.io import open_audio
from whisper_max.audio.mel import MelWindows
from whisper_max.text.tokenizer import build_tokenizer


def main(path: str = "samples/jfk.flac") -> None:
    """Print the text of a recording's first 30 seconds."""
    model = load_model("base", progress=tell)
    tokenizer = build_tokenizer(model.vocabulary, multilingual=True, language="en", task="transcribe")
    with open_audio(path) as waveform:
        mel = MelWindows(waveform, model.dims.n_mels).window(0)  # (n_mels, 3000) float32
    xa = model.inference.encode(mel[None])  # (1, 1500, n_audio_state), on the device

    batch = model.inference.new_batch(max_windows=1)
    batch.put([0], xa)  # cross_kv: the keys and values of the window's audio, once
    prompt = tokenizer.sot_sequence_including_notimestamps  # <|startoftranscript|><|en|><|transcribe|><|notimestamps|>
    logits = batch.prefill([0], [prompt], [[-1]])[0, 0]  # (n_vocab,) after the prompt
    tokens: list[int] = []
    while len(tokens) < model.dims.n_text_ctx // 2:
        token = int(logits[: tokenizer.timestamp_begin].argmax())  # mask, and choose
        if token == tokenizer.eot:
            break  # done
        tokens.append(token)
        logits = batch.step(np.array([token], np.int32))[0]  # (n_vocab,), one token further in the KV cache
    print(tokenizer.decode(tokens).strip())


def tell(line: str) -> None:
    """What takes a while is told apart from what was asked for."""
    print(line, file=sys.stderr)


if __name__ == "__main__":
    main(*sys.argv[1:2])
