//! Kernels as places in the executable: what a job's offset points to, and the call itself.
//!
//! For each kernel the compiler makes one [`KernelEntry`], a constant of the image. A job carries
//! the entry's offset; a worker checks that a complete entry lies there before it calls anything.

use std::panic::{AssertUnwindSafe, catch_unwind};

use bytemuck::Pod;

use crate::args::{Args, Reader};
use crate::config::MAX_ARGS;
use crate::ctx::Ctx;
use crate::layout::JobDesc;
use crate::sys::image::Image;

/// Marks an entry. Random, so that no other constant of an image looks like one.
const MARK: [u64; 2] = [0x6f1a_9c3e_52d7_84b1, 0xc83b_07ef_9a64_1d25];

/// One kernel of the image.
#[repr(C)]
#[derive(Debug)]
pub(crate) struct KernelEntry {
    mark: [u64; 2],
    run: unsafe fn(&mut Call<'_, '_>) -> Result<(), String>,
    name: Name,
}

/// What a kernel is called in errors.
#[derive(Debug, Clone, Copy)]
enum Name {
    /// By the name of its type.
    Type(fn() -> &'static str),
    /// By a name that was found when the program ran.
    #[cfg(feature = "capi")]
    Given(&'static str),
}

/// What a kernel's chunk needs: the worker's side of a job.
#[derive(Debug)]
pub(crate) struct Call<'a, 'c> {
    pub(crate) desc: &'a JobDesc,
    pub(crate) bases: &'a [*mut u8; MAX_ARGS],
    pub(crate) chunk: u64,
    /// The worker's journal; null where the job has none.
    pub(crate) journal: *mut u8,
    /// The chunk's slot.
    pub(crate) result: *mut u8,
    pub(crate) ctx: &'c mut Ctx,
}

impl<'a> Call<'a, '_> {
    pub(crate) fn reader(&self) -> Reader<'a> {
        Reader {
            desc: self.desc,
            bases: self.bases,
            chunk: self.chunk,
            journal: self.journal,
            at: 0,
        }
    }
}

/// How a chunk's kernel ended.
#[derive(Debug)]
pub(crate) enum Outcome {
    Done,
    /// It returned an error, with this text.
    Returned(String),
    /// It panicked, with this text and place.
    Panicked(String),
}

impl KernelEntry {
    /// The kernel's type name, or what it was called.
    pub(crate) fn name(&self) -> &'static str {
        match self.name {
            Name::Type(name) => name(),
            #[cfg(feature = "capi")]
            Name::Given(name) => name,
        }
    }

    /// An entry for a function that is no kernel of the crate's interface.
    #[cfg(feature = "capi")]
    pub(crate) const fn new(
        run: unsafe fn(&mut Call<'_, '_>) -> Result<(), String>,
        name: &'static str,
    ) -> KernelEntry {
        KernelEntry { mark: MARK, run, name: Name::Given(name) }
    }

    /// The offset that a job carries; `None` where the kernel is not in the executable.
    pub(crate) fn offset(&'static self) -> Option<i64> {
        Image::own().offset_of(self)
    }

    /// The entry that `offset` names, if a complete one lies there.
    pub(crate) fn at(offset: i64) -> Option<&'static KernelEntry> {
        let at = Image::own().at::<KernelEntry>(offset)?;
        // SAFETY: `at` lies in a loaded segment of this image, aligned and with room for the
        // mark, which is the entry's first field and valid for any bits.
        let mark = unsafe { at.cast::<[u64; 2]>().read_volatile() };
        // SAFETY: the mark is that of an entry, and only the compiler makes entries, whole.
        (mark == MARK).then(|| unsafe { &*at })
    }

    /// Runs the kernel on one chunk; a panic ends here.
    ///
    /// # Safety
    /// `call` describes a job that was made for this entry, its bases map the segments described,
    /// its journal is the caller's own with room for the undo copies described, the chunk is claimed
    /// by the caller, and `result` has room for the kernel's result.
    pub(crate) unsafe fn run(&self, call: &mut Call<'_, '_>) -> Outcome {
        let run = self.run;
        // SAFETY: the contract is the caller's.
        let ended = catch_unwind(AssertUnwindSafe(|| unsafe { run(call) }));
        match ended {
            Ok(Ok(())) => Outcome::Done,
            Ok(Err(text)) => Outcome::Returned(text),
            Err(payload) => Outcome::Panicked(crate::panics::take_message(payload)),
        }
    }
}

