//! The objects that the loader has mapped: where they lie, who they are, what they need.
//!
//! An object is the executable or a shared object. What is read of one lies in its own loaded
//! segments, checked before each look; the loader keeps them mapped while [`find`] runs.

use std::ffi::{CStr, c_void};
use std::io;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;

use bytemuck::AnyBitPattern;

/// One loaded object, for the time of a call of [`find`].
#[derive(Debug)]
pub(crate) struct Object {
    /// 0 is the executable.
    pub(crate) index: usize,
    /// Where its own addresses count from.
    pub(crate) base: usize,
    /// What the loader calls it; empty for the executable.
    name: Vec<u8>,
    segments: Vec<Segment>,
    dynamic: Option<(usize, usize)>,
    notes: Vec<(usize, usize)>,
}

#[derive(Debug, Clone, Copy)]
struct Segment {
    start: usize,
    end: usize,
    flags: u32,
}

/// An entry of the dynamic section.
#[derive(Debug, Clone, Copy, AnyBitPattern)]
#[repr(C)]
struct Dynamic {
    tag: i64,
    value: u64,
}

/// What a note begins with.
#[derive(Debug, Clone, Copy, AnyBitPattern)]
#[repr(C)]
struct NoteHead {
    name_bytes: u32,
    desc_bytes: u32,
    kind: u32,
}

const DT_NEEDED: i64 = 1;
const DT_STRTAB: i64 = 5;
const DT_SONAME: i64 = 14;
/// Longest name that is read out of an object.
const MAX_NAME: usize = 4096;
/// Entries of a dynamic section that are looked at.
const MAX_DYNAMIC: usize = 4096;

impl Object {
    fn of(index: usize, info: &libc::dl_phdr_info) -> Object {
        let name = if info.dlpi_name.is_null() {
            Vec::new()
        } else {
            // SAFETY: the loader passes a terminated string for the time of the call.
            unsafe { CStr::from_ptr(info.dlpi_name) }.to_bytes().to_vec()
        };
        let base = info.dlpi_addr as usize;
        let mut object =
            Object { index, base, name, segments: Vec::new(), dynamic: None, notes: Vec::new() };
        // SAFETY: the loader says that so many headers lie there.
        let headers = unsafe { std::slice::from_raw_parts(info.dlpi_phdr, info.dlpi_phnum.into()) };
        for header in headers {
            let start = base.wrapping_add(header.p_vaddr as usize);
            let end = start.wrapping_add(header.p_memsz as usize);
            match header.p_type {
                libc::PT_LOAD => {
                    object.segments.push(Segment { start, end, flags: header.p_flags });
                }
                libc::PT_DYNAMIC => object.dynamic = Some((start, end)),
                libc::PT_NOTE => object.notes.push((start, end)),
                _ => {}
            }
        }
        object
    }

    /// Whether `len` bytes from `at` on lie in one of its segments that has these rights.
    fn has(&self, at: usize, len: usize, flags: u32) -> bool {
        self.segments
            .iter()
            .any(|s| s.flags & flags == flags && at >= s.start && at.saturating_add(len) <= s.end)
    }

    /// Whether it holds `at`.
    pub(crate) fn holds(&self, at: usize) -> bool {
        self.has(at, 1, 0)
    }

    /// Whether it holds code at `at`.
    #[cfg(any(test, feature = "capi"))]
    pub(crate) fn holds_code(&self, at: usize) -> bool {
        self.has(at, 1, libc::PF_X)
    }

    /// The loaded ranges.
    pub(crate) fn ranges(&self) -> Vec<(usize, usize)> {
        self.segments.iter().map(|s| (s.start, s.end)).collect()
    }

    fn read<T: AnyBitPattern>(&self, at: usize) -> Option<T> {
        // SAFETY: so many bytes lie there in a loaded, readable segment, and any bytes are a `T`.
        self.has(at, size_of::<T>(), libc::PF_R)
            .then(|| unsafe { (at as *const T).read_unaligned() })
    }

    /// The string at `at`, without its end.
    fn text(&self, at: usize) -> Vec<u8> {
        let bytes = (at..at.saturating_add(MAX_NAME)).map_while(|at| self.read::<u8>(at));
        bytes.take_while(|&byte| byte != 0).collect()
    }

    fn dynamic(&self) -> impl Iterator<Item = Dynamic> {
        let (start, end) = self.dynamic.unwrap_or((0, 0));
        (start..end)
            .step_by(size_of::<Dynamic>())
            .take(MAX_DYNAMIC)
            .map_while(|at| self.read::<Dynamic>(at))
            .take_while(|entry| entry.tag != 0)
    }

