//! A host that starts its workers in `main`: no test harness here, since `init` must come first.
use std::sync::atomic::{AtomicBool, Ordering};

use pinpool::Pool;

static MAIN_RAN: AtomicBool = AtomicBool::new(false);

fn main() {
    MAIN_RAN.store(true, Ordering::SeqCst);
    pinpool::init();
    let pool = Pool::builder().workers(2).oversubscribe(true).build().expect("a pool");
    let ran = pool.call((), |(), _| u8::from(MAIN_RAN.load(Ordering::SeqCst))).expect("a result");
    assert_eq!(ran, 1, "the worker started in `main`, after what stands before `init`");
    println!("test a_host_can_start_its_workers_in_main ... ok");
}
