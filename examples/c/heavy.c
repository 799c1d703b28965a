/* The flagship from C: doubles drawn by chunk, three rounds of a <- (sin a + cos a)^(a*a), summed by
 * chunk. A function of this program and the built-in kernel give the same bits as
 * `pinpool run trig-power --elements N` in Rust.
 *
 *   heavy [ELEMENTS] [BACKEND]
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "pinpool.h"

struct rounds {
  uint32_t n;
};

/* A kernel of one's own: runs in the workers, once for each chunk. */
static int32_t heavy(const pp_chunk *chunk, void *result) {
  const struct rounds *rounds = chunk->params;
  const pp_part *x = &chunk->parts[0];
  *(double *)result = pp_trig_power_sum(x->data, x->len, rounds->n);
  return 0;
}

static void check(pp_status status) {
  if (status != PP_OK) {
    fprintf(stderr, "heavy: %s\n", pp_last_error());
    exit(1);
  }
}

static uint64_t total_bits(const pp_array *sums, double *total) {
  uint64_t bits;
  check(pp_array_total_f64(sums, total));
  memcpy(&bits, total, sizeof bits);
  return bits;
}

int main(int argc, char **argv) {
  size_t n = argc > 1 ? strtoull(argv[1], NULL, 10) : 40000000;
  pp_options *options = pp_options_new();
  check(pp_options_set_u64(options, "seed", 42));
  check(pp_options_set(options, "backend", argc > 2 ? argv[2] : "processes"));
  pp_pool *pool;
  check(pp_pool_new(options, &pool));
  pp_options_free(options);

  pp_array *x, *own, *builtin;
  check(pp_array_zeros(PP_F64, 1, &n, &x));
  size_t rows = n / 256 + (n % 256 != 0); /* the program's default chunk */
  rows = rows < 64 ? 64 : rows > 32768 ? 32768 : rows;

  pp_arg out = {x, PP_OUT, rows};
  pp_job fill = PP_JOB_INIT;
  fill.args = &out;
  fill.nargs = 1;
  check(pp_builtin(pool, "fill_uniform", &fill, NULL));

  struct rounds rounds = {3};
  pp_arg in = {x, PP_READ, rows};
  pp_job job = PP_JOB_INIT;
  job.args = &in;
  job.nargs = 1;
  job.params = &rounds;
  job.params_bytes = sizeof rounds;
  check(pp_map(pool, heavy, &job, PP_F64, &own));
  check(pp_builtin(pool, "trig_power_sum", &job, &builtin));

  double total;
  uint64_t bits = total_bits(own, &total);
  if (bits != total_bits(builtin, &total)) {
    fprintf(stderr, "heavy: the built-in kernel gives other bits\n");
    return 1;
  }
  printf("total    %.17g   (bits %016" PRIx64 ")\n", total, bits);
  printf("workers  %zu (%s), %zu chunks of %zu, kernels in %s\n", pp_pool_workers(pool),
         pp_pool_backend(pool), pp_array_len(own), rows, pp_isa());

  pp_array_free(builtin);
  pp_array_free(own);
  pp_array_free(x);
  pp_pool_free(pool);
  return 0;
}
