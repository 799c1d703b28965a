//! Jumping Xoshiro256++ ahead: n steps at once, for any n below 2^256.
//!
//! One step of the generator is linear over GF(2), so n steps are the polynomial x^n mod P applied
//! to the state, where P is the characteristic polynomial of one step. x^n is the product of the
//! entries x^(2^i) of n's set bits, and a product of polynomials is applied factor by factor: a
//! jump costs one walk of 256 steps for each set bit of n, and no multiplication. The table of the
//! x^(2^i) is computed by the compiler.
//!
//! Pure arithmetic: this file knows nothing of seeds, jobs or chunks. `mod.rs` calls it.

#![forbid(unsafe_code)]

/// A polynomial over GF(2) of degree below 256: coefficient k is bit k % 64 of word k / 64.
pub(super) type Poly = [u64; 4];

/// The four words of a Xoshiro256++ generator.
pub(super) type State = [u64; 4];

/// The characteristic polynomial of one step, x^256 implied.
///
/// Found by Berlekamp–Massey on output bits; it is primitive, so the period is 2^256 − 1. The same
/// as in Vigna's `xoshiro256plusplus.c`.
const P: Poly =
    [0x9d11_6f2b_b0f0_f001, 0x0280_002b_cefd_1a5e, 0x04b4_edcf_2625_9f85, 0x0003_c03c_3f3e_cb19];

/// x^(2^i) modulo P, for i in 0..256.
static POWERS: [Poly; 256] = powers();

/// x^(2^64): the distance from a lane to the next.
const NEXT_LANE: Poly = powers()[64];

/// x^(2^128): the distance from a chunk to the next; the reference's JUMP.
pub(super) const NEXT_CHUNK: Poly = powers()[128];

/// The state n steps later; word 0 of `n` is its lowest.
pub(super) fn jump_by(state: State, n: [u64; 4]) -> State {
    bits(n).fold(state, |state, i| jump(state, &POWERS[i]))
}

/// The state x^n(state), that is n steps later, for `poly` = x^n modulo P.
pub(super) const fn jump(mut state: State, poly: &Poly) -> State {
    let mut sum = [0; 4];
    let mut k = 0;
    while k < 256 {
        // A mask, not a branch: half of the bits are set, and no predictor knows which.
        let mask = 0u64.wrapping_sub((poly[k / 64] >> (k % 64)) & 1);
        sum = add(sum, [state[0] & mask, state[1] & mask, state[2] & mask, state[3] & mask]);
        state = step(state);
        k += 1;
    }
    sum
}

/// The state one lane later: [`NEXT_LANE`] by a table, for it is done eight times for each chunk
/// that is filled.
pub(super) fn next_lane(state: State) -> State {
    let mut sum = [0; 4];
    for (word, table) in state.into_iter().zip(&LANE_TABLE) {
        for (nibble, images) in table.iter().enumerate() {
            sum = add(sum, images[(word >> (4 * nibble)) as usize & 15]);
        }
    }
    sum
}

/// The images under [`NEXT_LANE`] of the 16 values of each of the 16 nibbles of each word: 32 KiB.
static LANE_TABLE: [[[State; 16]; 16]; 4] = lane_table();

const fn lane_table() -> [[[State; 16]; 16]; 4] {
    let mut table = [[[[0; 4]; 16]; 16]; 4];
    let mut bit = 0;
    while bit < 256 {
        let mut unit = [0; 4];
        unit[bit / 64] = 1 << (bit % 64);
        let image = jump(unit, &NEXT_LANE);
        let mut value = 0;
        while value < 16 {
            if value & (1 << (bit % 4)) != 0 {
                let entry = &mut table[bit / 64][bit % 64 / 4][value];
                *entry = add(*entry, image);
            }
            value += 1;
        }
        bit += 1;
    }
    table
}

/// The sum of two states, or of two polynomials, over GF(2).
const fn add(a: [u64; 4], b: [u64; 4]) -> [u64; 4] {
    [a[0] ^ b[0], a[1] ^ b[1], a[2] ^ b[2], a[3] ^ b[3]]
}

