#!/usr/bin/env bash
# The program and the examples under mpirun: the same total_bits and slots as without MPI.
# Usage: program.sh TARGET_DIR, where `pinpool` and the examples were built with feature mpi.
set -euo pipefail
bin=$1/pinpool
examples=$1/examples
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

ranks() { # ranks N COMMAND...
    timeout -k 5 100 mpirun --allow-run-as-root --oversubscribe -n "$@" 2>"$scratch/stderr" || {
        cat "$scratch/stderr" >&2
        return 1
    }
}
same() { # what must not depend on ranks, of the JSON object on standard input
    grep -oE '"(kernel|seed|elements|chunk|chunks|total_bits|slots_hash|primes|factors)":[^,}]*'
}
expect() { # expect WORDS FILE
    grep -q "$1" "$2" || {
        echo "no '$1' in:" >&2
        cat "$2" >&2
        return 1
    }
}

jobs=(
    "trig-power --elements 4M"
    "trig-power --elements 1M --in-place --chunk 5000"
    "is-prime --elements 100k"
    "factor --elements 3000"
    "count-primes --high 1e8"
)
for job in "${jobs[@]}"; do
    # shellcheck disable=SC2086 # words
    "$bin" run $job --json --quiet | same >"$scratch/alone"
    for n in 1 2 3 4; do
        # shellcheck disable=SC2086
        ranks $n "$bin" run $job --json --quiet --mpi | same >"$scratch/ranks"
        diff "$scratch/alone" "$scratch/ranks" || { echo "run $job on $n ranks differs" >&2; exit 1; }
    done
    echo "the same on 1, 2, 3, 4 ranks: run $job"
done

# Files: rank 0 writes what one process would write, and all read their rows of the input.
"$bin" run factor --elements 2000 --quiet --output "$scratch/a.npy" --save-input "$scratch/in.npy" >"$scratch/a"
ranks 3 "$bin" run factor --input "$scratch/in.npy" --quiet --mpi --output "$scratch/b.npy" >"$scratch/b"
cmp "$scratch/a" "$scratch/b"
cmp "$scratch/a.npy" "$scratch/b.npy"
"$bin" run trig-power --elements 100k --in-place --quiet --save-array "$scratch/a.npy" >/dev/null
ranks 3 "$bin" run trig-power --elements 100k --in-place --quiet --mpi --save-array "$scratch/b.npy" >/dev/null
cmp "$scratch/a.npy" "$scratch/b.npy"

fails() { # fails WHAT N COMMAND...: an error, in time; what it says is in $scratch/err
    local what=$1 status=0
    shift
    timeout 60 mpirun --allow-run-as-root --oversubscribe -n "$@" >"$scratch/out" 2>"$scratch/err" || status=$?
    if [ $status = 0 ] || [ $status = 124 ]; then
        echo "$what: status $status" >&2
        cat "$scratch/err" >&2
        exit 1
    fi
}
once() { # once WORDS: a line begins so, and one alone
    [ "$(grep -c "^pinpool: .*$1" "$scratch/err")" = 1 ] || {
        echo "not once '$1' in:" >&2
        cat "$scratch/err" >&2
        exit 1
    }
}

# An error is told once, by rank 0, and is the exit status.
fails "a missing input" 3 "$bin" run factor --mpi --input /nonexistent.npy
once 'nonexistent.npy'

# Each rank reads its own copy of the input: a shorter one, and an empty one, are seen by all.
"$bin" run factor --elements 1500 --quiet --save-input "$scratch/in-1.npy" >/dev/null
cp "$scratch/in.npy" "$scratch/in-0.npy"
cp "$scratch/in.npy" "$scratch/in-2.npy"
printf '#!/bin/sh\nexec "%s" run factor --quiet --mpi --input "%s/in-$OMPI_COMM_WORLD_RANK.npy" "$@"\n' \
    "$bin" "$scratch" >"$scratch/own-input"
chmod +x "$scratch/own-input"
fails "inputs of different lengths" 3 "$scratch/own-input"
once 'number of elements in the input: rank 0 has 2000, rank 1 has 1500'
header="{'descr': '<u8', 'fortran_order': False, 'shape': (0,), }"
printf '\223NUMPY\001\000\166\000%-117s\n' "$header" >"$scratch/in-2.npy"
cp "$scratch/in.npy" "$scratch/in-1.npy"
fails "an empty input on one rank" 3 "$scratch/own-input"
once 'rank 0 has 2000, rank 2 has 0'
fails "chunks of different lengths" 1 "$bin" run factor --elements 2000 --quiet --mpi : \
    -n 1 "$bin" run factor --elements 2000 --chunk 100 --quiet --mpi
once 'chunk length: rank 0 has 64, rank 1 has 100'

# What one rank alone cannot do it says itself, and the others say who left.
fails "a failure of one rank" 1 "$bin" run factor --input "$scratch/in.npy" --quiet --mpi : \
    -n 1 "$bin" run factor --input "$scratch/in.npy" --chunk 5000 --quiet --mpi
once 'rank 1 on .*: a chunk of 5000 is longer than the array of 2000'
once 'rank 1 has left the cluster'

# mpirun binds one or two ranks to a core each: the program says so.
if [ "$(nproc)" -gt 1 ]; then
    timeout 60 mpirun --allow-run-as-root --bind-to core -n 1 "$bin" run trig-power --elements 1M --mpi \
        >/dev/null 2>"$scratch/err"
    expect 'allowed; started by mpirun, which binds a rank to one core: add --bind-to none' "$scratch/err"
    timeout 60 mpirun --allow-run-as-root --bind-to none -n 1 "$bin" run trig-power --elements 1M --mpi \
        >/dev/null 2>"$scratch/err"
    if grep -q 'started by mpirun' "$scratch/err"; then
        cat "$scratch/err" >&2
        exit 1
    fi
fi

bits=$("$bin" run trig-power --elements 4M --chunk 32768 --json --quiet | grep -oE '"total_bits":"[0-9a-f]+' | cut -d'"' -f4)
for n in 1 2 3 4; do
    ranks $n "$examples/mpi_heavy" >"$scratch/heavy"
    expect "bits $bits" "$scratch/heavy"
    ranks $n "$examples/mpi_primes" >"$scratch/primes"
    expect "by $n ranks" "$scratch/primes"
done
echo "the examples on 1, 2, 3, 4 ranks: bits $bits"
