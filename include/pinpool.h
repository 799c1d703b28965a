/* pinpool: pinned worker processes over shared-memory arrays. A page with whole programs: docs/c.md.
 *
 * Pointers are null or point to what their type says, for as long as the call takes (an array among
 * a job's arguments: until the job is over). What was made here is freed once, by its own function.
 * Handles may be used by several threads at once, except by their `free` and by `pp_pending_result`.
 * Who reads or writes elements of an array while a job works on it has a data race.
 *
 * Made from src/capi by `cargo run --manifest-path capi/header/Cargo.toml`; not to be edited. */

#ifndef PINPOOL_H
#define PINPOOL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
/* A job with all defaults. */
#define PP_JOB_INIT \
  { sizeof(pp_job), NULL, 0, NULL, 0, 0, PP_STREAM_AUTO, 0.0, 0.0, false, NULL, NULL, 0.1 }

// The version of this interface; `pp_abi_version()` gives the library's.
//
// It rises when something is taken away or changed; what is added leaves it.
#define PP_ABI_VERSION 1

// `stream` of a job: the order of calls numbers the random streams.
#define PP_STREAM_AUTO UINT64_MAX

// An n-dimensional array in shared memory or in a file.
typedef struct pp_array pp_array;

// What a kernel's own calls need.
typedef struct pp_context pp_context;

// Options of a pool that is to be built.
typedef struct pp_options pp_options;

// A job that was started and may still run.
typedef struct pp_pending pp_pending;

// Workers that run kernels.
typedef struct pp_pool pp_pool;

// What a call came to: one of the constants below.
typedef int32_t pp_status;

// What is known of a failure beside its text.
typedef struct {
  // What the call gave.
  pp_status status;
  // What the kernel returned, for `PP_KERNEL`; else 0.
  int32_t code;
  // The signal that the worker died of, for `PP_CRASH`; 0 where it was none.
  int32_t signal;
  // How many workers died in the chunk, for `PP_CRASH`.
  uint32_t deaths;
  // The chunk that failed; `UINT64_MAX` where none did.
  uint64_t chunk;
  // The worker that ran it; `UINT64_MAX` where none did.
  uint64_t worker;
} pp_error_info;

// An element type: one of the constants below, or `PP_RAW | size`.
typedef uint32_t pp_dtype;

// One array of a job, as a kernel sees it for one chunk.
typedef struct {
  // The first element of the chunk; of the whole array for `PP_WHOLE`.
  void *data;
  // Elements at `data`.
  size_t len;
  // Rows at `data`: the length of axis 0.
  size_t rows;
  // Elements of a row.
  size_t row_len;
  // Which row of the array the first one is.
  uint64_t first_row;
  // Bytes of an element.
  size_t item_bytes;
} pp_part;

// What a kernel is called with.
typedef struct {
  // The number of this chunk, from 0.
  uint64_t index;
  // How many chunks the job has.
  uint64_t count;
  // Who runs it. A result that depends on it is outside the promise of equal bits.
  uint64_t worker;
  // How many parts there are.
  size_t nparts;
  // One for each of the job's `args`.
  const pp_part *parts;
  // A copy of the job's `params`, aligned to 8 bytes.
  const void *params;
  // Bytes of `params`.
  size_t params_bytes;
  // For the functions that take a chunk; they are for the thread that runs the kernel.
  pp_context *context;
} pp_chunk;

// A kernel: it runs in a worker, once for each chunk. `result` is the chunk's slot, null where the
// job has no results. 0 is success; anything else ends the job with `PP_KERNEL`.
typedef int32_t (*pp_kernel)(const pp_chunk *chunk, void *result);

// How a job uses an array: one of the constants below.
typedef uint32_t pp_access;

// An array among the arguments of a job.
typedef struct {
  // The array.
  const pp_array *array;
  // What the job does with it.
  pp_access access;
  // Rows of a chunk; 0: a default that follows from the shape of the first array that has chunks
  // (`pp_array_default_chunk`, 64 at least for a built-in kernel).
  size_t chunk_rows;
} pp_arg;

// Told how far a job is, on the thread that waits for it.
typedef void (*pp_progress)(uint64_t done, uint64_t chunks, void *data);

