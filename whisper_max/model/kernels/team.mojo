"""Phases of work that the workers of one operation share, each begun when the one before is done.

Waking a worker costs more than a small matrix does, so an operation of many small steps wakes its workers once and they
wait for each other by spinning. Pieces are taken by whoever is free and nobody waits for a worker that has taken none:
where other work keeps a thread from starting, the others do all of it.
"""

from max.algorithm import sync_parallelize
from max.runtime.asyncrt import parallelism_level
from std.atomic import Atomic
from std.math import max, min
from std.memory import alloc, dealloc
from std.memory.alloc import Layout
from std.ffi import external_call
from std.sys import CompilationTarget
from std.sys.intrinsics import llvm_intrinsic

comptime Counter = Pointer[Int32, MutUntrackedOrigin]
comptime LINE = 16
"""Counters a cache line has room for: each has one of its own."""
comptime PATIENCE = 1_000
"""How often a worker looks before it lets other threads have its core: tens of microseconds, as long as a matrix takes."""
comptime FEW_WORKERS = 16
"""Enough for a few rows, which wait for memory; more only take longer to wake and to agree."""
comptime ROWS_A_WORKER = 16
"""Rows that are worth another worker."""


struct Worker:
    """One worker on its way through the phases of an operation."""

    var number: Int
    var counters: Counter
    """Of the phase at work: pieces that were taken, and a line further those that are done."""
    var busy: Bool

    def __init__(out self, number: Int, counters: Counter):
        self.number = number
        self.counters = counters
        self.busy = False

    @always_inline
    def next(mut self, n_pieces: Int) -> Int:
        """The next piece of this phase; -1 when all are done, which begins the next phase."""
        var done = self.counters.unsafe_offset(LINE)
        if self.busy:
            _ = Atomic.fetch_add(done, Int32(1))
        var piece = Int(Atomic.fetch_add(self.counters, Int32(1)))
        self.busy = piece < n_pieces
        if self.busy:
            return piece
        var looks = 0
        while Int(Atomic.load(done)) < n_pieces:
            looks += 1
            if looks % PATIENCE == 0:
                _ = external_call["sched_yield", Int32]()
            comptime if CompilationTarget.is_x86():
                llvm_intrinsic["llvm.x86.sse2.pause", NoneType]()
        self.counters = self.counters.unsafe_offset(2 * LINE)
        return -1


def workers_for(n_rows: Int) -> Int:
    """How many workers an operation on so many rows gets."""
    return max(1, min(parallelism_level(None), max(FEW_WORKERS, n_rows // ROWS_A_WORKER)))


def run_phases[Work: def(mut Worker) -> None](work: Work, n_phases: Int, n_workers: Int):
    """Let so many workers walk through all phases, in the same order."""
    var memory = alloc(Layout[Int32](count=(2 * n_phases + 1) * LINE))
    var start = rebind[Counter](memory.unsafe_ptr())
    var first = start.unsafe_offset((64 - Int(start) % 64) % 64 // 4)
    for i in range(2 * n_phases * LINE):
        first.unsafe_store(i, Int32(0))

    def walk(number: Int) {imm}:
        var worker = Worker(number, first)
        work(worker)

    sync_parallelize(walk, n_workers)
    dealloc(memory^)
