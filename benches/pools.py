#!/usr/bin/env python3
"""What a pool itself costs: Python's pools beside pinpool and rayon, in one run.

Python's rows are measured here, those of pinpool and rayon by `cargo bench --bench dispatch` and
`--bench crossing`, whose programs this script runs and whose rows it reads. Two workers each.
Standard library only. From the repository root:

    python3 benches/pools.py [SCALE]

Python's rows are slow, so they are run with fewer calls than the others and scaled up to the
same number, which their line says; SCALE (default 1) makes the counts larger or smaller. Every
answer is checked. Times on a machine that does other things mean little: read ratios of one run.
"""

import os
import re
import statistics
import subprocess
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SCALE = float(sys.argv[1]) if len(sys.argv) > 1 else 1.0
WORKERS = 2
GAP = 0.002

# What is measured: the table's rows, in this order.
ROWS = {
    "awake": "empty call, workers awake, µs",
    "parked": "empty call after 2 ms of rest, µs",
    "one by one": "100,000 calls one by one, ms",
    "in flight": "100,000 calls in flight, ms",
    "chunks": "1,000,000 empty chunks in one map, ms",
    "squares": "a million (x + y)^2, ms",
    "serial": "the same in a serial loop, ms",
    "up and down": "pool up and down, ms",
}
# pinpool's and rayon's rows of the same: the bench's name, and what its µs are divided by.
OURS = {
    "awake": ("call, 2 processes, awake", 1),
    "parked": ("call, 2 processes, parked", 1),
    "one by one": ("100,000 calls, 2 processes", 1e3),
    "in flight": ("100,000 calls in flight, 2 processes", 1e3),
    "chunks": ("1,000,000 empty chunks, 2 processes", 1e3),
    "up and down": ("pool of 2 processes up and down", 1e3),
}
RAYON = {
    "awake": ("rayon install, awake", 1),
    "parked": ("rayon install, parked", 1),
    "in flight": ("rayon scope, 100,000 spawns in flight", 1e3),
    "chunks": ("rayon, 1,000,000 empty items", 1e3),
}


def seven():
    return 7


def same(i):
    return i


def square(x, y):
    return (x + y) ** 2


def square_pair(pair):
    return (pair[0] + pair[1]) ** 2


def count(n):
    """A number of calls by the scale, at least a few."""
    return max(4, int(n * SCALE))


def seconds(f):
    start = time.perf_counter()
    f()
    return time.perf_counter() - start


def note(who, row, text):
    print(f"  {who}: {ROWS[row]}: {text}", flush=True)


def scaled(who, row, n, whole, f):
    """Milliseconds for `whole` of what `f` does `n` times."""
    ms = seconds(f) * 1e3 * whole / n
    note(who, row, f"{ms:.1f}" + (f", scaled up from {n:,}" if n != whole else ""))
    return ms


def check(got, wanted):
    if got != wanted:
        sys.exit(f"error: a wrong answer: {str(got)[:80]} instead of {str(wanted)[:80]}")


class PythonPool:
    """`multiprocessing.Pool`."""

    name = "mp.Pool"

    def __init__(self):
        self.pool = get_context("fork").Pool(WORKERS)

    def call(self):
        return self.pool.apply(seven)

    def flight(self, n):
        return [r.get() for r in [self.pool.apply_async(seven) for _ in range(n)]]

    def chunks(self, n):
        return self.pool.map(same, range(n), chunksize=1)

    def squares(self, xs, ys):
        return self.pool.starmap(square, zip(xs, ys))

    def end(self):
        self.pool.close()
        self.pool.join()


