/* pinpool: pinned worker processes over shared-memory arrays. A page with whole programs: docs/c.md.
 *
 * Generated from src/capi by `capi/header`; do not edit.
 */
#ifndef PINPOOL_H
#define PINPOOL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The version of this interface; `pp_abi_version()` gives the library's. */
#define PP_ABI_VERSION 1

/* An element type of raw bytes, `|V{size}`: `PP_RAW | sizeof(struct thing)`. */
#define PP_RAW 0x80000000u

/* `pp_job.stream`: the order of calls numbers the random streams. */
#define PP_STREAM_AUTO UINT64_MAX

/* What a call came to. */
typedef int32_t pp_status;
enum {
  PP_OK = 0,
  PP_INVALID = 1,     /* an argument is wrong: null, unknown, or does not fit the others */
  PP_NO_MEMORY = 2,   /* no room for an array */
  PP_ARRAY = 3,       /* an array could not be made, opened or saved */
  PP_PLACEMENT = 4,   /* the workers cannot be placed as asked for */
  PP_START = 5,       /* the workers do not start */
  PP_FOREIGN = 6,     /* the kernel is where workers cannot find it */
  PP_KERNEL = 7,      /* the kernel returned an error */
  PP_CRASH = 8,       /* the kernel killed its worker too often */
  PP_PANIC = 9,       /* a built-in kernel panicked: a bug */
  PP_CANCELLED = 10,  /* the job was cancelled */
  PP_TIMED_OUT = 11,  /* a time limit passed */
  PP_POOL = 12,       /* the pool takes no job: closed, broken, or forked */
  PP_INTERNAL = 13,   /* a panic in the library: a bug */
};

/* Element types, as NPY has them. */
typedef uint32_t pp_dtype;
enum {
  PP_NONE = 0, /* no element type: a job without results */
  PP_BOOL = 1, PP_I8, PP_I16, PP_I32, PP_I64, PP_U8, PP_U16, PP_U32, PP_U64, PP_F32, PP_F64, PP_C64, PP_C128,
};

/* How a job uses an array. */
typedef uint32_t pp_access;
enum {
  PP_READ = 0,    /* chunks, read only */
  PP_UPDATE = 1,  /* chunks, changed in place; an undo copy is kept */
  PP_OUT = 2,     /* chunks, overwritten without being read */
  PP_WHOLE = 3,   /* the whole array for every chunk, read only */
};

typedef struct pp_options pp_options;
typedef struct pp_pool pp_pool;
typedef struct pp_array pp_array;
typedef struct pp_pending pp_pending;
typedef struct pp_context pp_context;

/* What is known of the last failure on this thread beside its text. */
typedef struct pp_error_info {
  pp_status status;
  int32_t code;     /* what the kernel returned, for PP_KERNEL; else 0 */
  int32_t signal;   /* what the worker died of, for PP_CRASH; else 0 */
  uint32_t deaths;  /* how many workers died in the chunk */
  uint64_t chunk;   /* the chunk that failed; UINT64_MAX where none did */
  uint64_t worker;  /* who ran it; UINT64_MAX where none did */
} pp_error_info;

/* One array of a job, as a kernel sees it for one chunk. */
typedef struct pp_part {
  void *data;        /* the first element of the chunk (of the whole array for PP_WHOLE) */
  size_t len;        /* elements at `data` */
  size_t rows;       /* rows at `data`: the length of axis 0 */
  size_t row_len;    /* elements of a row */
  uint64_t first_row; /* which row of the array the first one is */
  size_t item_bytes; /* bytes of an element */
} pp_part;

/* What a kernel is called with. */
typedef struct pp_chunk {
  uint64_t index;      /* the number of this chunk, from 0 */
  uint64_t count;      /* how many chunks the job has */
  uint64_t worker;     /* who runs it; a result that depends on it is outside the promise of equal bits */
  size_t nparts;
  const pp_part *parts; /* one for each `pp_job.args` */
  const void *params;  /* a copy of `pp_job.params`, aligned to 8 bytes */
  size_t params_bytes;
  pp_context *context; /* for the functions below that take a chunk */
} pp_chunk;

