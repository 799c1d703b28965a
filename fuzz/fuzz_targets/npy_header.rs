//! Any bytes as an `.npy` file, and any bytes as the dictionary of one.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    pinpool::fuzzing::npy_header(bytes);
    // The magic and the length are soon in the way: hand the fuzzer the dictionary alone, too.
    let (text, data) = bytes.split_at(bytes.len().min(bytes.first().map_or(0, |&n| n.into())));
    let mut file = b"\x93NUMPY\x01\x00".to_vec();
    file.extend((text.len() as u16).to_le_bytes());
    file.extend(text);
    file.extend(data);
    pinpool::fuzzing::npy_header(&file);
});
