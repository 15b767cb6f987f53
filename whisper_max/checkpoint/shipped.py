"""The two published Whisper vocabularies, shipped for weight files that come without one.

They are OpenAI's (MIT licence); ``scripts/build/build_vocabularies.py`` writes them.
"""

from __future__ import annotations

import lzma
from importlib.resources import files

from whisper_max.checkpoint.vocabulary import Vocabulary, make_vocabulary, unpack_tokens
from whisper_max.errors import CheckpointError

_NAMES = {51864: "english", 51865: "multilingual", 51866: "multilingual"}
"""Which vocabulary goes with a token embedding of so many rows."""


def shipped_vocabulary(n_vocab: int, where: object) -> Vocabulary:
    """The published vocabulary of a model with ``n_vocab`` embeddings; it states no special tokens.

    Raises:
        CheckpointError: no published model has so many.
    """
    name = _NAMES.get(n_vocab)
    if name is None:
        raise CheckpointError(
            "no vocabulary beside the weights, and no published one fits",
            where=where,
            expected="n_vocab " + ", ".join(str(size) for size in _NAMES),
            found=n_vocab,
            hint="put the model's tokenizer.json beside it",
        )
    packed = (files("whisper_max.checkpoint") / "data" / f"{name}.vocabulary.xz").read_bytes()
    return make_vocabulary(unpack_tokens(lzma.decompress(packed)), {}, n_vocab, where)
