"""Times each CPU kernel and what bounds it. Built and read by benchmark_kernels.py; one line a figure, tabs between:
name, nanoseconds, operations (multiplications and additions), bytes that have to be read and written at least.
"""

from kernels.attention import Head
from kernels.attention import run_in_parallel as attend_to_all
from kernels.decode_attention import attend
from kernels.dot import GROUP, IntPointer, IntVector, add_dots
from kernels.finish import Rows
from kernels.int8_attention import Int8Head
from kernels.int8_linear import Int8Product, WeightPointer
from kernels.int8_linear import run_in_parallel as multiply_int8
from kernels.linear import Product
from kernels.linear import run_in_parallel as multiply
from kernels.tiles import FloatPointer, PANEL, Vector, WIDTH
from max.algorithm import sync_parallelize
from max.runtime.asyncrt import parallelism_level
from std.math import ceildiv, min
from std.memory import unsafe_memcpy
from std.sys import argv, size_of
from std.time import perf_counter_ns

comptime HEAD_DIM = 64
comptime N_HEAD = 8
comptime N_STATE = N_HEAD * HEAD_DIM
comptime N_AUDIO = 1500
comptime N_VOCAB = 51865
comptime NANOSECONDS = 400_000_000
"""How long each kernel is repeated; the fastest run counts, as the machine may be doing other things."""
comptime PEAK_ROUNDS = 1_000_000
comptime CHAINS = 12
"""Sums that a peak loop keeps going at once, to hide the latency of each."""


def best_ns[Work: def() -> None](work: Work) -> Float64:
    """The fastest of many runs."""
    var best = 1e18
    var until = perf_counter_ns() + NANOSECONDS
    while perf_counter_ns() < until:
        var start = perf_counter_ns()
        work()
        best = min(best, Float64(perf_counter_ns() - start))
    return best


def report(name: String, nanoseconds: Float64, operations: Int, bytes: Int):
    print(name, nanoseconds, operations, bytes, sep="\t")


def numbers[dtype: DType](count: Int) -> List[Scalar[dtype]]:
    """Small and not all equal, from a cache line on."""
    var values = List[Scalar[dtype]](length=count + 64, fill=0)
    for i in range(count + 64):
        values[i] = Scalar[dtype](i % 5 - 2)
    return values^