    /// Strings of the dynamic section with this tag.
    fn strings(&self, tag: i64) -> Vec<Vec<u8>> {
        let Some(table) = self.dynamic().find(|d| d.tag == DT_STRTAB) else { return Vec::new() };
        let table = table.value as usize;
        // glibc has made it an address, musl has left it a place in the object.
        let table = if self.holds(table) { table } else { self.base.wrapping_add(table) };
        let entries = self.dynamic().filter(|d| d.tag == tag);
        entries.map(|d| self.text(table.wrapping_add(d.value as usize))).collect()
    }

    /// The names of the objects that it needs, as `DT_NEEDED` has them.
    pub(crate) fn needed(&self) -> Vec<Vec<u8>> {
        self.strings(DT_NEEDED)
    }

    /// Whether a `DT_NEEDED` of this name means this object.
    pub(crate) fn is_called(&self, needed: &[u8]) -> bool {
        let file = |name: &[u8]| name.rsplit(|&b| b == b'/').next().map(<[u8]>::to_vec);
        if needed.contains(&b'/') {
            return self.name == needed;
        }
        let soname = self.strings(DT_SONAME).into_iter().next();
        soname.or_else(|| file(&self.name)).is_some_and(|name| name == needed)
    }

    /// What the linker wrote into the object to tell its builds apart.
    fn build_note(&self) -> Option<Vec<u8>> {
        const NT_GNU_BUILD_ID: u32 = 3;
        for &(start, end) in &self.notes {
            let mut at = start;
            while let Some(head) = self.read::<NoteHead>(at).filter(|_| at < end) {
                let name = at + size_of::<NoteHead>();
                let desc = name + (head.name_bytes as usize).next_multiple_of(4);
                let next = desc + (head.desc_bytes as usize).next_multiple_of(4);
                if head.kind == NT_GNU_BUILD_ID && self.text(name) == b"GNU" && next <= end {
                    let bytes = desc..desc + head.desc_bytes as usize;
                    return bytes.map(|at| self.read::<u8>(at)).collect();
                }
                at = next;
            }
        }
        None
    }

    /// Tells this object from another build of it, in any process: the build id of its linker, or
    /// where there is none a digest of its code, which the loader does not change.
    pub(crate) fn identity(&self) -> [u64; 2] {
        let mut digest = Digest::new();
        if let Some(note) = self.build_note() {
            note.iter().for_each(|&byte| digest.add(byte.into()));
            return digest.0;
        }
        let code = libc::PF_X | libc::PF_R;
        for s in self.segments.iter().filter(|s| s.flags & (code | libc::PF_W) == code) {
            digest.add((s.start - self.base) as u64);
            let words = (s.start..s.end - s.start % 8).step_by(8);
            words.filter_map(|at| self.read::<u64>(at)).for_each(|word| digest.add(word));
        }
        digest.0
    }
}

/// A digest of facts that are compared within one machine.
#[derive(Debug)]
pub(crate) struct Digest(pub(crate) [u64; 2]);

impl Digest {
    pub(crate) fn new() -> Digest {
        Digest([0x9e37_79b9_7f4a_7c15, 0xd1b5_4a32_d192_ed03])
    }

    pub(crate) fn add(&mut self, fact: u64) {
        for word in &mut self.0 {
            *word = (*word ^ fact).wrapping_mul(0xff51_afd7_ed55_8ccd).rotate_left(29) ^ *word >> 7;
        }
    }
}

/// Shows each loaded object to `look`, the executable first, until it gives something.
///
/// `look` must not panic, nor load or unload anything.
pub(crate) fn find<T>(mut look: impl FnMut(&Object) -> Option<T>) -> Option<T> {
    struct Search<'a, T> {
        look: &'a mut dyn FnMut(&Object) -> Option<T>,
        index: usize,
        found: Option<T>,
    }

    extern "C" fn visit<T>(
        info: *mut libc::dl_phdr_info,
        _: usize,
        data: *mut c_void,
    ) -> libc::c_int {
        // SAFETY: the loader passes a valid record for the time of the call.
        let info = unsafe { &*info };
        // SAFETY: `data` is the `Search` that `find` passed, and nobody else uses it meanwhile.
        let search = unsafe { &mut *data.cast::<Search<'_, T>>() };
        search.found = (search.look)(&Object::of(search.index, info));
        search.index += 1;
        search.found.is_some().into()
    }

    let mut search = Search { look: &mut look, index: 0, found: None };
    // SAFETY: `visit` matches the callback's type, and `search` outlives the call.
    unsafe { libc::dl_iterate_phdr(Some(visit::<T>), (&raw mut search).cast()) };
    search.found
}

