"""Times each CPU kernel, and what bounds it, by the processor time of one thread. Built and read by benchmark_kernels.py;
one line a figure, tabs between: name, the bound's name, nanoseconds, operations (multiplications and additions), bytes.

Arguments: "vnni" and "bf16" where the processor has these instructions.
"""

from kernels.attention import FloatSide, Head
from kernels.decode_attention import Audio, FloatAudio
from kernels.decoder_block import Block, Caches
from kernels.dot import GROUP, HAS_PAIRS, IntVector, add_dots, dots_of_wide
from kernels.finish import Rows
from kernels.int8_attention import Int8Head
from kernels.int8_audio import Int8Audio, SCALE_BYTES
from kernels.matrix import FloatMatrix, Int8Matrix, Matrix
from kernels.norm import LayerNorm
from kernels.normed import Mlp, NormedLinear
from kernels.tiles import FloatPointer, PANEL, Vector, WIDTH
from max.runtime.asyncrt import parallelism_level
from std.ffi import external_call
from std.math import ceildiv, min
from std.memory import bitcast
from std.sys import CompilationTarget, argv, inlined_assembly, size_of

comptime HEAD_DIM = 64
comptime N_HEAD = 8
comptime N_STATE = N_HEAD * HEAD_DIM
comptime N_AUDIO = 1500
comptime N_PADDED = ceildiv(N_AUDIO, PANEL) * PANEL
comptime N_TEXT = 448
comptime N_VOCAB = 51872
comptime ENOUGH = 400_000_000
"""Nanoseconds that each kernel is repeated for; the fastest run counts, as other programs may share its caches."""
comptime THREAD_TIME = Int32(3)
"""CLOCK_THREAD_CPUTIME_ID of Linux."""
comptime PEAK_ROUNDS = 200_000
comptime CHAINS = 12
"""Sums that a peak loop keeps going at once, to hide the latency of each; they begin differently, or they were one."""
comptime ABOUT_1 = Int32(0x3F803F80)
"""The bits of 1.002, and of a pair of bfloat16 of 1: small integers would be denormal, which some processors are slow at."""
comptime FLOAT, BFLOAT, PAIRS, VNNI, MEMORY = "float32", "bfloat16", "pairs", "vnni", "memory"


def now() -> Int:
    """Nanoseconds of processor time of this thread."""
    var time = Array[Int, 2](fill=0)
    _ = external_call["clock_gettime", Int32](THREAD_TIME, Pointer(to=time))
    return time[0] * 1_000_000_000 + time[1]


def report[Work: def() -> None](name: String, bound: String, operations: Int, bytes: Int, work: Work):
    """Print the fastest of many runs."""
    var best = 1 << 60
    var until = now() + ENOUGH
    while now() < until:
        var start = now()
        work()
        best = min(best, now() - start)
    print(name, bound, best, operations, bytes, sep="\t")


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


def time_reading():
    """Memory, far more than any cache, in four streams."""
    comptime STREAMS = 4
    comptime SHARE = 16 << 20
    var source = numbers[DType.int32](STREAMS * SHARE)
    var result = numbers[DType.int32](WIDTH)
    var at = at_line(source)
    var result_ptr = at_line(result)

    def run() {imm}:
        var sums = Array[IntVector, STREAMS](fill=IntVector(0))
        for i in range(0, SHARE, WIDTH):
            comptime for stream in range(STREAMS):
                sums[stream] += at.unsafe_load[width=WIDTH](stream * SHARE + i)
        result_ptr.unsafe_store(0, sums[0] + sums[1] + sums[2] + sums[3])

    report("peak: reading memory", MEMORY, 0, 4 * STREAMS * SHARE, run)
    _ = source^
    _ = result^


@always_inline
def bfloat16_dots(total: Vector, x: Vector, y: Vector) -> Vector:
    """`total` plus the products of two pairs of bfloat16 in each lane; in assembly, as not every target promises it."""
    return inlined_assembly["vdpbf16ps $2, $1, $0", Vector, constraints="=v,v,v,0", has_side_effect=False](x, y, total)


def time_peak[kind: StaticString]():
    """An instruction on registers alone."""
    var memory = numbers[DType.int32]((CHAINS + 1) * WIDTH)
    comptime if kind == FLOAT or kind == BFLOAT:
        for i in range(len(memory)):
            memory[i] = ABOUT_1
    var at = at_line(memory)

    def run() {imm}:
        var sums = Array[IntVector, CHAINS](fill=IntVector(0))
        comptime for chain in range(CHAINS):
            sums[chain] = at.unsafe_load[width=WIDTH]((chain + 1) * WIDTH) + Int32(chain)
        var x = at.unsafe_load[width=WIDTH](0)
        for _ in range(PEAK_ROUNDS):
            comptime for chain in range(CHAINS):
                comptime if kind == PAIRS and HAS_PAIRS:
                    sums[chain] += dots_of_wide(x, sums[chain])
                elif kind == VNNI or kind == PAIRS:
                    sums[chain] = add_dots[kind == VNNI](sums[chain], x, sums[chain])
                else:
                    var total = bitcast[DType.float32, WIDTH](sums[chain])
                    var factor = bitcast[DType.float32, WIDTH](x)
                    comptime if kind == FLOAT:
                        total = factor.fma(factor, total)
                    else:
                        total = bfloat16_dots(total, factor, factor)
                    sums[chain] = bitcast[DType.int32, WIDTH](total)
        var all = IntVector(0)
        comptime for chain in range(CHAINS):
            all += sums[chain]
        at.unsafe_store(0, all & 1)

    comptime two = kind == BFLOAT or (kind == PAIRS and HAS_PAIRS)
    comptime products = 2 if two else 4 if kind == VNNI or kind == PAIRS else 1
    report(String("peak: ") + String(kind), String(kind), 2 * PEAK_ROUNDS * CHAINS * WIDTH * products, 0, run)
    _ = memory^


