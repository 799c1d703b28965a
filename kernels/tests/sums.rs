//! The documented shape of sums, checked against a reading of the documentation; exact sums.

use pinpool_kernels as k;

fn data(n: usize, seed: u64) -> Vec<f64> {
    let mut x = vec![0.0; n];
    k::Lanes::new(std::array::from_fn(|l| [seed, l as u64 + 1, 3, 4])).fill_normal(&mut x);
    x
}

/// The fold and the tree, level by level, as the documentation says.
fn documented(blocks: Vec<[f64; 8]>) -> f64 {
    let mut level: Vec<f64> = blocks
        .into_iter()
        .map(|l| ((l[0] + l[4]) + (l[2] + l[6])) + ((l[1] + l[5]) + (l[3] + l[7])))
        .collect();
    while level.len() > 1 {
        level =
            level.chunks(2).map(|pair| if let [a, b] = pair { a + b } else { pair[0] }).collect();
    }
    level.first().copied().unwrap_or(-0.0)
}

fn lanes_of(x: &[f64], step: impl Fn(f64, usize) -> f64) -> Vec<[f64; 8]> {
    (0..x.len())
        .step_by(1024)
        .map(|start| {
            let mut lanes = [-0.0; 8];
            for i in start..x.len().min(start + 1024) {
                lanes[(i - start) % 8] = step(lanes[(i - start) % 8], i);
            }
            lanes
        })
        .collect()
}

#[test]
fn sums_have_the_documented_lanes_blocks_and_tree() {
    for n in [0, 1, 7, 8, 9, 1023, 1024, 1025, 2048, 3072, 5 * 1024 + 3, 7 * 1024 + 1, 100_003] {
        let (x, y) = (data(n, 1), data(n, 2));
        let sum = documented(lanes_of(&x, |lane, i| lane + x[i]));
        assert_eq!(k::sum(&x).to_bits(), sum.to_bits(), "sum of {n}");
        let dot = documented(lanes_of(&x, |lane, i| x[i].mul_add(y[i], lane)));
        assert_eq!(k::dot(&x, &y).to_bits(), dot.to_bits(), "dot of {n}");
    }
}

#[test]
fn the_tree_moves_an_odd_slot_up() {
    let slots = [1e16, 1.0, -1e16, 1.0, 3.0, 0.1, 0.2];
    let expected =
        ((slots[0] + slots[1]) + (slots[2] + slots[3])) + ((slots[4] + slots[5]) + slots[6]);
    assert_eq!(k::tree_fold(&slots), expected);
    assert_eq!(k::tree_fold(&[]).to_bits(), (-0.0f64).to_bits());
    assert_eq!(k::tree_fold(&[-0.0]).to_bits(), (-0.0f64).to_bits());
}

#[test]
fn a_nan_in_a_sum_comes_out_canonical() {
    let odd_nan = f64::from_bits(0xfff0_0000_0000_0123);
    assert_eq!(k::sum(&[1.0, odd_nan]).to_bits(), 0x7ff8_0000_0000_0000);
    assert_eq!(k::dot(&[f64::INFINITY], &[0.0]).to_bits(), 0x7ff8_0000_0000_0000);
    assert_eq!(k::sum(&[f32::INFINITY, f32::NEG_INFINITY]).to_bits(), 0x7fc0_0000);
    assert_eq!(k::sum_exact(&[f64::INFINITY, -f64::INFINITY]).to_bits(), 0x7ff8_0000_0000_0000);
}

#[test]
fn axpy_rounds_once() {
    let (x, mut y) = (data(1000, 3), data(1000, 4));
    let expected: Vec<f64> = x.iter().zip(&y).map(|(x, y)| 0.1f64.mul_add(*x, *y)).collect();
    k::axpy(0.1, &x, &mut y);
    assert_eq!(y, expected);
}

#[test]
fn mean_and_variance_survive_a_large_offset() {
    let x: Vec<f64> = data(10_000, 5).iter().map(|x| x + 1e9).collect();
    let (mean, variance) = k::mean_and_variance(&x);
    let centred: Vec<f64> = x.iter().map(|x| x - 1e9).collect();
    let m = k::sum_exact(&centred) / 1e4;
    let exact = centred.iter().map(|x| (x - m) * (x - m)).sum::<f64>() / 1e4;
    assert!((mean - 1e9 - m).abs() < 1e-6);
    assert!((variance / exact - 1.0).abs() < 1e-12, "{variance} is not {exact}");
    assert_eq!(k::mean_and_variance(&[2.0f32, 4.0]), (3.0, 1.0));
    assert!(k::mean_and_variance::<f64>(&[]).0.is_nan());
}

#[test]
fn exact_sums_do_not_depend_on_order() {
    let mut x: Vec<f64> = data(2000, 6)
        .iter()
        .enumerate()
        .map(|(i, x)| x * 2f64.powi((i as i32 * 37) % 2000 - 1000))
        .collect();
    let forward = k::sum_exact(&x);
    x.reverse();
    assert_eq!(k::sum_exact(&x), forward);
    x.extend(x.clone().iter().map(|x| -x));
    assert_eq!(k::sum_exact(&x), 0.0);
}

#[test]
fn exact_sums_agree_with_integer_arithmetic() {
    let mut raw = vec![0; 3000];
    k::Lanes::new([[1, 2, 3, 4]; 8]).fill_u64(&mut raw);
    // Multiples of 2^-40 below 2^60: sums are exact in an i128.
    for part in raw.chunks(30) {
        let integers: Vec<i128> = part.iter().map(|&r| i128::from(r as i64 >> (r % 50))).collect();
        let exact: i128 = integers.iter().map(|&i| (i >> 11) << 11).sum();
        let x: Vec<f64> =
            integers.iter().map(|&i| ((i >> 11) << 11) as f64 * 2f64.powi(-40)).collect();
        assert_eq!(k::sum_exact(&x), exact as f64 * 2f64.powi(-40));
    }
}

#[test]
fn exact_sums_round_to_nearest_even_once() {
    let half = f64::EPSILON / 2.0;
    assert_eq!(k::sum_exact(&[1.0, half]), 1.0);
    assert_eq!(k::sum_exact(&[1.0, half, 5e-324]), 1.0 + f64::EPSILON);
    assert_eq!(k::sum_exact(&[1.0 + f64::EPSILON, half]), 1.0 + 2.0 * f64::EPSILON);
    assert_eq!(k::sum_exact(&[5e-324, 5e-324]), 1e-323);
    assert_eq!(k::sum_exact(&[f64::MAX, f64::MAX, -f64::MAX]), f64::MAX);
    assert_eq!(k::sum_exact(&[f64::MAX, f64::MAX]), f64::INFINITY);
    assert_eq!(k::sum_exact(&[-f64::MAX, -f64::MAX]), f64::NEG_INFINITY);
    assert_eq!(k::sum_exact(&[f64::INFINITY, 1.0]), f64::INFINITY);
    assert_eq!(k::sum_exact(&[-0.0f64]).to_bits(), (-0.0f64).to_bits());
    assert_eq!(k::sum_exact(&[0.0, -0.0f64]).to_bits(), 0);
    assert_eq!(k::sum_exact(&[f32::MAX, f32::MAX]), f32::INFINITY);
    assert_eq!(k::sum_exact(&[1.0f32, f32::EPSILON / 2.0, 1e-30]), 1.0 + f32::EPSILON);
    assert_eq!(k::sum_exact::<f32>(&[1e-45, 1e-45]), 3e-45);
}
