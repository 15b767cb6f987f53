"""A block of the decoder for one new token a row, as one operation whose workers are woken once."""

import extensibility
from extensibility import InputTensor, OutputTensor
from extensibility import _MutableInputTensor as MutableInputTensor
from max.gpu.host import DeviceContext
from std.math import ceildiv, max
from std.memory import alloc, dealloc
from std.memory.alloc import Layout

from .decode_attention import Audio, FloatAudio, attend, copy_head
from .dot import IntPointer, is_fast
from .finish import Rows
from .int8_audio import Int8Audio
from .int8_linear import BytePointer, WeightPointer
from .matrix import FloatMatrix, Int8Matrix, Matrix, float_matrix, int8_matrix
from .norm import LayerNorm, norm
from .team import Worker, run_phases, workers_for
from .tiles import FloatPointer

comptime N_PHASES = 8


@fieldwise_init
struct Caches[dtype: DType, head_dim: Int, A: Audio](ImplicitlyCopyable, Movable):
    """Keys and values of one layer, of the tokens so far and of the audio."""

    comptime Values = Pointer[Scalar[Self.dtype], MutUntrackedOrigin]
    var keys: Self.Values  # (rows, H, capacity, hd)
    var values: Self.Values  # (rows, H, capacity, hd)
    var lengths: IntPointer  # (rows,), tokens in a row's cache, also the slot that is written
    var capacity: Int
    var audio: Self.A
    var n_head: Int
    var n_hyps: Int
    """Rows of a window, which are neighbours."""

    def attend_self(self, mut worker: Worker, output: FloatPointer, qkv: FloatPointer, n_rows: Int, scores: FloatPointer):
        """Write each row's new key and value, and attend over all up to it. qkv: (rows, 3 * H * hd)."""
        var n_state = self.n_head * Self.head_dim
        var pair = worker.next(n_rows * self.n_head)
        while pair >= 0:
            var row = pair // self.n_head
            var slot = Int(self.lengths.unsafe_load(row))
            var q = qkv.unsafe_offset(row * 3 * n_state + pair % self.n_head * Self.head_dim)
            var keys = self.keys.unsafe_offset(pair * self.capacity * Self.head_dim)
            var values = self.values.unsafe_offset(pair * self.capacity * Self.head_dim)
            copy_head[Self.head_dim](keys.unsafe_offset(slot * Self.head_dim), q.unsafe_offset(n_state))
            copy_head[Self.head_dim](values.unsafe_offset(slot * Self.head_dim), q.unsafe_offset(2 * n_state))
            attend[Self.head_dim](output.unsafe_offset(pair * Self.head_dim), q, keys, values, scores, slot + 1)
            pair = worker.next(n_rows * self.n_head)

    def attend_audio(self, mut worker: Worker, output: FloatPointer, q: FloatPointer, n_rows: Int, scores: FloatPointer):
        """Attend over the audio; the rows of a window share its keys and values. q: (rows, H * hd)."""
        var n_pairs = n_rows // self.n_hyps * self.n_head
        var pair = worker.next(n_pairs)
        while pair >= 0:
            for hyp in range(self.n_hyps):
                var row = pair // self.n_head * self.n_hyps + hyp
                var at = (row * self.n_head + pair % self.n_head) * Self.head_dim
                self.audio.attend(pair, output.unsafe_offset(at), q.unsafe_offset(at), scores)
            pair = worker.next(n_pairs)


