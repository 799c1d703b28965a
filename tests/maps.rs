//! Maps of other shapes: over iterators, with results of any length, with all failures, folded.

mod watchdog;

use pinpool::{Backend, Error, JobError, Param, Pool, SharedArray, indices, items};
use watchdog::watched;

const BACKENDS: [Backend; 3] = [Backend::Processes, Backend::Threads, Backend::Serial];

fn pool(workers: usize, backend: Backend) -> Pool {
    Pool::builder()
        .workers(workers)
        .oversubscribe(true)
        .backend(backend)
        .seed(42)
        .build()
        .expect("the pool starts")
}

#[test]
fn an_iterator_is_mapped_item_by_item_and_in_a_tuple() {
    watched(|| {
        for backend in BACKENDS {
            let pool = pool(2, backend);
            let words = items((0..1000).filter(|n| n % 7 == 0).map(|n| n as f64)).unwrap();
            let n = words.len() as u64;
            let got = pool.map((words, indices(n), Param(0.5)), |(x, i, h), _| x * h + i as f64);
            let expected: Vec<_> = (0..n).map(|i| (7 * i) as f64 * 0.5 + i as f64).collect();
            assert_eq!(got.unwrap().as_slice(), expected);
        }
    });
}

#[test]
fn results_have_any_length_up_to_the_bound() {
    watched(|| {
        for backend in BACKENDS {
            let pool = pool(2, backend);
            let lists = pool.map_vecs(indices(40), 39, |n, _| vec![n as f64; n as usize]).unwrap();
            assert_eq!(lists.len(), 40);
            for (n, list) in lists.iter().enumerate() {
                assert_eq!(list, vec![n as f64; n]);
            }
            let texts = pool.map_strings(indices(30), 64, |n, _| "ä".repeat(n as usize)).unwrap();
            assert!(texts.iter().enumerate().all(|(n, t)| t.chars().count() == n));
            let error = pool.map_bytes(indices(30), 19, |n, _| vec![1u8; 10 * n as usize]);
            let text = error.unwrap_err().to_string();
            assert!(text.contains("larger bound") && text.contains("room for 19"), "{text}");
        }
    });
}

#[test]
fn all_failures_are_given_and_failed_chunks_are_put_back() {
    watched(|| {
        for backend in BACKENDS {
            let pool = pool(2, backend);
            let mut x = SharedArray::collect(0..100u64).unwrap();
            let outcomes = pool
                .try_map_all(x.chunks_mut(1), |mut c, ctx| {
                    let n = c[0];
                    c[0] = 1_000;
                    match ctx.chunk() {
                        n if n % 10 == 3 => Err(format!("no {n}")),
                        n if n % 10 == 7 => panic!("bad {n}"),
                        _ => Ok(n * n),
                    }
                })
                .unwrap();
            let failures: Vec<_> = outcomes.failures().collect();
            assert_eq!(failures.len(), 20);
            assert_eq!((failures[0].chunk, failures[0].panicked), (3, false));
            assert_eq!(failures[0].message, "no 3");
            assert!(failures[1].panicked && failures[1].to_string().contains("bad 7"));
            assert_eq!(outcomes.values().count(), 80);
            assert!(outcomes.values().all(|(i, v)| v == i * i));
            for (i, &v) in x.as_slice().iter().enumerate() {
                let failed = i % 10 == 3 || i % 10 == 7;
                assert_eq!(v, if failed { i as u64 } else { 1_000 });
            }
        }
    });
}

#[test]
fn the_first_error_by_chunk_number_ends_a_try_map() {
    watched(|| {
        let pool = pool(2, Backend::Processes);
        let run = || pool.try_map(indices(10), |i, _| if i < 3 { Ok(i) } else { Err("three") });
        let error = run().unwrap_err();
        let Error::Job(JobError::Failed { message, .. }) = &error else { panic!("{error}") };
        assert_eq!(message, "three");
    });
}

