//! What C may get wrong: every mistake is a status and a sentence, and no panic.
#![allow(
    clippy::multiple_unsafe_ops_per_block,
    reason = "each call of the interface is unsafe, and a test makes several for the same reason"
)]

use std::ffi::{CStr, c_void};
use std::ptr::{null, null_mut};

use super::*;

fn text() -> String {
    // SAFETY: a terminated string that stays until the next failure.
    unsafe { CStr::from_ptr(pp_last_error()) }.to_str().unwrap().to_owned()
}

/// The call failed, with this status and a text that has these words.
#[track_caller]
fn failed(status: Status, expected: Status, words: &str) {
    assert_eq!((status, text().contains(words)), (expected, true), "{status}: {}", text());
}

fn pool(backend: &CStr) -> *mut Pool {
    let (options, mut pool) = (pp_options_new(), null_mut());
    for (name, value) in
        [(c"workers", c"2"), (c"oversubscribe", c"1"), (c"seed", c"42"), (c"backend", backend)]
    {
        // SAFETY: live options and terminated strings.
        let status = unsafe { pp_options_set(options, name.as_ptr(), value.as_ptr()) };
        // The serial backend has one worker whatever is asked for.
        assert_eq!(status, PP_OK, "{}", text());
    }
    // SAFETY: live options, a place for the pool.
    assert_eq!(unsafe { pp_pool_new(options, &mut pool) }, PP_OK, "{}", text());
    // SAFETY: made above, freed once.
    unsafe { pp_options_free(options) };
    pool
}

fn zeros(dtype: CDtype, shape: &[usize]) -> *mut Array {
    let mut array = null_mut();
    // SAFETY: a shape of its length, a place for the array.
    let status = unsafe { pp_array_zeros(dtype, shape.len(), shape.as_ptr(), &mut array) };
    assert_eq!(status, PP_OK, "{}", text());
    array
}

fn job(args: &[Arg]) -> Job {
    Job {
        size: size_of::<Job>(),
        args: args.as_ptr(),
        nargs: args.len(),
        params: null(),
        params_bytes: 0,
        chunks: 0,
        stream: PP_STREAM_AUTO,
        time_limit: 0.0,
        chunk_timeout: 0.0,
        fail_on_death: false,
        progress: None,
        progress_data: null_mut(),
        progress_seconds: 0.1,
    }
}

/// Doubles each element, draws one number, and gives the sum of what there was.
unsafe extern "C" fn double_and_sum(chunk: *const Chunk, result: *mut c_void) -> i32 {
    // SAFETY: what the pool passes.
    let part = unsafe { *(*chunk).parts };
    // SAFETY: so many doubles, claimed by this worker.
    let x = unsafe { std::slice::from_raw_parts_mut(part.data.cast::<f64>(), part.len) };
    let sum: f64 = x.iter().sum();
    x.iter_mut().for_each(|x| *x *= 2.0);
    // SAFETY: the running chunk.
    let draw = unsafe { pp_next_f64(chunk) };
    // SAFETY: a slot of two doubles.
    unsafe { result.cast::<[f64; 2]>().write([sum, draw]) };
    0
}

unsafe extern "C" fn fails_in_chunk_3(chunk: *const Chunk, _: *mut c_void) -> i32 {
    // SAFETY: what the pool passes.
    if unsafe { (*chunk).index } != 3 {
        return 0;
    }
    // SAFETY: the running chunk, a terminated string.
    unsafe { pp_set_message(chunk, c"three is one too many".as_ptr()) };
    -5
}

