"""openai-whisper's surface: ``import whisper_max.compat.whisper as whisper``.

What differs from openai-whisper 20250625:

- Arrays are NumPy's where the peer has torch tensors, and a device is its name ("cpu", "cuda:0"). A spectrogram's
  ``.to(device)`` returns it as it is. ``DecodingResult.audio_features`` and ``embed_audio`` are handles of what the
  model holds, good for ``decode`` and ``detect_language`` in place of a mel.
- ``fp16`` can't be chosen after loading: a GPU computes in float16 and refuses ``fp16=False``; a CPU computes in
  float32, and warns as the peer does where ``fp16`` is not given as False.
- Recordings are read without ffmpeg and resampled by soxr, so samples may differ in the last of 16 bits.
- ``load_model`` refuses ``in_memory=True``, and a ``download_root`` that would have to be downloaded to.
  ``load_audio`` refuses other rates than 16 kHz. ``transcribe`` refuses ``prompt``, which the peer overwrites. A
  language or a task that the model can't do is refused; the peer lets it pass without doing it.
- Sampling at temperatures above 0 has a fixed seed, so that a program gets the same text each time.
- Writers refuse options of layout that have no effect, which the peer ignores; what JSON has not (NaN) is null.
- ``language`` in a result is a code, also where a name was given.
- The task "lang_id" is refused by ``transcribe``, and by ``decode`` of an English-only model.
- What takes or gives torch's modules (``model.encoder``, ``model.logits``...) is refused by name, with a
  ``NotOfferedError``.

``__version__`` is "20250625", the peer whose surface this is: programs compare it to decide what they may call. The
version of this code is ``whisper_max.version.VERSION``.
"""

from whisper_max.compat.loading import available_models
from whisper_max.compat.whisper import audio, tokenizer, utils
from whisper_max.compat.whisper.audio import load_audio, log_mel_spectrogram, pad_or_trim
from whisper_max.compat.whisper.decoding import DecodingOptions, DecodingResult, decode, detect_language
from whisper_max.compat.whisper.model import Whisper, load_model
from whisper_max.compat.whisper.transcribe import transcribe
from whisper_max.compat.whisper.version import __version__
from whisper_max.dims import ModelDimensions

__all__ = [
    "DecodingOptions",
    "DecodingResult",
    "ModelDimensions",
    "Whisper",
    "__version__",
    "audio",
    "available_models",
    "decode",
    "detect_language",
    "load_audio",
    "load_model",
    "log_mel_spectrogram",
    "pad_or_trim",
    "tokenizer",
    "transcribe",
    "utils",
]
