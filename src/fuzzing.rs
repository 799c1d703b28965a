//! Doors for the fuzzer (`fuzz/`) to what is private: each takes any bytes and must not panic.
//! Not part of the interface; it changes without notice.
#![forbid(unsafe_code)]

use crate::npy;

/// Parses a header from the bytes of a whole file; checks what a header that is accepted promises.
///
/// # Panics
/// If a promise is broken, which is what the fuzzer looks for.
pub fn npy_header(file: &[u8]) {
    let Ok(header) = npy::parse(file, file.len() as u64) else { return };
    let data = npy::data_bytes(&header.shape, header.dtype.item_bytes())
        .expect("an accepted shape can be counted");
    assert_eq!(header.data_offset + data, file.len(), "header and data fill the file");
    let ours = npy::write(&header.dtype, &header.shape);
    let again = npy::parse(&ours, (ours.len() + data) as u64).expect("what we write we read");
    assert_eq!((again.dtype, again.shape), (header.dtype, header.shape));
}