/// Makes a value of a kernel's type out of nothing, which is all that it takes up.
///
/// # Safety
/// A value of type `F` exists (the caller of the job has one), and it has no size, so that it
/// captures nothing.
unsafe fn conjure<F: Copy + Send + 'static>() -> F {
    const { assert!(size_of::<F>() == 0, "a kernel must not capture: pass values as `Param`") };
    // SAFETY: a read of a type without size reads nothing; a dangling, aligned pointer serves.
    unsafe { std::ptr::NonNull::<F>::dangling().as_ptr().read() }
}

/// Writes a result into its slot.
///
/// # Safety
/// `slot` has room for an `R`; nobody else uses it meanwhile.
unsafe fn put<R: Pod>(slot: *mut u8, value: R) {
    // SAFETY: the contract is the caller's; unaligned, since an inline slot of a `call` serves
    // results of any alignment.
    unsafe { slot.cast::<R>().write_unaligned(value) };
}

pub(crate) trait Entry {
    const ENTRY: &'static KernelEntry;
}

macro_rules! entry {
    ($(#[$doc:meta])* $name:ident<$($p:ident),+> where [$($bounds:tt)+] |$call:ident| $body:block) => {
        $(#[$doc])*
        pub(crate) struct $name<$($p),+>(std::marker::PhantomData<($($p,)+)>);

        impl<$($p),+> Entry for $name<$($p),+> where $($bounds)+ {
            const ENTRY: &'static KernelEntry = &KernelEntry {
                mark: MARK,
                run: {
                    unsafe fn run<$($p),+>($call: &mut Call<'_, '_>) -> Result<(), String>
                    where $($bounds)+ $body
                    run::<$($p),+>
                },
                name: Name::Type(std::any::type_name::<F>),
            };
        }
    };
}

entry!(
    /// A kernel whose result goes into the chunk's slot.
    Map<A, F, R> where [
        A: Args, F: for<'w> Fn(A::Item<'w>, &mut Ctx) -> R + Copy + Send + 'static, R: Pod
    ] |call| {
        // SAFETY: the contract of `KernelEntry::run`; see `conjure` for why `F` exists.
        let f = unsafe { conjure::<F>() };
        // SAFETY: the contract of `KernelEntry::run`.
        let item = unsafe { A::item(&mut call.reader()) };
        let value = f(item, call.ctx);
        // SAFETY: the contract of `KernelEntry::run`.
        unsafe { put(call.result, value) };
        Ok(())
    }
);

entry!(
    /// A kernel without a result.
    ForEach<A, F> where [
        A: Args, F: for<'w> Fn(A::Item<'w>, &mut Ctx) + Copy + Send + 'static
    ] |call| {
        // SAFETY: as for `Map`.
        let f = unsafe { conjure::<F>() };
        // SAFETY: as for `Map`.
        let item = unsafe { A::item(&mut call.reader()) };
        f(item, call.ctx);
        Ok(())
    }
);

entry!(
    /// A kernel that may fail: the error's text ends up in the job's error.
    TryMap<A, F, R, E> where [
        A: Args,
        F: for<'w> Fn(A::Item<'w>, &mut Ctx) -> Result<R, E> + Copy + Send + 'static,
        R: Pod,
        E: std::fmt::Display
    ] |call| {
        // SAFETY: as for `Map`.
        let f = unsafe { conjure::<F>() };
        // SAFETY: as for `Map`.
        let item = unsafe { A::item(&mut call.reader()) };
        let value = f(item, call.ctx).map_err(|e| e.to_string())?;
        // SAFETY: as for `Map`.
        unsafe { put(call.result, value) };
        Ok(())
    }
);