#[test]
fn a_function_in_c_runs_with_the_same_bits_on_every_backend() {
    let mut all = Vec::new();
    for backend in [c"processes", c"threads", c"serial"] {
        let (pool, x) = (pool(backend), zeros(PP_F64, &[10, 3]));
        // SAFETY: 30 doubles that no job uses yet.
        unsafe { std::slice::from_raw_parts_mut(pp_array_data(x).cast::<f64>(), 30) }.fill(0.5);
        let args = [Arg { array: x, access: PP_UPDATE, chunk_rows: 4 }];
        let mut results = null_mut();
        let dtype = PP_RAW | 16;
        // SAFETY: live handles, a function for two doubles.
        let status =
            unsafe { pp_map(pool, Some(double_and_sum), &job(&args), dtype, &mut results) };
        assert_eq!(status, PP_OK, "{}", text());
        // SAFETY: three slots of two doubles.
        let slots = unsafe { std::slice::from_raw_parts(pp_array_data(results).cast(), 6) };
        let slots: [f64; 6] = slots.try_into().unwrap();
        assert_eq!([slots[0], slots[2], slots[4]], [6.0, 6.0, 3.0]);
        let mut total = 0.0;
        // SAFETY: live handles; each is freed once.
        unsafe {
            assert_eq!(pp_array_total_f64(x, &mut total), PP_OK);
        }
        assert_eq!(total, 30.0);
        all.push(slots);
        free(&[x, results], pool);
    }
    assert!(all.iter().all(|slots| *slots == all[0]));
}

fn free(arrays: &[*mut Array], pool: *mut Pool) {
    for &array in arrays {
        // SAFETY: made in the test, freed once.
        unsafe { pp_array_free(array) };
    }
    // SAFETY: made in the test, freed once.
    unsafe { pp_pool_free(pool) };
}

#[test]
fn what_a_kernel_returns_is_in_the_error_with_its_chunk() {
    let pool = pool(c"processes");
    let numbers = Job { chunks: 10, ..job(&[]) };
    // SAFETY: live handles.
    let status = unsafe { pp_for_each(pool, Some(fails_in_chunk_3), &numbers) };
    failed(status, PP_KERNEL, "three is one too many");
    assert!(text().contains("chunk 3"), "{}", text());
    let mut info = std::mem::MaybeUninit::uninit();
    // SAFETY: a place for it.
    unsafe { pp_last_error_info(info.as_mut_ptr()) };
    // SAFETY: it was written.
    let info = unsafe { info.assume_init() };
    assert_eq!((info.status, info.code, info.chunk), (PP_KERNEL, -5, 3));
    free(&[], pool);
}

#[test]
fn null_pointers_are_refused_by_name() {
    let mut out = null_mut();
    let (pool, x) = (pool(c"serial"), zeros(PP_F64, &[4]));
    let one = [4usize];
    // SAFETY: null is what these functions look for.
    unsafe {
        failed(pp_pool_new(null(), null_mut()), PP_INVALID, "`out`");
        failed(
            pp_options_set(null_mut(), c"seed".as_ptr(), c"1".as_ptr()),
            PP_INVALID,
            "`options`",
        );
        failed(pp_array_zeros(PP_F64, 1, null(), &mut out), PP_INVALID, "`shape`");
        failed(pp_array_zeros(PP_F64, 1, one.as_ptr(), null_mut()), PP_INVALID, "`out`");
        failed(pp_array_copy(PP_F64, 1, one.as_ptr(), null(), &mut out), PP_INVALID, "`data`");
        failed(pp_array_open_named(null(), true, &mut out), PP_INVALID, "`name`");
        failed(pp_array_save(x, null()), PP_INVALID, "`path`");
        failed(pp_for_each(null(), Some(fails_in_chunk_3), &job(&[])), PP_INVALID, "`pool`");
        failed(pp_for_each(pool, None, &Job { chunks: 1, ..job(&[]) }), PP_INVALID, "`kernel`");
        failed(pp_for_each(pool, Some(fails_in_chunk_3), null()), PP_INVALID, "`job`");
        let args = [Arg { array: null(), access: PP_READ, chunk_rows: 1 }];
        failed(pp_builtin(pool, c"sum".as_ptr(), &job(&args), &mut out), PP_INVALID, "`array`");
        failed(pp_builtin(pool, null(), &job(&[]), &mut out), PP_INVALID, "`name`");
        failed(pp_set_isa(null()), PP_INVALID, "`name`");
        failed(pp_fill_uniform(null(), null_mut(), 0), PP_INVALID, "`chunk`");
        failed(pp_pending_wait(null(), 0.0), PP_INVALID, "`pending`");
        assert_eq!((pp_array_len(null()), pp_pool_workers(null())), (0, 0));
        assert!(pp_array_data(null()).is_null() && pp_builtin_name(10_000).is_null());
        assert_eq!((pp_next_u64(null()), pp_pending_is_over(null())), (0, true));
        pp_last_error_info(null_mut());
        pp_pool_free(null_mut());
        pp_array_free(null_mut());
        pp_pending_free(null_mut());
        pp_options_free(null_mut());
    }
    assert!(out.is_null());
    free(&[x], pool);
}