/// One step of the generator, its output left aside.
const fn step([s0, s1, s2, s3]: State) -> State {
    let (u2, u3) = (s2 ^ s0, s3 ^ s1);
    [s0 ^ u3, s1 ^ u2, u2 ^ (s1 << 17), u3.rotate_left(45)]
}

/// The numbers of the bits that are set in `n`, rising.
fn bits(n: [u64; 4]) -> impl Iterator<Item = usize> {
    (0..256).filter(move |&i| (n[i / 64] >> (i % 64)) & 1 == 1)
}

const fn powers() -> [Poly; 256] {
    let mut table = [[2, 0, 0, 0]; 256];
    let mut i = 1;
    while i < 256 {
        table[i] = square(table[i - 1]);
        i += 1;
    }
    table
}

/// The square of a polynomial modulo P: over GF(2) the mixed terms cancel, so each coefficient moves
/// to twice its place.
const fn square(a: Poly) -> Poly {
    let mut upper = [
        spread(a[2] as u32),
        spread((a[2] >> 32) as u32),
        spread(a[3] as u32),
        spread((a[3] >> 32) as u32),
    ];
    let lower = [
        spread(a[0] as u32),
        spread((a[0] >> 32) as u32),
        spread(a[1] as u32),
        spread((a[1] >> 32) as u32),
    ];
    // The upper half stands for itself times x^256, which is 256 times "times x".
    let mut k = 0;
    while k < 256 {
        upper = times_x(upper);
        k += 1;
    }
    add(upper, lower)
}

/// The 32 bits of `a` at the even places.
const fn spread(a: u32) -> u64 {
    let mut x = a as u64;
    x = (x | (x << 16)) & 0x0000_ffff_0000_ffff;
    x = (x | (x << 8)) & 0x00ff_00ff_00ff_00ff;
    x = (x | (x << 4)) & 0x0f0f_0f0f_0f0f_0f0f;
    x = (x | (x << 2)) & 0x3333_3333_3333_3333;
    (x | (x << 1)) & 0x5555_5555_5555_5555
}

