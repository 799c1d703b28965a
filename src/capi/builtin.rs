//! The built-in kernels by name: what each takes and gives, and its entry.

use std::ffi::{CStr, c_char};

use bytemuck::Pod;
use ndarray::IxDyn;
use pinpool_kernels::primes::{self, Factors};

use super::dtype::{CDtype, PP_BOOL, PP_F32, PP_F64, PP_NONE, PP_U64};
use super::job::{PP_OUT, PP_READ, PP_UPDATE};
use super::pointers;
use super::status::{Failure, value};
use crate::args::{Args, Chunks, ChunksOut, ChunksUndo, Indices, Param};
use crate::ctx::Ctx;
use crate::element::Bool;
use crate::entry::{Entry, ForEach, KernelEntry, Map};

/// One built-in kernel.
#[derive(Debug, Clone, Copy)]
pub(super) struct Builtin {
    pub(super) name: &'static CStr,
    /// For people.
    signature: &'static CStr,
    /// Access and element type of each array; none: a kernel over chunk numbers.
    pub(super) arrays: &'static [(u32, CDtype)],
    /// Elements that a row must have; 0: any.
    pub(super) out_row: usize,
    pub(super) param_bytes: usize,
    /// Whether parameters of the right length make sense.
    pub(super) check: fn(&[u8]) -> Result<(), String>,
    pub(super) result: CDtype,
    pub(super) entry: &'static KernelEntry,
}

type Read<T> = Chunks<'static, T, IxDyn>;
/// `PP_UPDATE`: a built-in kernel keeps the undo copy itself.
type Update<T> = ChunksUndo<'static, T, IxDyn>;
type Out<T> = ChunksOut<'static, T, IxDyn>;

fn map<A, F, R>(_: F) -> &'static KernelEntry
where
    A: Args,
    F: for<'w> Fn(A::Item<'w>, &mut Ctx) -> R + Copy + Send + 'static,
    R: Pod,
{
    const { assert!(size_of::<F>() == 0, "a kernel must not capture") };
    Map::<A, F, R>::ENTRY
}

fn for_each<A, F>(_: F) -> &'static KernelEntry
where
    A: Args,
    F: for<'w> Fn(A::Item<'w>, &mut Ctx) + Copy + Send + 'static,
{
    const { assert!(size_of::<F>() == 0, "a kernel must not capture") };
    ForEach::<A, F>::ENTRY
}

fn anything(_: &[u8]) -> Result<(), String> {
    Ok(())
}

fn rises(params: &[u8]) -> Result<(), String> {
    let [low, high]: [u64; 2] = bytemuck::pod_read_unaligned(&params[..16]);
    if low < high {
        Ok(())
    } else {
        Err(format!("no integer lies in [{low}, {high}); give a high above low"))
    }
}

fn spans(params: &[u8]) -> Result<(), String> {
    rises(params)?;
    match bytemuck::pod_read_unaligned::<u64>(&params[16..24]) {
        0 => Err("a span of 0 numbers a chunk; give 1 or more".into()),
        _ => Ok(()),
    }
}

/// The most that `prime_pi` takes: a table of two words for each number to the root, 1.6 GB.
const MOST_PRIME_PI: u64 = 10_000_000_000_000_000;

fn small_enough(params: &[u8]) -> Result<(), String> {
    match bytemuck::pod_read_unaligned::<u64>(params) {
        n if n > MOST_PRIME_PI => Err(format!("{n} is too large; give at most {MOST_PRIME_PI}")),
        _ => Ok(()),
    }
}

/// All of them.
pub(super) fn all() -> impl Iterator<Item = Builtin> {
    fills().into_iter().chain(folds()).chain(elementwise()).chain(integers())
}

pub(super) fn find(name: &CStr) -> Result<Builtin, Failure> {
    all().find(|builtin| builtin.name == name).ok_or_else(|| {
        let names: Vec<_> = all().map(|b| b.name.to_string_lossy()).collect();
        let names = names.join(", ");
        Failure::invalid(format!("there is no built-in kernel {name:?}; use one of {names}"))
    })
}

const BASE: Builtin = Builtin {
    name: c"",
    signature: c"",
    arrays: &[],
    out_row: 0,
    param_bytes: 0,
    check: anything,
    result: PP_NONE,
    entry: &KernelEntry::new(no_kernel, "none"),
};

unsafe fn no_kernel(_: &mut crate::entry::Call<'_, '_>) -> Result<(), String> {
    Err("this is no kernel".into())
}