/* A kernel: runs in a worker, once for each chunk. `result` is the chunk's slot, NULL where the job
 * has no results. 0 is success; anything else ends the job with PP_KERNEL. */
typedef int32_t (*pp_kernel)(const pp_chunk *chunk, void *result);

/* Told how far a job is, on the thread that waits for it. */
typedef void (*pp_progress)(uint64_t done, uint64_t chunks, void *data);

/* An array among the arguments of a job. */
typedef struct pp_arg {
  const pp_array *array;
  pp_access access;
  size_t chunk_rows;   /* rows of a chunk; 0: a default that follows from the shape */
} pp_arg;

/* A job: what the kernel gets. Start from PP_JOB_INIT, which knows the size. */
typedef struct pp_job {
  size_t size;              /* sizeof(pp_job) */
  const pp_arg *args;
  size_t nargs;
  const void *params;       /* plain data for every chunk */
  size_t params_bytes;      /* at most 1024 */
  uint64_t chunks;          /* how many, where no argument has chunks; else 0 */
  uint64_t stream;          /* the job number of the random streams, or PP_STREAM_AUTO */
  double time_limit;        /* seconds for the whole job; 0: no limit */
  double chunk_timeout;     /* seconds for a chunk; 0: no limit */
  bool fail_on_death;       /* the first death of a worker ends the job */
  pp_progress progress;     /* NULL: nobody is told */
  void *progress_data;
  double progress_seconds;  /* how often */
} pp_job;

#define PP_JOB_INIT { sizeof(pp_job), NULL, 0, NULL, 0, 0, PP_STREAM_AUTO, 0.0, 0.0, false, NULL, NULL, 0.1 }

/* Versions and start. */
uint32_t pp_abi_version(void);
const char *pp_version(void);
void pp_init(void); /* first in main where kernels need C++ or Fortran constructors */

/* The last failure of this thread. */
const char *pp_last_error(void);
void pp_last_error_info(pp_error_info *info);

/* The instruction set of the built-in kernels in this process and in pools that it builds from now on. */
const char *pp_isa(void);
pp_status pp_set_isa(const char *name);

/* Options of a pool, by the names of the command line:
 *   workers N, workers-per-core N, bind POLICY, places PLACES, oversubscribe 0|1, seed N,
 *   backend processes|threads|serial, name TEXT, max-chunks-per-worker N, cancel-grace-ms N, worker-program PATH */
pp_options *pp_options_new(void);
pp_status pp_options_set(pp_options *options, const char *name, const char *value);
pp_status pp_options_set_u64(pp_options *options, const char *name, uint64_t value);
pp_status pp_options_env(pp_options *options, const char *name, const char *value);
void pp_options_free(pp_options *options);

/* Pools. */
pp_status pp_pool_new(const pp_options *options, pp_pool **out); /* NULL: all defaults */
void pp_pool_free(pp_pool *pool);
size_t pp_pool_workers(const pp_pool *pool);
uint64_t pp_pool_deaths(const pp_pool *pool);
uint64_t pp_pool_seed(const pp_pool *pool);
const char *pp_pool_backend(const pp_pool *pool);
pp_status pp_pool_worker(const pp_pool *pool, size_t worker, uint32_t *pid, uint32_t *pu);
pp_status pp_pool_cancel_all(const pp_pool *pool);

