//! Every example keeps its promises: each asserts its answer itself, and runs here too.

#![allow(dead_code, reason = "only the examples' main functions are called")]

mod watchdog;

use watchdog::watched;

macro_rules! examples {
    ($($name:ident $path:literal)+) => {$(
        #[path = $path]
        mod $name;
    )+
        mod the_example {
            $(
                #[test]
                fn $name() {
                    super::watched(|| super::$name::main().unwrap());
                }
            )+
        }
    };
}

examples! {
    apply_async "../examples/apply_async.rs"
    doubler "../examples/doubler.rs"
    errors_and_limits "../examples/errors_and_limits.rs"
    heavy_chunks "../examples/heavy_chunks.rs"
    is_prime_threads_vs_processes "../examples/is_prime_threads_vs_processes.rs"
    map_async "../examples/map_async.rs"
    naive_squares "../examples/naive_squares.rs"
    partial_parameters "../examples/partial_parameters.rs"
    power_n_minus_1 "../examples/power_n_minus_1.rs"
    prime_factors "../examples/prime_factors.rs"
    process_ids "../examples/process_ids.rs"
    random_queue "../examples/random_queue.rs"
    results_matrix "../examples/results_matrix.rs"
    square_and_sum "../examples/square_and_sum.rs"
    starmap_adder "../examples/starmap_adder.rs"
    two_pools_late_function "../examples/two_pools_late_function.rs"
}
