//! The example of the frozen generator keeps its promises: it asserts them itself.

#[path = "../examples/frozen_rng.rs"]
#[allow(dead_code, reason = "only its main is called")]
mod frozen_rng;

#[test]
fn copies_draw_the_same_and_streams_never_do() {
    frozen_rng::main().unwrap();
}
