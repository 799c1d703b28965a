/* A program that loads libpinpool.so while it runs: its workers are pinpool-worker, its kernels lie in
 * a shared object, and a kernel of its own is refused.
 *
 *   plugin_host LIBPINPOOL KERNELS
 */
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "pinpool.h"

static int32_t of_the_program(const pp_chunk *chunk, void *result) {
  (void)chunk, (void)result;
  return 0;
}

#define LOAD(name) __typeof__(&name) p_##name = (__typeof__(&name))dlsym(library, #name)
#define EXPECT(truth)                                                                     \
  if (!(truth)) {                                                                         \
    fprintf(stderr, "plugin_host: line %d: %s: %s\n", __LINE__, #truth, p_pp_last_error()); \
    return 1;                                                                             \
  }

int main(int argc, char **argv) {
  void *library = argc == 3 ? dlopen(argv[1], RTLD_NOW) : NULL;
  if (!library) {
    fprintf(stderr, "plugin_host: %s\n", argc == 3 ? dlerror() : "LIBPINPOOL KERNELS");
    return 1;
  }
  LOAD(pp_last_error);
  LOAD(pp_pool_new);
  LOAD(pp_pool_free);
  LOAD(pp_array_zeros);
  LOAD(pp_array_data);
  LOAD(pp_array_free);
  LOAD(pp_array_total_f64);
  LOAD(pp_kernel_load);
  LOAD(pp_map);
  LOAD(pp_for_each);
  pp_pool *pool;
  pp_array *x, *sums;
  pp_kernel scale;
  size_t n = 1000;
  double by = 3, total;
  EXPECT(p_pp_pool_new(NULL, &pool) == PP_OK);
  EXPECT(p_pp_kernel_load(argv[2], "scale", &scale) == PP_OK);
  EXPECT(p_pp_array_zeros(PP_F64, 1, &n, &x) == PP_OK);
  for (size_t i = 0; i < n; i++) ((double *)p_pp_array_data(x))[i] = 1;
  pp_arg arg = {x, PP_UPDATE, 10};
  pp_job job = PP_JOB_INIT;
  job.args = &arg;
  job.nargs = 1;
  job.params = &by;
  job.params_bytes = sizeof by;
  EXPECT(p_pp_map(pool, scale, &job, PP_F64, &sums) == PP_OK);
  EXPECT(p_pp_array_total_f64(sums, &total) == PP_OK && total == 3000);
  EXPECT(p_pp_for_each(pool, of_the_program, &job) == PP_FOREIGN);
  EXPECT(strstr(p_pp_last_error(), "in the program itself"));
  p_pp_array_free(sums);
  p_pp_array_free(x);
  p_pp_pool_free(pool);
  puts("plugin host: ok");
  return 0;
}
