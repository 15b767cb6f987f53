"""A byte-pair vocabulary of the published size made by rule, so that tests need no checkpoint."""

from functools import cache
from itertools import product
from string import ascii_lowercase, printable

from whisper_max.text.tokenizer import Vocabulary

N_TEXT = 50257  # text tokens of the multilingual models, an empty one last


def synthetic_ranks(n_text: int = N_TEXT) -> dict[bytes, int]:
    """Every byte, then pairs of printable ones, then (space and) three letters, then letters in fours."""
    words = [bytes([byte]) for byte in range(256)]
    words += [bytes(pair) for pair in product(printable.encode()[:95], repeat=2)]
    triples = [bytes(letters) for letters in product(ascii_lowercase.encode(), repeat=3)]
    words += triples + [b" " + word for word in triples] + [word + b"e" for word in triples]
    ranks = {word: rank for rank, word in enumerate(dict.fromkeys(words[: n_text - 1]))}
    ranks[b""] = len(ranks)
    return ranks


@cache
def synthetic_vocabulary(num_languages: int = 99, *, english: bool = False) -> Vocabulary:
    """One for all tests of a process, which takes a tenth of a second to make and another to encode by."""
    n_text = N_TEXT - english
    return Vocabulary(synthetic_ranks(n_text), n_text + 1509 + num_languages)