#[test]
fn what_does_not_fit_is_refused_in_a_sentence() {
    let (pool, mut out) = (pool(c"serial"), null_mut());
    let (x, n) = (zeros(PP_F64, &[100]), zeros(PP_U64, &[100]));
    let arg = |array, access| Arg { array, access, chunk_rows: 10 };
    // SAFETY: live handles and arrays of their lengths.
    let mut run = |name: &CStr, args: &[Arg], params: &[u8]| unsafe {
        let params_bytes = params.len();
        let job = Job { params: params.as_ptr().cast(), params_bytes, ..job(args) };
        pp_builtin(pool, name.as_ptr(), &job, &mut out)
    };
    failed(run(c"sinus", &[], &[]), PP_INVALID, "trig_power_sum");
    failed(run(c"sum", &[], &[]), PP_INVALID, "takes 1 arrays");
    failed(run(c"sum", &[arg(n, PP_READ)], &[]), PP_INVALID, "holds <u8, it takes <f8");
    failed(run(c"sum", &[arg(x, PP_UPDATE)], &[]), PP_INVALID, "is for PP_READ");
    failed(run(c"sum", &[arg(x, 9)], &[]), PP_INVALID, "is for PP_READ");
    failed(run(c"trig_power_sum", &[arg(x, PP_READ)], &[1]), PP_INVALID, "take 4 bytes");
    failed(run(c"sin", &[arg(x, PP_READ), arg(x, PP_OUT)], &[]), PP_INVALID, "once more");
    failed(run(c"factor", &[arg(n, PP_READ), arg(zeros(PP_U64, &[9, 17]), PP_OUT)], &[]), 1, "fit");
    let range = bytemuck::cast::<[u64; 2], [u8; 16]>([7, 7]);
    failed(run(c"fill_range", &[arg(n, PP_OUT)], &range), PP_INVALID, "[7, 7)");
    failed(run(c"prime_pi", &[], &u64::MAX.to_ne_bytes()), PP_INVALID, "too large");
    failed(run(c"prime_pi", &[], &[8; 8]), PP_INVALID, "too large");
    failed(run(c"count_primes", &[], &[0; 24]), PP_INVALID, "[0, 0)");
    let function = Some(fails_in_chunk_3 as unsafe extern "C" fn(_, _) -> _);
    let args = [arg(x, 9)];
    let long = [0u8; 1025];
    // SAFETY: as above.
    unsafe {
        failed(pp_for_each(pool, function, &job(&args)), PP_INVALID, "access 9");
        failed(pp_for_each(pool, function, &job(&[])), PP_INVALID, "no argument has chunks");
        let params = Job { params: long.as_ptr().cast(), params_bytes: 1025, ..job(&[]) };
        failed(pp_for_each(pool, function, &params), PP_INVALID, "1025 bytes");
        let many = [arg(x, PP_READ); 8];
        failed(pp_for_each(pool, function, &job(&many)), PP_INVALID, "8 arrays; a kernel");
        let params = Job { params: long.as_ptr().cast(), params_bytes: 8, ..job(&many[..7]) };
        failed(pp_for_each(pool, function, &params), PP_INVALID, "6 beside parameters");
        let params = Job { nargs: 6, ..params };
        failed(pp_for_each(pool, function, &params), PP_KERNEL, "three");
        failed(pp_for_each(pool, function, &job(&many[..7])), PP_KERNEL, "three");
        let short = Job { size: 8, ..job(&[]) };
        failed(pp_for_each(pool, function, &short), PP_INVALID, "PP_JOB_INIT");
        let never = Job { time_limit: f64::NAN, chunks: 1, ..job(&[]) };
        failed(pp_for_each(pool, function, &never), PP_INVALID, "time_limit");
        let far = Job { stream: 1 << 63, chunks: 1, ..job(&[]) };
        failed(pp_for_each(pool, function, &far), PP_INVALID, "2^63");
        failed(pp_array_zeros(99, 0, null(), &mut out), PP_INVALID, "PP_F64");
        failed(pp_array_zeros(PP_F64, 2, [1 << 40, 1 << 40].as_ptr(), &mut out), PP_ARRAY, "");
        failed(pp_array_open_file(c"/nowhere".as_ptr(), false, &mut out), PP_ARRAY, "/nowhere");
        failed(pp_array_total_f64(n, &mut 0.0), PP_INVALID, "holds <u8");
        failed(pp_array_total_u64(x, &mut 0), PP_INVALID, "holds <f8");
        failed(pp_set_isa(c"sse9".as_ptr()), PP_INVALID, "sse9");
        let mut kernel = None;
        let load = pp_kernel_load(c"/nowhere/k.so".as_ptr(), c"k".as_ptr(), &mut kernel);
        failed(load, PP_FOREIGN, "/nowhere/k.so");
    }
    free(&[x, n], pool);
}

