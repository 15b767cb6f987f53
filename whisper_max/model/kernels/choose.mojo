"""The next token of every row in one launch: the logit rules, then the likeliest token or a sample.

What is chosen is what `gpu/choose.py` says by stock operations. A thread block has one row, and goes over its logits a
few times; they lie in the cache. On a CPU the same code runs for tests, with one thread for a thread block.
"""

import extensibility
from extensibility import InputTensor, OutputTensor
from extensibility import _MutableInputTensor as MutableInputTensor
from max.gpu import block_idx, thread_idx
from max.gpu.host import DeviceContext
from max.gpu.host.info import is_gpu
from max.gpu.sync import barrier
from std.builtin.device_passable import DevicePassable, DeviceTypeEncoder
from std.math import ceildiv, exp, log, max, min
from std.memory import unsafe_stack_allocation
from std.utils.numerics import isnan

from .prompts import over_block
from .tiles import FloatPointer
from .token_block import IntPointer

comptime THREADS = 512
comptime BlockWarps = THREADS // 32
comptime MASKED = Float32(-1e30)
"""Of a token that may not be said; far below any logit and finite."""
comptime LARGEST = Float32(3.4e38)
"""A logit above it is infinite."""
comptime CHUNK = 256
"""Tokens of the vocabulary whose probabilities are added up together when a token is sampled."""
comptime CHUNKS = 1024
"""Of a vocabulary, at most."""
comptime ROOM = CHUNKS + CHUNK + 32
"""Floats that a row's threads share: sums of chunks, a chunk's probabilities, and what they tell one another."""
comptime GOING_ON = Int32(-1)
comptime BROKEN = Int32(-2)
comptime IMPOSSIBLE = Int32(-3)
comptime Masks = Pointer[Scalar[DType.bool], MutUntrackedOrigin]


@fieldwise_init
struct Choice(DevicePassable, TrivialRegisterPassable):
    """See `gpu/choose.py` for what each means."""

    var report: IntPointer  # (rows,)
    var logits: FloatPointer  # (rows, n_vocab)
    var never: Masks  # (n_vocab,)
    var not_first: Masks  # (n_vocab,)
    var ids: IntPointer  # (3,)
    var limits: IntPointer  # (rows,)
    var earliest: IntPointer  # (rows,)
    var temperatures: FloatPointer  # (rows,), where sampled
    var draws: FloatPointer  # (rows, n_text_ctx), where sampled
    var tokens: IntPointer  # (rows,), as all but the last that follow
    var lengths: IntPointer
    var before: IntPointer
    var last_timestamp: IntPointer
    var n_sampled: IntPointer
    var sum_logprobs: FloatPointer
    var transcript: IntPointer  # (rows, n_text_ctx)
    var rows: Int
    var n_vocab: Int
    var n_text_ctx: Int
    var sampled: Bool

    comptime device_type: AnyType = Self

    def _to_device_type(self, mut encoder: Some[DeviceTypeEncoder], target: MutOpaquePointer[_]):
        encoder.encode(self, target)

    @staticmethod
    def get_type_name() -> String:
        return "Choice"

    @always_inline
    def of(self, row: Int) -> Row:
        var token = Int(self.tokens.unsafe_load(row))
        var n_sampled = Int(self.n_sampled.unsafe_load(row))
        var eot, begin = Int(self.ids.unsafe_load(0)), Int(self.ids.unsafe_load(1))
        var later = n_sampled > 0
        var opened = later and token >= begin
        var closed = opened and Int(self.before.unsafe_load(row)) >= begin
        var last = Int(self.last_timestamp.unsafe_load(row))
        var passed = last + (0 if opened else 1) if later and last >= 0 else 0
        var goes_on = n_sampled > 1 and closed and token < Int(self.earliest.unsafe_load(row))
        return Row(
            self.logits.unsafe_offset(row * self.n_vocab), self.never, self.not_first, eot, begin, n_sampled == 0,
            opened and not closed, closed, passed, goes_on, False,
        )


