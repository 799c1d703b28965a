//! Which lane gives which element, reference outputs, ranges, and distributions.

use pinpool_kernels::Lanes;

/// Published first outputs of Xoshiro256++ from the state 1, 2, 3, 4.
const REFERENCE: [u64; 10] = [
    41943041,
    58720359,
    3588806011781223,
    3591011842654386,
    9228616714210784205,
    9973669472204895162,
    14011001112246962877,
    12406186145184390807,
    15849039046786891736,
    10450023813501588000,
];

fn lanes() -> Lanes {
    Lanes::new(std::array::from_fn(|l| [1 + l as u64 * 77, 2, 3, 4]))
}

#[test]
fn each_lane_gives_the_published_sequence() {
    let mut out = [0; 80];
    Lanes::new([[1, 2, 3, 4]; 8]).fill_u64(&mut out);
    for (i, x) in out.iter().enumerate() {
        assert_eq!(*x, REFERENCE[i / 8]);
    }
}

#[test]
fn element_i_comes_from_lane_i_mod_8() {
    let states: [[u64; 4]; 8] = std::array::from_fn(|l| [1 + l as u64 * 77, 2, 3, 4]);
    let mut out = [0; 100];
    Lanes::new(states).fill_u64(&mut out);
    for (lane, state) in states.into_iter().enumerate() {
        let mut alone = [0; 100];
        Lanes::new([state; 8]).fill_u64(&mut alone);
        for i in (lane..100).step_by(8) {
            assert_eq!(out[i], alone[i]);
        }
    }
}

/// A fill of 200 elements as bits, cut where `cuts` says.
fn cut<T: Copy + Default>(cuts: &[usize], fill: impl Fn(&mut Lanes, &mut [T])) -> Vec<T> {
    let (mut lanes, mut out) = (lanes(), vec![T::default(); 200]);
    let mut rest = &mut out[..];
    for &at in cuts {
        let (part, others) = rest.split_at_mut(at);
        fill(&mut lanes, part);
        rest = others;
    }
    fill(&mut lanes, rest);
    out
}

#[test]
fn any_split_of_a_fill_gives_the_same_elements() {
    for cuts in
        [&[1usize, 1, 1][..], &[7, 8, 9], &[0, 3, 2, 64], &[13; 10], &[8, 16], &[5, 0, 0, 3]]
    {
        assert_eq!(cut(&[], Lanes::fill_u64), cut(cuts, Lanes::fill_u64));
        assert_eq!(cut(&[], Lanes::fill_uniform), cut(cuts, Lanes::fill_uniform));
        assert_eq!(cut(&[], Lanes::fill_uniform_f32), cut(cuts, Lanes::fill_uniform_f32));
        assert_eq!(cut(&[], Lanes::fill_normal), cut(cuts, Lanes::fill_normal));
        // Half of all draws are rejected here.
        let range = |l: &mut Lanes, out: &mut [u64]| l.fill_range_u64(0, (1 << 63) + 1, out);
        assert_eq!(cut(&[], range), cut(cuts, range));
        let floats = |l: &mut Lanes, out: &mut [f64]| l.fill_range_f64(-1.0, 4.0, out);
        assert_eq!(cut(&[], floats), cut(cuts, floats));
    }
}

#[test]
fn uniform_numbers_are_the_documented_function_of_the_draw() {
    let (mut draws, mut out, mut narrow) = ([0; 500], [0.0; 500], [0.0; 500]);
    lanes().fill_u64(&mut draws);
    lanes().fill_uniform(&mut out);
    lanes().fill_uniform_f32(&mut narrow);
    for i in 0..500 {
        assert_eq!(out[i], (draws[i] >> 11) as f64 * 2f64.powi(-53));
        assert_eq!(narrow[i], (draws[i] >> 40) as f32 * 2f32.powi(-24));
    }
}

#[test]
fn ranges_of_integers_reject_as_documented_and_hold_every_value() {
    let mut counts = [0; 7];
    let mut out = vec![0; 70_000];
    lanes().fill_range_u64(10, 17, &mut out);
    for x in &out {
        counts[(x - 10) as usize] += 1;
    }
    assert!(counts.iter().all(|&n| (9_500..10_500).contains(&n)), "{counts:?}");
    // By hand, for one lane: span 2^63 + 1 rejects low halves below 2^63 − 1.
    let span = (1u128 << 63) + 1;
    let mut draws = vec![0; 8 * 400];
    Lanes::new([[1, 2, 3, 4]; 8]).fill_u64(&mut draws);
    let accepted: Vec<u64> = draws
        .iter()
        .step_by(8)
        .map(|&x| u128::from(x) * span)
        .filter(|p| (*p as u64) >= (1 << 63) - 1)
        .map(|p| (p >> 64) as u64)
        .collect();
    let mut out = vec![0; 8 * 100];
    Lanes::new([[1, 2, 3, 4]; 8]).fill_range_u64(0, span as u64, &mut out);
    let lane: Vec<u64> = out.iter().step_by(8).copied().collect();
    assert_eq!(lane, accepted[..100]);
}

#[test]
fn ranges_of_floats_never_reach_their_upper_end() {
    let mut out = vec![0.0; 10_000];
    let (low, high) = (1.0, 1.0 + 4.0 * f64::EPSILON);
    lanes().fill_range_f64(low, high, &mut out);
    assert!(out.iter().all(|&x| low <= x && x < high));
    assert!((0..4).all(|k| out.contains(&(1.0 + f64::from(k) * f64::EPSILON))));
}

#[test]
fn normal_numbers_have_the_moments_and_quantiles_of_the_distribution() {
    let mut x = vec![0.0; 200_000];
    lanes().fill_normal(&mut x);
    let (mean, variance) = pinpool_kernels::mean_and_variance(&x);
    assert!(mean.abs() < 0.01 && (variance - 1.0).abs() < 0.015, "{mean} {variance}");
    for (quantile, below) in [(-3.0, 0.001_35), (-1.0, 0.158_66), (0.5, 0.691_46), (2.0, 0.977_25)]
    {
        let share = x.iter().filter(|&&x| x < quantile).count() as f64 / 2e5;
        let spread = (below * (1.0 - below) / 2e5f64).sqrt();
        assert!(
            (share - below).abs() < 5.0 * spread,
            "{share} of the numbers are below {quantile}"
        );
    }
}

#[test]
#[should_panic(expected = "all zeros")]
fn a_state_of_zeros_is_refused() {
    let mut states = [[1, 2, 3, 4]; 8];
    states[5] = [0; 4];
    let _ = Lanes::new(states);
}

#[test]
#[should_panic(expected = "low must be below high")]
fn an_empty_range_is_refused() {
    lanes().fill_range_u64(5, 5, &mut [0]);
}