#[test]
fn options_are_refused_with_what_there_is() {
    let options = pp_options_new();
    // SAFETY: live options and terminated strings.
    let set = |name: &CStr, value: &CStr| unsafe {
        pp_options_set(options, name.as_ptr(), value.as_ptr())
    };
    failed(set(c"wrokers", c"2"), PP_INVALID, "workers-per-core");
    failed(set(c"workers", c"0"), PP_INVALID, "1 or more");
    failed(set(c"workers", c"two"), PP_INVALID, "whole number");
    failed(set(c"bind", c"tight"), PP_INVALID, "tight");
    failed(set(c"places", c"planets"), PP_INVALID, "planets");
    failed(set(c"backend", c"fibres"), PP_INVALID, "fibres");
    failed(set(c"oversubscribe", c"yes"), PP_INVALID, "0 or 1");
    let mut pool = null_mut();
    assert_eq!(set(c"worker-program", c"/bin/true"), PP_OK);
    // SAFETY: live options; freed once.
    unsafe {
        failed(pp_pool_new(options, &mut pool), PP_START, "leave it out");
        failed(pp_options_env(options, c"A=B".as_ptr(), c"".as_ptr()), PP_INVALID, "variable");
        pp_options_free(options);
    }
    assert!(pool.is_null());
}

#[test]
fn a_job_is_started_followed_and_cancelled() {
    let pool = pool(c"threads");
    let numbers = Job { chunks: 1000, ..job(&[]) };
    let (mut pending, mut results) = (null_mut(), null_mut());
    // SAFETY: live handles; each is freed once.
    unsafe {
        assert_eq!(pp_start(pool, Some(sleeps), &numbers, PP_NONE, &mut pending), PP_OK);
        failed(pp_pending_wait(pending, 0.01), PP_TIMED_OUT, "goes on");
        failed(pp_pending_wait(pending, f64::NAN), PP_INVALID, "seconds");
        let (mut done, mut chunks) = (0, 0);
        assert_eq!(pp_pending_progress(pending, &mut done, &mut chunks), PP_OK);
        assert!(done < 1000 && chunks == 1000);
        assert_eq!(pp_pending_cancel(pending), PP_OK);
        failed(pp_pending_result(pending, &mut results), PP_CANCELLED, "cancelled");
        failed(pp_pending_result(pending, &mut results), PP_INVALID, "once");
        assert!(pp_pending_is_over(pending) && results.is_null());
        pp_pending_free(pending);
        // Freed while it runs: it is cancelled first.
        assert_eq!(pp_start(pool, Some(sleeps), &numbers, PP_NONE, &mut pending), PP_OK);
        pp_pending_free(pending);
    }
    free(&[], pool);
}

unsafe extern "C" fn sleeps(_: *const Chunk, _: *mut c_void) -> i32 {
    std::thread::sleep(std::time::Duration::from_millis(20));
    0
}

