"""Options held against a model: the one place that refuses what is possible, but not for this model."""

from __future__ import annotations

from whisper_max.decode.language import check_translation
from whisper_max.decode.prompt import prefix_tokens, text_tokens
from whisper_max.decode.rules import suppressed_tokens
from whisper_max.dims import ModelDimensions
from whisper_max.errors import OptionError
from whisper_max.text.tokenizer import Vocabulary, build_tokenizer
from whisper_max.transcribe.options import TranscribeOptions


def check_options(dims: ModelDimensions, vocabulary: Vocabulary, options: TranscribeOptions) -> None:
    """Refuse options that are impossible for a model, whatever the recording.

    Raises:
        OptionError: such an option.
    """
    multilingual = vocabulary.is_multilingual
    if options.multilingual and not multilingual:
        raise OptionError(
            "an English-only model can't detect languages", where="multilingual", hint="take a model without .en"
        )
    tokenizer = build_tokenizer(vocabulary, multilingual=multilingual, language=options.language, task=options.task)
    check_translation(dims, options.task)
    decoding = options.decodings[0]
    suppressed_tokens(tokenizer, decoding)
    prefix_tokens(dims, tokenizer, decoding)
    text_tokens(tokenizer, "hotwords", options.hotwords)
