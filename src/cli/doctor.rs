//! `pinpool doctor`: what on this machine will hurt a pool, why, and how to mend it.

#![forbid(unsafe_code)]

use std::io::{self, Write};

use pinpool::doctor::{Finding, Severity, doctor};
use serde_json::json;

use super::args::DoctorArgs;
use super::exit::Exit;
use super::failure::Failure;

/// Status 1 where something will fail: what only costs speed is no failure.
pub(super) fn run(args: &DoctorArgs) -> Result<Exit, Failure> {
    let (topology, _) = args.machine.read()?;
    let findings = doctor(&topology);
    let mut out = io::stdout().lock();
    let text = if args.json { as_json(&findings) } else { as_text(&findings) };
    writeln!(out, "{text}").map_err(Failure::Stdout)?;
    let fails = findings.iter().any(|finding| finding.severity == Severity::Problem);
    Ok(if fails { Exit::Failed } else { Exit::Done })
}

fn as_text(findings: &[Finding]) -> String {
    if findings.is_empty() {
        return "nothing found that would hurt".to_owned();
    }
    findings.iter().map(Finding::to_string).collect::<Vec<_>>().join("\n\n")
}

fn as_json(findings: &[Finding]) -> String {
    let findings = findings.iter().map(|finding| {
        json!({
            "severity": finding.severity.to_string(),
            "what": finding.what,
            "why": finding.why,
            "mend": finding.mend,
        })
    });
    serde_json::Value::from_iter(findings).to_string()
}
