"""Layers that begin with a normalisation, each in one operation: rows are normalised, and rounded to bytes, by who reads
them, and what lies between two layers stays in a core's cache.

Of many rows each worker takes blocks of its own; of few, every worker normalises all and takes some columns. A row's
result is the same either way.
"""

import extensibility
from extensibility import InputTensor, OutputTensor
from max.gpu.host import DeviceContext
from std.math import ceildiv, max, min
from std.memory import alloc, dealloc
from std.memory.alloc import Layout

from .dot import is_fast
from .finish import Rows
from .int8_linear import BytePointer
from .matrix import FloatMatrix, Int8Matrix, Matrix, float_matrix, int8_matrix
from .norm import LayerNorm, norm
from .team import Worker, run_phases, workers_for
from .tiles import FloatPointer


@fieldwise_init
struct NormedLinear[M: Matrix](ImplicitlyCopyable, Movable):
    """`normalised(x) @ weight + bias`."""

    var ln: LayerNorm
    var linear: Self.M
    var n_columns: Int

    def run(self, x: FloatPointer, n_rows: Int, output: FloatPointer):
        """Compute the output (n_rows, n_columns) from x (n_rows, n_state)."""
        var n_workers = workers_for(n_rows)
        var block = self.linear.row_block(n_rows, n_workers)
        var normed_floats = ceildiv(block * self.ln.n_state, 16) * 16
        var own_floats = normed_floats + ceildiv(self.linear.scratch_bytes(block), 64) * 16
        var memory = alloc(Layout[Float32](count=n_workers * own_floats))
        var scratch = rebind[FloatPointer](memory.unsafe_ptr())

        def walk(mut worker: Worker) {imm}:
            var normed = scratch.unsafe_offset(worker.number * own_floats)
            var own = rebind[BytePointer](normed.unsafe_offset(normed_floats))
            if block == n_rows:
                self.ln.run(x, n_rows, normed)
                var finish = Rows[False, False](output, output, self.n_columns)
                self.linear.phase(worker, finish, normed, n_rows, own)
                return
            var n_blocks = ceildiv(n_rows, block)
            var at = worker.next(n_blocks)
            while at >= 0:
                var count = min(block, n_rows - at * block)
                self.ln.run(x.unsafe_offset(at * block * self.ln.n_state), count, normed)
                var target = output.unsafe_offset(at * block * self.n_columns)
                self.linear.multiply(Rows[False, False](target, target, self.n_columns), normed, count, own)
                at = worker.next(n_blocks)

        run_phases(walk, 1, n_workers)
        dealloc(memory^)


@fieldwise_init
struct Mlp[M: Matrix, Last: Matrix](ImplicitlyCopyable, Movable):
    """`x + gelu(normalised(x) @ weight_0 + bias_0) @ weight_2 + bias_2`."""

    var ln: LayerNorm
    var mlp_0: Self.M
    var mlp_2: Self.Last

    def run(self, x: FloatPointer, n_rows: Int, output: FloatPointer):
        """Compute the output from x, both (n_rows, n_state)."""
        var n_workers = workers_for(n_rows)
        var block = self.mlp_0.row_block(n_rows, n_workers)
        var n_state = self.ln.n_state
        var normed_floats = ceildiv(block * n_state, 16) * 16
        var hidden_floats = 4 * normed_floats
        var scratch_bytes = max(self.mlp_0.scratch_bytes(block), self.mlp_2.scratch_bytes(block))
        var own_floats = normed_floats + hidden_floats + ceildiv(scratch_bytes, 64) * 16
        var memory = alloc(Layout[Float32](count=n_workers * own_floats))
        var scratch = rebind[FloatPointer](memory.unsafe_ptr())

        def walk(mut worker: Worker) {imm}:
            var normed = scratch.unsafe_offset(worker.number * own_floats)
            var hidden = normed.unsafe_offset(normed_floats)
            var own = rebind[BytePointer](hidden.unsafe_offset(hidden_floats))
            if block == n_rows:
                var shared = scratch.unsafe_offset(normed_floats)
                self.ln.run(x, n_rows, normed)
                self.mlp_0.phase(worker, Rows[True, False](shared, shared, 4 * n_state), normed, n_rows, own)
                self.mlp_2.phase(worker, Rows[False, True](output, x, n_state), shared, n_rows, own)
                return
            var n_blocks = ceildiv(n_rows, block)
            var at = worker.next(n_blocks)
            while at >= 0:
                var count = min(block, n_rows - at * block)
                var source = x.unsafe_offset(at * block * n_state)
                var target = output.unsafe_offset(at * block * n_state)
                self.ln.run(source, count, normed)
                self.mlp_0.multiply(Rows[True, False](hidden, hidden, 4 * n_state), normed, count, own)
                self.mlp_2.multiply(Rows[False, True](target, source, n_state), hidden, count, own)
                at = worker.next(n_blocks)

        run_phases(walk, 2, n_workers)
        dealloc(memory^)


@extensibility.register("whisper_max.normed_linear")
struct FloatNormedLinear:
    """A layer of float32 or float16 over normalised rows."""

    @staticmethod
    def execute(
        output: OutputTensor[dtype=DType.float32, rank=2, ...],  # (n_rows, n_columns)
        x: InputTensor[dtype=DType.float32, rank=2, ...],  # (n_rows, depth)
        ln_weight: InputTensor[dtype=DType.float32, rank=1, ...],  # (depth,)
        ln_bias: InputTensor[dtype=DType.float32, rank=1, ...],  # (depth,)
        weight: InputTensor[rank=3, ...],  # (n_panels, depth, PANEL)
        bias: InputTensor[dtype=DType.float32, rank=1, ...],  # (n_panels * PANEL,)
        ctx: DeviceContext,
    ) raises:
        var layer = NormedLinear(norm(ln_weight, ln_bias), float_matrix(weight, bias), output.dim_size(1))
        layer.run(rebind[FloatPointer](x.unsafe_ptr()), x.dim_size(0), rebind[FloatPointer](output.unsafe_ptr()))


