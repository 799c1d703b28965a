/* A kernel that follows a null pointer in one chunk: the job ends with an error that names the chunk,
 * its array is as it was there, and the program and its pool live on. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "pinpool.h"

static int32_t add_one(const pp_chunk *chunk, void *result) {
  (void)result;
  double *x = chunk->parts[0].data;
  for (size_t i = 0; i < chunk->parts[0].len; i++) x[i] += 1;
  if (chunk->params_bytes && chunk->index == 5) *(volatile int *)NULL = 0;
  return 0;
}

static int32_t refuse(const pp_chunk *chunk, void *result) {
  (void)result;
  if (chunk->index != 2) return 0;
  pp_set_message(chunk, "it does not like the number 2");
  return 77;
}

static void expect(int truth, const char *what) {
  if (truth) return;
  fprintf(stderr, "crash: %s; the last error is: %s\n", what, pp_last_error());
  exit(1);
}

int main(void) {
  pp_options *options = pp_options_new();
  pp_options_set_u64(options, "workers", 2);
  pp_options_set(options, "oversubscribe", "1");
  pp_pool *pool;
  expect(pp_pool_new(options, &pool) == PP_OK, "no pool");
  pp_options_free(options);
  size_t n = 1000;
  pp_array *x;
  expect(pp_array_zeros(PP_F64, 1, &n, &x) == PP_OK, "no array");
  pp_arg arg = {x, PP_UPDATE, 100};
  pp_job job = PP_JOB_INIT;
  job.args = &arg;
  job.nargs = 1;
  int crash = 1;
  job.params = &crash;
  job.params_bytes = sizeof crash;

  expect(pp_for_each(pool, add_one, &job) == PP_CRASH, "no crash");
  pp_error_info info;
  pp_last_error_info(&info);
  expect(info.chunk == 5 && info.signal == SIGSEGV && info.deaths == 3, "another crash");
  expect(strstr(pp_last_error(), "chunk 5") != NULL, "the chunk is not named");
  printf("%s\n", pp_last_error());
  const double *data = pp_array_data(x);
  for (size_t i = 500; i < 600; i++) expect(data[i] == 0, "chunk 5 is not as it was");

  expect(pp_for_each(pool, refuse, &job) == PP_KERNEL, "no refusal");
  pp_last_error_info(&info);
  expect(info.chunk == 2 && info.code == 77, "another refusal");
  printf("%s\n", pp_last_error());

  double before = data[500], after;
  job.params_bytes = 0;
  expect(pp_for_each(pool, add_one, &job) == PP_OK, "the pool did not live on");
  after = data[500];
  expect(after == before + 1, "the array was not changed");
  printf("the pool lives, after %llu deaths\n", (unsigned long long)pp_pool_deaths(pool));
  pp_array_free(x);
  pp_pool_free(pool);
  return 0;
}
