//! Undo copies that an in-place kernel takes itself, of what it reads anyway.

#![forbid(unsafe_code)]

/// Where a kernel keeps the elements that it is about to change.
///
/// A kernel that changes `a` (n,) in place writes each element into [`old`](Undo::old) at its own
/// index, says with [`kept`](Undo::kept) how many there are, and only then changes those in `a`;
/// nothing else is written there, and nothing below that number again. Whoever has the undo copy can
/// so put `a` back as it was after the kernel was stopped at any instruction.
///
/// A copy ahead of the kernel costs its own pass over memory; the kernel has each element in a
/// register already, and one store more is hidden behind its arithmetic.
pub trait Undo {
    /// Room for the old elements, (n,) at least.
    fn old(&mut self) -> &mut [f64];

    /// The first `n` elements are kept; no store that follows comes before those that did this.
    fn kept(&mut self, n: usize);
}

/// Nothing is kept.
pub(crate) struct NoUndo;

impl Undo for NoUndo {
    fn old(&mut self) -> &mut [f64] {
        &mut []
    }

    fn kept(&mut self, _: usize) {}
}
