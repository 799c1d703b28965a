#!/usr/bin/env bash
# The C interface as its users have it: run.sh PREFIX PINPOOL, with what capi/build.sh has laid out
# in PREFIX, and the program `pinpool`, whose bits the programs in C and Fortran must have.
set -euo pipefail
prefix=$(realpath "$1") program=$(realpath "$2")
cd "$(dirname "$0")/../.."
out=$(mktemp -d) n=1000000
trap 'rm -rf "$out"' EXIT
flags=(-O2 -Wall -Wextra -Werror "-I$prefix/include")
static=("$prefix/lib/libpinpool.a" -lpthread -ldl -lm -lgcc_s)
shared=("-L$prefix/lib" -lpinpool "-Wl,-rpath,$prefix/lib")
if command -v pkg-config > /dev/null; then
    read -ra shared <<< "$(PKG_CONFIG_PATH=$prefix/lib/pkgconfig pkg-config --libs pinpool)"
    shared+=("-Wl,-rpath,$prefix/lib")
fi

bits=$("$program" run trig-power --elements $n | sed -n 's/.*(bits \([0-9a-f]*\)).*/\1/p')
[ -n "$bits" ]
same_bits() { # COMMAND...: it prints the bits of the program in Rust
    local got
    got=$(timeout 120 "$@" | sed -n 's/.*(bits \([0-9A-Fa-f]*\)).*/\L\1/p')
    echo "$(basename "$1") ${*:2}: $got"
    [ "$got" = "$bits" ] || { echo "the program in Rust has $bits" >&2; return 1; }
}

for how in shared static; do
    declare -n libraries=$how
    for name in heavy crash; do
        gcc -std=c11 "${flags[@]}" "examples/c/$name.c" "${libraries[@]}" -o "$out/$name-$how"
    done
    g++ -x c++ -fsyntax-only "${flags[@]}" include/pinpool.h # the header is one for C++ too
    for backend in processes threads serial; do
        same_bits "$out/heavy-$how" $n $backend
    done
    timeout 60 "$out/crash-$how"
    gfortran -std=f2018 -O2 -Wall "-J$out" include/pinpool.f90 examples/fortran/heavy.f90 \
        "${libraries[@]}" -o "$out/fortran-$how"
    same_bits "$out/fortran-$how" $n
done

# The programs on the pages.
sed -n '/^```python$/,/^```$/{//!p}' docs/hosts.md > "$out/primes.py"
[ "$(timeout 60 python3 "$out/primes.py" "$prefix/lib/libpinpool.so.1")" = 50847534 ]
sed -n '/^```c$/,/^```$/{//!p}' docs/c.md > "$out/page.c"
gcc -std=c11 "${flags[@]}" "$out/page.c" "${shared[@]}" -o "$out/page"
timeout 60 "$out/page"

gcc -std=gnu11 "${flags[@]}" -shared -fPIC tests/capi/kernels.c -o "$out/kernels.so"
gcc -std=gnu11 "${flags[@]}" -shared -fPIC -DOTHER_BUILD tests/capi/kernels.c -o "$out/other.so"
gcc -std=gnu11 "${flags[@]}" tests/capi/plugin_host.c -ldl -o "$out/plugin_host"
timeout 60 "$out/plugin_host" "$prefix/lib/libpinpool.so.1" "$out/kernels.so"
timeout 120 python3 tests/capi/host.py "$prefix/lib" "$out/kernels.so" "$out/other.so"
timeout 120 python3 tests/capi/worker_program.py "$prefix/lib"

# valgrind follows one process, and knows no AVX-512: it tells the library so. What is kept for good
# (the places of kernels) is reachable, though not by a pointer to its first byte.
for backend in serial threads; do
    timeout 300 valgrind -q --error-exitcode=9 --leak-check=full --show-leak-kinds=definite,indirect \
        --errors-for-leak-kinds=definite,indirect "$out/heavy-shared" 20000 $backend
done