entry!(
    /// A kernel whose result is as long as it likes, up to a bound: its slot is a length in
    /// elements, then the elements.
    MapLong<A, F, B, T> where [
        A: Args,
        F: for<'w> Fn(A::Item<'w>, &mut Ctx) -> B + Copy + Send + 'static,
        B: AsRef<[T]>,
        T: Pod
    ] |call| {
        // SAFETY: as for `Map`.
        let f = unsafe { conjure::<F>() };
        // SAFETY: as for `Map`.
        let item = unsafe { A::item(&mut call.reader()) };
        let value = f(item, call.ctx);
        let bytes: &[u8] = bytemuck::cast_slice(value.as_ref());
        let room = call.desc.head.result_bytes as usize - LONG_HEAD_BYTES;
        if bytes.len() > room {
            return Err(format!(
                "the result takes {} bytes, and the bound given with the job makes room for \
                 {room}; give a larger bound",
                bytes.len()
            ));
        }
        // SAFETY: the slot is `result_bytes` long, and its first bytes are the length.
        unsafe { put(call.result, value.as_ref().len() as u64) };
        let to = call.result.wrapping_add(LONG_HEAD_BYTES);
        // SAFETY: the slot has room for so many bytes behind its head, checked above; the value
        // is private to this kernel's call, so that it does not overlap the slot.
        unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), to, bytes.len()) };
        Ok(())
    }
);

/// Bytes of a long slot before its elements, which are aligned to as many.
pub(crate) const LONG_HEAD_BYTES: usize = 16;

entry!(
    /// A kernel that may fail without ending its job: its slot is a verdict, the value, and the
    /// start of the error's text.
    TryMapAll<A, F, R, E> where [
        A: Args,
        F: for<'w> Fn(A::Item<'w>, &mut Ctx) -> Result<R, E> + Copy + Send + 'static,
        R: Pod,
        E: std::fmt::Display
    ] |call| {
        // SAFETY: as for `Map`.
        let f = unsafe { conjure::<F>() };
        // SAFETY: as for `Map`.
        let item = unsafe { A::item(&mut call.reader()) };
        let (kind, text) = match catch_unwind(AssertUnwindSafe(|| f(item, call.ctx))) {
            Ok(Ok(value)) => {
                // SAFETY: the slot has room for a verdict and an `R`.
                unsafe { put(call.result.wrapping_add(VERDICT_BYTES), value) };
                // SAFETY: as above.
                unsafe { put(call.result, VERDICT_GOOD) };
                return Ok(());
            }
            Ok(Err(error)) => (VERDICT_FAILED, error.to_string()),
            Err(panic) => (VERDICT_PANICKED, crate::panics::take_message(panic)),
        };
        let mut len = text.len().min(VERDICT_TEXT_BYTES);
        while !text.is_char_boundary(len) {
            len -= 1;
        }
        let to = call.result.wrapping_add(VERDICT_BYTES + size_of::<R>());
        // SAFETY: the slot has room for `VERDICT_TEXT_BYTES` behind verdict and value.
        unsafe { std::ptr::copy_nonoverlapping(text.as_ptr(), to, len) };
        // SAFETY: as above.
        unsafe { put(call.result, kind | (len as u64) << 8) };
        // The worker puts the chunk back as it was, and goes on with the next.
        Err(text)
    }
);

/// Bytes of a verdict: one of those below, and for all but the first the text's length above bit 8.
pub(crate) const VERDICT_BYTES: usize = 8;
pub(crate) const VERDICT_TEXT_BYTES: usize = 120;
pub(crate) const VERDICT_GOOD: u64 = 1;
pub(crate) const VERDICT_FAILED: u64 = 2;
pub(crate) const VERDICT_PANICKED: u64 = 3;
/// Written by the supervisor, of a chunk that its worker died in too often.
pub(crate) const VERDICT_DIED: u64 = 4;

entry!(
    /// What a new worker runs first; its one argument is the parameter.
    Initialize<P, F> where [P: Pod, F: Fn(P, &mut Ctx) + Copy + Send + 'static] |call| {
        // SAFETY: as for `Map`.
        let f = unsafe { conjure::<F>() };
        // SAFETY: as for `Map`; the argument was described as one `Param`.
        let param = unsafe { crate::args::Param::<P>::item(&mut call.reader()) };
        f(param, call.ctx);
        Ok(())
    }
);
