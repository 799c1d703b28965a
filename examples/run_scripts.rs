//! Several scripts in parallel: each worker runs one at a time, on its own core, and the outputs
//! come back in the order of the scripts.
//!
//! The command line has the same as `pinpool exec`, for programs that are there already.

use std::process::Command;

use pinpool::{Pool, indices};

/// What is to run: here a line of shell each, in earnest the path of a program.
const SCRIPTS: [&str; 4] = [
    "echo one; sleep 0.02",
    "for i in 1 2 3; do echo two $i; done",
    "printf 'three, on a line without an end'",
    "echo four is lost >&2; exit 4",
];

fn main() -> pinpool::Result<()> {
    let pool = Pool::builder().workers(2).oversubscribe(true).build()?;
    // 64 KiB at most a script; a longer output is an error that says so.
    let outputs = pool.map_bytes(indices(SCRIPTS.len() as u64), 1 << 16, |i, _| {
        let script = SCRIPTS[i as usize];
        let output = Command::new("sh").arg("-c").arg(script).output();
        let output = output.expect("a shell is there");
        let status = output.status.code().unwrap_or(-1);
        // The status in the first line, then all that the script wrote.
        [format!("{status}\n").into_bytes(), output.stdout].concat()
    })?;
    for (script, output) in SCRIPTS.iter().zip(outputs.iter()) {
        println!("{script:?}: {:?}", String::from_utf8_lossy(output));
    }
    let outputs: Vec<&[u8]> = outputs.iter().collect();
    let expected: [&[u8]; 4] =
        [b"0\none\n", b"0\ntwo 1\ntwo 2\ntwo 3\n", b"0\nthree, on a line without an end", b"4\n"];
    assert_eq!(outputs, expected);
    Ok(())
}
