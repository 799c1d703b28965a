//! Where and by what pages an array lies: what can be asked for, and what was got.
//!
//! Words (`kind`), the huge pages and nodes that there are (`huge`, `nodes`), and the kernel's own
//! account of a mapping (`maps`, `report`). All of it is read from files; nothing here maps, touches
//! or sets a policy: `array_builder` and `touch` do.
#![forbid(unsafe_code)]

mod huge;
mod kind;
pub(crate) mod maps;
pub(crate) mod nodes;
mod report;

pub(crate) use huge::HugePool;
pub use kind::{HugeSize, Numa, Pages, PagesError};
pub use report::MemoryReport;
