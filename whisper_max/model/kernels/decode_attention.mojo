"""Attention of one new token of a row over one head of its caches.

Scores live in a few kilobytes of scratch; the caches, of float32 or float16, are read where they stand. Accumulation is
in float32.
"""

from std.math import exp, sqrt

from .tiles import FloatPointer, Vector, WIDTH


@always_inline
def dot[
    dtype: DType, //, head_dim: Int
](a: FloatPointer, b: Pointer[Scalar[dtype], MutUntrackedOrigin]) -> Float32:
    """The dot product of two head vectors."""
    var total = Vector(0)
    comptime for lane in range(0, head_dim, WIDTH):
        total = a.unsafe_load[width=WIDTH](lane).fma(b.unsafe_load[width=WIDTH](lane).cast[DType.float32](), total)
    return total.reduce_add()


@always_inline
def weigh[
    dtype: DType, //, head_dim: Int
](weights: FloatPointer, q: FloatPointer, k: Pointer[Scalar[dtype], MutUntrackedOrigin], n_keys: Int) -> Float32:
    """How much each key counts for a query, `exp(q . k * hd ** -0.5 - the highest)`; returns the sum of all.

    weights: (n_keys,), written; q: (hd,); k: (n_keys, hd).
    """
    var scale = 1 / sqrt(Float32(head_dim))
    var highest = Float32.MIN_FINITE
    for key in range(n_keys):
        var score = dot[head_dim](q, k.unsafe_offset(key * head_dim)) * scale
        weights.unsafe_store(key, score)
        highest = max(highest, score)

    var n_whole = n_keys // WIDTH * WIDTH
    var sums = Vector(0)
    for key in range(0, n_whole, WIDTH):
        var some = exp(weights.unsafe_load[width=WIDTH](key) - highest)
        weights.unsafe_store(key, some)
        sums += some
    var total = sums.reduce_add()
    for key in range(n_whole, n_keys):
        var one = exp(weights.unsafe_load(key) - highest)
        weights.unsafe_store(key, one)
        total += one
    return total


def attend[
    dtype: DType, //, head_dim: Int
](
    output: FloatPointer,
    q: FloatPointer,
    k: Pointer[Scalar[dtype], MutUntrackedOrigin],
    v: Pointer[Scalar[dtype], MutUntrackedOrigin],
    scores: FloatPointer,
    n_keys: Int,
):
    """One head: `softmax(q . k * hd ** -0.5) . v`. q, output: (hd,); k, v: (n_keys, hd); scores: n_keys of scratch."""
    var total = weigh[head_dim](scores, q, k, n_keys)
    comptime n_vectors = head_dim // WIDTH
    var result = Array[Vector, n_vectors](fill=Vector(0))
    for key in range(n_keys):
        var weight = Vector(scores.unsafe_load(key))
        comptime for part in range(n_vectors):
            var value = v.unsafe_load[width=WIDTH](key * head_dim + part * WIDTH).cast[DType.float32]()
            result[part] = value.fma(weight, result[part])
    comptime for part in range(n_vectors):
        output.unsafe_store(part * WIDTH, result[part] / total)


trait Audio(Deinitable, ImplicitlyCopyable, Movable):
    """Keys and values of the audio in one layer. A head is window * H + its number."""

    def n_keys(self) -> Int:
        """Positions of the audio."""
        ...

    def scratch_floats(self) -> Int:
        """Scratch for one query."""
        ...

    def weigh(self, head: Int, q: FloatPointer, scratch: FloatPointer) -> Float32:
        """How much each key counts for a query, written to the start of scratch; returns the sum of all."""
        ...

    def attend(self, head: Int, output: FloatPointer, q: FloatPointer, scratch: FloatPointer):
        """One query over one head. q, output: (hd,)."""
        ...


@fieldwise_init
struct FloatAudio[dtype: DType, head_dim: Int](Audio):
    """Keys and values as they are."""

    comptime Values = Pointer[Scalar[Self.dtype], MutUntrackedOrigin]
    var keys: Self.Values  # (windows, H, n_audio, hd)
    var values: Self.Values  # (windows, H, n_audio, hd)
    var n_audio: Int

    def n_keys(self) -> Int:
        return self.n_audio

    def scratch_floats(self) -> Int:
        return self.n_audio

    def weigh(self, head: Int, q: FloatPointer, scratch: FloatPointer) -> Float32:
        var own = head * self.n_audio * Self.head_dim
        return weigh[Self.head_dim](scratch, q, self.keys.unsafe_offset(own), self.n_audio)

    def attend(self, head: Int, output: FloatPointer, q: FloatPointer, scratch: FloatPointer):
        var own = head * self.n_audio * Self.head_dim
        var keys, values = self.keys.unsafe_offset(own), self.values.unsafe_offset(own)
        attend[Self.head_dim](output, q, keys, values, scratch, self.n_audio)


@always_inline
def copy_head[
    dtype: DType, //, head_dim: Int
](target: Pointer[Scalar[dtype], MutUntrackedOrigin], source: FloatPointer):
    """Write a head vector into a cache."""
    comptime for lane in range(0, head_dim, WIDTH):
        target.unsafe_store(lane, source.unsafe_load[width=WIDTH](lane).cast[dtype]())
