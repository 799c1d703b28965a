//! `pinpool topo`: the machine, what of it is ours, and where workers would go.

#![forbid(unsafe_code)]

use std::fs;
use std::io::{self, Write};
use std::path::Path;

use pinpool::placement::plan;
use pinpool::topology::Topology;

use super::args::{MachineArgs, TopoArgs};
use super::exit::Exit;
use super::failure::Failure;

pub(super) fn run(args: &TopoArgs) -> Result<Exit, Failure> {
    let (topology, own) = args.machine.read()?;
    // The environment speaks of the machine that we run on.
    let options = if own { args.place.resolve()? } else { args.place.options() };
    let text = if args.json {
        let plan = args.place.any().then(|| plan(&topology, &options)).transpose()?;
        topology.to_json(plan.as_ref())
    } else {
        let plan = plan(&topology, &options)?;
        match &args.svg {
            Some(path) => {
                let svg = topology.svg(Some(&plan));
                fs::write(path, svg)
                    .map_err(|source| Failure::System { action: "write the picture", source })?;
                return Ok(Exit::Done);
            }
            None => topology.draw(Some(&plan)),
        }
    };
    let mut out = io::stdout().lock();
    let newline = if text.ends_with('\n') { "" } else { "\n" };
    write!(out, "{text}{newline}").and_then(|()| out.flush()).map_err(Failure::Stdout)?;
    Ok(Exit::Done)
}

impl MachineArgs {
    /// The machine, and whether it is the one that we run on.
    pub(super) fn read(&self) -> Result<(Topology, bool), Failure> {
        Ok(match (&self.synthetic, self.root.as_deref()) {
            (Some(text), _) => (Topology::synthetic(text).map_err(Failure::Synthetic)?, false),
            (None, None) => (Topology::current()?, true),
            (None, Some(root)) if root == Path::new("/") => (Topology::current()?, true),
            (None, Some(root)) => (Topology::read(root)?, false),
        })
    }
}