@fieldwise_init
struct Row(TrivialRegisterPassable):
    """A row's logits, and which of them its history forbids."""

    var logits: FloatPointer
    var never: Masks
    var not_first: Masks
    var eot: Int
    var begin: Int  # the first timestamp
    var first: Bool
    var halfway: Bool  # after the first timestamp of a pair: the second, or the end
    var closed: Bool  # after a pair: text
    var passed: Int  # the earliest timestamp that may follow
    var goes_on: Bool  # it may not end yet
    var only_timestamps: Bool

    @always_inline
    def logit(self, token: Int) -> Float32:
        var is_timestamp = token >= self.begin
        var forbidden = Bool(self.never.unsafe_load(token)) or (self.first and Bool(self.not_first.unsafe_load(token)))
        if is_timestamp:
            forbidden = forbidden or self.closed or token < self.passed
        else:
            forbidden = forbidden or self.only_timestamps or (self.halfway and token < self.eot)
        if self.goes_on and token == self.eot:
            forbidden = True
        return MASKED if forbidden else self.logits.unsafe_load(token)


@always_inline
def over_row[
    space: AddressSpace, //, gpu: Bool, largest: Bool
](x: Float32, shared: Pointer[Float32, MutUntrackedOrigin, address_space=space]) -> Float32:
    """`over_block` of this file's thread blocks."""
    return over_block[gpu, largest, BlockWarps](x, shared.unsafe_offset(CHUNKS + CHUNK))


@always_inline
def sample_row[
    space: AddressSpace, //, gpu: Bool
](
    thread: Int,
    threads: Int,
    row: Row,
    n_vocab: Int,
    highest: Float32,
    temperature: Float32,
    draw: Float32,
    shared: Pointer[Float32, MutUntrackedOrigin, address_space=space],
) -> Int:
    """The first token at which the summed probabilities exceed the draw: its chunk is found first."""
    var n_chunks = ceildiv(n_vocab, CHUNK)
    for chunk in range(thread, n_chunks, threads):
        var sum = Float32(0)
        for token in range(chunk * CHUNK, min((chunk + 1) * CHUNK, n_vocab)):
            sum += exp((row.logit(token) - highest) / temperature)
        shared.unsafe_store(chunk, sum)
    wait[gpu]()
    var total = Float32(0)
    for chunk in range(n_chunks):
        total += shared.unsafe_load(chunk)
    var point = draw * total
    var chosen_chunk = 0
    while chosen_chunk < n_chunks - 1 and shared.unsafe_load(chosen_chunk) <= point:
        point -= shared.unsafe_load(chosen_chunk)
        chosen_chunk += 1
    var probabilities = shared.unsafe_offset(CHUNKS)
    for place in range(thread, CHUNK, threads):
        var token = chosen_chunk * CHUNK + place
        var weight = exp((row.logit(token) - highest) / temperature) if token < n_vocab else Float32(0)
        probabilities.unsafe_store(place, weight)
    wait[gpu]()
    var place = 0
    while place < CHUNK - 1 and probabilities.unsafe_load(place) <= point:
        point -= probabilities.unsafe_load(place)
        place += 1
    return min(chosen_chunk * CHUNK + place, n_vocab - 1)


@always_inline
def wait[gpu: Bool]():
    comptime if gpu:
        barrier()


@always_inline
def choose_row[
    space: AddressSpace, //, gpu: Bool
](
    index: Int,
    thread: Int,
    threads: Int,
    job: Choice,
    shared: Pointer[Float32, MutUntrackedOrigin, address_space=space],
):
    """One row."""
    var row = job.of(index)
    var best_text, best_timestamp, broken = MASKED, MASKED, Float32(0)
    for token in range(thread, job.n_vocab, threads):
        var logit = row.logit(token)
        if isnan(logit) or logit > LARGEST:
            broken = 1
        elif token >= row.begin:
            best_timestamp = max(best_timestamp, logit)
        else:
            best_text = max(best_text, logit)
    best_text = over_row[gpu, True](best_text, shared)
    best_timestamp = over_row[gpu, True](best_timestamp, shared)
    broken = over_row[gpu, True](broken, shared)
    var of_timestamps = Float32(0)
    for token in range(row.begin + thread, job.n_vocab, threads):
        of_timestamps += exp(row.logit(token) - best_timestamp)
    of_timestamps = over_row[gpu, False](of_timestamps, shared)
    var likelier = best_timestamp + log(of_timestamps) > best_text
    row.only_timestamps = best_timestamp > MASKED / 2 and likelier
    var highest = best_timestamp if row.only_timestamps else max(best_text, best_timestamp)
    var total = Float32(0)
    var first = Float32(job.n_vocab)  # exact: a vocabulary is no larger than 2 ** 24
    for token in range(thread, job.n_vocab, threads):
        var logit = row.logit(token)
        total += exp(logit - highest)
        if logit == highest:
            first = min(first, Float32(token))
    total = over_row[gpu, False](total, shared)
    var n_sampled = Int(job.n_sampled.unsafe_load(index))
    var chosen = Int(-over_row[gpu, True](-first, shared))
    if job.sampled:
        var draw = job.draws.unsafe_load(index * job.n_text_ctx + min(n_sampled, job.n_text_ctx - 1))
        chosen = sample_row[gpu](
            thread, threads, row, job.n_vocab, highest, job.temperatures.unsafe_load(index), draw, shared
        )
    wait[gpu]()  # nobody reads the row's state any more
    if thread == 0:
        var logprob = row.logit(min(chosen, job.n_vocab - 1)) - highest - log(total)
        advance(index, chosen, logprob, broken > 0, highest < MASKED / 2, row, job)