const fn times_x(a: Poly) -> Poly {
    let mask = 0u64.wrapping_sub(a[3] >> 63);
    [
        (a[0] << 1) ^ (P[0] & mask),
        ((a[1] << 1) | (a[0] >> 63)) ^ (P[1] & mask),
        ((a[2] << 1) | (a[1] >> 63)) ^ (P[2] & mask),
        ((a[3] << 1) | (a[2] >> 63)) ^ (P[3] & mask),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rand_xoshiro::Xoshiro256PlusPlus;
    use rand_xoshiro::rand_core::{Rng, SeedableRng};

    const START: State = [1, 2, 3, 4];

    /// The product of two polynomials modulo P.
    fn mul(a: Poly, b: Poly) -> Poly {
        let mut product = [0; 4];
        for k in (0..256).rev() {
            product = times_x(product);
            let mask = 0u64.wrapping_sub((a[k / 64] >> (k % 64)) & 1);
            product = add(product, b.map(|word| word & mask));
        }
        product
    }

    /// x^n modulo P; word 0 of `n` is its lowest.
    fn power(n: [u64; 4]) -> Poly {
        bits(n).fold([1, 0, 0, 0], |product, i| mul(POWERS[i], product))
    }

    /// The words as `reliability` tables write them, lowest first.
    fn hex(words: &str) -> [u64; 4] {
        let words: Vec<u64> =
            words.split(' ').map(|w| u64::from_str_radix(w, 16).unwrap()).collect();
        words.try_into().unwrap()
    }

    fn generator(state: State) -> Xoshiro256PlusPlus {
        let mut seed = [0; 32];
        for (bytes, word) in seed.chunks_exact_mut(8).zip(state) {
            bytes.copy_from_slice(&word.to_le_bytes());
        }
        Xoshiro256PlusPlus::from_seed(seed)
    }

    #[test]
    fn the_step_is_the_generators() {
        let (mut peer, mut state) = (generator(START), START);
        let outputs: Vec<u64> = (0..10).map(|_| peer.next_u64()).collect();
        assert_eq!(outputs[..3], [41_943_041, 58_720_359, 3_588_806_011_781_223]);
        assert_eq!(outputs[9], 10_450_023_813_501_588_000);
        for _ in 0..10 {
            state = step(state);
        }
        assert_eq!(peer, generator(state));
    }

    #[test]
    fn the_powers_of_x_are_the_published_ones() {
        let table = [
            (64, "b13c16e8096f0754 b60d6c5b8c78f106 34faff184785c20a 12e4a2fbfc19bff9"),
            (128, "180ec6d33cfd0aba d5a61266f0c9392c a9582618e03fc9aa 39abdc4529b1661c"),
            (129, "8cfe9bd9ab71d992 ccfc8ca2814de79e a5a28cccb37dba5b a23e49ee6f1a7a8d"),
            (192, "76e15d3efefdcbbf c5004e441c522fb3 77710069854ee241 39109bb02acbe635"),
        ];
        for (i, words) in table {
            assert_eq!(POWERS[i], hex(words), "x^(2^{i})");
        }
        assert_eq!((NEXT_LANE, NEXT_CHUNK), (POWERS[64], POWERS[128]));
    }

    #[test]
    fn every_power_is_the_square_of_the_one_before() {
        for i in 1..256 {
            assert_eq!(POWERS[i], mul(POWERS[i - 1], POWERS[i - 1]), "x^(2^{i})");
        }
        // x^(2^256) = x, since the period divides 2^256 − 1: the table closes on itself.
        assert_eq!(mul(POWERS[255], POWERS[255]), POWERS[0]);
    }

    #[test]
    fn jumps_land_on_the_published_states() {
        let table = [
            ([0, 0, 1, 0], "8c7a153956b5f3d1 701f1a713401d85e 6527f66a65469085 8386b786c4408050"),
            ([0, 0, 0, 1], "096a8eb71295a400 dbf84991e50f4516 534ee745810d2a0e 31655ca1a2215bf1"),
            (
                [1_000_000, 0, 0, 0],
                "cee7246203f7edd5 42189cd3f2e89bd1 75c138cedd429147 0afcda56f350588d",
            ),
            ([0, 0, 5, 0], "bc03f03f9cda2d7b c8a1a5427d393b3a accf84d8f6cb8cdf 186acaa19fea4a63"),
        ];
        for (n, words) in table {
            assert_eq!(jump_by(START, n), hex(words), "{n:?}");
        }
        let stepped = (0..1_000_000).fold(START, |state, _| step(state));
        assert_eq!(stepped, jump_by(START, [1_000_000, 0, 0, 0]));
    }

    #[test]
    fn jump_and_long_jump_are_rand_xoshiros() {
        let (mut short, mut long) = (generator(START), generator(START));
        short.jump();
        long.long_jump();
        assert_eq!(short, generator(jump(START, &NEXT_CHUNK)));
        assert_eq!(long, generator(jump_by(START, [0, 0, 0, 1])));
    }

    #[test]
    fn a_jump_around_the_whole_period_but_one_undoes_a_step() {
        let n = [u64::MAX - 1, u64::MAX, u64::MAX, u64::MAX];
        for state in [START, [0, 0, 0, 1], [u64::MAX; 4]] {
            assert_eq!(step(jump_by(state, n)), state);
        }
    }

    fn sum(a: [u64; 4], b: [u64; 4]) -> ([u64; 4], bool) {
        let (mut sum, mut carry) = ([0; 4], false);
        for i in 0..4 {
            let (s, c) = a[i].overflowing_add(b[i]);
            let (s, d) = s.overflowing_add(u64::from(carry));
            (sum[i], carry) = (s, c | d);
        }
        (sum, carry)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn two_jumps_are_one_by_the_sum(state: [u64; 4], a: [u64; 4], b: [u64; 4]) {
            let (mut total, carry) = sum(a, b);
            if carry {
                // 2^256 steps are one step: once around and one more.
                total = sum(total, [1, 0, 0, 0]).0;
            }
            prop_assert_eq!(jump_by(jump_by(state, a), b), jump_by(state, total));
        }

        #[test]
        fn the_table_jumps_to_the_next_lane(state: [u64; 4]) {
            prop_assert_eq!(next_lane(state), jump(state, &NEXT_LANE));
        }

        #[test]
        fn one_folded_polynomial_is_the_whole_jump(state: [u64; 4], n: [u64; 4]) {
            prop_assert_eq!(jump(state, &power(n)), jump_by(state, n));
        }
    }
}
