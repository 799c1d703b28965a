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

/// Takes any bytes for a control block that another process hands over, and then as the text of
/// the variable that marks a worker. What is accepted stays inside the block.
///
/// # Panics
/// If it does not, which is what the fuzzer looks for.
pub fn control_block(bytes: &[u8]) {
    use std::sync::atomic::Ordering;

    use crate::control::{Control, load_text};
    use crate::layout::{Header, JobDesc, Layout};
    use crate::segment::Segment;

    // A valid block of one worker, the input laid over it: its first byte says where.
    let layout = Layout { workers: 1 };
    let (at, bytes) = bytes.split_first().map_or((0, bytes), |(&at, rest)| (at, rest));
    let build = [1, 2];
    let cut = if bytes.len() % 7 == 3 { size_of::<Header>() } else { layout.bytes() };
    let Ok(segment) = Segment::nameless("fuzz", cut) else { return };
    if cut == layout.bytes() {
        drop(Control::create(std::sync::Arc::clone(&segment), layout, build));
    }
    // 0: over the header; else over one of the first pages.
    let start = usize::from(at) * 512 % cut;
    let len = bytes.len().min(cut - start);
    if segment.write_at(&bytes[..len], start as u64).is_err() {
        return;
    }
    if let Ok(control) = Control::attach(segment, build) {
        assert_eq!(control.workers(), 1);
        let standing = &control.worker(0).standing;
        let text = load_text(&standing.text, standing.text_len.load(Ordering::Relaxed));
        assert!(text.len() <= 4 * 8 * standing.text.len());
        let mut desc = <JobDesc as bytemuck::Zeroable>::zeroed();
        for slot in 0..4 {
            let epoch = control.job(slot).live.load(Ordering::Relaxed);
            let _ = control.read_desc(slot, epoch, &mut desc);
        }
    }
    if let Ok(text) = std::str::from_utf8(bytes)
        && let Some(marker) = crate::worker_process::Marker::parse(text)
    {
        assert_eq!(crate::worker_process::Marker::parse(&marker.to_text()), Some(marker));
    }
}

/// Takes any text for the kernel's account of a mapping; no part of it is larger than the whole.
///
/// # Panics
/// If one is, which is what the fuzzer looks for.
pub fn memory_maps(text: &str) {
    use crate::pages::maps::{numa_maps, smaps};

    let all = smaps(text.lines(), &(0..u64::MAX));
    let some = smaps(text.lines(), &(0x1000..0x7f00_0000_0000));
    assert!(some.resident <= all.resident && some.reserved <= all.reserved);
    let all = numa_maps(text.lines(), &(0..u64::MAX), 4096);
    let some = numa_maps(text.lines(), &(0x1000..0x7f00_0000_0000), 4096);
    assert!(some.nodes.iter().all(|(node, bytes)| all.nodes.get(node) >= Some(bytes)));
}