def at_line[dtype: DType](values: List[Scalar[dtype]]) -> Pointer[Scalar[dtype], MutUntrackedOrigin]:
    """The first number that begins a cache line."""
    var pointer = rebind[Pointer[Scalar[dtype], MutUntrackedOrigin]](values.unsafe_ptr())
    return pointer.unsafe_offset((64 - Int(pointer) % 64) % 64 // size_of[Scalar[dtype]]())


def time_copy():
    """Memory to memory, far more than any cache; every core copies a share."""
    comptime COUNT = 64 << 20
    var source = numbers[DType.float32](COUNT)
    var target = numbers[DType.float32](COUNT)
    var from_ptr = at_line(source)
    var to_ptr = at_line(target)
    var n_workers = parallelism_level(None)
    var share = COUNT // n_workers

    def copy(worker: Int) {imm}:
        unsafe_memcpy(dest=to_ptr.unsafe_offset(worker * share), src=from_ptr.unsafe_offset(worker * share), count=share)

    def run() {imm}:
        sync_parallelize(copy, n_workers)

    report("floor: copy", best_ns(run), 0, 2 * n_workers * share * 4)
    _ = source^
    _ = target^


def time_float_peak():
    """Multiply-adds on registers alone."""
    var n_workers = parallelism_level(None)
    var results = numbers[DType.float32](n_workers * WIDTH)
    var result_ptr = at_line(results)

    def loop(worker: Int) {imm}:
        var sums = Array[Vector, CHAINS](fill=Vector(Float32(worker)))
        var factor = result_ptr.unsafe_load[width=WIDTH](worker * WIDTH)
        for _ in range(PEAK_ROUNDS):
            comptime for chain in range(CHAINS):
                sums[chain] = sums[chain].fma(factor, factor)
        var total = Vector(0)
        comptime for chain in range(CHAINS):
            total += sums[chain]
        result_ptr.unsafe_store(worker * WIDTH, total * 0)

    def run() {imm}:
        sync_parallelize(loop, n_workers)

    report("floor: float32 multiply-adds", best_ns(run), 2 * n_workers * PEAK_ROUNDS * CHAINS * WIDTH, 0)
    _ = results^


def time_int8_peak[fast: Bool]():
    """Dot products on registers alone."""
    var n_workers = parallelism_level(None)
    var results = numbers[DType.int32](n_workers * WIDTH)
    var result_ptr = at_line(results)

    def loop(worker: Int) {imm}:
        var sums = Array[IntVector, CHAINS](fill=IntVector(Int32(worker)))
        var x = result_ptr.unsafe_load[width=WIDTH](worker * WIDTH)
        for _ in range(PEAK_ROUNDS):
            comptime for chain in range(CHAINS):
                sums[chain] = add_dots[fast](sums[chain], sums[chain], x)
        var total = IntVector(0)
        comptime for chain in range(CHAINS):
            total += sums[chain]
        result_ptr.unsafe_store(worker * WIDTH, total & 1)

    def run() {imm}:
        sync_parallelize(loop, n_workers)

    var name = String("floor: int8 dots, ") + ("VNNI" if fast else "pairs")
    report(name, best_ns(run), 2 * n_workers * PEAK_ROUNDS * CHAINS * WIDTH * GROUP, 0)
    _ = results^


def time_linear[dtype: DType](n_rows: Int, depth: Int, n_columns: Int):
    var n_panels = ceildiv(n_columns, PANEL)
    var x = numbers[DType.float32](n_rows * depth)
    var weight = numbers[dtype](n_panels * PANEL * depth)
    var bias = numbers[DType.float32](n_panels * PANEL)
    var output = numbers[DType.float32](n_rows * n_columns)
    var finish = Rows[False, False](at_line(output), at_line(output), n_columns)
    var product = Product[dtype, Rows[False, False]](finish, at_line(x), at_line(weight), at_line(bias), depth)

    def run() {imm}:
        multiply(product, n_rows, n_panels)

    var bytes = n_columns * depth * size_of[Scalar[dtype]]() + 4 * n_rows * (depth + n_columns)
    var name = String("linear ") + String(dtype) + " " + shape_of(n_rows, depth, n_columns)
    report(name, best_ns(run), 2 * n_rows * depth * n_columns, bytes)
    _ = (x^, weight^, bias^, output^)


def time_int8_linear[fast: Bool](n_rows: Int, depth: Int, n_columns: Int):
    var n_panels = ceildiv(n_columns, PANEL)
    var x = numbers[DType.float32](n_rows * depth)
    var weight = numbers[DType.int8](n_panels * PANEL * depth)
    var bias = numbers[DType.float32](n_panels * PANEL)
    var offset = numbers[DType.int32](n_panels * PANEL)
    var output = numbers[DType.float32](n_rows * n_columns)
    var finish = Rows[False, False](at_line(output), at_line(output), n_columns)
    var product = Int8Product[fast, Rows[False, False]](
        finish, at_line(x), at_line(weight), at_line(bias), at_line(bias), at_line(offset), depth, depth // GROUP
    )

    def run() {imm}:
        multiply_int8(product, n_rows, n_panels)

    var name = String("linear int8, ") + ("VNNI " if fast else "pairs ") + shape_of(n_rows, depth, n_columns)
    report(name, best_ns(run), 2 * n_rows * depth * n_columns, n_columns * depth + 4 * n_rows * (depth + n_columns))
    _ = (x^, weight^, bias^, offset^, output^)


def shape_of(n_rows: Int, depth: Int, n_columns: Int) -> String:
    return String(n_rows) + " x " + String(depth) + " x " + String(n_columns)


def time_encoder_attention():
    var qkv = numbers[DType.float32](N_AUDIO * 3 * N_STATE)
    var output = numbers[DType.float32](N_AUDIO * N_STATE)
    var qkv_ptr = at_line(qkv)
    var out_ptr = at_line(output)

    def head_of(index: Int) {imm} -> Head[HEAD_DIM, False, DType.float32]:
        var q = qkv_ptr.unsafe_offset(index * HEAD_DIM)
        return {
            out_ptr.unsafe_offset(index * HEAD_DIM),
            N_STATE,
            q,
            3 * N_STATE,
            q.unsafe_offset(N_STATE),
            q.unsafe_offset(2 * N_STATE),
            3 * N_STATE,
            N_AUDIO,
        }

    def run() {imm}:
        attend_to_all[Head[HEAD_DIM, False, DType.float32]](head_of, N_HEAD, N_AUDIO)

    var name = String("encoder attention, ") + String(N_AUDIO) + " positions"
    report(name, best_ns(run), 4 * N_AUDIO * N_AUDIO * N_STATE, 4 * 4 * N_AUDIO * N_STATE)
    _ = (qkv^, output^)


def time_int8_encoder_attention[fast: Bool]():
    var qkv = numbers[DType.float32](N_AUDIO * 3 * N_STATE)
    var output = numbers[DType.float32](N_AUDIO * N_STATE)
    var qkv_ptr = at_line(qkv)
    var out_ptr = at_line(output)

    def head_of(index: Int) {imm} -> Int8Head[HEAD_DIM, fast]:
        var q = qkv_ptr.unsafe_offset(index * HEAD_DIM)
        return {
            out_ptr.unsafe_offset(index * HEAD_DIM),
            N_STATE,
            q,
            q.unsafe_offset(N_STATE),
            q.unsafe_offset(2 * N_STATE),
            3 * N_STATE,
            N_AUDIO,
        }

    def run() {imm}:
        attend_to_all[Int8Head[HEAD_DIM, fast]](head_of, N_HEAD, N_AUDIO)

    var name = String("encoder attention int8, ") + ("VNNI " if fast else "pairs ") + String(N_AUDIO) + " positions"
    report(name, best_ns(run), 4 * N_AUDIO * N_AUDIO * N_STATE, 4 * 4 * N_AUDIO * N_STATE)
    _ = (qkv^, output^)


def time_decode_attention[dtype: DType](n_rows: Int, n_keys: Int):
    """One query a row over keys and values of its own, as in the cross and the self cache."""
    var n_pairs = n_rows * N_HEAD
    var q = numbers[DType.float32](n_pairs * HEAD_DIM)
    var output = numbers[DType.float32](n_pairs * HEAD_DIM)
    var keys = numbers[dtype](n_pairs * n_keys * HEAD_DIM)
    var values = numbers[dtype](n_pairs * n_keys * HEAD_DIM)
    var n_workers = min(parallelism_level(None), n_pairs)
    var scores = numbers[DType.float32](n_workers * n_keys)
    var share = ceildiv(n_pairs, n_workers)
    var q_ptr = at_line(q)
    var out_ptr = at_line(output)
    var k_ptr = at_line(keys)
    var v_ptr = at_line(values)
    var score_ptr = at_line(scores)

    def work(worker: Int) {imm}:
        for pair in range(worker * share, min((worker + 1) * share, n_pairs)):
            var own = pair * n_keys * HEAD_DIM
            attend[HEAD_DIM](
                out_ptr.unsafe_offset(pair * HEAD_DIM),
                q_ptr.unsafe_offset(pair * HEAD_DIM),
                k_ptr.unsafe_offset(own),
                v_ptr.unsafe_offset(own),
                score_ptr.unsafe_offset(worker * n_keys),
                n_keys,
            )

    def run() {imm}:
        sync_parallelize(work, n_workers)

    var name = String("decode attention ") + String(dtype) + ", " + String(n_rows) + " x " + String(n_keys) + " keys"
    var operations = 4 * n_pairs * n_keys * HEAD_DIM
    report(name, best_ns(run), operations, 2 * n_pairs * n_keys * HEAD_DIM * size_of[Scalar[dtype]]())
    _ = (q^, output^, keys^, values^, scores^)


def time_int8[fast: Bool]():
    time_int8_peak[fast]()
    for n_rows in [1, 8, N_AUDIO]:
        time_int8_linear[fast](n_rows, N_STATE, 4 * N_STATE)
    time_int8_linear[fast](N_AUDIO, 4 * N_STATE, N_STATE)
    for n_rows in [1, 8]:
        time_int8_linear[fast](n_rows, N_STATE, N_VOCAB)
    time_int8_encoder_attention[fast]()


def time_float[dtype: DType]():
    for n_rows in [1, 8, N_AUDIO]:
        time_linear[dtype](n_rows, N_STATE, 4 * N_STATE)
    time_linear[dtype](N_AUDIO, 4 * N_STATE, N_STATE)
    for n_rows in [1, 8]:
        time_linear[dtype](n_rows, N_STATE, N_VOCAB)
    for n_rows in [1, 8]:
        time_decode_attention[dtype](n_rows, N_AUDIO)
        time_decode_attention[dtype](n_rows, 100)


def main():
    """Argument: "width" to print threads and float32 lanes alone, "fast" where the processor has the int8 dot product."""
    print("threads", parallelism_level(None), WIDTH, 0, sep="\t")
    if len(argv()) > 1 and argv()[1] == "width":
        return
    time_copy()
    time_float_peak()
    time_float[DType.float32]()
    time_float[DType.float16]()
    time_int8[False]()
    if len(argv()) > 1 and argv()[1] == "fast":
        time_int8[True]()
    time_encoder_attention()
