//! Says `cfg(loom)` to this crate alone, so that no RUSTFLAGS are needed.
fn main() {
    println!("cargo::rustc-cfg=loom");
    println!("cargo::rerun-if-changed=build.rs");
}
