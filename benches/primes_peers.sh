#!/usr/bin/env bash
# How do the primes kernels compare with programs that are not crates? FLINT, PARI, GNU factor,
# primesieve and primecount, from Debian packages, one core each.
#
#   sudo apt-get install --no-install-recommends primesieve primecount pari-gp libflint-dev coreutils gcc
#   benches/primes_peers.sh
#
# What is not installed is reported as skipped. The bench of ours checks its answers against the
# crates; the programs print their counts. Times are without the start of the program, but for
# GNU factor. The numbers are drawn from the same ranges, not the same ones.
set -euo pipefail
cd "$(dirname "$0")/.."

have() { command -v "$1" >/dev/null || { echo "  skipped: $1 is not installed"; return 1; }; }
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

echo "== the crates and ours"
cargo bench -q -p pinpool-kernels --bench primes -- "${1:-}"

echo "== primesieve: primes to 1e10; in [1e15, 1e15 + 1e9]"
if have primesieve; then
    primesieve 1e10 --threads=1 --time --count --quiet
    primesieve 1000000000000000 -d 1000000000 --threads=1 --time --count --quiet
fi

echo "== primecount: pi(1e10), pi(1e12)"
if have primecount; then
    for n in 1e10 1e12; do primecount "$n" --threads=1 --time; done
fi

echo "== PARI: isprime and factor, ns a number"
if have gp; then
    gp -q -s 512M <<'GP'
report(name, v, f) = { my(t = getabstime()); for(i = 1, #v, f(v[i]));
  print("  ", name, ": ", (getabstime() - t) * 1e6 \ #v, " ns") };
draw(n, a, b) = vector(n, i, a + random(b - a));
setrand(7);
report("isprime [1e14, 5e14)", draw(10^6, 10^14, 5*10^14), isprime);
report("isprime u64", draw(10^6, 0, 2^64), isprime);
report("factor [1e10, 1e12)", draw(10^5, 10^10, 10^12), factor);
report("factor [1e17, 1e19)", draw(10^4, 10^17, 10^19), factor);
report("factor p*q of 32 bits", vector(500, i, nextprime(2^31 + random(2^31 - 400)) * nextprime(2^31 + random(2^31 - 400))), factor);
quit
GP
fi

echo "== GNU factor, with its text, ns a number"
if have factor; then
    awk 'BEGIN { srand(7); for (i = 0; i < 200000; i++) printf "%.0f\n", 1e10 + rand() * 9.9e11 }' >"$work/small"
    start=$(date +%s%N); factor <"$work/small" >"$work/out"; end=$(date +%s%N)
    echo "  factor [1e10, 1e12): $(((end - start) / 200000)) ns"
fi

echo "== FLINT: n_is_prime and n_factor, ns a number"
if have gcc && echo '#include <flint/ulong_extras.h>' | gcc -E - >/dev/null 2>&1; then
    cat >"$work/peer.c" <<'C'
#include <flint/flint.h>
#include <flint/ulong_extras.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
static unsigned long state = 7;
static unsigned long draw(void) {
    unsigned long z = state += 0x9e3779b97f4a7c15UL;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9UL;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebUL;
    return z ^ (z >> 31);
}
static double now(void) { struct timespec t; clock_gettime(CLOCK_MONOTONIC, &t); return t.tv_sec * 1e9 + t.tv_nsec; }
static void primes(const char *name, unsigned long *v, int n) {
    double t = now(); long count = 0;
    for (int i = 0; i < n; i++) count += n_is_prime(v[i]);
    printf("  %s: %.1f ns (%ld primes)\n", name, (now() - t) / n, count);
}
static void factors(const char *name, unsigned long *v, int n) {
    double t = now(); long count = 0;
    for (int i = 0; i < n; i++) { n_factor_t f; n_factor_init(&f); n_factor(&f, v[i], 0); count += f.num; }
    printf("  %s: %.1f ns (%ld distinct primes)\n", name, (now() - t) / n, count);
}
int main(void) {
    int n = 1000000; unsigned long *v = malloc(n * sizeof *v);
    for (int i = 0; i < n; i++) v[i] = 100000000000000UL + draw() % 400000000000000UL;
    primes("n_is_prime [1e14, 5e14)", v, n);
    for (int i = 0; i < n; i++) v[i] = draw();
    primes("n_is_prime u64", v, n);
    for (int i = 0; i < n / 10; i++) v[i] = 10000000000UL + draw() % 990000000000UL;
    factors("n_factor [1e10, 1e12)", v, n / 10);
    for (int i = 0; i < n / 100; i++) v[i] = 100000000000000000UL + draw() % 9900000000000000000UL;
    factors("n_factor [1e17, 1e19)", v, n / 100);
    return 0;
}
C
    gcc -O2 -o "$work/peer" "$work/peer.c" -lflint && "$work/peer"
else
    echo "  skipped: gcc or libflint-dev is not installed"
fi
