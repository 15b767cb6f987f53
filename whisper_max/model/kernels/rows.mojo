"""Rows by themselves: normalised, or taken in another order."""

import extensibility
from extensibility import InputTensor, OutputTensor
from max.gpu.host import DeviceContext

from .norm import norm
from .taps import share_out
from .tiles import FloatPointer, WIDTH


@extensibility.register("whisper_max.layer_norm")
struct LayerNormOfRows:
    """A normalisation that no linear layer follows."""

    @staticmethod
    def execute(
        output: OutputTensor[dtype=DType.float32, rank=2, ...],  # (n_rows, n_state)
        x: InputTensor[dtype=DType.float32, rank=2, ...],  # (n_rows, n_state)
        weight: InputTensor[dtype=DType.float32, rank=1, ...],  # (n_state,)
        bias: InputTensor[dtype=DType.float32, rank=1, ...],  # (n_state,)
        ctx: DeviceContext,
    ) raises:
        var ln = norm(weight, bias)
        var out_ptr = rebind[FloatPointer](output.unsafe_ptr())
        var x_ptr = rebind[FloatPointer](x.unsafe_ptr())

        def work(row: Int) {imm}:
            ln.run(x_ptr.unsafe_offset(row * ln.n_state), 1, out_ptr.unsafe_offset(row * ln.n_state))

        share_out(work, x.dim_size(0))


@extensibility.register("whisper_max.take_rows")
struct TakeRows:
    """Rows in the order that is asked for."""

    @staticmethod
    def execute(
        output: OutputTensor[dtype=DType.float32, rank=2, ...],  # (n, n_columns)
        x: InputTensor[dtype=DType.float32, rank=2, ...],  # (n_rows, n_columns)
        rows: InputTensor[dtype=DType.int32, rank=1, ...],  # (n,)
        ctx: DeviceContext,
    ) raises:
        var n_columns = x.dim_size(1)
        for i in range(rows.dim_size(0)):
            var row = Int(rows.unsafe_ptr().unsafe_load(i))
            for k in range(0, n_columns, WIDTH):
                var some = x.unsafe_ptr().unsafe_load[width=WIDTH](row * n_columns + k)
                output.unsafe_ptr().unsafe_store(i * n_columns + k, some)
