"""openai-whisper's surface: ``import whisper_max.compat.whisper as whisper``.

What differs from openai-whisper 20250625:

- Arrays are NumPy's where the peer has torch tensors, and a device is its name ("cpu", "cuda:0"). A spectrogram's
  ``.to(device)`` returns it as it is. ``DecodingResult.audio_features`` and ``embed_audio`` are handles of what the
  model holds, good for ``decode`` and ``detect_language`` in place of a mel.
- ``fp16`` can't be chosen after loading: a GPU computes in float16 and refuses ``fp16=False``; a CPU computes in
  float32, and warns as the peer does where ``fp16`` is not given as False.
- Its command, ``python -m whisper``, is ``whisper_max transcribe``: options have the same names, and its own defaults.
- Recordings are read without ffmpeg and resampled by soxr, so samples may differ in the last of 16 bits.
- To a ``download_root`` ``load_model`` downloads the hub's files, a folder a model; ``_MODELS`` are its repositories.
  ``transcribe`` refuses ``prompt``, which the peer overwrites. A
  language or a task that the model can't do is refused; the peer lets it pass without doing it.
- Sampling at temperatures above 0 has a fixed seed, so that a program gets the same text each time.
- Writers of subtitles refuse options of layout that rule each other out, and warn of those that change nothing without
  words, which the peer ignores; they write no cue without text or length. What JSON has not (NaN) is null.
- Times in a result are the peer's, which may lie after the end of the recording; ``whisper_max``'s own end with it.
- ``language`` in a result is a code, also where a name was given.
- The task "lang_id" is refused by ``transcribe``, and by ``decode`` of an English-only model.
- ``timing`` takes and gives NumPy arrays; ``normalizers`` need the extra ``evaluate``.
- What takes or gives torch's modules (``model.encoder``, ``model.logits``...) is refused by name, with a
  ``NotOfferedError``.

``__version__`` is "20250625", the peer whose surface this is: programs compare it to decide what they may call. The
version of this code is ``whisper_max.version.VERSION``.
"""

from whisper_max.compat.loading import available_models
from whisper_max.compat.whisper import audio, timing, tokenizer, utils
from whisper_max.compat.whisper.audio import load_audio, log_mel_spectrogram, pad_or_trim
from whisper_max.compat.whisper.decoding import DecodingOptions, DecodingResult, decode, detect_language
from whisper_max.compat.whisper.downloads import _MODELS, _download
from whisper_max.compat.whisper.model import Whisper, load_model
from whisper_max.compat.whisper.transcribe import transcribe
from whisper_max.compat.whisper.version import __version__
from whisper_max.dims import ModelDimensions

__all__ = [
    "_MODELS",
    "DecodingOptions",
    "DecodingResult",
    "ModelDimensions",
    "Whisper",
    "__version__",
    "_download",
    "audio",
    "available_models",
    "decode",
    "detect_language",
    "load_audio",
    "load_model",
    "log_mel_spectrogram",
    "pad_or_trim",
    "timing",
    "tokenizer",
    "transcribe",
    "utils",
]
