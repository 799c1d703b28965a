//! The topology as JSON, schema 1, with a plan where there is one.
//!
//! Written by hand, since the library has no JSON dependency. Same input, same bytes: nothing
//! here depends on time, on addresses or on the order of a hash table.
#![forbid(unsafe_code)]

use std::fmt::Write;

use super::{Core, Limits, NumaNode, Package, Pu, Topology};
use crate::placement::{Plan, WorkerPlace};

impl Topology {
    /// The machine, and the plan if there is one, as a JSON object.
    ///
    /// `pus[].id`, `numa` and the lists are kernel numbers; `core`, `package`, `die`, `l3` and `llc` are
    /// our own, from 0, unique in the machine. Offline PUs are listed with `online` false and the
    /// rest null; `first_pu` is null where no PU of the core is allowed. A plan adds the members
    /// `bind`, `workers` and `oversubscribed`, and its warnings to `warnings`.
    #[must_use]
    pub fn to_json(&self, plan: Option<&Plan>) -> String {
        let mut out = String::from("{\"schema\": 1,\n");
        rows(&mut out, "pus", self.pus.iter().map(pu));
        rows(&mut out, "cores", self.cores.iter().map(core));
        rows(&mut out, "packages", self.packages.iter().map(package));
        rows(&mut out, "numa_nodes", self.numa_nodes.iter().map(numa_node));
        put(&mut out, format_args!(" \"limits\": {},\n", limits(&self.limits)));
        if let Some(plan) = plan {
            put(&mut out, format_args!(" \"bind\": {},\n", string(&plan.bind.to_string())));
            rows(&mut out, "workers", plan.workers.iter().map(worker));
            put(&mut out, format_args!(" \"oversubscribed\": {},\n", plan.oversubscribed));
        }
        let said = plan.map(|plan| plan.warnings.as_slice()).unwrap_or_default();
        let warnings: Vec<String> = self.warnings.iter().chain(said).map(|w| string(w)).collect();
        put(&mut out, format_args!(" \"warnings\": [{}]}}\n", warnings.join(", ")));
        out
    }
}

/// Writing to a string cannot fail.
fn put(out: &mut String, text: std::fmt::Arguments<'_>) {
    let _ = out.write_fmt(text);
}

/// A member that is an array with an entry per line.
fn rows(out: &mut String, name: &str, entries: impl Iterator<Item = String>) {
    let entries: Vec<String> = entries.collect();
    put(out, format_args!(" \"{name}\": [{}],\n", entries.join(",\n   ")));
}

fn pu(pu: &Pu) -> String {
    format!(
        "{{\"id\": {}, \"core\": {}, \"package\": {}, \"die\": {}, \"numa\": {}, \"l3\": {}, \"llc\": {}, \"kind\": {}, \"online\": {}, \"allowed\": {}}}",
        pu.id,
        or_null(pu.core),
        or_null(pu.package),
        or_null(pu.die),
        or_null(pu.numa),
        or_null(pu.l3),
        or_null(pu.llc),
        pu.kind.map_or("null".to_string(), |kind| string(&kind.to_string())),
        pu.online,
        pu.allowed,
    )
}

fn core(core: &Core) -> String {
    format!(
        "{{\"id\": {}, \"pus\": {}, \"first_pu\": {}, \"package\": {}, \"numa\": {}, \"os_core_id\": {}}}",
        core.id,
        numbers(&core.pus),
        or_null(core.first_pu),
        or_null(core.package),
        or_null(core.numa),
        or_null(core.os_core_id),
    )
}

fn package(package: &Package) -> String {
    format!(
        "{{\"id\": {}, \"os_id\": {}, \"pus\": {}}}",
        package.id,
        or_null(package.os_id),
        numbers(&package.pus)
    )
}

fn numa_node(node: &NumaNode) -> String {
    format!("{{\"id\": {}, \"pus\": {}}}", node.id, numbers(&node.pus))
}

fn limits(limits: &Limits) -> String {
    format!(
        "{{\"allowed\": {}, \"cpuset\": {}, \"quota_cpus\": {}}}",
        string(&limits.allowed.to_string()),
        limits.cpuset.as_ref().map_or("null".to_string(), |set| string(&set.to_string())),
        or_null(limits.quota_cpus),
    )
}

fn worker(worker: &WorkerPlace) -> String {
    format!(
        "{{\"index\": {}, \"pu\": {}, \"pus\": {}, \"core\": {}, \"package\": {}, \"numa\": {}}}",
        worker.index,
        or_null(worker.pu),
        numbers(&worker.pus),
        or_null(worker.core),
        or_null(worker.package),
        or_null(worker.numa),
    )
}

fn or_null<T: ToString>(value: Option<T>) -> String {
    value.map_or("null".to_string(), |value| value.to_string())
}

fn numbers(numbers: &[usize]) -> String {
    let numbers: Vec<String> = numbers.iter().map(usize::to_string).collect();
    format!("[{}]", numbers.join(", "))
}

/// A JSON string: quotes, backslashes and control characters escaped (RFC 8259, section 7).
fn string(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            c if c < ' ' => put(&mut out, format_args!("\\u{:04x}", u32::from(c))),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}
