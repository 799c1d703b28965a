//! Segments in reserved huge pages: a sealed memfd on hugetlbfs, reached by descriptor only.
//!
//! Its length is a multiple of the page size. Mapping it promises the pages (so too few are an
//! error here), touching takes them. It can be read through its descriptor, and not written.
#![forbid(unsafe_code)]

use std::io;
use std::path::Path;
use std::sync::Arc;

use super::{CreateError, Kind, Segment};
use crate::pages::{HugePool, HugeSize};
use crate::sys::mem;

impl Segment {
    /// Makes a nameless segment of at least `len` zero bytes in huge pages, none of them touched.
    pub(crate) fn huge(label: &str, len: usize, size: HugeSize) -> Result<Arc<Self>, CreateError> {
        let name = format!("pinpool:{label}");
        let error = |action| {
            let name = name.clone();
            move |source: io::Error| CreateError::System { action, name, source }
        };
        let root = Path::new("/");
        let no_size =
            || CreateError::HugePageSize { size: size.bytes(), sizes: HugePool::sizes(root) };
        let fd = mem::memfd_huge(&name, size.shift()).map_err(|source| {
            match source.raw_os_error() {
                // No such size, or no huge pages at all (the default is not there, old kernels).
                Some(libc::ENODEV | libc::EINVAL | libc::ENOENT) => no_size(),
                _ => error("create")(source),
            }
        })?;
        let page = mem::huge_page_bytes(&fd).ok_or_else(no_size)?;
        let bytes = len.max(1).checked_next_multiple_of(page);
        let bytes = bytes.filter(|&bytes| isize::try_from(bytes).is_ok());
        let pages = (len.max(1) as u64).div_ceil(page as u64);
        let short = || {
            let pool = HugePool::read(root, page as u64).unwrap_or_default();
            CreateError::NoHugePages {
                pages,
                free: pool.free(),
                reserved: pool.total,
                page_bytes: page as u64,
            }
        };
        let bytes = bytes.ok_or_else(short)?;
        if HugePool::read(root, page as u64).is_some_and(|pool| pool.free() < pages) {
            return Err(short());
        }
        mem::set_len(&fd, bytes as u64).map_err(error("set the length of"))?;
        mem::seal_length(&fd).map_err(error("seal"))?;
        let map_error = error("map");
        Self::map(fd, bytes, true, Kind::Nameless(name)).map_err(|source| {
            if source.raw_os_error() == Some(libc::ENOMEM) { short() } else { map_error(source) }
        })
    }
}
