"""Greedy tokens of random logits, chosen by a device and by the host."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from whisper_max.decode.rules import LogitRule, SuppressBlank, SuppressTokens, TimestampRules
from whisper_max.decode.search import GreedySearch
from whisper_max.dims import ModelDimensions
from whisper_max.engine.runtime import Graph, Placement
from whisper_max.model.stages import ROW_STATE

N_ROWS = 8
_N_STEPS = 12
Array = NDArray[np.float32]


def choose_tokens(
    graph: Graph, dims: ModelDimensions, place: Placement, rng: np.random.Generator
) -> tuple[Array, Array]:
    """Transcripts by the graph ``choose`` under all rules, and the host's, both (N_ROWS, n_text_ctx) float32."""
    n_vocab, n_ctx = dims.n_vocab, dims.n_text_ctx
    begin = n_vocab - min(1501, n_vocab // 4)
    eot, no_timestamps, blank = begin - 8, begin - 1, 220
    tokenizer: Any = SimpleNamespace(
        eot=eot,
        no_timestamps=no_timestamps,
        timestamp_begin=begin,
        timestamp_end=n_vocab,
        encode=lambda text: [blank],
    )
    suppressed = sorted({int(token) for token in rng.integers(0, eot, 80)})
    rules: list[LogitRule] = [SuppressBlank(tokenizer), SuppressTokens(suppressed), TimestampRules(tokenizer, 20)]
    searches = [GreedySearch(eot) for _ in range(N_ROWS)]
    never, not_first = np.zeros((2, n_vocab), np.bool_)
    never[[*suppressed, no_timestamps]] = True
    not_first[:begin] = not_first[begin + 21 :] = True
    state = {name: np.zeros((N_ROWS, n_ctx) if name == "transcript" else N_ROWS, np.int32) for name in ROW_STATE}
    state["before"][:] = n_vocab
    state["last_timestamp"][:] = -1
    state["sum_logprobs"] = state["sum_logprobs"].astype(np.float32)
    buffers = [place.put(state[name]) for name in ROW_STATE]
    ids, limits = np.array([eot, begin, n_ctx], np.int32), np.full(N_ROWS, _N_STEPS, np.int32)
    earliest = np.zeros(N_ROWS, np.int32)
    fixed = [place.put(each) for each in (never, not_first, ids, limits, earliest)]
    for _ in range(_N_STEPS):
        logits = 3 * rng.standard_normal((N_ROWS, n_vocab), dtype=np.float32)
        logits[:, begin:] += 3 * rng.standard_normal((N_ROWS, 1), dtype=np.float32)
        graph.execute(place.put(logits), *fixed, *buffers)
        for row, search in enumerate(searches):
            if not (search.sampled[0] and search.done):
                own = logits[row : row + 1].copy()
                for rule in rules:
                    rule.apply(own, search.sampled)
                search.update(own)
    expected = np.zeros((N_ROWS, n_ctx), np.float32)  # nothing is written beyond a transcript's end
    for row, search in enumerate(searches):
        expected[row, : len(search.sampled[0])] = search.sampled[0]
    return place.get(buffers[-1]).astype(np.float32), expected
