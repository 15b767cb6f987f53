"""Write tests/audio/data/mel_reference.npz: openai-whisper's log-mel of one second of a generated signal.

Run with the developers' dependencies: python scripts/reference/dump_mel_reference.py
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from whisper.audio import log_mel_spectrogram

OUT = Path(__file__).resolve().parents[2] / "tests" / "audio" / "data" / "mel_reference.npz"
RATE = 16000


def main() -> None:
    t = np.arange(RATE) / RATE
    chirp = 0.4 * np.sin(2 * np.pi * (100 * t + 3500 * t**2))  # 100 Hz to 7.1 kHz
    noise = 0.1 * np.random.default_rng(0).standard_normal(RATE)
    fade = np.where(t < 0.8, 1.0, 10.0 ** (-30 * (t - 0.8)))  # down to silence, where the floor of 8 decades acts
    samples = np.round(32767 * np.clip((chirp + noise) * fade, -1, 1)).astype(np.int16)
    waveform = samples.astype(np.float32) / 32768
    arrays: dict[str, Any] = {"samples": samples}
    for n_mels in (80, 128):
        arrays[f"mel_{n_mels}"] = log_mel_spectrogram(waveform, n_mels).numpy()
        padded = log_mel_spectrogram(waveform, n_mels, padding=480000).numpy()
        arrays[f"padded_{n_mels}"] = padded[:, 90:110]  # across the end of the recording
    np.savez_compressed(OUT, **arrays)
    print(OUT, OUT.stat().st_size, "bytes")


if __name__ == "__main__":
    main()