fn fills() -> [Builtin; 5] {
    [
        Builtin {
            name: c"fill_uniform",
            signature: c"(out double): numbers in [0, 1) from each chunk's stream",
            arrays: &[(PP_OUT, PP_F64)],
            entry: for_each::<Out<f64>, _>(|mut c, ctx| ctx.rng().fill_uniform(&mut c)),
            ..BASE
        },
        Builtin {
            name: c"fill_uniform_f32",
            signature: c"(out float): numbers in [0, 1) from each chunk's stream",
            arrays: &[(PP_OUT, PP_F32)],
            entry: for_each::<Out<f32>, _>(|mut c, ctx| ctx.rng().fill_uniform_f32(&mut c)),
            ..BASE
        },
        Builtin {
            name: c"fill_normal",
            signature: c"(out double): standard normal numbers from each chunk's stream",
            arrays: &[(PP_OUT, PP_F64)],
            entry: for_each::<Out<f64>, _>(|mut c, ctx| ctx.rng().fill_normal(&mut c)),
            ..BASE
        },
        Builtin {
            name: c"fill_u64",
            signature: c"(out uint64_t): random bits from each chunk's stream",
            arrays: &[(PP_OUT, PP_U64)],
            entry: for_each::<Out<u64>, _>(|mut c, ctx| ctx.rng().fill_u64(&mut c)),
            ..BASE
        },
        Builtin {
            name: c"fill_range",
            signature: c"(out uint64_t; uint64_t low, high): integers in [low, high) from each chunk's stream",
            arrays: &[(PP_OUT, PP_U64)],
            param_bytes: 16,
            check: rises,
            entry: for_each::<(Out<u64>, Param<[u64; 2]>), _>(|(mut c, [low, high]), ctx| {
                ctx.rng().fill_range(low, high, &mut c);
            }),
            ..BASE
        },
    ]
}

fn folds() -> [Builtin; 5] {
    [
        Builtin {
            name: c"trig_power_sum",
            signature: c"(read double; uint32_t rounds) -> double: rounds of a <- (sin a + cos a)^(a*a), summed by chunk",
            arrays: &[(PP_READ, PP_F64)],
            param_bytes: 4,
            result: PP_F64,
            entry: map::<(Read<f64>, Param<u32>), _, f64>(|(c, rounds), _| {
                pinpool_kernels::trig_power_sum(c.as_slice(), rounds)
            }),
            ..BASE
        },
        Builtin {
            name: c"trig_power_in_place_sum",
            signature: c"(update double; uint32_t rounds) -> double: as trig_power_sum, and the array is changed",
            arrays: &[(PP_UPDATE, PP_F64)],
            param_bytes: 4,
            result: PP_F64,
            entry: map::<(Update<f64>, Param<u32>), _, f64>(|(c, rounds), _| {
                let (a, undo) = c.with_undo();
                pinpool_kernels::trig_power_in_place_sum_undo(a, rounds, undo)
            }),
            ..BASE
        },
        Builtin {
            name: c"trig_power",
            signature: c"(update double; uint32_t rounds): rounds of a <- (sin a + cos a)^(a*a)",
            arrays: &[(PP_UPDATE, PP_F64)],
            param_bytes: 4,
            entry: for_each::<(Update<f64>, Param<u32>), _>(|(c, rounds), _| {
                let (a, undo) = c.with_undo();
                pinpool_kernels::trig_power_in_place_sum_undo(a, rounds, undo);
            }),
            ..BASE
        },
        Builtin {
            name: c"sum",
            signature: c"(read double) -> double: the sum of each chunk, in a fixed order",
            arrays: &[(PP_READ, PP_F64)],
            result: PP_F64,
            entry: map::<Read<f64>, _, f64>(|c, _| pinpool_kernels::sum(c.as_slice())),
            ..BASE
        },
        Builtin {
            name: c"dot",
            signature: c"(read double, read double) -> double: the dot product of each chunk, in a fixed order",
            arrays: &[(PP_READ, PP_F64), (PP_READ, PP_F64)],
            result: PP_F64,
            entry: map::<(Read<f64>, Read<f64>), _, f64>(|(a, b), _| {
                pinpool_kernels::dot(a.as_slice(), b.as_slice())
            }),
            ..BASE
        },
    ]
}

