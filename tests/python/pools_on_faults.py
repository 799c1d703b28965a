#!/usr/bin/env python3
"""What Python's own process pools do at the faults of pinpool's fault tests.

One row a fault, one column a pool. Each case runs in a process of its own with a time limit, so that
a hang is a result and not the end of the script. Prints a table in Markdown; needs nothing but Python.
"""

import os
import signal
import subprocess
import sys
import time

LIMIT_S = 8


def work(args):
    """One chunk; the fault happens in chunk 17."""
    chunk, fault = args
    buffer = memoryview(BUFFER.buf).cast("q")
    for i in range(chunk * 16, chunk * 16 + 8):
        buffer[i] += 1
    time.sleep(0.002)
    if chunk == 17 and not os.path.exists(MARK):
        if fault in ("kill", "segv", "exit"):
            open(MARK, "w").close()
        if fault == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        if fault == "segv":
            os.kill(os.getpid(), signal.SIGSEGV)
        if fault == "exit":
            os._exit(3)
        if fault == "raise":
            raise ValueError("chunk seventeen")
    for i in range(chunk * 16 + 8, chunk * 16 + 16):
        buffer[i] += 1
    return chunk


def setup(name, mark):
    global BUFFER, MARK
    from multiprocessing import shared_memory

    BUFFER = shared_memory.SharedMemory(name=name)
    MARK = mark


def state(memory):
    """How the array stands after the job."""
    values = memoryview(memory.buf).cast("q").tolist()[: 64 * 16]
    chunks = [values[c * 16 : c * 16 + 16] for c in range(64)]
    torn = sum(1 for c in chunks if len(set(c)) > 1)
    twice = sum(1 for c in chunks if max(c) > 1)
    done = sum(1 for c in chunks if set(c) == {1})
    return f"{done} of 64 chunks done, {torn} torn, {twice} applied twice"


def case(pool, fault):
    """Runs one case in this process and prints how it ended."""
    import multiprocessing as mp
    from concurrent.futures import ProcessPoolExecutor
    from multiprocessing import shared_memory

    memory = shared_memory.SharedMemory(create=True, size=64 * 16 * 8)
    mark = f"/tmp/pools-on-faults-{os.getpid()}"
    print("SHM", memory.name, flush=True)
    jobs = [(c, fault) for c in range(64)]
    again = [(c, "none") for c in range(64)]
    try:
        if pool == "Pool":
            with mp.Pool(2, setup, (memory.name, mark)) as p:
                run = lambda j: p.map_async(work, j, chunksize=1).get(LIMIT_S - 3)
                finish(run, jobs, again, memory)
        else:
            with ProcessPoolExecutor(2, initializer=setup, initargs=(memory.name, mark)) as p:
                run = lambda j: list(p.map(work, j, timeout=LIMIT_S - 3))
                finish(run, jobs, again, memory)
    finally:
        if os.path.exists(mark):
            os.remove(mark)
        memory.close()
        memory.unlink()


def finish(run, jobs, again, memory):
    try:
        run(jobs)
        end = "job ends well"
    except Exception as error:  # noqa: BLE001 - whatever it is, it is the result
        name = type(error).__name__
        end = "job hangs (given up by our own time-out)" if "Timeout" in name else f"job ends with {name}"
    text = f"{end}; {state(memory)}"
    try:
        run(again)
        text += "; the pool goes on"
    except Exception as error:  # noqa: BLE001
        text += f"; the pool is lost ({type(error).__name__})"
    print("END", text, flush=True)


def parent(pool):
    """Workers that are busy while their parent is killed."""
    import multiprocessing as mp
    from concurrent.futures import ProcessPoolExecutor
    from multiprocessing import shared_memory

    memory = shared_memory.SharedMemory(create=True, size=4096)
    p = mp.Pool(2) if pool == "Pool" else ProcessPoolExecutor(2)
    if pool == "Pool":
        p.map_async(time.sleep, [20, 20])
    else:
        p.submit(time.sleep, 20), p.submit(time.sleep, 20)
    time.sleep(0.3)
    print("SHM", memory.name, flush=True)
    os.kill(os.getpid(), signal.SIGKILL)


def children_of(group):
    """Processes of a process group that still run."""
    alive = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            fields = open(f"/proc/{pid}/stat").read().rsplit(")", 1)[1].split()
        except OSError:
            continue
        if fields[2] == str(group) and fields[0] != "Z":
            alive.append(int(pid))
    return alive


def observe(arguments):
    """Starts a case, waits, and says how it ended; nothing of it is left afterwards."""
    process = subprocess.Popen(
        [sys.executable, __file__, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        start_new_session=True,
    )
    lines = []
    try:
        out, _ = process.communicate(timeout=2 * LIMIT_S)
        lines = out.splitlines()
    except subprocess.TimeoutExpired as error:
        raw = error.stdout or b""
        lines = (raw.decode() if isinstance(raw, bytes) else raw).splitlines()
    end = next((l[4:] for l in lines if l.startswith("END ")), "no answer within the limit: it hangs")
    left = children_of(process.pid)
    for pid in left:
        os.kill(pid, signal.SIGKILL)
    name = next((l[4:] for l in lines if l.startswith("SHM ")), None)
    if name and os.path.exists(f"/dev/shm/{name}"):
        os.remove(f"/dev/shm/{name}")
    return end


def observe_parent(pool):
    """Kills a parent and looks a second later."""
    process = subprocess.Popen(
        [sys.executable, __file__, "parent", pool],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        start_new_session=True,
    )
    name = process.stdout.readline().split()[1]
    process.wait()
    time.sleep(1)
    left = children_of(process.pid)
    kept = os.path.exists(f"/dev/shm/{name}")
    for pid in left:
        os.kill(pid, signal.SIGKILL)
    if kept:
        os.remove(f"/dev/shm/{name}")
    return f"{len(left)} processes run on after 1 s; the shared memory is {'still there' if kept else 'gone'}"


FAULTS = [
    ("kill", "SIGKILL of a worker, half way through a chunk in place"),
    ("segv", "SIGSEGV in a kernel, once"),
    ("exit", "a kernel ends its process, once"),
    ("raise", "a kernel raises an exception"),
]


def main():
    if len(sys.argv) == 3 and sys.argv[1] == "parent":
        return parent(sys.argv[2])
    if len(sys.argv) == 3:
        return case(sys.argv[1], sys.argv[2])
    print(f"Python {sys.version.split()[0]}, 2 workers, 64 chunks, limit {LIMIT_S - 3} s\n")
    print("| fault | multiprocessing.Pool | concurrent.futures.ProcessPoolExecutor |")
    print("|---|---|---|")
    for fault, words in FAULTS:
        cells = [observe([pool, fault]) for pool in ("Pool", "Executor")]
        print(f"| {words} | {cells[0]} | {cells[1]} |", flush=True)
    cells = [observe_parent(pool) for pool in ("Pool", "Executor")]
    print(f"| SIGKILL of the parent, workers busy | {cells[0]} | {cells[1]} |")


if __name__ == "__main__":
    main()
