/* Kernels in a shared object of their own, for hosts that load it. */
#include <stdlib.h>
#include <unistd.h>

#include "pinpool.h"

int32_t scale(const pp_chunk *chunk, void *result) {
  double by = *(const double *)chunk->params, sum = 0, *x = chunk->parts[0].data;
  for (size_t i = 0; i < chunk->parts[0].len; i++) sum += x[i] *= by;
  *(double *)result = sum;
  return 0;
}

int32_t crash_in_7(const pp_chunk *chunk, void *result) {
  (void)result;
  if (chunk->index == 7) *(volatile int *)NULL = 1;
  return 0;
}

int32_t sleeps(const pp_chunk *chunk, void *result) {
  (void)chunk, (void)result;
  usleep(20000);
  return 0;
}

/* With -DOTHER_BUILD the object has another build id. */
#ifdef OTHER_BUILD
int other_build = 1;
#endif
