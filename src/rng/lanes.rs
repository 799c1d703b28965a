//! Eight generators side by side: the scalar form of the vector fills.

use rand_xoshiro::Xoshiro256PlusPlus;

use super::jump::State;
use super::rand_core::Rng as _;
use super::{generator, unit_f64};

/// Eight generators dealt out in turn: element i of the fills comes from lane i mod 8.
#[derive(Debug, Clone)]
pub(super) struct Lanes {
    lanes: [Xoshiro256PlusPlus; 8],
    /// The lane that the next element comes from.
    next: usize,
}

impl Lanes {
    pub(super) fn new(states: [State; 8]) -> Lanes {
        Lanes { lanes: states.map(generator), next: 0 }
    }

    pub(super) fn fill_uniform(&mut self, out: &mut [f64]) {
        self.fill(out, |lane| unit_f64(lane.next_u64()));
    }

    pub(super) fn fill_u64(&mut self, out: &mut [u64]) {
        self.fill(out, |lane| lane.next_u64());
    }

    pub(super) fn fill_range_u64(&mut self, low: u64, high: u64, out: &mut [u64]) {
        let width = high - low;
        // Draws whose low half falls below this would favour some integers (Lemire, 2019).
        let threshold = width.wrapping_neg() % width;
        self.fill(out, |lane| {
            loop {
                let product = u128::from(lane.next_u64()) * u128::from(width);
                if product as u64 >= threshold {
                    return low + (product >> 64) as u64;
                }
            }
        });
    }

    fn fill<T>(&mut self, out: &mut [T], draw: impl Fn(&mut Xoshiro256PlusPlus) -> T) {
        for x in out {
            *x = draw(&mut self.lanes[self.next]);
            self.next = (self.next + 1) % 8;
        }
    }
}