class Executor:
    """`concurrent.futures.ProcessPoolExecutor`."""

    name = "Executor"

    def __init__(self):
        self.pool = ProcessPoolExecutor(WORKERS, mp_context=get_context("fork"))
        # It starts its processes at the first calls.
        check([r.result() for r in [self.pool.submit(seven) for _ in range(WORKERS)]], [7] * WORKERS)

    def call(self):
        return self.pool.submit(seven).result()

    def flight(self, n):
        return [r.result() for r in [self.pool.submit(seven) for _ in range(n)]]

    def chunks(self, n):
        return list(self.pool.map(same, range(n)))

    def squares(self, xs, ys):
        chunk = max(1, len(xs) // (4 * WORKERS))
        return list(self.pool.map(square_pair, zip(xs, ys), chunksize=chunk))

    def end(self):
        self.pool.shutdown()


def python(kind):
    """All rows of one of Python's pools."""
    who, row = kind.name, {}
    pool = kind()
    check(pool.call(), 7)
    awake = [seconds(lambda: check(pool.call(), 7)) for _ in range(count(2_000))]
    row["awake"] = statistics.median(awake) * 1e6
    note(who, "awake", f"{row['awake']:.1f}, best {min(awake) * 1e6:.1f}, of {len(awake):,}")
    parked = []
    for _ in range(count(200)):
        time.sleep(GAP)
        parked.append(seconds(lambda: check(pool.call(), 7)))
    row["parked"] = statistics.median(parked) * 1e6
    note(who, "parked", f"{row['parked']:.1f}, best {min(parked) * 1e6:.1f}, of {len(parked):,}")
    n = count(10_000)
    calls = lambda: [check(pool.call(), 7) for _ in range(n)]
    row["one by one"] = scaled(who, "one by one", n, 100_000, calls)
    row["in flight"] = scaled(who, "in flight", n, 100_000, lambda: check(pool.flight(n), [7] * n))
    n = count(20_000)
    chunks = lambda: check(pool.chunks(n), list(range(n)))
    row["chunks"] = scaled(who, "chunks", n, 1_000_000, chunks)
    n = count(1_000_000)
    xs, ys = range(n), range(n, 2 * n)
    wanted = [(x + y) ** 2 for x, y in zip(xs, ys)]
    squares = lambda: check(pool.squares(xs, ys), wanted)
    row["squares"] = scaled(who, "squares", n, 1_000_000, squares)
    pool.end()
    pairs = [seconds(lambda: kind().end()) for _ in range(count(10))]
    row["up and down"] = statistics.median(pairs) * 1e3
    note(who, "up and down", f"{row['up and down']:.1f}")
    return row


def bench(name):
    """The lines that a bench prints, which checks its answers itself."""
    command = ["cargo", "bench", "--quiet", "--bench", name]
    print(f"  {' '.join(command)}", flush=True)
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    if done.returncode != 0:
        sys.exit(f"error: `{' '.join(command)}` failed; what it wrote is above")
    return done.stdout.splitlines()


def rows(lines, names):
    """Medians of the rows named; of a row that comes twice (rayon by 1 and 2 threads), the last."""
    found = {}
    for key, (name, by) in names.items():
        pattern = re.compile(re.escape(name) + r"\s+best\s+\S+\s+median\s+(\S+)")
        medians = [m.group(1) for m in map(pattern.match, lines) if m]
        if not medians:
            sys.exit(f"error: the bench has no row {name!r}; OURS and RAYON name its rows")
        found[key] = float(medians[-1]) / by
    return found


def ours():
    lines = bench("dispatch")
    pinpool, rayon = rows(lines, OURS), rows(lines, RAYON)
    for line in bench("crossing"):
        cells = line.replace("*", "").split()
        if cells and cells[0] == "1000000":
            serial, awake = float(cells[1]), float(cells[2])
            pinpool["squares"], pinpool["serial"] = awake / 1e3, serial / 1e3
    return pinpool, rayon


def cell(value):
    if value is None:
        return "-"
    return f"{value:,.2f}" if value < 100 else f"{value:,.0f}"


def main():
    print(f"{os.cpu_count()} cores, {WORKERS} workers, Python {sys.version.split()[0]}", flush=True)
    columns = {kind.name: python(kind) for kind in (PythonPool, Executor)}
    n = count(1_000_000)
    xs, ys = range(n), range(n, 2 * n)
    serial = lambda: check(square(xs[-1], ys[-1]), [square(x, y) for x, y in zip(xs, ys)][-1])
    loop = scaled("Python", "serial", n, 1_000_000, serial)
    for column in columns.values():
        column["serial"] = loop
    columns["pinpool"], columns["rayon"] = ours()
    print(f"\n{'':<40}" + "".join(f"{name:>14}" for name in columns))
    for key, title in ROWS.items():
        cells = "".join(f"{cell(column.get(key)):>14}" for column in columns.values())
        print(f"{title:<40}{cells}")
    print("medians; pinpool by processes, rayon by threads; Python's long rows as said above")


if __name__ == "__main__":
    main()
