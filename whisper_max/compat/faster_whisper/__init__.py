"""faster-whisper's surface: ``from whisper_max.compat.faster_whisper import WhisperModel``.

What differs from faster-whisper 1.2.1:

- Decoding follows openai-whisper. Where every temperature fails the last transcript counts, not the likeliest. At most
  224 tokens are decoded in a window unless ``max_new_tokens`` says otherwise.
- Language detection hears the beginning of the recording, or of its speech, wherever the first clip starts. Where
  nothing is said the language is "".
- The thresholds and the temperature fallback count in ``BatchedInferencePipeline`` too, where the peer drops them.
  ``condition_on_previous_text`` does not: windows side by side know no text before them; each is prompted with
  ``initial_prompt``. A ``batch_size`` of 1 transcribes as ``WhisperModel`` does.
- ``length_penalty`` is 0 or 1. ``hotwords`` are never cut: too many are refused. Refused as well: ``prefix`` (that of
  the peer is for the first window only), token ids as ``initial_prompt``, another ``chunk_length`` than 30,
  ``hallucination_silence_threshold`` without ``word_timestamps``,
  ``multilingual`` with a ``language``, and a language or a task that the model can't do.
- ``WhisperModel`` computes in float32 on a CPU and in bfloat16 on a GPU by default. A CPU offers ``int8`` too; types
  such as ``int8_float16`` are refused, as are ``num_workers``, ``files`` and CTranslate2's own options;
  ``cpu_threads`` are at most the cores, and the same for all models of a process. Sampling has a fixed seed.
- ``decode_audio`` averages channels: ``split_stereo`` is refused.
- ``download_model`` fetches OpenAI's own weights where the peer has converted ones; ``cache_dir`` is refused.
- Nothing is written to the logger ``faster_whisper``. What the peer exchanges with CTranslate2 (``encode``,
  ``generate_with_fallback``, ``feature_extractor``...) is refused by name, with a ``NotOfferedError``.

``__version__`` is "1.2.1", the peer whose surface this is: programs compare it to decide what they may call. The
version of this code is ``whisper_max.version.VERSION``.
"""

from whisper_max.compat.faster_whisper.audio import decode_audio
from whisper_max.compat.faster_whisper.transcribe import BatchedInferencePipeline, WhisperModel
from whisper_max.compat.faster_whisper.utils import available_models, download_model, format_timestamp
from whisper_max.compat.faster_whisper.version import __version__

__all__ = [
    "BatchedInferencePipeline",
    "WhisperModel",
    "__version__",
    "available_models",
    "decode_audio",
    "download_model",
    "format_timestamp",
]