// A job: what the kernel gets, and how it is run. Start from `PP_JOB_INIT`, which knows the size.
typedef struct {
  // `sizeof(pp_job)`, by which the library tells older programs from newer ones.
  size_t size;
  // The arrays; those with chunks must have the same number of them.
  const pp_arg *args;
  // How many there are; for a kernel of one's own 7 at most, and 6 where it has `params`.
  size_t nargs;
  // Plain data for every chunk, copied into the job.
  const void *params;
  // Bytes of `params`, 1024 at most.
  size_t params_bytes;
  // How many chunks, where no array has chunks; else 0.
  uint64_t chunks;
  // The job number of the random streams, below 2^63, or `PP_STREAM_AUTO`.
  uint64_t stream;
  // Seconds for the whole job; 0: no limit.
  double time_limit;
  // Seconds for a chunk, after which its worker is killed; 0: no limit.
  double chunk_timeout;
  // The first death of a worker ends the job.
  bool fail_on_death;
  // Null: nobody is told. `pp_start` does not tell anybody either, and a pool of the backend
  // `serial` tells once, at the end.
  pp_progress progress;
  // Passed to `progress`.
  void *progress_data;
  // How often, in seconds.
  double progress_seconds;
} pp_job;

// It did what was asked.
#define PP_OK 0

// An argument is wrong: null, unknown, or it does not fit the others.
#define PP_INVALID 1

// There is no room for an array.
#define PP_NO_MEMORY 2

// An array could not be made, opened or saved.
#define PP_ARRAY 3

// The workers cannot be placed as asked for.
#define PP_PLACEMENT 4

// The workers do not start.
#define PP_START 5

// The kernel is where workers cannot find it.
#define PP_FOREIGN 6

// The kernel returned an error.
#define PP_KERNEL 7

// The kernel killed its workers, as often as is allowed.
#define PP_CRASH 8

// A built-in kernel panicked: a bug of pinpool.
#define PP_PANIC 9

// The job was cancelled.
#define PP_CANCELLED 10

// A time limit has passed.
#define PP_TIMED_OUT 11

// The pool takes no job: it is closed, broken, or another process's.
#define PP_POOL 12

// A panic in the library: a bug of pinpool.
#define PP_INTERNAL 13

// No element type: a job without results.
#define PP_NONE 0

// One byte, 0 or 1.
#define PP_BOOL 1

// `int8_t`.
#define PP_I8 2

// `int16_t`.
#define PP_I16 3

// `int32_t`.
#define PP_I32 4

// `int64_t`.
#define PP_I64 5

// `uint8_t`.
#define PP_U8 6

// `uint16_t`.
#define PP_U16 7

// `uint32_t`.
#define PP_U32 8

// `uint64_t`.
#define PP_U64 9

// `float`.
#define PP_F32 10

// `double`.
#define PP_F64 11

// `float complex`.
#define PP_C64 12

// `double complex`.
#define PP_C128 13

// An element type of raw bytes, numpy's `|V{size}`: `PP_RAW | sizeof(struct thing)`.
#define PP_RAW 2147483648

// Chunks, read only.
#define PP_READ 0

// Chunks, changed in place. An undo copy is kept, so that a chunk whose kernel fails, or whose worker
// dies, is put back as it was.
#define PP_UPDATE 1

// Chunks, overwritten without being read. No undo copy is kept.
#define PP_OUT 2

// The whole array for every chunk, read only.
#define PP_WHOLE 3