/// Whether the object that holds `at` is loaded with the executable: by its `DT_NEEDED` entries,
/// and by those of what it needs.
pub(crate) fn is_needed(at: usize) -> bool {
    // What has been asked for so far, and how much of that has been looked at.
    let mut needed = find(|object| Some(object.needed())).unwrap_or_default();
    let mut looked = 0;
    while let Some(name) = needed.get(looked).cloned() {
        looked += 1;
        let Some((holds, more)) = find(|object| {
            let found = object.index != 0 && object.is_called(&name);
            found.then(|| (object.holds(at), object.needed()))
        }) else {
            continue;
        };
        if holds {
            return true;
        }
        for name in more {
            if !needed.contains(&name) {
                needed.push(name);
            }
        }
    }
    false
}

/// The file that is mapped at `at`, by its absolute path; `None` where no file is, or where the
/// file has been deleted.
pub(crate) fn file_at(at: usize) -> io::Result<Option<PathBuf>> {
    let maps = std::fs::read("/proc/self/maps")?;
    Ok(maps.split(|&b| b == b'\n').find_map(|line| file_of_line(line, at)).filter(|p| p.exists()))
}

/// The path in a line of `/proc/PID/maps` whose range holds `at`.
fn file_of_line(line: &[u8], at: usize) -> Option<PathBuf> {
    let mut fields = line.splitn(6, |&b| b == b' ');
    let range = std::str::from_utf8(fields.next()?).ok()?;
    let (start, end) = range.split_once('-')?;
    let bound = |text| usize::from_str_radix(text, 16).ok();
    if !(bound(start)?..bound(end)?).contains(&at) {
        return None;
    }
    let path = fields.nth(4)?.trim_ascii_start();
    path.starts_with(b"/").then(|| {
        // The kernel escapes the one byte that would end the line.
        let mut text = Vec::with_capacity(path.len());
        let mut rest = path;
        while let Some((&byte, tail)) = rest.split_first() {
            let escaped = rest.starts_with(br"\012");
            text.push(if escaped { b'\n' } else { byte });
            rest = if escaped { &rest[4..] } else { tail };
        }
        PathBuf::from(std::ffi::OsString::from_vec(text))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn holder(at: usize) -> Option<[u64; 2]> {
        find(|object| object.holds_code(at).then(|| object.identity()))
    }

    #[test]
    fn the_executable_is_the_first_object_and_holds_this_code() {
        let at = holder as *const () as usize;
        assert_eq!(find(|object| object.holds_code(at).then_some(object.index)), Some(0));
        assert_eq!(file_at(at).unwrap(), Some(std::env::current_exe().unwrap()));
    }

    #[test]
    fn the_c_library_is_needed_by_its_name_and_has_an_identity_of_its_own() {
        let at = libc::getppid as *const () as usize;
        let called = find(|object| object.holds_code(at).then(|| object.is_called(b"libc.so.6")));
        assert_eq!(called, Some(true));
        let needed = find(|object| Some(object.needed())).unwrap();
        assert!(needed.contains(&b"libc.so.6".to_vec()), "{needed:?}");
        assert_eq!(holder(at), holder(at));
        assert_ne!(holder(at), holder(holder as *const () as usize));
    }

    #[test]
    fn an_object_without_a_build_id_is_told_by_its_code() {
        let at = libc::getppid as *const () as usize;
        let without_note = |object: &Object| {
            let bare = Object {
                name: Vec::new(),
                segments: object.segments.clone(),
                notes: Vec::new(),
                ..*object
            };
            (bare.identity(), object.identity())
        };
        let find_it = || find(|o| o.holds_code(at).then(|| without_note(o))).unwrap();
        let ((bare, noted), (again, _)) = (find_it(), find_it());
        assert_eq!(bare, again);
        assert_ne!(bare, noted);
    }

    #[test]
    fn the_c_library_is_loaded_with_the_program_and_a_heap_is_not() {
        assert!(is_needed(libc::getppid as *const () as usize));
        let heap = Box::new(0u64);
        assert!(!is_needed(&raw const *heap as usize));
    }

    #[test]
    fn memory_of_no_file_is_in_no_object() {
        let heap = Box::new(0u64);
        let at = &raw const *heap as usize;
        assert_eq!(find(|object| object.holds(at).then_some(())), None);
        assert_eq!(file_at(at).unwrap(), None);
    }

    #[test]
    fn a_line_of_the_map_names_its_file() {
        let line = b"7f00-7fff r-xp 00000000 08:01 99    /a b/c\\012d.so";
        assert_eq!(file_of_line(line, 0x7f80), Some("/a b/c\nd.so".into()));
        assert_eq!(file_of_line(line, 0x7fff), None);
        assert_eq!(file_of_line(b"7f00-7fff r-xp 00000000 00:00 0    [vdso]", 0x7f80), None);
        assert_eq!(file_of_line(b"7f00-7fff r-xp 00000000 00:00 0 ", 0x7f80), None);
        assert_eq!(file_of_line(b"", 0), None);
    }
}