@extensibility.register("whisper_max.int8_normed_linear")
struct Int8NormedLinear:
    """A layer of int8 over normalised rows; parts: bytes a value of them is held in."""

    @staticmethod
    def execute[
        parts: Int
    ](
        output: OutputTensor[dtype=DType.float32, rank=2, ...],  # (n_rows, n_columns)
        x: InputTensor[dtype=DType.float32, rank=2, ...],  # (n_rows, depth)
        ln_weight: InputTensor[dtype=DType.float32, rank=1, ...],  # (depth,)
        ln_bias: InputTensor[dtype=DType.float32, rank=1, ...],  # (depth,)
        weight: InputTensor[dtype=DType.int8, rank=4, ...],  # (n_panels, n_groups, PANEL, GROUP)
        bias: InputTensor[dtype=DType.float32, rank=1, ...],  # (n_panels * PANEL,)
        scale: InputTensor[dtype=DType.float32, rank=1, ...],  # (n_panels * PANEL,)
        offset: InputTensor[dtype=DType.int32, rank=1, ...],  # (n_panels * PANEL,)
        vnni: InputTensor[dtype=DType.int32, rank=1, ...],  # (1,), see `is_fast`
        ctx: DeviceContext,
    ) raises:
        def run[fast: Bool]() {imm}:
            var matrix = int8_matrix[fast, parts](x.dim_size(1), weight, bias, scale, offset)
            var layer = NormedLinear(norm(ln_weight, ln_bias), matrix, output.dim_size(1))
            layer.run(rebind[FloatPointer](x.unsafe_ptr()), x.dim_size(0), rebind[FloatPointer](output.unsafe_ptr()))

        if is_fast(vnni.unsafe_ptr().unsafe_load(0)):
            run[True]()
        else:
            run[False]()


@extensibility.register("whisper_max.mlp")
struct FloatMlp:
    """The second half of a block with matrices of float32 or float16."""

    @staticmethod
    def execute(
        output: OutputTensor[dtype=DType.float32, rank=2, ...],  # (n_rows, n_state)
        x: InputTensor[dtype=DType.float32, rank=2, ...],  # (n_rows, n_state)
        ln_weight: InputTensor[dtype=DType.float32, rank=1, ...],  # (n_state,)
        ln_bias: InputTensor[dtype=DType.float32, rank=1, ...],  # (n_state,)
        weight_0: InputTensor[rank=3, ...],  # (n_panels, n_state, PANEL)
        bias_0: InputTensor[dtype=DType.float32, rank=1, ...],  # (n_panels * PANEL,)
        weight_2: InputTensor[dtype=weight_0.dtype, rank=3, ...],  # (n_panels, 4 * n_state, PANEL)
        bias_2: InputTensor[dtype=DType.float32, rank=1, ...],  # (n_panels * PANEL,)
        ctx: DeviceContext,
    ) raises:
        var mlp = Mlp(
            norm(ln_weight, ln_bias),
            float_matrix(weight_0, bias_0),
            float_matrix(weight_2, bias_2),
        )
        mlp.run(rebind[FloatPointer](x.unsafe_ptr()), x.dim_size(0), rebind[FloatPointer](output.unsafe_ptr()))


@extensibility.register("whisper_max.int8_mlp")
struct Int8Mlp:
    """The second half of a block with matrices of int8; parts: bytes of what the second one multiplies."""

    @staticmethod
    def execute[
        parts: Int
    ](
        output: OutputTensor[dtype=DType.float32, rank=2, ...],  # (n_rows, n_state)
        x: InputTensor[dtype=DType.float32, rank=2, ...],  # (n_rows, n_state)
        ln_weight: InputTensor[dtype=DType.float32, rank=1, ...],  # (n_state,)
        ln_bias: InputTensor[dtype=DType.float32, rank=1, ...],  # (n_state,)
        weight_0: InputTensor[dtype=DType.int8, rank=4, ...],  # (n_panels, n_groups, PANEL, GROUP)
        bias_0: InputTensor[dtype=DType.float32, rank=1, ...],  # (n_panels * PANEL,), and so the next two
        scale_0: InputTensor[dtype=DType.float32, rank=1, ...],
        offset_0: InputTensor[dtype=DType.int32, rank=1, ...],
        weight_2: InputTensor[dtype=DType.int8, rank=4, ...],
        bias_2: InputTensor[dtype=DType.float32, rank=1, ...],
        scale_2: InputTensor[dtype=DType.float32, rank=1, ...],
        offset_2: InputTensor[dtype=DType.int32, rank=1, ...],
        vnni: InputTensor[dtype=DType.int32, rank=1, ...],  # (1,), see `is_fast`
        ctx: DeviceContext,
    ) raises:
        def run[fast: Bool]() {imm}:
            var n_state = x.dim_size(1)
            var mlp = Mlp(
                norm(ln_weight, ln_bias),
                int8_matrix[fast](n_state, weight_0, bias_0, scale_0, offset_0),
                int8_matrix[fast, parts](4 * n_state, weight_2, bias_2, scale_2, offset_2),
            )
            mlp.run(rebind[FloatPointer](x.unsafe_ptr()), x.dim_size(0), rebind[FloatPointer](output.unsafe_ptr()))

        if is_fast(vnni.unsafe_ptr().unsafe_load(0)):
            run[True]()
        else:
            run[False]()