def time_layers[M: Matrix, MatrixOf: def(Int, Int) -> M](name: String, bound: String, weight_bytes: Int, of: MatrixOf):
    """A layer over normalised rows, and an MLP. weight_bytes: of one weight."""
    var vector = numbers[DType.float32](4 * N_STATE)
    var x = numbers[DType.float32](N_AUDIO * N_STATE)
    var output = numbers[DType.float32](max(N_AUDIO * 4 * N_STATE, 8 * N_VOCAB))
    var ln = LayerNorm(at_line(vector), at_line(vector), N_STATE)
    var x_ptr = at_line(x)
    var out_ptr = at_line(output)
    for shape in [(N_AUDIO, 3 * N_STATE), (1, 3 * N_STATE), (8, 3 * N_STATE), (1, N_VOCAB), (8, N_VOCAB)]:
        var n_rows = shape[0]
        var n_columns = shape[1]
        var layer = NormedLinear(ln, of(N_STATE, n_columns), n_columns)

        def run_layer() {imm}:
            layer.run(x_ptr, n_rows, out_ptr)

        var title = name + " layer, " + String(n_rows) + " x " + String(N_STATE) + " x " + String(n_columns)
        var bytes = N_STATE * n_columns * weight_bytes + 4 * n_rows * (N_STATE + n_columns)
        report(title, bound, 2 * n_rows * N_STATE * n_columns, bytes, run_layer)
    for n_rows in [1, 8, N_AUDIO]:
        var mlp = Mlp(ln, of(N_STATE, 4 * N_STATE), of(4 * N_STATE, N_STATE))

        def run_mlp() {imm}:
            mlp.run(x_ptr, n_rows, out_ptr)

        var title = name + " MLP, " + String(n_rows) + " rows"
        var bytes = 8 * N_STATE * N_STATE * weight_bytes + 8 * n_rows * N_STATE
        report(title, bound, 16 * n_rows * N_STATE * N_STATE, bytes, run_mlp)
    _ = (vector^, x^, output^)


def time_block[M: Matrix, A: Audio, MatrixOf: def(Int, Int) -> M](
    name: String, weight_bytes: Int, audio_bytes: Int, n_rows: Int, of: MatrixOf, audio: A
):
    """A block of the decoder after 100 tokens, its cache in float16. audio_bytes: of a row's cross keys and values."""
    var vector = numbers[DType.float32](N_STATE)
    var lengths = numbers[DType.int32](n_rows)
    for row in range(n_rows + 60):
        lengths[row] = 100
    var cache = numbers[DType.float16](2 * n_rows * N_TEXT * N_STATE)
    var x = numbers[DType.float32](2 * n_rows * N_STATE)
    var ln = LayerNorm(at_line(vector), at_line(vector), N_STATE)
    var block = Block[M, M, DType.float16, HEAD_DIM, A](
        ln,
        of(N_STATE, 3 * N_STATE),
        of(N_STATE, N_STATE),
        ln,
        of(N_STATE, N_STATE),
        of(N_STATE, N_STATE),
        ln,
        of(N_STATE, 4 * N_STATE),
        of(4 * N_STATE, N_STATE),
        Caches[DType.float16, HEAD_DIM, A](
            at_line(cache),
            at_line(cache).unsafe_offset(n_rows * N_TEXT * N_STATE),
            at_line(lengths),
            N_TEXT,
            audio,
            N_HEAD,
            1,
        ),
        N_STATE,
        n_rows,
    )
    var x_ptr = at_line(x)

    def run() {imm}:
        block.run(x_ptr, x_ptr.unsafe_offset(n_rows * N_STATE))

    var bytes = 14 * N_STATE * N_STATE * weight_bytes + n_rows * (audio_bytes + 4 * 100 * N_STATE)
    var operations = 28 * n_rows * N_STATE * N_STATE + 4 * n_rows * (N_AUDIO + 100) * N_STATE
    report(name + " decoder block, " + String(n_rows) + " rows", MEMORY, operations, bytes, run)
    _ = (vector^, lengths^, cache^, x^)