@always_inline
def advance(index: Int, chosen: Int, logprob: Float32, broken: Bool, impossible: Bool, row: Row, job: Choice):
    """Write down what was chosen, if the row still goes on, and report."""
    var token = Int(job.tokens.unsafe_load(index))
    var n_sampled = Int(job.n_sampled.unsafe_load(index))
    var limit = Int(job.limits.unsafe_load(index))
    if n_sampled >= limit or not (row.first or token != row.eot):
        job.tokens.unsafe_store(index, Int32(row.eot))
        job.report.unsafe_store(index, Int32(n_sampled))
        return
    var said = row.eot if broken or impossible else chosen
    job.before.unsafe_store(index, Int32(job.n_vocab if row.first else token))
    job.tokens.unsafe_store(index, Int32(said))
    var length = job.lengths.unsafe_load(index) + 1
    if length < job.ids.unsafe_load(2):  # a finished row steps on in place
        job.lengths.unsafe_store(index, length)
    if said >= row.begin:
        job.last_timestamp.unsafe_store(index, Int32(said))
    job.n_sampled.unsafe_store(index, Int32(n_sampled + 1))
    job.sum_logprobs.unsafe_store(index, job.sum_logprobs.unsafe_load(index) + logprob)
    if n_sampled < job.n_text_ctx:
        job.transcript.unsafe_store(index * job.n_text_ctx + n_sampled, Int32(said))
    var report = Int32(n_sampled + 1)
    if said != row.eot and n_sampled + 1 < limit:
        report = GOING_ON
    if impossible:
        report = IMPOSSIBLE
    if broken:
        report = BROKEN
    job.report.unsafe_store(index, report)


@__name("whisper_max_choose_rows")
def choose_kernel(job: Choice):
    """A row a thread block."""
    var shared = unsafe_stack_allocation[ROOM, Float32, address_space=AddressSpace.SHARED]()
    choose_row[True](Int(block_idx.x), Int(thread_idx.x), THREADS, job, shared)


def run_choice[target: StaticString](job: Choice, ctx: DeviceContext) raises:
    if job.n_vocab > CHUNK * CHUNKS:
        raise Error("a vocabulary of more than 262144 tokens")
    if job.rows == 0:
        return
    comptime if is_gpu[target]():
        ctx.enqueue_function[choose_kernel](job, grid_dim=job.rows, block_dim=THREADS)
    else:
        var room = List[Float32](length=ROOM, fill=0)
        for row in range(job.rows):
            choose_row[False](row, 0, 1, job, rebind[FloatPointer](room.unsafe_ptr()))
        _ = room^


