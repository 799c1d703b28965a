/* The flagship job in C, for benches/peers.py: sum of three rounds of (sin a + cos a)^(a*a).
 *
 * tiles_libmvec is a plain loop that gcc turns into glibc's libmvec (-O3 -ffast-math); with
 * -DSVML the tiles call Intel's vector math, by default and in high accuracy. Tiles of 256
 * doubles, a loop for each step: the fastest form that was found for the peers.
 */
#include <math.h>
#include <stddef.h>

enum { TILE = 256 };

double tiles_libmvec(const double *a, size_t n, int rounds) {
    double total = 0.0, x[TILE], s[TILE], c[TILE];
    for (size_t i = 0; i + TILE <= n; i += TILE) {
        for (int k = 0; k < TILE; k++) x[k] = a[i + k];
        for (int r = 0; r < rounds; r++) {
            for (int k = 0; k < TILE; k++) s[k] = sin(x[k]);
            for (int k = 0; k < TILE; k++) c[k] = cos(x[k]);
            for (int k = 0; k < TILE; k++) x[k] = pow(s[k] + c[k], x[k] * x[k]);
        }
        for (int k = 0; k < TILE; k++) total += x[k];
    }
    return total;
}

#ifdef SVML
#include <immintrin.h>

extern __m512d __svml_pow8(__m512d, __m512d);
extern __m512d __svml_pow8_ha(__m512d, __m512d);

/* sincos returns in two registers, which C cannot say. */
#define SINCOS(name, callee)                                                       \
    void name(__m512d x, __m512d *s, __m512d *c);                                  \
    __asm__(".text\n" #name ":\n push %rdi\n push %rsi\n sub $8, %rsp\n call " callee \
            "@PLT\n add $8, %rsp\n pop %rsi\n pop %rdi\n vmovapd %zmm0, (%rdi)\n"  \
            " vmovapd %zmm1, (%rsi)\n ret\n");
SINCOS(sincos8, "__svml_sincos8")
SINCOS(sincos8_ha, "__svml_sincos8_ha")

#define TILES(name, sincos, power)                                                      \
    double name(const double *a, size_t n, int rounds) {                                \
        __m512d total = _mm512_setzero_pd(), x[TILE / 8], s[TILE / 8], c[TILE / 8];     \
        for (size_t i = 0; i + TILE <= n; i += TILE) {                                  \
            for (int k = 0; k < TILE / 8; k++) x[k] = _mm512_loadu_pd(a + i + 8 * k);   \
            for (int r = 0; r < rounds; r++) {                                          \
                for (int k = 0; k < TILE / 8; k++) sincos(x[k], &s[k], &c[k]);          \
                for (int k = 0; k < TILE / 8; k++)                                      \
                    x[k] = power(_mm512_add_pd(s[k], c[k]), _mm512_mul_pd(x[k], x[k])); \
            }                                                                           \
            for (int k = 0; k < TILE / 8; k++) total = _mm512_add_pd(total, x[k]);      \
        }                                                                               \
        return _mm512_reduce_add_pd(total);                                             \
    }
TILES(tiles_svml, sincos8, __svml_pow8)
TILES(tiles_svml_ha, sincos8_ha, __svml_pow8_ha)
#endif
