//! The executable image: where it lies, who it is, and offsets in it.
//!
//! A job names its kernel by the place of the kernel's entry relative to [`anchor`], which is the
//! same in every process that runs the image, wherever the loader put it.

use std::ffi::c_void;
use std::os::unix::fs::MetadataExt;
use std::sync::OnceLock;

/// The loaded ranges of the object that this crate is linked into.
#[derive(Debug, Clone, Default)]
pub(crate) struct Image {
    segments: Vec<(usize, usize)>,
    base: usize,
    /// Whether that object is the executable itself, and not a shared object that it loaded.
    pub(crate) is_executable: bool,
}

/// A place in the image that offsets are counted from.
fn anchor() -> usize {
    anchor as *const () as usize
}

impl Image {
    /// This process's, looked up once.
    pub(crate) fn own() -> &'static Image {
        static OWN: OnceLock<Image> = OnceLock::new();
        OWN.get_or_init(|| {
            let mut search = Search { anchor: anchor(), index: 0, found: Image::default() };
            // SAFETY: `visit` matches the callback's type, and `search` outlives the call.
            unsafe { libc::dl_iterate_phdr(Some(visit), (&raw mut search).cast()) };
            search.found
        })
    }

    fn contains(&self, at: usize, len: usize) -> bool {
        self.segments.iter().any(|&(start, end)| at >= start && at.saturating_add(len) <= end)
    }

    /// The place of a static of this image relative to the anchor.
    pub(crate) fn offset_of<T>(&self, item: &'static T) -> Option<i64> {
        let at = std::ptr::from_ref(item) as usize;
        self.contains(at, size_of::<T>()).then(|| (at as i64).wrapping_sub(anchor() as i64))
    }

    /// The address that `offset` names, if a `T` can lie there.
    pub(crate) fn at<T>(&self, offset: i64) -> Option<*const T> {
        let at = (anchor() as i64).wrapping_add(offset) as usize;
        let fits = self.contains(at, size_of::<T>()) && at.is_multiple_of(align_of::<T>());
        fits.then_some(at as *const T)
    }
}

struct Search {
    anchor: usize,
    index: usize,
    found: Image,
}

extern "C" fn visit(info: *mut libc::dl_phdr_info, _: usize, data: *mut c_void) -> libc::c_int {
    // SAFETY: the loader passes a valid record for the time of the call.
    let info = unsafe { &*info };
    // SAFETY: `data` is the `Search` that `own` passed, and nobody else uses it meanwhile.
    let search = unsafe { &mut *data.cast::<Search>() };
    // SAFETY: the loader says that so many headers lie there.
    let headers = unsafe { std::slice::from_raw_parts(info.dlpi_phdr, info.dlpi_phnum.into()) };
    let base = info.dlpi_addr as usize;
    let segments: Vec<_> = headers
        .iter()
        .filter(|h| h.p_type == libc::PT_LOAD)
        .map(|h| {
            let start = base.wrapping_add(h.p_vaddr as usize);
            (start, start.wrapping_add(h.p_memsz as usize))
        })
        .collect();
    let found = segments.iter().any(|&(start, end)| (start..end).contains(&search.anchor));
    if found {
        // The loader lists the executable first.
        search.found = Image { segments, base, is_executable: search.index == 0 };
    }
    search.index += 1;
    libc::c_int::from(found)
}

/// Tells one build of the executable from another: parent and worker compare it.
///
/// Device, inode, size and time of the file that is being run (also after it was replaced or
/// deleted on disk), and the place of the anchor in it.
pub(crate) fn build_id() -> std::io::Result<[u64; 2]> {
    let file = std::fs::metadata("/proc/self/exe")?;
    let place = anchor().wrapping_sub(Image::own().base) as u64;
    let mut id = [0x9e37_79b9_7f4a_7c15u64, 0xd1b5_4a32_d192_ed03];
    let facts =
        [file.dev(), file.ino(), file.size(), file.mtime() as u64, file.mtime_nsec() as u64, place];
    for fact in facts {
        for word in &mut id {
            *word = (*word ^ fact).wrapping_mul(0xff51_afd7_ed55_8ccd).rotate_left(29) ^ *word >> 7;
        }
    }
    Ok(id)
}

#[cfg(test)]
mod tests {
    use super::*;

    static THING: u64 = 77;

    #[test]
    fn a_static_of_the_image_is_found_again_by_its_offset() {
        let image = Image::own();
        assert!(image.is_executable);
        let offset = image.offset_of(&THING).expect("in the image");
        assert_eq!(image.at::<u64>(offset), Some(&raw const THING));
    }

    #[test]
    fn what_is_outside_the_image_has_no_offset() {
        let image = Image::own();
        let heap: &'static u64 = Box::leak(Box::new(1));
        assert_eq!(image.offset_of(heap), None);
        assert_eq!(image.at::<u64>(i64::MAX), None);
        assert_eq!(image.at::<u64>(i64::MIN), None);
    }

    #[test]
    fn the_build_id_is_the_same_each_time() {
        assert_eq!(build_id().unwrap(), build_id().unwrap());
    }
}
