"""A segment in parts, each with its words and its tokens."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import accumulate, pairwise

from whisper_max.text.tokenizer import Tokenizer
from whisper_max.transcribe.segment import Segment


def split_segment(segment: Segment, breaks: Sequence[int], tokenizer: Tokenizer) -> list[Segment]:
    """A segment with words, in parts; the first starts and the last ends where it did.

    Args:
        segment: which is returned itself where there are no breaks.
        breaks: the numbers of the words that begin a part, but for the first word.
        tokenizer: of its tokens.
    """
    words = segment.words or []
    if not breaks:
        return [segment]
    groups = [words[start:stop] for start, stop in pairwise([0, *breaks, len(words)])]
    texts = ["".join(word.word for word in group) for group in groups]
    tokens = _split_tokens(segment.tokens, texts, tokenizer)
    parts = [
        replace(segment, start=group[0].start, end=group[-1].end, text=text, tokens=some, words=group)
        for group, text, some in zip(groups, texts, tokens, strict=True)
    ]
    if segment.token_logprobs is not None:
        borders = accumulate(map(len, tokens), initial=0)
        for part, (start, stop) in zip(parts, pairwise(borders), strict=True):
            part.token_logprobs = segment.token_logprobs[start:stop]
    parts[0].start, parts[-1].end = min(segment.start, parts[0].end), max(segment.end, parts[-1].start)
    return parts


def _split_tokens(tokens: Sequence[int], texts: Sequence[str], tokenizer: Tokenizer) -> list[list[int]]:
    """The tokens of each text; timestamps go with the text before them, one at the start with the first."""
    parts: list[list[int]] = [[]]
    for token in tokens:
        spoken = [each for each in parts[-1] if tokenizer.is_text(each)]
        is_whole = len(parts) < len(texts) and tokenizer.decode(spoken) == texts[len(parts) - 1]
        if is_whole and tokenizer.is_text(token):
            parts.append([])
        parts[-1].append(token)
    return [*parts, *([] for _ in range(len(texts) - len(parts)))]