/* Arrays. */
pp_status pp_array_zeros(pp_dtype dtype, size_t ndim, const size_t *shape, pp_array **out);
pp_status pp_array_copy(pp_dtype dtype, size_t ndim, const size_t *shape, const void *data, pp_array **out);
pp_status pp_array_create_named(const char *name, pp_dtype dtype, size_t ndim, const size_t *shape, pp_array **out);
pp_status pp_array_create_file(const char *path, pp_dtype dtype, size_t ndim, const size_t *shape, pp_array **out);
pp_status pp_array_open_named(const char *name, bool writable, pp_array **out);
pp_status pp_array_open_file(const char *path, bool writable, pp_array **out);
void *pp_array_data(const pp_array *array);
size_t pp_array_ndim(const pp_array *array);
const size_t *pp_array_shape(const pp_array *array);
size_t pp_array_len(const pp_array *array);
pp_dtype pp_array_dtype(const pp_array *array);
const char *pp_array_dtype_text(const pp_array *array); /* as in the NPY header: "<f8" */
size_t pp_array_item_bytes(const pp_array *array);
bool pp_array_writable(const pp_array *array);
const char *pp_array_name(const pp_array *array); /* NULL without one */
size_t pp_array_default_chunk(const pp_array *array);
pp_status pp_array_set_persist(pp_array *array, bool persist);
pp_status pp_array_save(const pp_array *array, const char *path);
pp_status pp_array_total_f64(const pp_array *array, double *total); /* the fixed tree: PP_F64 only */
pp_status pp_array_total_u64(const pp_array *array, uint64_t *total); /* PP_BOOL and unsigned integers */
void pp_array_free(pp_array *array);

/* Kernels of one's own. */
pp_status pp_kernel_load(const char *path, const char *symbol, pp_kernel *out);
pp_status pp_map(const pp_pool *pool, pp_kernel kernel, const pp_job *job, pp_dtype result, pp_array **results);
pp_status pp_for_each(const pp_pool *pool, pp_kernel kernel, const pp_job *job);
pp_status pp_call(const pp_pool *pool, pp_kernel kernel, const pp_job *job, void *result, size_t result_bytes);
pp_status pp_start(const pp_pool *pool, pp_kernel kernel, const pp_job *job, pp_dtype result, pp_pending **out);

/* Built-in kernels, by name. `results` is set to NULL by those that have none. */
size_t pp_builtin_count(void);
const char *pp_builtin_name(size_t index);
const char *pp_builtin_signature(const char *name); /* one line for people; NULL: no such kernel */
pp_status pp_builtin(const pp_pool *pool, const char *name, const pp_job *job, pp_array **results);
pp_status pp_start_builtin(const pp_pool *pool, const char *name, const pp_job *job, pp_pending **out);

/* Jobs under way. */
pp_status pp_pending_wait(pp_pending *pending, double seconds); /* PP_OK: over; PP_TIMED_OUT: not yet; < 0: no limit */
bool pp_pending_is_over(const pp_pending *pending);
pp_status pp_pending_progress(const pp_pending *pending, uint64_t *done, uint64_t *chunks);
pp_status pp_pending_cancel(const pp_pending *pending);
pp_status pp_pending_result(pp_pending *pending, pp_array **results); /* waits; once */
void pp_pending_free(pp_pending *pending); /* a job that is not over is cancelled and waited for */

/* Inside a kernel: the chunk's random stream, the same for any number of workers and after a crash. */
uint64_t pp_next_u64(const pp_chunk *chunk);
double pp_next_f64(const pp_chunk *chunk);
void pp_fill_uniform(const pp_chunk *chunk, double *out, size_t n);
void pp_fill_uniform_f32(const pp_chunk *chunk, float *out, size_t n);
void pp_fill_normal(const pp_chunk *chunk, double *out, size_t n);
void pp_fill_u64(const pp_chunk *chunk, uint64_t *out, size_t n);
void pp_fill_range(const pp_chunk *chunk, uint64_t low, uint64_t high, uint64_t *out, size_t n);
/* The worker's own stream; outside the promise of equal bits. */
double pp_worker_f64(const pp_chunk *chunk);
/* The text of the error that the kernel is about to return. */
void pp_set_message(const pp_chunk *chunk, const char *text);
/* Built-in arithmetic for kernels: the flagship's rounds over n doubles, summed. */
double pp_trig_power_sum(const double *a, size_t n, uint32_t rounds);

#endif
