//! What a user sees of a pool: results, errors, and that nothing is left.
use pinpool::{Backend, Error, JobError, Param, Pool, SharedArray, indices};

fn pool(workers: usize, backend: Backend) -> Pool {
    Pool::builder().workers(workers).oversubscribe(true).backend(backend).seed(42).build().unwrap()
}

const BACKENDS: [Backend; 3] = [Backend::Processes, Backend::Threads, Backend::Serial];

#[test]
fn every_chunk_is_run_once_on_every_backend() {
    for backend in BACKENDS {
        for workers in [1, 2, 3, 7] {
            let pool = pool(workers, backend);
            let mut x = SharedArray::<u64, _>::zeros(10_007).unwrap();
            pool.for_each(x.chunks_mut(10), |mut c, _| c.iter_mut().for_each(|v| *v += 1)).unwrap();
            assert!(x.view().iter().all(|&v| v == 1));
            let sums = pool.map(x.chunks(10), |c, ctx| c.sum() * 1_000 + ctx.chunk()).unwrap();
            for (i, s) in sums.view().iter().enumerate() {
                assert_eq!(*s, if i == 1000 { 7_000 } else { 10_000 } + i as u64);
            }
        }
    }
}

#[test]
fn a_call_gives_its_result() {
    for backend in BACKENDS {
        let pool = pool(2, backend);
        for i in 0..1000u64 {
            assert_eq!(pool.call(Param(i), |i, _| i * i).unwrap(), i * i);
        }
        let big = pool.call(Param(3u64), |p, _| [p; 100]).unwrap();
        assert_eq!(big, [3; 100]);
    }
}

#[test]
fn tuples_of_arguments_come_in_order() {
    let pool = pool(2, Backend::Processes);
    let x = SharedArray::<f64, _>::from_array(
        &ndarray::Array2::from_shape_fn((100, 3), |(i, j)| (i * 3 + j) as f64).view(),
    )
    .unwrap();
    let mut y = SharedArray::<f64, _>::zeros(100).unwrap();
    pool.for_each((x.chunks(7), y.chunks_out(7), Param(10.0)), |(x, mut y, f), _| {
        for (row, y) in x.outer_iter().zip(y.iter_mut()) {
            *y = row.sum() * f;
        }
    })
    .unwrap();
    for i in 0..100 {
        assert_eq!(y.view()[i], (9 * i + 3) as f64 * 10.0);
    }
}

#[test]
fn a_panic_is_the_jobs_error_and_the_pool_lives_on() {
    for backend in BACKENDS {
        let pool = pool(2, backend);
        let mut x = SharedArray::<u64, _>::zeros(100).unwrap();
        let error = pool
            .for_each(x.chunks_mut(1), |mut c, ctx| {
                c[0] = 99;
                assert!(ctx.chunk() != 37, "chunk thirty-seven");
            })
            .unwrap_err();
        match &error {
            Error::Job(JobError::Panic { chunk: 37, message, .. }) => {
                assert!(
                    message.contains("chunk thirty-seven") && message.contains("pool.rs"),
                    "{message}"
                );
            }
            other => panic!("{other:?}"),
        }
        assert_eq!(x.view()[37], 0, "a failed chunk is put back as it was");
        assert_eq!(pool.call((), |(), _| 5u8).unwrap(), 5);
    }
}

#[test]
fn a_killed_worker_changes_nothing_in_the_result() {
    let pool = pool(2, Backend::Processes);
    let mut x = SharedArray::<u64, _>::zeros(400).unwrap();
    pool.for_each(x.chunks_mut(4), |mut c, ctx| {
        c.iter_mut().for_each(|v| *v += 1);
        if ctx.chunk() % 10 == 3 && ctx.incarnation() < 4 {
            kill_myself();
        }
        c.iter_mut().for_each(|v| *v += 1);
    })
    .unwrap();
    assert!(x.view().iter().all(|&v| v == 2), "{:?}", x.view());
    assert!(pool.deaths() > 0);
}

fn kill_myself() {
    rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL)
        .unwrap();
}

#[test]
fn a_chunk_that_aborts_each_time_is_an_error_that_names_it() {
    let pool = pool(2, Backend::Processes);
    let error =
        pool.map(indices(50), |i, _| if i == 20 { std::process::abort() } else { i }).unwrap_err();
    match &error {
        Error::Job(JobError::Died { chunk: 20, deaths: 3, .. }) => {}
        other => panic!("{other:?}"),
    }
    assert!(error.to_string().contains("SIGABRT"), "{error}");
    assert_eq!(pool.map(indices(5), |i, _| i).unwrap().as_slice(), [0, 1, 2, 3, 4]);
}

#[test]
fn the_bits_are_the_same_for_any_number_of_workers() {
    let run = |workers, backend| {
        let pool = pool(workers, backend);
        let mut x = SharedArray::<f64, _>::zeros(100_000).unwrap();
        pool.for_each(x.chunks_out(333), |mut c, ctx| ctx.rng().fill_uniform(&mut c)).unwrap();
        pool.map(x.chunks(1000), |c, _| c.iter().sum::<f64>()).unwrap().total().to_bits()
    };
    let expected = run(1, Backend::Serial);
    for workers in [1, 2, 3, 7] {
        assert_eq!(run(workers, Backend::Processes), expected);
        assert_eq!(run(workers, Backend::Threads), expected);
    }
}

#[test]
fn an_array_that_is_named_while_workers_are_awake_reaches_them_whole() {
    let pool = pool(2, Backend::Processes);
    for i in 0..300u64 {
        // Awake workers look at the array as soon as they hear of it.
        assert_eq!(pool.call((), |(), _| 7u64).unwrap(), 7);
        let name = format!("pinpool-test-awake-{}-{i}", std::process::id());
        // SAFETY: nobody else knows the name.
        let mut x = unsafe { SharedArray::<u64, _>::create_named(&name, 1000) }.unwrap();
        x.view_mut().fill(i);
        let sums = pool.map(x.chunks(100), |c, _| c.sum()).unwrap();
        assert_eq!(sums.total(), 1000 * i);
    }
}