@fieldwise_init
struct Block[M: Matrix, Last: Matrix, dtype: DType, head_dim: Int, A: Audio](ImplicitlyCopyable, Movable):
    """Weights and caches of a block, and room for what it computes on the way."""

    var attn_ln: LayerNorm
    var qkv: Self.M
    var self_out: Self.M
    var cross_attn_ln: LayerNorm
    var query: Self.M
    var cross_out: Self.M
    var mlp_ln: LayerNorm
    var mlp_0: Self.M
    var mlp_2: Self.Last
    var caches: Caches[Self.dtype, Self.head_dim, Self.A]
    var n_state: Int
    var n_rows: Int

    def run(self, x: FloatPointer, output: FloatPointer):
        """Compute the output from x, both (n_rows, n_state)."""
        var n_workers = workers_for(self.n_rows)
        var n = self.n_rows * self.n_state
        var shared_floats = 11 * n
        var scratch_bytes = max(self.mlp_0.scratch_bytes(self.n_rows), self.mlp_2.scratch_bytes(self.n_rows))
        var n_scores = max(self.caches.capacity, self.caches.audio.scratch_floats())
        var own_floats = ceildiv(n + n_scores + scratch_bytes // 4, 16) * 16
        var memory = alloc(Layout[Float32](count=shared_floats + n_workers * own_floats))
        var shared = rebind[FloatPointer](memory.unsafe_ptr())

        def walk(mut worker: Worker) {imm}:
            var own = shared.unsafe_offset(shared_floats + worker.number * own_floats)
            self.walk(worker, x, output, shared, own, own.unsafe_offset(n), own.unsafe_offset(n + n_scores))

        run_phases(walk, N_PHASES, n_workers)
        dealloc(memory^)

    def walk(
        self,
        mut worker: Worker,
        x: FloatPointer,
        output: FloatPointer,
        shared: FloatPointer,
        normed: FloatPointer,
        scores: FloatPointer,
        own: FloatPointer,
    ):
        """What one worker does. shared: (11 * n_rows * n_state,); the rest its own."""
        var n = self.n_rows * self.n_state
        var attended = shared
        var after_self = attended.unsafe_offset(n)
        var after_cross = after_self.unsafe_offset(n)
        var q = after_cross.unsafe_offset(n)
        var qkv = q.unsafe_offset(n)
        var hidden = qkv.unsafe_offset(3 * n)
        var n_rows = self.n_rows
        var n_state = self.n_state
        var scratch = rebind[BytePointer](own)

        self.attn_ln.run(x, n_rows, normed)
        self.qkv.phase(worker, Rows[False, False](qkv, qkv, 3 * n_state), normed, n_rows, scratch)
        self.caches.attend_self(worker, attended, qkv, n_rows, scores)
        self.self_out.phase(worker, Rows[False, True](after_self, x, n_state), attended, n_rows, scratch)

        self.cross_attn_ln.run(after_self, n_rows, normed)
        self.query.phase(worker, Rows[False, False](q, q, n_state), normed, n_rows, scratch)
        self.caches.attend_audio(worker, attended, q, n_rows, scores)
        self.cross_out.phase(worker, Rows[False, True](after_cross, after_self, n_state), attended, n_rows, scratch)

        self.mlp_ln.run(after_cross, n_rows, normed)
        self.mlp_0.phase(worker, Rows[True, False](hidden, hidden, 4 * n_state), normed, n_rows, scratch)
        self.mlp_2.phase(worker, Rows[False, True](output, after_cross, n_state), hidden, n_rows, scratch)


@extensibility.register("whisper_max.decoder_block")
struct DecoderBlock:
    """A block with matrices of float32 or float16."""

    @staticmethod
    def execute[
        head_dim: Int
    ](
        output: OutputTensor[dtype=DType.float32, rank=2, ...],  # (rows, H * hd)
        x: InputTensor[dtype=DType.float32, rank=2, ...],  # (rows, H * hd)
        lengths: InputTensor[dtype=DType.int32, rank=1, ...],  # (rows,), also the slot that is written
        keys: MutableInputTensor[rank=4, ...],  # (rows, H, capacity, hd)
        values: MutableInputTensor[dtype=keys.dtype, rank=4, ...],
        audio_keys: InputTensor[dtype=keys.dtype, rank=4, ...],  # (windows, H, n_audio, hd)
        audio_values: InputTensor[dtype=keys.dtype, rank=4, ...],
        attn_ln_weight: InputTensor[dtype=DType.float32, rank=1, ...],
        attn_ln_bias: InputTensor[dtype=DType.float32, rank=1, ...],
        qkv: InputTensor[rank=3, ...],  # a matrix (n_panels, depth, PANEL) and its bias (n_panels * PANEL,)
        qkv_bias: InputTensor[dtype=DType.float32, rank=1, ...],
        self_out: InputTensor[dtype=qkv.dtype, rank=3, ...],
        self_out_bias: InputTensor[dtype=DType.float32, rank=1, ...],
        cross_attn_ln_weight: InputTensor[dtype=DType.float32, rank=1, ...],
        cross_attn_ln_bias: InputTensor[dtype=DType.float32, rank=1, ...],
        query: InputTensor[dtype=qkv.dtype, rank=3, ...],
        query_bias: InputTensor[dtype=DType.float32, rank=1, ...],
        cross_out: InputTensor[dtype=qkv.dtype, rank=3, ...],
        cross_out_bias: InputTensor[dtype=DType.float32, rank=1, ...],
        mlp_ln_weight: InputTensor[dtype=DType.float32, rank=1, ...],
        mlp_ln_bias: InputTensor[dtype=DType.float32, rank=1, ...],
        mlp_0: InputTensor[dtype=qkv.dtype, rank=3, ...],
        mlp_0_bias: InputTensor[dtype=DType.float32, rank=1, ...],
        mlp_2: InputTensor[dtype=qkv.dtype, rank=3, ...],
        mlp_2_bias: InputTensor[dtype=DType.float32, rank=1, ...],
        ctx: DeviceContext,
    ) raises:
        comptime Values = Pointer[Scalar[keys.dtype], MutUntrackedOrigin]
        var audio = FloatAudio[keys.dtype, head_dim](
            rebind[Values](audio_keys.unsafe_ptr()), rebind[Values](audio_values.unsafe_ptr()), audio_keys.dim_size(2)
        )
        comptime M = FloatMatrix[qkv.dtype]
        var block = Block[M, M, keys.dtype, head_dim, FloatAudio[keys.dtype, head_dim]](
            norm(attn_ln_weight, attn_ln_bias),
            float_matrix(qkv, qkv_bias),
            float_matrix(self_out, self_out_bias),
            norm(cross_attn_ln_weight, cross_attn_ln_bias),
            float_matrix(query, query_bias),
            float_matrix(cross_out, cross_out_bias),
            norm(mlp_ln_weight, mlp_ln_bias),
            float_matrix(mlp_0, mlp_0_bias),
            float_matrix(mlp_2, mlp_2_bias),
            caches[head_dim](keys, values, lengths, audio, audio_keys.dim_size(0)),
            x.dim_size(1),
            x.dim_size(0),
        )
        block.run(rebind[FloatPointer](x.unsafe_ptr()), rebind[FloatPointer](output.unsafe_ptr()))


@extensibility.register("whisper_max.int8_decoder_block")
struct Int8DecoderBlock:
    """A block with matrices of int8; parts: bytes of what `mlp_2` multiplies."""

    @staticmethod
    def execute[
        head_dim: Int, n_audio: Int, parts: Int
    ](
        output: OutputTensor[dtype=DType.float32, rank=2, ...],  # (rows, H * hd)
        x: InputTensor[dtype=DType.float32, rank=2, ...],  # (rows, H * hd)
        lengths: InputTensor[dtype=DType.int32, rank=1, ...],  # (rows,), also the slot that is written
        keys: MutableInputTensor[rank=4, ...],  # (rows, H, capacity, hd)
        values: MutableInputTensor[dtype=keys.dtype, rank=4, ...],
        audio_keys: InputTensor[dtype=DType.int8, rank=4, ...],  # (windows, H, n_padded, hd + 4), see `Int8Audio`
        audio_values: InputTensor[dtype=DType.int8, rank=4, ...],
        vnni: InputTensor[dtype=DType.int32, rank=1, ...],  # (1,), see `is_fast`
        attn_ln_weight: InputTensor[dtype=DType.float32, rank=1, ...],
        attn_ln_bias: InputTensor[dtype=DType.float32, rank=1, ...],
        qkv: InputTensor[dtype=DType.int8, rank=4, ...],  # a matrix (n_panels, n_groups, PANEL, GROUP)
        qkv_bias: InputTensor[dtype=DType.float32, rank=1, ...],  # (n_panels * PANEL,), and so the next two
        qkv_scale: InputTensor[dtype=DType.float32, rank=1, ...],
        qkv_offset: InputTensor[dtype=DType.int32, rank=1, ...],
        self_out: InputTensor[dtype=DType.int8, rank=4, ...],
        self_out_bias: InputTensor[dtype=DType.float32, rank=1, ...],
        self_out_scale: InputTensor[dtype=DType.float32, rank=1, ...],
        self_out_offset: InputTensor[dtype=DType.int32, rank=1, ...],
        cross_attn_ln_weight: InputTensor[dtype=DType.float32, rank=1, ...],
        cross_attn_ln_bias: InputTensor[dtype=DType.float32, rank=1, ...],
        query: InputTensor[dtype=DType.int8, rank=4, ...],
        query_bias: InputTensor[dtype=DType.float32, rank=1, ...],
        query_scale: InputTensor[dtype=DType.float32, rank=1, ...],
        query_offset: InputTensor[dtype=DType.int32, rank=1, ...],
        cross_out: InputTensor[dtype=DType.int8, rank=4, ...],
        cross_out_bias: InputTensor[dtype=DType.float32, rank=1, ...],
        cross_out_scale: InputTensor[dtype=DType.float32, rank=1, ...],
        cross_out_offset: InputTensor[dtype=DType.int32, rank=1, ...],
        mlp_ln_weight: InputTensor[dtype=DType.float32, rank=1, ...],
        mlp_ln_bias: InputTensor[dtype=DType.float32, rank=1, ...],
        mlp_0: InputTensor[dtype=DType.int8, rank=4, ...],
        mlp_0_bias: InputTensor[dtype=DType.float32, rank=1, ...],
        mlp_0_scale: InputTensor[dtype=DType.float32, rank=1, ...],
        mlp_0_offset: InputTensor[dtype=DType.int32, rank=1, ...],
        mlp_2: InputTensor[dtype=DType.int8, rank=4, ...],
        mlp_2_bias: InputTensor[dtype=DType.float32, rank=1, ...],
        mlp_2_scale: InputTensor[dtype=DType.float32, rank=1, ...],
        mlp_2_offset: InputTensor[dtype=DType.int32, rank=1, ...],
        ctx: DeviceContext,
    ) raises:
        def run[fast: Bool]() {imm}:
            var n_state = x.dim_size(1)
            var audio = Int8Audio[head_dim, fast](
                rebind[BytePointer](audio_keys.unsafe_ptr()),
                rebind[WeightPointer](audio_values.unsafe_ptr()),
                n_audio,
                audio_keys.dim_size(2),
            )
            comptime Last = Int8Matrix[fast, parts]
            var block = Block[Int8Matrix[fast], Last, keys.dtype, head_dim, Int8Audio[head_dim, fast]](
                norm(attn_ln_weight, attn_ln_bias),
                int8_matrix[fast](n_state, qkv, qkv_bias, qkv_scale, qkv_offset),
                int8_matrix[fast](n_state, self_out, self_out_bias, self_out_scale, self_out_offset),
                norm(cross_attn_ln_weight, cross_attn_ln_bias),
                int8_matrix[fast](n_state, query, query_bias, query_scale, query_offset),
                int8_matrix[fast](n_state, cross_out, cross_out_bias, cross_out_scale, cross_out_offset),
                norm(mlp_ln_weight, mlp_ln_bias),
                int8_matrix[fast](n_state, mlp_0, mlp_0_bias, mlp_0_scale, mlp_0_offset),
                int8_matrix[fast, parts](4 * n_state, mlp_2, mlp_2_bias, mlp_2_scale, mlp_2_offset),
                caches[head_dim](keys, values, lengths, audio, audio_keys.dim_size(0)),
                n_state,
                x.dim_size(0),
            )
            block.run(rebind[FloatPointer](x.unsafe_ptr()), rebind[FloatPointer](output.unsafe_ptr()))

        if is_fast(vnni.unsafe_ptr().unsafe_load(0)):
            run[True]()
        else:
            run[False]()


def caches[
    head_dim: Int, A: Audio
](
    keys: MutableInputTensor[rank=4, ...],
    values: MutableInputTensor[dtype=keys.dtype, rank=4, ...],
    lengths: InputTensor[dtype=DType.int32, rank=1, ...],
    audio: A,
    n_windows: Int,
) -> Caches[keys.dtype, head_dim, A]:
    comptime Values = Pointer[Scalar[keys.dtype], MutUntrackedOrigin]
    return {
        rebind[Values](keys.unsafe_ptr()),
        rebind[Values](values.unsafe_ptr()),
        rebind[IntPointer](lengths.unsafe_ptr()),
        keys.dim_size(2),
        audio,
        keys.dim_size(1),
        keys.dim_size(0) // n_windows,
    }
