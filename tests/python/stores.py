#!/usr/bin/env python3
"""The order of the protocol's stores in the machine code, of x86-64 and aarch64.

A worker's death leaves what it had stored in the order of its instructions (src/control.md), so
that order is what has to be right: the walk (tests/walk.rs) tries it out on x86-64, this reads it
off, on every path through the functions that hold W2 to W6 and R2 to R4. It works on what users
run, not on a build made for it. It says nothing of the values stored.

    stores.py FILE            a program, or a library of objects (.rlib), built in release mode
    stores.py --wrong FILE    the same with the feature `walk-mutants`: each kind of wrong order
                              must be found in it
"""

import re
import subprocess
import sys
from collections import namedtuple

Step = namedtuple("Step", "address text")

RUN = "pinpool::worker::turn::Turn::run"
FAIL = "pinpool::worker::turn::Turn::fail"
RECOVER = "pinpool::pool::recover::<impl pinpool::pool::jobs::Jobs>::recover"
SAVE, RESTORE = "worker::task::Task::save", "worker::task::Task::restore"
PUT_BACK = "pool::recover::restore"

# What each function must hold (a step is where an event happens), and the orders that no path may
# have: (from one of these, without passing one of those, to one of these, in words).
RULES = {
    RUN: [
        ("entry", "save", "arm", "armed before the undo copy is made"),
        # (A claim begins the next chunk, after one that failed before it was armed.)
        ("save", "arm claim", "kernel done", "the kernel runs, or the chunk is done, before arming"),
        ("done", "claim", "kernel", "done before the kernel has run"),
        ("kernel arm", "done fail", "disarm", "disarmed before done"),
        ("chunk", "claim", "disarm", "the next chunk is named before the last is disarmed"),
    ],
    FAIL: [
        ("entry", "restore", "disarm", "disarmed before the data are put back"),
        # (What a durable job cannot write to the disk stays armed: a resume puts it back.)
        ("restore", "disarm sync", "done", "the word is given up before disarming"),
        ("done", "", "restore disarm", "the word is given up too early"),
    ],
    RECOVER: [
        ("disarm", "", "restore", "disarmed before the data are put back"),
        ("entry", "disarm", "free", "freed before disarming"),
        ("free", "", "restore disarm", "freed before the data are put back"),
    ],
}
# The wrong orders that the feature `walk-mutants` has in its code.
MUTANTS = {(RUN, 0), (RUN, 2), (RUN, 3), (RECOVER, 0), (RECOVER, 1), (RECOVER, 2)}


def disassemble(path):
    """All functions of the file that the rules speak of, and its machine."""
    header = subprocess.run(["readelf", "-h", path], capture_output=True, text=True).stdout
    arm = "AArch64" in header
    tool = "aarch64-linux-gnu-objdump" if arm else "objdump"
    command = [tool, "-drC", "--no-show-raw-insn", path]
    functions, steps = {}, None
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as output:
        for line in output.stdout:
            if title := re.match(r"[0-9a-f]+ <(.*)>:$", line):
                name = title[1]
                steps = functions.setdefault(name, []) if name in RULES else None
            elif steps is None:
                continue
            elif step := re.match(r"\s+([0-9a-f]+):\s+(\S.*)$", line):
                address, text = int(step[1], 16), step[2].strip()
                if re.match(r"R_(X86|AARCH)", text):
                    # Where a call of an object file goes to.
                    last = steps[-1]
                    steps[-1] = Step(last.address, f"{last.text} <{text.split(None, 1)[1]}>")
                else:
                    steps.append(Step(address, text))
    return functions, arm


def called(text):
    """What the instruction calls by name."""
    name = re.search(r"^(?:call|bl)\s.*<([^>]*(?:<[^>]*>[^>]*)*)>$", text)
    return name[1] if name else ""


def event_x86(name, steps, i):
    text = steps[i].text
    if store := re.match(r"movq\s+\$0x0,(-?[0-9a-fx]*)\(%(\w+)([^)]*)\)$", text):
        shared = store[2] not in ("rsp", "rbp")
        return "disarm" if shared and (name == RECOVER or not store[1] + store[3]) else None
    if (store := re.match(r"mov\s+%(r\w+),\(%(r(?!sp)\w+)\)$", text)) and name == RUN:
        # The chunk's number and one. (What also has elements is a ring of the recorder.)
        before = [s.text for s in steps[max(0, i - 12) : i]]
        one = rf"(lea\s+0x1\(%\w+\),%{store[1]}|inc\s+%{store[1]})$"
        ring = any(f"(%{store[2]}," in t for t in before)
        return "arm" if not ring and any(re.match(one, t) for t in before) else None
    if re.match(r"call\s+\*0x10\(%r(?!ip)\w+\)", text):
        return "kernel"
    if re.match(r"mov\s+%r\w+,\(%r\w+,%r\w+,8\)$", text):
        return "done"
    if re.match(r"mov\s+%r\w+,0x8\(%r(?!sp)\w+\)$", text) and name == RUN:
        # `current.chunk`: the store before the claim, which loads the word.
        later = [s.text for s in steps[i + 1 : i + 6]]
        if any(re.match(r"mov\s+\(%r\w+,%r\w+,8\)", t) for t in later):
            return "chunk"
    if re.match(r"lock cmpxchg\s+%r", text):
        return {RUN: "claim", RECOVER: "free"}.get(name)
    return None


