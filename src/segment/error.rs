//! What can go wrong when a segment is made or opened; each text says what to do next.
#![forbid(unsafe_code)]

use std::io;

use crate::memory::human;
use crate::npy::NpyError;

/// Why a shared array could not be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CreateError {
    /// A queue for no items.
    #[error("a queue with room for 0 items can never hold one; ask for at least 1")]
    NoRoom,
    /// More bytes than an address space has.
    #[error(
        "shape {shape:?} of {item_bytes}-byte elements is larger than any memory; ask for less"
    )]
    TooLarge {
        /// The shape asked for.
        shape: Vec<usize>,
        /// Bytes of one element.
        item_bytes: usize,
    },
    /// More axes than an NPY header can hold for numpy.
    #[error("{axes} axes asked for, an NPY array has at most 64; make fewer, longer axes")]
    Rank {
        /// Axes asked for.
        axes: usize,
    },
    /// The file system has not enough room.
    #[error(
        "{} asked for, {} free in {place}; use a file-backed array on a larger disk, a smaller array, or make room there (mount -o remount,size=… for /dev/shm)",
        human(*asked), human(*free)
    )]
    NoSpace {
        /// Bytes asked for.
        asked: u64,
        /// Bytes that are free.
        free: u64,
        /// The file system that is full.
        place: String,
    },
    /// The machine or a cgroup has not enough memory.
    #[error(
        "{} of memory asked for, {} free under the limit of {limit}; use a file-backed array, a smaller one, or raise that limit",
        human(*asked), human(*free)
    )]
    NoMemory {
        /// Bytes asked for.
        asked: u64,
        /// Bytes that are free.
        free: u64,
        /// Whose limit it is.
        limit: String,
    },
    /// Not enough reserved huge pages.
    #[error(
        "{pages} huge pages of {} asked for, {free} of {reserved} free; reserve more (`{}`), or take transparent ones (thp)",
        human(*page_bytes), reserve_command(*page_bytes, reserved + pages.saturating_sub(*free))
    )]
    NoHugePages {
        /// Pages asked for.
        pages: u64,
        /// Pages that are free and promised to nobody.
        free: u64,
        /// Pages that the system has in all.
        reserved: u64,
        /// Bytes of one.
        page_bytes: u64,
    },
    /// The kernel has no huge pages of this size.
    #[error("this kernel has no reserved huge pages{}; take one of: {}",
        size.map(|bytes| format!(" of {}", human(bytes))).unwrap_or_default(),
        if sizes.is_empty() { "transparent ones (thp), base ones".to_owned() }
        else { sizes.iter().map(|&bytes| human(bytes)).collect::<Vec<_>>().join(", ") }
    )]
    HugePageSize {
        /// The size asked for; `None` for the system's default.
        size: Option<u64>,
        /// The sizes that there are.
        sizes: Vec<u64>,
    },
    /// Reserved huge pages for an array that others find by name or path.
    #[error(
        "reserved huge pages are for arrays without a name, and '{name}' is to have one; take transparent ones (thp) for it, or no name"
    )]
    HugePagesNamed {
        /// The name or path asked for.
        name: String,
    },
    /// A NUMA node whose memory this process may not use, or that is not there.
    #[error("node {node} has no memory that this process may use; bind to one of {nodes}")]
    NoNode {
        /// The node asked for.
        node: usize,
        /// Those that may be used.
        nodes: String,
    },
    /// A NUMA policy for a file on a disk.
    #[error(
        "the pages of '{path}' go where the system's cache puts them; use first-touch or no policy for a file on a disk"
    )]
    FilePolicy {
        /// The path asked for.
        path: String,
    },
    /// First touch by workers that nobody named.
    #[error(
        "first-touch needs to know who will work on the array; give the builder `owners(&pool, chunk)`"
    )]
    NoOwners,
    /// The system refused a NUMA policy.
    #[error(
        "the system refuses to set a NUMA policy: {source}; a container needs the right to (docker run --cap-add SYS_NICE), or take first-touch"
    )]
    Policy {
        /// The system's reason.
        source: io::Error,
    },
    /// A page could not be had.
    #[error(
        "the pages of '{name}' could not all be had: {source}; memory, a cgroup's limit, /dev/shm or the node is full: make room there, ask for a smaller array, or for another kind of pages"
    )]
    Touch {
        /// The segment.
        name: String,
        /// The system's reason.
        source: io::Error,
    },
    /// A name that cannot be one.
    #[error("'{name}' cannot name a segment: {problem}; use letters, digits, '-', '_' and '.'")]
    Name {
        /// The name asked for.
        name: String,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// Something of that name is there already.
    #[error(
        "a segment '{name}' exists already; choose another name, open that one, or remove it (`pinpool segments list` says whether it is in use, `pinpool segments gc` removes it if it is dead)"
    )]
    NameTaken {
        /// The name asked for.
        name: String,
    },
    /// A file of that name is there already.
    #[error("the file '{path}' exists already; open it, remove it, or choose another path")]
    FileExists {
        /// The path asked for.
        path: String,
    },
    /// The system refused.
    #[error("cannot {action} '{name}': {source}")]
    System {
        /// What was tried.
        action: &'static str,
        /// The segment or file.
        name: String,
        /// The system's reason.
        source: io::Error,
    },
}