#[test]
fn a_reduction_has_the_same_bits_for_any_number_of_workers() {
    watched(|| {
        let run = |workers, backend| {
            let pool = pool(workers, backend);
            let draw = pool.map(indices(1001), |_, ctx| ctx.rng().next_f64()).unwrap();
            let folded = pool
                .map_reduce(draw.chunks(10), |c, _| c.sum(), |a, b| a * 0.5 + b)
                .unwrap()
                .unwrap();
            (draw.total().to_bits(), folded.to_bits())
        };
        let expected = run(1, Backend::Serial);
        for workers in [1, 2, 3, 7] {
            assert_eq!(run(workers, Backend::Processes), expected);
        }
        assert_eq!(run(3, Backend::Threads), expected);
    });
}

#[test]
fn totals_of_integers_are_exact() {
    let x = SharedArray::collect((1..=1000u64).map(|n| n << 40)).unwrap();
    assert_eq!(x.total(), 500_500 << 40);
    let y = SharedArray::collect([1.5f32, 2.25]).unwrap();
    assert_eq!(y.total(), 3.75);
    assert_eq!(SharedArray::collect([3i32, -9, 5]).unwrap().reduce(i32::min), Some(-9));
    assert_eq!(SharedArray::<u8, _>::zeros(0).unwrap().reduce(|a, _| a), None);
}

#[test]
#[should_panic(expected = "wider")]
fn a_total_that_does_not_fit_panics() {
    let _ = SharedArray::collect([200u8, 100]).unwrap().total();
}

#[test]
fn parts_of_a_job_have_the_bits_and_the_numbers_of_the_whole() {
    watched(|| {
        let pool = pool(2, Backend::Processes);
        let whole = pool.stream(3).map(indices(100), draw).unwrap();
        for (first, end) in [(0, 100), (0, 1), (37, 81), (99, 100), (50, 50)] {
            let part = pool.stream(3).part_of(first, 100).map(indices(end - first), draw).unwrap();
            assert_eq!(part.as_slice(), &whole.as_slice()[first as usize..end as usize]);
        }
        // An array's chunks go by their place in the array, not in the whole.
        let x = SharedArray::<u64, _>::collect(0..30).unwrap();
        let seen = pool
            .job()
            .part_of(7, 10)
            .map(x.chunks(10), |c, ctx| [c[0], ctx.chunk(), ctx.chunks()])
            .unwrap();
        assert_eq!(seen.as_slice(), [[0, 7, 10], [10, 8, 10], [20, 9, 10]]);
    });
}

fn draw(i: u64, ctx: &mut pinpool::Ctx) -> [u64; 2] {
    [i, ctx.rng().next_u64()]
}

#[test]
fn an_error_in_a_part_names_the_chunk_of_the_whole() {
    watched(|| {
        let pool = pool(2, Backend::Processes);
        let fails = |i: u64, _: &mut pinpool::Ctx| if i == 58 { Err("no") } else { Ok(i) };
        let error = pool.job().part_of(50, 60).try_map(indices(10), fails).unwrap_err();
        assert!(error.to_string().contains("failed in chunk 58"), "{error}");
        let outcomes = pool.job().part_of(50, 60).try_map_all(indices(10), fails).unwrap();
        assert_eq!(outcomes.failures().map(|failure| failure.chunk).collect::<Vec<_>>(), [58]);
        let dies = |i: u64, _: &mut pinpool::Ctx| {
            if i == 51 {
                std::process::abort();
            }
        };
        let once = pool.job().part_of(50, 60).on_death(pinpool::OnDeath::Fail);
        let error = once.for_each(indices(10), dies).unwrap_err();
        assert!(error.to_string().contains("in chunk 51"), "{error}");
    });
}

#[test]
fn a_part_outside_its_job_is_refused() {
    watched(|| {
        let pool = pool(2, Backend::Processes);
        for (first, total) in [(1, 10), (0, 9), (u64::MAX, 10)] {
            let error =
                pool.job().part_of(first, total).for_each(indices(10), |_, _| ()).unwrap_err();
            assert!(error.to_string().contains("no part of a job of"), "{error}");
        }
    });
}
