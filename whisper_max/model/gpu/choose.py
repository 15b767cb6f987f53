"""The next token of every row, chosen on the device: the logit rules as masks, then the likeliest token or a sample.

The rules are those of ``decode/rules.py`` that every transcript needs: suppressed tokens, a first token that is no
blank, and the timestamp rules. What they have to remember of a row are three integers: its last token, the one before,
and its last timestamp. Steps and choices follow one another without the host, which reads finished rows when it likes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from max.dtype import DType
from max.graph import BufferType, BufferValue, DeviceRef, TensorType, TensorValue, Value, ops

from whisper_max.dims import ModelDimensions
from whisper_max.model.gpu.decode_attention import MASKED
from whisper_max.model.stages import BROKEN, GOING_ON, IMPOSSIBLE

Add = Callable[
    [str, Iterable[TensorType | BufferType], Callable[[Sequence[Value]], TensorValue | Sequence[TensorValue] | None]],
    None,
]
"""Adds a graph to a module: its name, the types of its inputs, and what makes its outputs of them."""
LARGEST = 3.4e38
"""A logit above it is infinite."""
CHUNK = 256
"""Tokens of the vocabulary whose probabilities are added up together when a token is sampled."""


def choose_input_types(dims: ModelDimensions, device: DeviceRef, sampled: bool) -> list[TensorType | BufferType]:
    """The inputs of ``choose`` and, with temperatures, of ``sample``.

    logits: (rows, n_vocab) float32. never, not_first: (n_vocab,) bool, what may not be said at all, and not as the
    first token. ids: (3,) int32, the end of the transcript, the first timestamp (n_vocab where timestamps have no
    rules), and the caches' capacity. limits: (rows,) int32, the most tokens of a row; 0 for a row not in use.
    earliest: (rows,) int32, the timestamp before which a row does not end after a pair of timestamps.

    Only with ``sampled``: temperatures (rows,) float32, above 0, and draws (rows, n_text_ctx) float32 in [0, 1), one
    for each token.

    Then the buffers of ``stages.ROW_STATE``. tokens: (rows,) int32, a row's last token. lengths: (rows,) int32, the
    tokens in its cache (at the start one less than there are: a choice adds one). before: (rows,) int32, the token
    before the last one, n_vocab where there is none. last_timestamp: (rows,) int32, -1 where there is none. n_sampled:
    (rows,) int32. sum_logprobs: (rows,) float32. transcript: (rows, n_text_ctx) int32, the tokens so far.
    """

    def per_row(dtype: DType) -> BufferType:
        return BufferType(dtype, ["rows"], device=device)

    return [
        TensorType(DType.float32, ["rows", dims.n_vocab], device=device),
        TensorType(DType.bool, [dims.n_vocab], device=device),
        TensorType(DType.bool, [dims.n_vocab], device=device),
        TensorType(DType.int32, [3], device=device),
        TensorType(DType.int32, ["rows"], device=device),
        TensorType(DType.int32, ["rows"], device=device),
        *([TensorType(DType.float32, ["rows"], device=device)] if sampled else []),
        *([TensorType(DType.float32, ["rows", dims.n_text_ctx], device=device)] if sampled else []),
        *[per_row(DType.int32)] * 5,
        per_row(DType.float32),
        BufferType(DType.int32, ["rows", dims.n_text_ctx], device=device),
    ]


def choose(inputs: Sequence[Value]) -> TensorValue:
    """Take each row's likeliest token.

    Returns (rows,) int32: how long a finished row's transcript is, or one of ``stages``' ``GOING_ON``, ``BROKEN``,
    ``IMPOSSIBLE``; the last two end a row, and are said once.
    """
    logits, never, not_first, ids, limits, earliest, *state = inputs
    return _advance((logits, never, not_first, ids, limits, earliest), state, None)


def sample(inputs: Sequence[Value]) -> TensorValue:
    """Take a sample for each row at its temperature, the token where its draw falls. Returns as ``choose``."""
    logits, never, not_first, ids, limits, earliest, temperatures, draws, *state = inputs
    sampling = temperatures.tensor, draws.tensor
    return _advance((logits, never, not_first, ids, limits, earliest), state, sampling)


def _advance(
    inputs: Sequence[Value], state: Sequence[Value], sampling: tuple[TensorValue, TensorValue] | None
) -> TensorValue:
    logits, never, not_first, ids, limits, earliest = (value.tensor for value in inputs)
    buffers = [value.buffer for value in state]
    tokens, lengths, before, last_timestamp, n_sampled, sum_logprobs = (
        ops.unsqueeze(ops.buffer_load(buffer), -1) for buffer in buffers[:6]
    )  # each (rows, 1)
    transcript = ops.buffer_load(buffers[6])
    eot, begin, capacity = (ids[index].reshape((1, 1)) for index in range(3))
    limits, earliest = ops.unsqueeze(limits, -1), ops.unsqueeze(earliest, -1)
    first = n_sampled == 0
    active = (first | (tokens != eot)) & (n_sampled < limits)

    vocabulary = _indices(logits, 1)  # (1, n_vocab)
    forbidden = ops.unsqueeze(never, 0) | (first & ops.unsqueeze(not_first, 0))
    forbidden = forbidden | _breaks_timestamps(vocabulary, tokens, before, last_timestamp, n_sampled, eot, begin)
    closed = (n_sampled > 1) & (tokens >= begin) & (before >= begin)
    forbidden = forbidden | (closed & (tokens < earliest) & (vocabulary == eot))
    logits = ops.where(forbidden, MASKED, logits)
    broken = ops.max((ops.is_nan(logits) | (logits > LARGEST)).cast(DType.int32)) > 0  # maxima and exp may hide a NaN
    logits, best, log_total = _prefer_timestamps(logits, vocabulary >= begin)

    if sampling is None:
        chosen = _first_index(logits == best, vocabulary)
    else:
        temperatures, draws = sampling
        draw = ops.sum(ops.where(_indices(draws, 1) == n_sampled, draws, 0.0))  # (rows, 1)
        chosen = _where_the_draw_falls(logits, best, ops.unsqueeze(temperatures, -1), draw)
    logprob = ops.sum(ops.where(vocabulary == chosen, logits, 0.0)) - log_total
    impossible = best < MASKED / 2
    chosen = ops.where(broken | impossible, eot, chosen)

    n_now = ops.where(active, n_sampled + 1, n_sampled)
    longer = ops.where(lengths + 1 < capacity, lengths + 1, lengths)  # a finished row steps on in place
    here = active & (_indices(transcript, 1) == n_sampled)
    _store(buffers[0], ops.where(active, chosen, eot))
    _store(buffers[1], ops.where(active, longer, lengths))
    _store(buffers[2], ops.where(active, ops.where(first, int(logits.shape[1]), tokens), before))
    _store(buffers[3], ops.where(active & (chosen >= begin), chosen, last_timestamp))
    _store(buffers[4], n_now)
    _store(buffers[5], ops.where(active, sum_logprobs + logprob, sum_logprobs))
    ops.buffer_store(buffers[6], ops.where(here, chosen, transcript))
    going_on = active & (chosen != eot) & (n_now < limits)
    report = ops.where(going_on, GOING_ON, n_now)
    report = ops.where(active & impossible, IMPOSSIBLE, report)
    return ops.squeeze(ops.where(active & broken, BROKEN, report), -1)


def _breaks_timestamps(
    vocabulary: TensorValue,
    tokens: TensorValue,
    before: TensorValue,
    last_timestamp: TensorValue,
    n_sampled: TensorValue,
    eot: TensorValue,
    begin: TensorValue,
) -> TensorValue:
    """What a row may not say after what it said: timestamps come in pairs and never go back. (rows, n_vocab) bool."""
    later = n_sampled > 0
    opened = later & (tokens >= begin)
    closed = opened & (before >= begin)  # a pair is complete: text
    halfway = opened & ~closed  # the second of a pair, or the end
    is_timestamp = vocabulary >= begin
    passed = ops.where(opened, last_timestamp, last_timestamp + 1)  # a segment lasts longer than nothing
    gone = later & (last_timestamp >= 0) & is_timestamp & (vocabulary < passed)
    return gone | (closed & is_timestamp) | (halfway & (vocabulary < eot))


def _prefer_timestamps(logits: TensorValue, is_timestamp: TensorValue) -> tuple[TensorValue, TensorValue, TensorValue]:
    """Forbid text where all timestamps together are likelier than the likeliest text token.

    Returns the logits, the highest of each row and the logarithm of the sum of their exponentials, each (rows, 1).
    """
    best_timestamp = ops.max(ops.where(is_timestamp, logits, MASKED))
    best_text = ops.max(ops.where(is_timestamp, MASKED, logits))
    of_timestamps = ops.sum(ops.where(is_timestamp, ops.exp(logits - best_timestamp), 0.0))
    log_timestamps = best_timestamp + ops.log(of_timestamps)
    possible = best_timestamp > MASKED / 2
    win = possible & (log_timestamps > best_text)
    logits = ops.where(win & ~is_timestamp, MASKED, logits)
    best = ops.max(logits)
    return logits, best, best + ops.log(ops.sum(ops.exp(logits - best)))


def _where_the_draw_falls(
    logits: TensorValue, best: TensorValue, temperature: TensorValue, draw: TensorValue
) -> TensorValue:
    """Inverse transform sampling: the first token at which the summed probabilities exceed the draw. (rows, 1) int32.

    The sums are taken over chunks of the vocabulary first, then within the chunk where the draw falls.
    """
    n_vocab = int(logits.shape[1])
    n_chunks = -(-n_vocab // CHUNK)
    weights = ops.exp((logits - best) / temperature)
    weights = ops.pad(weights, [0, 0, 0, n_chunks * CHUNK - n_vocab])
    chunks = weights.reshape((weights.shape[0], n_chunks, CHUNK))
    sums = ops.squeeze(ops.sum(chunks), -1)  # (rows, n_chunks)
    point = draw * ops.sum(sums)  # (rows, 1)
    chunk = _count(_running(sums) <= point, n_chunks)  # (rows, 1)
    point = point - ops.sum(ops.where(_indices(sums, 1) < chunk, sums, 0.0))
    inside = ops.gather_nd(chunks, chunk, batch_dims=1)  # (rows, CHUNK)
    chosen = chunk * CHUNK + _count(_running(inside) <= point, CHUNK)
    return ops.where(chosen < n_vocab, chosen, n_vocab - 1)


def _running(x: TensorValue) -> TensorValue:
    """Sums of each row up to and with every column, by a triangle of ones; exact float32 additions on every device."""
    n = int(x.shape[1])
    columns = ops.range(0, n, 1, dtype=DType.int32, device=x.device)
    up_to = ops.unsqueeze(columns, 0) <= ops.unsqueeze(columns, 1)  # (n, n)
    return ops.squeeze(ops.sum(ops.where(ops.unsqueeze(up_to, 0), ops.unsqueeze(x, 1), 0.0)), -1)


def _count(below: TensorValue, n: int) -> TensorValue:
    """How many columns of each row are true, at most n - 1. (rows, 1) int32."""
    counted = ops.sum(below.cast(DType.int32))
    return ops.where(counted < n, counted, n - 1)


def _first_index(where: TensorValue, indices: TensorValue) -> TensorValue:
    """The first true column of each row, (rows, 1) int32; ``ops.argmax`` may take any of equal ones on a GPU."""
    return ops.min(ops.where(where, indices, int(where.shape[1])))


def _indices(x: TensorValue, axis: int) -> TensorValue:
    """(1, n) int32: 0, 1, 2... along an axis of x."""
    n = int(x.shape[axis])
    return ops.unsqueeze(ops.range(0, n, 1, dtype=DType.int32, device=x.device), 0)


def _store(buffer: BufferValue, column: TensorValue) -> None:
    ops.buffer_store(buffer, ops.squeeze(column, -1))


def no_speech_input_types(dims: ModelDimensions, device: DeviceRef) -> list[TensorType]:
    """logits: (windows, n_vocab) float32, at the start of the transcript. token: (1,) int32."""
    return [
        TensorType(DType.float32, ["windows", dims.n_vocab], device=device),
        TensorType(DType.int32, [1], device=device),
    ]


def no_speech(inputs: Sequence[Value]) -> TensorValue:
    """The probability of the token that says that nobody speaks, (windows,) float32."""
    logits, token = (value.tensor for value in inputs)
    exponentials = ops.exp(logits - ops.max(logits))
    chosen = ops.where(_indices(logits, 1) == ops.unsqueeze(token, 0), exponentials, 0.0)
    return ops.squeeze(ops.sum(chosen) / ops.sum(exponentials), -1)


Chooser = Callable[[Sequence[Value]], TensorValue]
STOCK: tuple[Chooser, Chooser, Chooser] = (choose, sample, no_speech)


def add_graphs(
    add: Add, dims: ModelDimensions, device: DeviceRef, choosers: tuple[Chooser, Chooser, Chooser] = STOCK
) -> None:
    """Add the graphs choose, sample and no_speech; they have no weights, and run on any device.

    choosers: what makes them, by default stock operations.
    """
    add("choose", choose_input_types(dims, device, sampled=False), choosers[0])
    add("sample", choose_input_types(dims, device, sampled=True), choosers[1])
    add("no_speech", no_speech_input_types(dims, device), choosers[2])