def time_float[dtype: DType]():
    var weight = numbers[dtype](N_STATE * N_VOCAB)
    var bias = numbers[DType.float32](N_VOCAB)
    var weight_ptr = at_line(weight)
    var bias_ptr = at_line(bias)

    def matrix(depth: Int, n_columns: Int) {imm} -> FloatMatrix[dtype]:
        return {weight_ptr, bias_ptr, depth, depth, n_columns // PANEL}

    comptime bytes = size_of[Scalar[dtype]]()
    time_layers[FloatMatrix[dtype]](String(dtype), FLOAT, bytes, matrix)
    for n_rows in [1, 8]:
        var n_numbers = n_rows * N_AUDIO * N_STATE
        var memory = numbers[DType.float16](2 * n_numbers)
        var keys = at_line(memory)
        var audio = FloatAudio[DType.float16, HEAD_DIM](keys, keys.unsafe_offset(n_numbers), N_AUDIO)
        time_block[FloatMatrix[dtype]](String(dtype), bytes, 4 * N_AUDIO * N_STATE, n_rows, matrix, audio)
        _ = memory^
    _ = (weight^, bias^)


def time_int8[fast: Bool](bound: String):
    var weight = numbers[DType.int8](N_STATE * N_VOCAB)
    var bias = numbers[DType.float32](N_VOCAB)
    var offset = numbers[DType.int32](N_VOCAB)
    var weight_ptr = at_line(weight)
    var bias_ptr = at_line(bias)
    var offset_ptr = at_line(offset)

    def matrix(depth: Int, n_columns: Int) {imm} -> Int8Matrix[fast]:
        return {weight_ptr, bias_ptr, bias_ptr, offset_ptr, depth, depth, depth // GROUP, n_columns // PANEL}

    time_layers[Int8Matrix[fast]](String("int8"), bound, 1, matrix)
    for n_rows in [1, 8]:
        comptime SIDE_BYTES = N_PADDED * N_HEAD * (HEAD_DIM + SCALE_BYTES)
        var memory = numbers[DType.float32](2 * n_rows * SIDE_BYTES // SCALE_BYTES)
        var keys = at_line(memory).unsafe_bitcast[UInt8]()
        var values = keys.unsafe_offset(n_rows * SIDE_BYTES).unsafe_bitcast[Int8]()
        var audio = Int8Audio[HEAD_DIM, fast](keys, values, N_AUDIO, N_PADDED)
        time_block[Int8Matrix[fast]](String("int8"), 1, 2 * SIDE_BYTES, n_rows, matrix, audio)
        _ = memory^
    _ = (weight^, bias^, offset^)


def time_attention():
    """A head of the encoder in float32."""
    var qkv = numbers[DType.float32](N_AUDIO * 3 * N_STATE)
    var output = numbers[DType.float32](N_AUDIO * N_STATE)
    var q = at_line(qkv)
    var side = FloatSide(q.unsafe_offset(N_STATE), q.unsafe_offset(2 * N_STATE), 3 * N_STATE)
    var head = Head[HEAD_DIM, False, FloatSide[DType.float32]](
        at_line(output), N_STATE, q, 3 * N_STATE, side, N_AUDIO
    )
    var scratch = numbers[DType.float32](head.scratch_floats(N_AUDIO))

    def run() {imm}:
        head.run(0, N_AUDIO, at_line(scratch))

    report("float32 encoder attention, a head", FLOAT, 4 * N_AUDIO * N_AUDIO * HEAD_DIM, 16 * N_AUDIO * HEAD_DIM, run)
    _ = (qkv^, output^, scratch^)


def time_int8_attention[fast: Bool](bound: String):
    """A head of the encoder in integers."""
    var qkv = numbers[DType.float32](N_AUDIO * 3 * N_STATE)
    var output = numbers[DType.float32](N_AUDIO * N_STATE)
    var q = at_line(qkv)
    var head = Int8Head[HEAD_DIM, fast](
        at_line(output), N_STATE, q, q.unsafe_offset(N_STATE), q.unsafe_offset(2 * N_STATE), 3 * N_STATE, N_AUDIO
    )
    var scratch = numbers[DType.float32](head.scratch_floats(N_AUDIO))

    def run() {imm}:
        head.run(0, N_AUDIO, at_line(scratch))

    report("int8 encoder attention, a head", bound, 4 * N_AUDIO * N_AUDIO * HEAD_DIM, 16 * N_AUDIO * HEAD_DIM, run)
    _ = (qkv^, output^, scratch^)


def main():
    if parallelism_level(None) != 1:
        print("pin this program to one core: only its first thread's time is measured")
        return
    var abilities = List[String]()
    for argument in argv():
        abilities.append(String(argument))
    print("width", WIDTH, sep="\t")
    time_reading()
    time_peak[FLOAT]()
    comptime if CompilationTarget.is_x86() and WIDTH == 16:
        if "bf16" in abilities:
            time_peak[BFLOAT]()
    time_peak[PAIRS]()
    time_float[DType.float32]()
    time_float[DType.float16]()
    time_attention()
    if "vnni" in abilities:
        time_peak[VNNI]()
        time_int8[True](VNNI)
        time_int8_attention[True](VNNI)
    else:
        time_int8[False](PAIRS)
        time_int8_attention[False](PAIRS)
