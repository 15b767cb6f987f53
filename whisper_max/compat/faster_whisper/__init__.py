"""faster-whisper's surface: ``from whisper_max.compat.faster_whisper import WhisperModel``.

What differs from faster-whisper 1.2.1:

- Decoding follows openai-whisper. Where every temperature fails the last transcript counts, not the likeliest. At most
  224 tokens are decoded in a window unless ``max_new_tokens`` says otherwise.
- Language detection hears the beginning of the recording, or of its speech, wherever the first clip starts. Where
  nothing is said, it is what the model makes of the silence, as there.
- The thresholds and the temperature fallback count in ``BatchedInferencePipeline`` too, where the peer drops them.
  ``condition_on_previous_text`` does not: windows side by side know no text before them; each is prompted with
  ``initial_prompt``. A ``batch_size`` of 1 transcribes as ``WhisperModel`` does.
- Of long ``hotwords`` the last tokens count, and they stand beside a ``prefix``. ``chunk_length`` is at most 30.
  Refused are ``multilingual`` with a ``language``, and a language or a task that the model can't do.
- ``WhisperModel`` computes in float32 on a CPU and in bfloat16 on a GPU by default. A CPU offers ``int8`` too; types
  such as ``int8_float16`` are refused, as are ``files`` and what CTranslate2's own options are not by default.
  ``cpu_threads`` above the cores are the cores, and the same for all models of a process; ``num_workers`` changes
  nothing. Sampling has a fixed seed.
- ``download_model`` fetches OpenAI's own weights where the peer has converted ones. A converted copy that is not in the
  hub's cache, such as ``Systran/faster-whisper-base``, is the published model.
- ``hf_tokenizer`` is an object with ``encode``, ``decode`` and ``token_to_id``, and the one that ``Tokenizer`` takes.
- Nothing is written to the logger ``faster_whisper``. What the peer exchanges with CTranslate2 (``encode``,
  ``generate_with_fallback``, ``find_alignment``...) is refused by name, with a ``NotOfferedError``.

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
