//! Where and by what pages an array lies: what can be asked for, and what was got.
//!
//! Words (`kind`), the nodes and huge pages that there are (`nodes`, `huge`), and the kernel's own
//! account of a mapping (`smaps`, `numa_maps`, `report`). Everything is read from files under a
//! root; nothing here maps, touches or sets a policy: `array::builder` does.
#![forbid(unsafe_code)]

mod kind;

pub use kind::{HugeSize, Numa, Pages, PagesError};