/// What a user types to have so many huge pages of this size.
fn reserve_command(page_bytes: u64, pages: u64) -> String {
    let kib = page_bytes / 1024;
    format!("echo {pages} > /sys/kernel/mm/hugepages/hugepages-{kib}kB/nr_hugepages")
}

/// Why a shared array could not be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AttachError {
    /// A name that cannot be one.
    #[error("'{name}' cannot name a segment: {problem}; use letters, digits, '-', '_' and '.'")]
    Name {
        /// The name asked for.
        name: String,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// Nothing has that name.
    #[error("'{name}' does not exist; `pinpool segments list` shows the segments there are")]
    NotFound {
        /// The name or path.
        name: String,
    },
    /// A directory, link, FIFO or device.
    #[error("'{name}' is not a regular file; give the name of the array itself")]
    NotRegular {
        /// The name or path.
        name: String,
    },
    /// Somebody else's.
    #[error(
        "the segment '{name}' belongs to user {owner}, not to you ({user}); segments are opened by their owner only, copy it instead"
    )]
    Owner {
        /// The segment.
        name: String,
        /// Who owns it.
        owner: u32,
        /// Who asks.
        user: u32,
    },
    /// Others can reach it.
    #[error(
        "the segment '{name}' can be reached by others (mode {mode:o}); chmod 600 it if you trust what is in it"
    )]
    Mode {
        /// The segment.
        name: String,
        /// Its permission bits.
        mode: u32,
    },
    /// It has a second name, or none any more.
    #[error(
        "the segment '{name}' has {links} links instead of one; it is being removed, or somebody linked it elsewhere"
    )]
    Links {
        /// The segment.
        name: String,
        /// How many names it has.
        links: u64,
    },
    /// A collector holds it.
    #[error("the segment '{name}' is being removed: nobody held it any more; make it anew")]
    Dying {
        /// The segment.
        name: String,
    },
    /// Its length is not what it must be.
    #[error(
        "'{name}' is {found} bytes long where {expected} were announced; it changed meanwhile, open it again"
    )]
    Length {
        /// The segment.
        name: String,
        /// Bytes announced.
        expected: u64,
        /// Bytes there.
        found: u64,
    },
    /// There is no room for the parts of the file that were never written.
    #[error(
        "'{name}' has holes and its file system has no room to fill them; make room there, or copy it to a larger disk"
    )]
    NoSpace {
        /// The file.
        name: String,
    },
    /// Its header is not an array's that can be used.
    #[error("'{name}': {source}")]
    Header {
        /// The segment or file.
        name: String,
        /// What is wrong.
        source: NpyError,
    },
    /// It holds another type.
    #[error(
        "'{name}' holds elements of dtype {found}, and {expected} is asked for; open it as that type or convert it with numpy's astype"
    )]
    WrongType {
        /// The segment or file.
        name: String,
        /// The dtype asked for.
        expected: String,
        /// The dtype found.
        found: String,
    },
    /// It has another number of axes.
    #[error("'{name}' has {} axes {found:?}, and {expected} are asked for; open it as such, or with IxDyn", found.len())]
    WrongRank {
        /// The segment or file.
        name: String,
        /// Axes asked for.
        expected: usize,
        /// The shape found.
        found: Vec<usize>,
    },
    /// Its data begin where elements cannot lie.
    #[error(
        "the data of '{name}' begin at byte {offset}, which is no multiple of the {align} bytes that its elements are aligned to; save it again with numpy.save or SharedArray::save"
    )]
    Misaligned {
        /// The segment or file.
        name: String,
        /// Where the data begin.
        offset: usize,
        /// The alignment that is needed.
        align: usize,
    },
    /// A byte that is no bool.
    #[error(
        "element {index} of the bool array '{name}' is {value}, neither 0 nor 1; open it as u8, or write it again"
    )]
    BadBool {
        /// The segment or file.
        name: String,
        /// Index of the first such element, in memory order.
        index: u64,
        /// Its value.
        value: u8,
    },
    /// The system refused.
    #[error("cannot {action} '{name}': {source}")]
    System {
        /// What was tried.
        action: &'static str,
        /// The segment or file.
        name: String,
        /// The system's reason.
        source: io::Error,
    },
}
