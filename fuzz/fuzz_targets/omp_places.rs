//! Any text is places, a policy, or an error; what is planned is allowed.
#![no_main]

use std::sync::OnceLock;

use libfuzzer_sys::fuzz_target;
use pinpool::placement::{Bind, PlacementOptions, Places, plan};
use pinpool::topology::Topology;

fuzz_target!(|text: &str| {
    static MACHINE: OnceLock<Topology> = OnceLock::new();
    let machine = MACHINE.get_or_init(|| {
        Topology::synthetic("package:2 numa:2 core:4 pu:2").expect("the text is sound")
    });
    let bind = text.parse::<Bind>().ok();
    let places = text.parse::<Places>().ok();
    let listed = format!("list:{text}").parse::<Bind>().ok();
    for options in [
        PlacementOptions { bind, ..Default::default() },
        PlacementOptions { places, ..Default::default() },
        PlacementOptions { bind: listed, oversubscribe: true, ..Default::default() },
    ] {
        if let Ok(plan) = plan(machine, &options) {
            let allowed = &machine.limits().allowed;
            assert!(plan.workers.iter().all(|w| w.pus.iter().all(|pu| allowed.contains(*pu))));
        }
    }
});
