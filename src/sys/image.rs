//! The executable image: where it lies, who it is, and offsets in it.
//!
//! A job names its kernel by the place of the kernel's entry relative to [`anchor`], which is the
//! same in every process that runs the image, wherever the loader put it.

use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::sync::OnceLock;

use super::objects::{self, Digest, Object};

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
            let own = |object: &Object| {
                object.holds(anchor()).then(|| Image {
                    segments: object.ranges(),
                    base: object.base,
                    is_executable: object.index == 0,
                })
            };
            objects::find(own).unwrap_or_default()
        })
    }

    /// The file that it was loaded from; `None` where that has been deleted.
    pub(crate) fn file() -> std::io::Result<Option<PathBuf>> {
        objects::file_at(anchor())
    }

    /// Whether the loader maps this image again when the executable is started anew: it is the
    /// executable, or is needed by it, or by what it needs.
    pub(crate) fn is_loaded_with_program(&self) -> bool {
        self.is_executable || objects::is_needed(anchor())
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

/// Tells one build of the image from another: parent and worker compare it.
///
/// Of the executable: device, inode, size and time of the file that is being run (also after it
/// was replaced or deleted on disk). Of a shared object: what its linker or its code says. And the
/// place of the anchor in it.
pub(crate) fn build_id() -> std::io::Result<[u64; 2]> {
    let image = Image::own();
    let mut id = Digest::new();
    if image.is_executable {
        let file = std::fs::metadata("/proc/self/exe")?;
        let times = [file.mtime() as u64, file.mtime_nsec() as u64];
        [file.dev(), file.ino(), file.size()].into_iter().chain(times).for_each(|f| id.add(f));
    } else {
        let own = objects::find(|object| object.holds(anchor()).then(|| object.identity()));
        own.into_iter().flatten().for_each(|fact| id.add(fact));
    }
    id.add(anchor().wrapping_sub(image.base) as u64);
    Ok(id.0)
}

/// Tells one build of the image from another by what is in its file: the same after it was copied,
/// touched or built again from the same source, and after the machine was off.
pub(crate) fn content_id() -> std::io::Result<[u64; 2]> {
    static KNOWN: OnceLock<[u64; 2]> = OnceLock::new();
    if let Some(id) = KNOWN.get() {
        return Ok(*id);
    }
    let mut file = if Image::own().is_executable {
        std::fs::File::open("/proc/self/exe")?
    } else {
        std::fs::File::open(Image::file()?.ok_or(std::io::ErrorKind::NotFound)?)?
    };
    let mut id = [0x9e37_79b9_7f4a_7c15u64, 0xd1b5_4a32_d192_ed03];
    let mut block = vec![0u8; 1 << 16];
    loop {
        let mut filled = 0;
        while filled < block.len() {
            match file.read(&mut block[filled..])? {
                0 => break,
                read => filled += read,
            }
        }
        block[filled..].fill(0);
        id[0] ^= filled as u64;
        for bytes in block[..filled.next_multiple_of(8)].chunks_exact(8) {
            let bits = u64::from_le_bytes(bytes.try_into().expect("eight of them"));
            id[0] = (id[0] ^ bits).wrapping_mul(0xff51_afd7_ed55_8ccd).rotate_left(29);
            id[1] = (id[1] ^ bits).wrapping_mul(0xc4ce_b9fe_1a85_ec53).rotate_left(31);
        }
        if filled < block.len() {
            return Ok(*KNOWN.get_or_init(|| id));
        }
    }
}

/// Whether any object of this process has a symbol of this name.
#[cfg(feature = "mpi")]
pub(crate) fn has_symbol(name: &std::ffi::CStr) -> bool {
    // SAFETY: the name ends with a NUL and outlives the call; the address is not used.
    !unsafe { libc::dlsym(libc::RTLD_DEFAULT, name.as_ptr()) }.is_null()
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
        assert_eq!(content_id().unwrap(), content_id().unwrap());
    }
}
