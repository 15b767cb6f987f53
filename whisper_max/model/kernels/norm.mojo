"""Layer normalisation of rows, in float32."""

from extensibility import InputTensor
from std.math import sqrt

from .tiles import FloatPointer, Vector, WIDTH

comptime EPSILON = Float32(1e-5)
"""The default of torch.nn.LayerNorm, which Whisper was trained with."""


@fieldwise_init
struct LayerNorm(ImplicitlyCopyable, Movable):
    """Weight and bias of a normalisation over `n_state` numbers, whole vectors of them."""

    var weight: FloatPointer
    var bias: FloatPointer
    var n_state: Int

    @no_inline
    def run(self, x: FloatPointer, n_rows: Int, output: FloatPointer):
        """Normalise rows. x, output: (n_rows, n_state)."""
        for row in range(n_rows):
            self.run_row(x.unsafe_offset(row * self.n_state), output.unsafe_offset(row * self.n_state))

    def run_row(self, x: FloatPointer, output: FloatPointer):
        var sums = Vector(0)
        for k in range(0, self.n_state, WIDTH):
            sums += x.unsafe_load[width=WIDTH](k)
        var mean = sums.reduce_add() / Float32(self.n_state)
        var squares = Vector(0)
        for k in range(0, self.n_state, WIDTH):
            var part = x.unsafe_load[width=WIDTH](k) - mean
            squares = part.fma(part, squares)
        var scale = 1 / sqrt(squares.reduce_add() / Float32(self.n_state) + EPSILON)
        for k in range(0, self.n_state, WIDTH):
            var part = (x.unsafe_load[width=WIDTH](k) - mean) * scale
            output.unsafe_store(k, part.fma(self.weight.unsafe_load[width=WIDTH](k), self.bias.unsafe_load[width=WIDTH](k)))


def norm(
    weight: InputTensor[dtype=DType.float32, rank=1, ...], bias: InputTensor[dtype=DType.float32, rank=1, ...]
) -> LayerNorm:
    """The normalisation of two tensors."""
    return {rebind[FloatPointer](weight.unsafe_ptr()), rebind[FloatPointer](bias.unsafe_ptr()), weight.dim_size(0)}
