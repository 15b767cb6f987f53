"""What the timing of words needs of a finished text: what its tokens attend to, and how likely each was."""

import extensibility
from extensibility import InputTensor, OutputTensor
from extensibility import _MutableInputTensor as MutableInputTensor
from max.algorithm import sync_parallelize
from max.gpu.host import DeviceContext
from max.runtime.asyncrt import parallelism_level
from std.math import ceildiv, exp, max, min
from std.memory import alloc, dealloc
from std.memory.alloc import Layout

from .decode_attention import Audio, FloatAudio
from .dot import IntPointer
from .tiles import FloatPointer, Vector, WIDTH


def each_row[Work: def(Int) -> None](work: Work, n_rows: Int):
    """Give every worker its share of the rows."""
    var n_workers = max(parallelism_level(None), 1)
    var share = ceildiv(n_rows, n_workers)

    def work_on(worker: Int) {imm}:
        for row in range(worker * share, min((worker + 1) * share, n_rows)):
            work(row)

    sync_parallelize(work_on, n_workers)


def attend_heads[
    A: Audio
](
    audio: A,
    output: MutableInputTensor[dtype=DType.float32, rank=3, ...],  # (n_heads, T, S)
    queries: InputTensor[dtype=DType.float32, rank=3, ...],  # (1, T, H * hd)
    heads: InputTensor[dtype=DType.int32, rank=1, ...],  # (n_heads,)
    layer: InputTensor[dtype=DType.int32, rank=1, ...],  # (1,)
    n_head: Int,
):
    """See `AttentionWeights`."""
    var n_queries = queries.dim_size(1)
    var n_state = queries.dim_size(2)
    var n_keys = audio.n_keys()
    var out_ptr = rebind[FloatPointer](output.unsafe_ptr())
    var heads_ptr = rebind[IntPointer](heads.unsafe_ptr())
    var first_head = Int(rebind[IntPointer](layer.unsafe_ptr()).unsafe_load(0)) * n_head
    var q_ptr = rebind[FloatPointer](queries.unsafe_ptr())

    def work(row: Int) {imm}:
        var head = Int(heads_ptr.unsafe_load(row // n_queries)) - first_head
        if head < 0 or head >= n_head:
            return
        var scratch = alloc(Layout[Float32](count=audio.scratch_floats()))
        var weights = rebind[FloatPointer](scratch.unsafe_ptr())
        var q = q_ptr.unsafe_offset(row % n_queries * n_state + head * (n_state // n_head))
        var total = audio.weigh(head, q, weights)
        var target = out_ptr.unsafe_offset(row * n_keys)
        var n_whole = n_keys // WIDTH * WIDTH
        for key in range(0, n_whole, WIDTH):
            target.unsafe_store(key, weights.unsafe_load[width=WIDTH](key) / total)
        for key in range(n_whole, n_keys):
            target.unsafe_store(key, weights.unsafe_load(key) / total)
        dealloc(scratch^)

    each_row(work, heads.dim_size(0) * n_queries)


@extensibility.register("whisper_max.attention_weights")
struct AttentionWeights:
    """`softmax(q . k * hd ** -0.5)` of the heads that are asked for, where they are this layer's; others stay as they are.

    A head is layer * H + its number. Keys of float32 or float16 are read where they stand.
    """

    @staticmethod
    def execute[
        head_dim: Int
    ](
        output: MutableInputTensor[dtype=DType.float32, rank=3, ...],  # (n_heads, T, S)
        queries: InputTensor[dtype=DType.float32, rank=3, ...],  # (1, T, H * hd)
        keys: InputTensor[rank=4, ...],  # (1, H, S, hd)
        heads: InputTensor[dtype=DType.int32, rank=1, ...],  # (n_heads,)
        layer: InputTensor[dtype=DType.int32, rank=1, ...],  # (1,)
        ctx: DeviceContext,
    ) raises:
        var k_ptr = rebind[Pointer[Scalar[keys.dtype], MutUntrackedOrigin]](keys.unsafe_ptr())
        var audio = FloatAudio[keys.dtype, head_dim](k_ptr, k_ptr, keys.dim_size(2))
        attend_heads(audio, output, queries, heads, layer, keys.dim_size(1))


@extensibility.register("whisper_max.target_probs")
struct TargetProbs:
    """How likely each row's target is among the first tokens of the vocabulary; 0 for a target that is none of them."""

    @staticmethod
    def execute(
        output: OutputTensor[dtype=DType.float32, rank=1, ...],  # (T,)
        logits: InputTensor[dtype=DType.float32, rank=2, ...],  # (T, n_vocab)
        targets: InputTensor[dtype=DType.int32, rank=1, ...],  # (T,)
        n_tokens: InputTensor[dtype=DType.int32, rank=1, ...],  # (1,), how many tokens compete
        ctx: DeviceContext,
    ) raises:
        var n_vocab = logits.dim_size(1)
        var out_ptr = rebind[FloatPointer](output.unsafe_ptr())
        var logits_ptr = rebind[FloatPointer](logits.unsafe_ptr())
        var targets_ptr = rebind[IntPointer](targets.unsafe_ptr())
        var n_competing = min(Int(rebind[IntPointer](n_tokens.unsafe_ptr()).unsafe_load(0)), n_vocab)

        def work(row: Int) {imm}:
            var scores = logits_ptr.unsafe_offset(row * n_vocab)
            var target = Int(targets_ptr.unsafe_load(row))
            if target < 0 or target >= n_competing:
                out_ptr.unsafe_store(row, Float32(0))
                return
            var highest = Float32.MIN_FINITE
            for token in range(n_competing):
                highest = max(highest, scores.unsafe_load(token))
            var n_whole = n_competing // WIDTH * WIDTH
            var sums = Vector(0)
            for token in range(0, n_whole, WIDTH):
                sums += exp(scores.unsafe_load[width=WIDTH](token) - highest)
            var total = sums.reduce_add()
            for token in range(n_whole, n_competing):
                total += exp(scores.unsafe_load(token) - highest)
            out_ptr.unsafe_store(row, exp(scores.unsafe_load(target) - highest) / total)

        each_row(work, output.dim_size(0))