#[test]
fn a_name_is_free_when_its_array_is_although_a_job_has_the_memory() {
    let pool = pool(c"threads");
    let name = std::ffi::CString::new(format!("capi-name-{}", std::process::id())).unwrap();
    let make = || {
        let (mut array, len) = (null_mut(), 1000);
        // SAFETY: a terminated string, a shape of one number, a place for the array.
        let status = unsafe { pp_array_create_named(name.as_ptr(), PP_F64, 1, &len, &mut array) };
        assert_eq!(status, PP_OK, "{}", text());
        array
    };
    let (array, mut pending) = (make(), null_mut());
    let args = [Arg { array, access: PP_READ, chunk_rows: 10 }];
    // SAFETY: live handles; each is freed once.
    unsafe {
        assert_eq!(pp_start(pool, Some(sleeps), &job(&args), PP_NONE, &mut pending), PP_OK);
        pp_array_free(array);
        let next = make();
        assert!(!pp_pending_is_over(pending));
        pp_pending_free(pending);
        pp_array_free(next);
    }
    free(&[], pool);
}

#[test]
fn a_call_copies_its_result_whatever_its_size() {
    unsafe extern "C" fn bytes(chunk: *const Chunk, result: *mut c_void) -> i32 {
        // SAFETY: what the pool passes: a length as the parameter, and so much room.
        let n = unsafe { (*chunk).params.cast::<u64>().read() } as usize;
        // SAFETY: as above.
        unsafe { std::slice::from_raw_parts_mut(result.cast::<u8>(), n) }.fill(7);
        0
    }
    let pool = pool(c"processes");
    for n in [1u64, 256, 257, 100_000] {
        let mut result = vec![0u8; n as usize];
        let params = Job { params: (&raw const n).cast(), params_bytes: 8, ..job(&[]) };
        let at = result.as_mut_ptr().cast();
        // SAFETY: live handles, room for the result.
        let status = unsafe { pp_call(pool, Some(bytes), &params, at, result.len()) };
        assert_eq!(status, PP_OK, "{}", text());
        assert!(result.iter().all(|&byte| byte == 7), "{n}");
        let many = Job { chunks: 2, ..params };
        // SAFETY: as above.
        let status = unsafe { pp_call(pool, Some(bytes), &many, at, result.len()) };
        failed(status, PP_INVALID, "2 chunks");
    }
    // In the place of its parameters, as C may have it.
    for n in [8u64, 400] {
        let mut both = vec![0u8; n as usize];
        both[..8].copy_from_slice(&n.to_ne_bytes());
        let at: *mut c_void = both.as_mut_ptr().cast();
        let params = Job { params: at, params_bytes: 8, ..job(&[]) };
        // SAFETY: live handles; the vector is used through its address alone meanwhile.
        let status = unsafe { pp_call(pool, Some(bytes), &params, at, n as usize) };
        assert_eq!(status, PP_OK, "{}", text());
        assert!(both.iter().all(|&byte| byte == 7), "{n}");
    }
    free(&[], pool);
}

#[test]
fn every_built_in_kernel_runs() {
    let pool = pool(c"serial");
    let of = |dtype, shape: &[usize]| zeros(dtype, shape);
    for builtin in builtin::all() {
        let args = builtin.arrays.iter().enumerate().map(|(i, &(access, dtype))| {
            let row: &[usize] = if i == 1 && builtin.out_row != 0 { &[300, 17] } else { &[300] };
            Arg { array: of(dtype, row), access, chunk_rows: 0 }
        });
        let args: Vec<Arg> = args.collect();
        let params: [u64; 3] = [0, 1000, 100];
        let params_bytes = builtin.param_bytes;
        let chunks = if args.is_empty() { 10 } else { 0 };
        let job = Job { params: params.as_ptr().cast(), params_bytes, chunks, ..job(&args) };
        let mut results = null_mut();
        // SAFETY: live handles; each is freed once.
        let status = unsafe { pp_builtin(pool, builtin.name.as_ptr(), &job, &mut results) };
        assert_eq!(status, PP_OK, "{:?}: {}", builtin.name, text());
        assert_eq!(results.is_null(), builtin.result == PP_NONE);
        if builtin.name == c"count_primes" {
            let mut primes = 0;
            // SAFETY: as above.
            assert_eq!(unsafe { pp_array_total_u64(results, &mut primes) }, PP_OK);
            assert_eq!(primes, 168);
        }
        let arrays = args.iter().map(|arg| arg.array.cast_mut());
        // SAFETY: as above.
        arrays.chain([results]).for_each(|array| unsafe { pp_array_free(array) });
    }
    free(&[], pool);
}