@extensibility.register("whisper_max.choose_rows")
struct ChooseRows:
    """The likeliest token of each row, or where `sampled` the one where its draw falls."""

    @staticmethod
    def execute[
        target: StaticString, sampled: Bool
    ](
        report: OutputTensor[dtype=DType.int32, rank=1, ...],  # (rows,)
        logits: InputTensor[dtype=DType.float32, rank=2, ...],  # (rows, n_vocab)
        never: InputTensor[dtype=DType.bool, rank=1, ...],
        not_first: InputTensor[dtype=DType.bool, rank=1, ...],
        ids: InputTensor[dtype=DType.int32, rank=1, ...],
        limits: InputTensor[dtype=DType.int32, rank=1, ...],
        earliest: InputTensor[dtype=DType.int32, rank=1, ...],
        temperatures: InputTensor[dtype=DType.float32, rank=1, ...],  # not read where not sampled, as draws
        draws: InputTensor[dtype=DType.float32, rank=2, ...],
        tokens: MutableInputTensor[dtype=DType.int32, rank=1, ...],
        lengths: MutableInputTensor[dtype=DType.int32, rank=1, ...],
        before: MutableInputTensor[dtype=DType.int32, rank=1, ...],
        last_timestamp: MutableInputTensor[dtype=DType.int32, rank=1, ...],
        n_sampled: MutableInputTensor[dtype=DType.int32, rank=1, ...],
        sum_logprobs: MutableInputTensor[dtype=DType.float32, rank=1, ...],
        transcript: MutableInputTensor[dtype=DType.int32, rank=2, ...],
        ctx: DeviceContext,
    ) raises:
        run_choice[target](
            Choice(
                rebind[IntPointer](report.unsafe_ptr()), rebind[FloatPointer](logits.unsafe_ptr()),
                rebind[Masks](never.unsafe_ptr()), rebind[Masks](not_first.unsafe_ptr()),
                rebind[IntPointer](ids.unsafe_ptr()), rebind[IntPointer](limits.unsafe_ptr()),
                rebind[IntPointer](earliest.unsafe_ptr()), rebind[FloatPointer](temperatures.unsafe_ptr()),
                rebind[FloatPointer](draws.unsafe_ptr()), rebind[IntPointer](tokens.unsafe_ptr()),
                rebind[IntPointer](lengths.unsafe_ptr()), rebind[IntPointer](before.unsafe_ptr()),
                rebind[IntPointer](last_timestamp.unsafe_ptr()), rebind[IntPointer](n_sampled.unsafe_ptr()),
                rebind[FloatPointer](sum_logprobs.unsafe_ptr()), rebind[IntPointer](transcript.unsafe_ptr()),
                logits.dim_size(0), logits.dim_size(1), transcript.dim_size(1), sampled,
            ),
            ctx,
        )


@always_inline
def silence_row[
    space: AddressSpace, //, gpu: Bool
](
    row: Int,
    thread: Int,
    threads: Int,
    probs: FloatPointer,
    logits: FloatPointer,
    token: IntPointer,
    n_vocab: Int,
    shared: Pointer[Float32, MutUntrackedOrigin, address_space=space],
):
    """One row."""
    var scores = logits.unsafe_offset(row * n_vocab)
    var highest = Float32.MIN_FINITE
    for place in range(thread, n_vocab, threads):
        highest = max(highest, scores.unsafe_load(place))
    highest = over_row[gpu, True](highest, shared)
    var total = Float32(0)
    for place in range(thread, n_vocab, threads):
        total += exp(scores.unsafe_load(place) - highest)
    total = over_row[gpu, False](total, shared)
    if thread == 0:
        probs.unsafe_store(row, exp(scores.unsafe_load(Int(token.unsafe_load(0))) - highest) / total)


@__name("whisper_max_no_speech_rows")
def silence_kernel(probs: FloatPointer, logits: FloatPointer, token: IntPointer, n_vocab: Int64):
    """A row a thread block."""
    var shared = unsafe_stack_allocation[ROOM, Float32, address_space=AddressSpace.SHARED]()
    silence_row[True](Int(block_idx.x), Int(thread_idx.x), THREADS, probs, logits, token, Int(n_vocab), shared)


@extensibility.register("whisper_max.no_speech_rows")
struct NoSpeechRows:
    """The probability of a token in each row."""

    @staticmethod
    def execute[
        target: StaticString
    ](
        probs: OutputTensor[dtype=DType.float32, rank=1, ...],  # (rows,)
        logits: InputTensor[dtype=DType.float32, rank=2, ...],  # (rows, n_vocab)
        token: InputTensor[dtype=DType.int32, rank=1, ...],  # (1,)
        ctx: DeviceContext,
    ) raises:
        var probs_ptr = rebind[FloatPointer](probs.unsafe_ptr())
        var logits_ptr = rebind[FloatPointer](logits.unsafe_ptr())
        var token_ptr = rebind[IntPointer](token.unsafe_ptr())
        var rows, n_vocab = logits.dim_size(0), logits.dim_size(1)
        if rows == 0:
            return
        comptime if is_gpu[target]():
            ctx.enqueue_function[silence_kernel](
                probs_ptr, logits_ptr, token_ptr, Int64(n_vocab), grid_dim=rows, block_dim=THREADS
            )
        else:
            var room = List[Float32](length=ROOM, fill=0)
            for row in range(rows):
                silence_row[False](
                    row, 0, 1, probs_ptr, logits_ptr, token_ptr, n_vocab, rebind[FloatPointer](room.unsafe_ptr())
                )
            _ = room^