def event_arm(name, steps, i):
    text = steps[i].text
    if re.match(r"stlr\s+xzr,", text):
        return "disarm"
    if store := re.match(r"stlr\s+x(\d+),", text):
        one = re.match(r"add [xw](\d+), #0x1$", value_of(steps, i, store[1]))
        if one and one[1] == store[1]:
            return None  # a count of its own; the chunk's number is still wanted
        return "arm" if one else "done"
    if call := re.match(r"blr\s+x(\d+)$", text):
        return "kernel" if value_of(steps, i, call[1]).endswith("#16]") else None
    if re.match(r"(stlxr\s+\w+, x|casal\s+x)", text) or "__aarch64_cas8" in called(text):
        return {RUN: "claim", RECOVER: "free"}.get(name)
    return None


def value_of(steps, i, register):
    """What was put last into the register before step `i`: its instruction and operand."""
    for step in reversed(steps[:i]):
        put = re.match(rf"(\w+)\s+[xw]{register}, (.*?)(\s*//.*)?$", step.text)
        if put and not put[1].startswith("st"):
            return f"{put[1]} {put[2]}"
    return ""


def event(name, steps, i, arm):
    target = called(steps[i].text)
    if SAVE in target:
        return "save"
    if RESTORE in target or (name == RECOVER and PUT_BACK in target):
        return "restore"
    if target.endswith("::sync_data"):
        return "sync"
    if "turn::Turn::fail" in target:
        return "fail"
    return (event_arm if arm else event_x86)(name, steps, i)


def successors(steps, arm):
    """Where each step may go on."""
    at = {step.address: i for i, step in enumerate(steps)}
    jump = r"(b|b\.\w+|cbn?z|tbn?z)\s" if arm else r"j\w+\s"
    always = r"b\s" if arm else r"jmp\s"
    end = r"(ret|brk|udf|br)\b" if arm else r"(ret|ud2|int3|hlt|jmp\s+\*)"
    graph = []
    for i, step in enumerate(steps):
        to = []
        if re.match(jump, step.text):
            target = re.search(r"(?:^\w+\S*|,)\s+(?:0x)?([0-9a-f]+)\s+<", step.text)
            if target and int(target[1], 16) in at:
                to.append(at[int(target[1], 16)])
        if not re.match(always, step.text) and not re.match(end, step.text):
            to.append(i + 1)
        graph.append([t for t in to if t < len(steps)])
    return graph


def reached(graph, starts, barred):
    seen, todo = set(), list(starts)
    while todo:
        i = todo.pop()
        if i not in seen:
            seen.add(i)
            if i not in barred:
                todo.extend(graph[i])
    return seen


def check(name, steps, arm):
    """The numbers of the rules that the function breaks, with the place."""
    events = {}
    for i in range(len(steps)):
        if kind := event(name, steps, i, arm):
            events.setdefault(kind, []).append(i)
    graph = successors(steps, arm)
    print(f"{name}: " + ", ".join(f"{kind} x {len(at)}" for kind, at in events.items()))
    find = lambda kinds: [i for kind in kinds.split() for i in events.get(kind, [])]
    wanted = {k for rule in RULES[name] for part in rule[:3] for k in part.split()}
    optional = {"entry", "fail"} | ({"chunk"} if arm else set())
    if missing := wanted - optional - events.keys():
        sys.exit(f"{name}: no {', '.join(sorted(missing))} in it; look at its assembly, and say "
                 "here how it is to be told now")
    broken = []
    for number, (start, without, to, words) in enumerate(RULES[name]):
        begin = [j for i in find(start.replace("entry", "")) for j in graph[i]]
        begin += [0] if "entry" in start else []
        barred = set(find(without))
        wrong = (reached(graph, begin, barred) - barred) & set(find(to))
        broken += [(number, words, steps[i]) for i in sorted(wrong)[:1]]
    return broken


def main():
    wrong = "--wrong" in sys.argv
    path = sys.argv[-1]
    functions, arm = disassemble(path)
    if missing := RULES.keys() - functions.keys():
        sys.exit(f"{path}: no function {', '.join(sorted(missing))}")
    found = set()
    for name, steps in functions.items():
        for number, words, step in check(name, steps, arm):
            found.add((name, number))
            print(f"{name}: {words}: {step.address:x}: {step.text}")
    if wrong and (acquitted := MUTANTS - found):
        sys.exit(f"wrong orders that were not seen: {sorted(acquitted)}")
    if not wrong and found:
        sys.exit(1)
    print("the orders are wrong, as they should be" if wrong else "the orders are right")


if __name__ == "__main__":
    main()