#ifdef __cplusplus
extern "C" {
#endif // __cplusplus

// The text of the last failure on this thread, in UTF-8: a sentence that says what to do next.
// It stays until the next failure on this thread; empty where there was none.
const char *pp_last_error(void);

// What is known of the last failure on this thread beside its text.
void pp_last_error_info(pp_error_info *info);

// The version of the interface that the library has.
uint32_t pp_abi_version(void);

// The version of the library, such as "0.1.0".
const char *pp_version(void);

// For programs whose kernels need C++ or Fortran constructors: call it first in `main`.
//
// In a worker it does not return. Programs whose kernels are plain C need not call it.
void pp_init(void);

// The instruction set of the built-in kernels: "scalar", "avx2", "avx512" or "neon".
const char *pp_isa(void);

// Has this process, and the pools that it builds from now on, use an instruction set. The results
// have the same bits on all of them.
pp_status pp_set_isa(const char *name);

// The built-in arithmetic of the flagship, for kernels of one's own: `rounds` of
// a <- (sin a + cos a)^(a*a) over `n` doubles, which stay as they are; gives the sum.
double pp_trig_power_sum(const double *a, size_t n, uint32_t rounds);

// New options, all at their defaults; freed with `pp_options_free`.
pp_options *pp_options_new(void);

// Sets an option from a text, by the names and values of the command line: `workers` N,
// `workers-per-core` N, `bind` POLICY, `places` PLACES, `oversubscribe` 0 or 1, `seed` N, `backend`
// processes, threads or serial, `name` TEXT, `max-chunks-per-worker` N, `cancel-grace-ms` N,
// `worker-program` PATH.
pp_status pp_options_set(pp_options *options, const char *name, const char *value);

// Sets an option whose value is a whole number.
pp_status pp_options_set_u64(pp_options *options, const char *name, uint64_t value);

// Sets a variable of the workers' environment, beside or instead of the program's own.
pp_status pp_options_env(pp_options *options, const char *name, const char *value);

// Frees options; null is fine. Pools that were built with them stay.
void pp_options_free(pp_options *options);

// Starts a pool; returns when every worker is bound and ready. `options` may be null: a worker
// process on each usable physical core.
pp_status pp_pool_new(const pp_options *options, pp_pool **out);

// Ends the workers, after the chunks that they are at, and frees the pool; null is fine. Where jobs
// are under way, the workers end when the last `pp_pending` is freed.
void pp_pool_free(pp_pool *pool);

// How many workers it has; 0 for null, and in a forked process.
size_t pp_pool_workers(const pp_pool *pool);

// Deaths of workers that the pool has recovered from; 0 for null, and in a forked process.
uint64_t pp_pool_deaths(const pp_pool *pool);

// The seed of its random streams; 0 for null, and in a forked process.
uint64_t pp_pool_seed(const pp_pool *pool);

// What runs its chunks: "processes", "threads" or "serial"; null for null, and in a forked
// process.
const char *pp_pool_backend(const pp_pool *pool);

// A worker's process, and the PU on which it ran when it was ready; either may be null.
pp_status pp_pool_worker(const pp_pool *pool, size_t worker, uint32_t *pid, uint32_t *pu);

// Stops all jobs in flight: each ends with `PP_CANCELLED` after the chunks in progress. From any
// thread.
pp_status pp_pool_cancel_all(const pp_pool *pool);

// Makes an array of zero bytes that has no name: the usual one, for the pool's own workers.
pp_status pp_array_zeros(pp_dtype dtype, size_t ndim, const size_t *shape, pp_array **out);

// Makes a nameless array that holds a copy of the elements at `data`, in C order.
pp_status pp_array_copy(pp_dtype dtype,
                        size_t ndim,
                        const size_t *shape,
                        const void *data,
                        pp_array **out);

// Makes an array of zero bytes that other programs find as /dev/shm/NAME. No other program may
// write into it while a job works on it.
pp_status pp_array_create_named(const char *name,
                                pp_dtype dtype,
                                size_t ndim,
                                const size_t *shape,
                                pp_array **out);

// Makes an array of zero bytes in a new `.npy` file, which stays when the array is freed.
pp_status pp_array_create_file(const char *path,
                               pp_dtype dtype,
                               size_t ndim,
                               const size_t *shape,
                               pp_array **out);

// Opens the array that another process of this user made as /dev/shm/NAME.
pp_status pp_array_open_named(const char *name, bool writable, pp_array **out);

// Opens a `.npy` file in place: what changes in the array changes in the file.
pp_status pp_array_open_file(const char *path, bool writable, pp_array **out);

// Unmaps an array, and removes its name if this process made it under one and did not have it
// stay; null is fine. Jobs under way keep its memory.
void pp_array_free(pp_array *array);

// The first element; null for null, and in a process that was forked since: an array is not mapped
// there. A store into an array that was opened read-only is a SIGSEGV.
void *pp_array_data(const pp_array *array);

// How many axes it has; 0 for null.
size_t pp_array_ndim(const pp_array *array);

// The length of each axis: `pp_array_ndim` numbers that stay as long as the array; null for null.
const size_t *pp_array_shape(const pp_array *array);

// How many elements it has; 0 for null.
size_t pp_array_len(const pp_array *array);

// Its element type; `PP_NONE` for null.
pp_dtype pp_array_dtype(const pp_array *array);

// Its element type as its header has it, such as "<f8"; null for null.
const char *pp_array_dtype_text(const pp_array *array);

// Bytes of an element; 0 for null.
size_t pp_array_item_bytes(const pp_array *array);

// Whether it may be changed; false for null.
bool pp_array_writable(const pp_array *array);

// Its name under /dev/shm; null where it has none.
const char *pp_array_name(const pp_array *array);

// The chunk length that is used for 0: a function of the shape alone; 0 for null.
size_t pp_array_default_chunk(const pp_array *array);

// Has its name outlive everybody (or not): `pinpool segments gc` lets such a segment stay.
pp_status pp_array_set_persist(pp_array *array, bool persist);

// Saves it as a `.npy` file. A file that is there is replaced in one step, and left as it is on an
// error.
pp_status pp_array_save(const pp_array *array, const char *path);

// The sum of all elements of a `PP_F64` array, by a fixed tree over the index: the same bits
// whoever computed them.
pp_status pp_array_total_f64(const pp_array *array, double *total);

// The sum of all elements of an array of bools or unsigned integers.
pp_status pp_array_total_u64(const pp_array *array, uint64_t *total);

// The next 64 random bits of the chunk's stream: the same for any number of workers, and after a
// crash. 0 for null.
uint64_t pp_next_u64(const pp_chunk *chunk);

// The next draw of the chunk's stream as a number in [0, 1); 0 for null.
double pp_next_f64(const pp_chunk *chunk);

// Fills `n` doubles with numbers in [0, 1) from the chunk's stream.
pp_status pp_fill_uniform(const pp_chunk *chunk, double *out, size_t n);

// Fills `n` floats with numbers in [0, 1) from the chunk's stream.
pp_status pp_fill_uniform_f32(const pp_chunk *chunk, float *out, size_t n);

// Fills `n` doubles with standard normal numbers from the chunk's stream.
pp_status pp_fill_normal(const pp_chunk *chunk, double *out, size_t n);

// Fills `n` words with random bits from the chunk's stream.
pp_status pp_fill_u64(const pp_chunk *chunk, uint64_t *out, size_t n);

// Fills `n` words with integers in [low, high) from the chunk's stream.
pp_status pp_fill_range(const pp_chunk *chunk,
                        uint64_t low,
                        uint64_t high,
                        uint64_t *out,
                        size_t n);

// The next draw of the worker's own stream, in [0, 1). What is computed from it depends on who ran
// the chunk. 0 for null.
double pp_worker_f64(const pp_chunk *chunk);

// The text of the error that the kernel is about to return; it is cut at 400 bytes or so.
pp_status pp_set_message(const pp_chunk *chunk, const char *text);

// Loads a shared object for good, and gives one of its functions as a kernel.
pp_status pp_kernel_load(const char *path, const char *symbol, pp_kernel *out);

// Runs a function of one's own once for each chunk; the results lie in a new array, one slot a
// chunk, where the workers wrote them.
pp_status pp_map(const pp_pool *pool,
                 pp_kernel kernel,
                 const pp_job *job,
                 pp_dtype result,
                 pp_array **results);

// Runs a function of one's own once for each chunk, for what it does to its chunks.
pp_status pp_for_each(const pp_pool *pool, pp_kernel kernel, const pp_job *job);

// Runs a built-in kernel, by its name. `results` is set to null by those that have none, and may be
// null for them.
pp_status pp_builtin(const pp_pool *pool, const char *name, const pp_job *job, pp_array **results);

// Runs a function of one's own once, on any worker, and copies its result of `result_bytes` bytes
// to `result`.
pp_status pp_call(const pp_pool *pool,
                  pp_kernel kernel,
                  const pp_job *job,
                  void *result,
                  size_t result_bytes);

// Starts a function of one's own over chunks, and does not wait. Its arrays are the job's until it
// is over. `result` is `PP_NONE` for a job without results.
pp_status pp_start(const pp_pool *pool,
                   pp_kernel kernel,
                   const pp_job *job,
                   pp_dtype result,
                   pp_pending **out);

// Starts a built-in kernel, and does not wait.
pp_status pp_start_builtin(const pp_pool *pool,
                           const char *name,
                           const pp_job *job,
                           pp_pending **out);

// How many built-in kernels there are.
size_t pp_builtin_count(void);

// The name of a built-in kernel; null from `pp_builtin_count` on.
const char *pp_builtin_name(size_t index);

// What a built-in kernel takes and gives, in a line for people; null where there is none of that
// name.
const char *pp_builtin_signature(const char *name);

// Waits for a job: `PP_OK` when it is over, whether well or badly, `PP_TIMED_OUT` where so many
// seconds pass before; it goes on then, and one may wait again. Negative: no limit.
pp_status pp_pending_wait(const pp_pending *pending, double seconds);

// Whether a job is over; true for null, and in a forked process.
bool pp_pending_is_over(const pp_pending *pending);

// How many of its chunks are done, and how many there are; either may be null.
pp_status pp_pending_progress(const pp_pending *pending, uint64_t *done, uint64_t *chunks);

// Stops a job: no more chunks begin, and its result is `PP_CANCELLED` unless it was over already.
// Returns at once. From any thread.
pp_status pp_pending_cancel(const pp_pending *pending);

// Waits for a job and gives its results, once. `results` is set to null by a job that has none, and
// may be null for it.
pp_status pp_pending_result(pp_pending *pending, pp_array **results);

// Frees a job; null is fine. One that is not over is cancelled and waited for.
void pp_pending_free(pp_pending *pending);

#ifdef __cplusplus
}  // extern "C"
#endif  // __cplusplus

#endif  /* PINPOOL_H */