fn elementwise() -> [Builtin; 4] {
    const ARRAYS: &[(u32, CDtype)] = &[(PP_READ, PP_F64), (PP_OUT, PP_F64)];
    [
        Builtin {
            name: c"sin",
            signature: c"(read double, out double): the sine of each element",
            arrays: ARRAYS,
            entry: for_each::<(Read<f64>, Out<f64>), _>(|(x, mut out), _| {
                pinpool_kernels::sin(x.as_slice(), out.as_slice_mut());
            }),
            ..BASE
        },
        Builtin {
            name: c"cos",
            signature: c"(read double, out double): the cosine of each element",
            arrays: ARRAYS,
            entry: for_each::<(Read<f64>, Out<f64>), _>(|(x, mut out), _| {
                pinpool_kernels::cos(x.as_slice(), out.as_slice_mut());
            }),
            ..BASE
        },
        Builtin {
            name: c"exp2",
            signature: c"(read double, out double): 2 to the power of each element",
            arrays: ARRAYS,
            entry: for_each::<(Read<f64>, Out<f64>), _>(|(x, mut out), _| {
                pinpool_kernels::exp2(x.as_slice(), out.as_slice_mut());
            }),
            ..BASE
        },
        Builtin {
            name: c"log2",
            signature: c"(read double, out double): the logarithm of each element to base 2",
            arrays: ARRAYS,
            entry: for_each::<(Read<f64>, Out<f64>), _>(|(x, mut out), _| {
                pinpool_kernels::log2(x.as_slice(), out.as_slice_mut());
            }),
            ..BASE
        },
    ]
}

fn integers() -> [Builtin; 4] {
    [
        Builtin {
            name: c"is_prime",
            signature: c"(read uint64_t, out bool): whether each number is prime",
            arrays: &[(PP_READ, PP_U64), (PP_OUT, PP_BOOL)],
            entry: for_each::<(Read<u64>, Out<Bool>), _>(|(numbers, mut prime), _| {
                let prime: &mut [Bool] = prime.as_slice_mut();
                primes::is_prime_slice(numbers.as_slice(), bytemuck::cast_slice_mut(prime));
            }),
            ..BASE
        },
        Builtin {
            name: c"factor",
            signature: c"(read uint64_t, out uint64_t of 17 a row): the prime factors of each number: 15 primes, then 15 exponents of a byte each",
            arrays: &[(PP_READ, PP_U64), (PP_OUT, PP_U64)],
            out_row: Factors::WORDS,
            entry: for_each::<(Read<u64>, Out<u64>), _>(|(numbers, mut out), _| {
                factor(numbers.as_slice(), out.as_slice_mut());
            }),
            ..BASE
        },
        Builtin {
            name: c"count_primes",
            signature: c"(uint64_t low, high, span) -> uint64_t: the primes in [low + i*span, low + (i+1)*span) and below high, for each of `chunks` chunk numbers i",
            param_bytes: 24,
            check: spans,
            result: PP_U64,
            entry: map::<(Indices, Param<[u64; 3]>), _, u64>(|(i, [low, high, span]), _| {
                let start = i.saturating_mul(span).saturating_add(low).min(high);
                primes::count_primes(start, start.saturating_add(span).min(high))
            }),
            ..BASE
        },
        Builtin {
            name: c"prime_pi",
            signature: c"(uint64_t n) -> uint64_t: how many primes there are up to n; `chunks` is 1",
            param_bytes: 8,
            check: small_enough,
            result: PP_U64,
            entry: map::<(Indices, Param<u64>), _, u64>(|(_, n), _| primes::prime_pi(n)),
            ..BASE
        },
    ]
}

/// Factors as plain words, a block at a time: [`Factors`] is no element type.
fn factor(numbers: &[u64], out: &mut [u64]) {
    const BLOCK: usize = 64;
    let mut block = [Factors::NONE; BLOCK];
    for (numbers, out) in numbers.chunks(BLOCK).zip(out.chunks_mut(BLOCK * Factors::WORDS)) {
        let block = &mut block[..numbers.len()];
        primes::factor_slice(numbers, block);
        for (factors, out) in block.iter().zip(out.chunks_exact_mut(Factors::WORDS)) {
            out.copy_from_slice(&factors.to_words());
        }
    }
}

/// How many built-in kernels there are.
#[unsafe(no_mangle)]
pub extern "C" fn pp_builtin_count() -> usize {
    all().count()
}

/// The name of a built-in kernel; null from `pp_builtin_count` on.
#[unsafe(no_mangle)]
pub extern "C" fn pp_builtin_name(index: usize) -> *const c_char {
    all().nth(index).map_or(std::ptr::null(), |builtin| builtin.name.as_ptr())
}

/// What a built-in kernel takes and gives, in a line for people; null where there is none of that
/// name.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pp_builtin_signature(name: *const c_char) -> *const c_char {
    value(std::ptr::null(), || {
        // SAFETY: the contract of this module.
        let name = unsafe { pointers::c_str(name, "name") }?;
        Ok(find(name)?.signature.as_ptr())
    })
}
