//! Makes `include/pinpool.h` from `src/capi`, with `--check` only says whether it is current.

use std::path::Path;
use std::process::ExitCode;

use cbindgen::{Builder, Config, DocumentationStyle, Language, Style};

/// Where the interface is declared, in the order of the header. Not `mod`: cbindgen follows the modules
/// of a file, and would declare all of it once more.
const SOURCES: [&str; 11] = [
    "status", "library", "dtype", "options", "pool", "array", "kernel", "foreign", "job",
    "builtin", "pending",
];

/// Rust's names, and C's.
const NAMES: [(&str, &str); 15] = [
    ("Status", "pp_status"),
    ("ErrorInfo", "pp_error_info"),
    ("Options", "pp_options"),
    ("Pool", "pp_pool"),
    ("Array", "pp_array"),
    ("CDtype", "pp_dtype"),
    ("Part", "pp_part"),
    ("Chunk", "pp_chunk"),
    ("Context", "pp_context"),
    ("Kernel", "pp_kernel"),
    ("Access", "pp_access"),
    ("Arg", "pp_arg"),
    ("Job", "pp_job"),
    ("ProgressFunction", "pp_progress"),
    ("Pending", "pp_pending"),
];

const HEAD: &str = "\
/* pinpool: pinned worker processes over shared-memory arrays. A page with whole programs: docs/c.md.
 *
 * Pointers are null or point to what their type says, for as long as the call takes (an array among
 * a job's arguments: until the job is over). What was made here is freed once, by its own function.
 * Handles may be used by several threads at once, except by their `free` and by `pp_pending_result`.
 * Who reads or writes elements of an array while a job works on it has a data race.
 *
 * Made from src/capi by `cargo run --manifest-path capi/header/Cargo.toml`; not to be edited. */";

const MACROS: &str = "\
/* A job with all defaults. */
#define PP_JOB_INIT \\
  { sizeof(pp_job), NULL, 0, NULL, 0, 0, PP_STREAM_AUTO, 0.0, 0.0, false, NULL, NULL, 0.1 }";

fn header(root: &Path) -> String {
    let mut config = Config {
        language: Language::C,
        style: Style::Type,
        cpp_compat: true,
        documentation_style: DocumentationStyle::C99,
        header: Some(HEAD.into()),
        after_includes: Some(MACROS.into()),
        include_guard: Some("PINPOOL_H".into()),
        usize_is_size_t: true,
        no_includes: true,
        sys_includes: ["stdbool.h", "stddef.h", "stdint.h"].map(String::from).into(),
        line_length: 100,
        tab_width: 2,
        ..Config::default()
    };
    config.export.rename = NAMES.iter().map(|(r, c)| ((*r).into(), (*c).into())).collect();
    let mut builder = Builder::new().with_config(config);
    for name in SOURCES {
        builder = builder.with_src(root.join("src/capi").join(name).with_extension("rs"));
    }
    let mut text = Vec::new();
    builder.generate().expect("the sources compile").write(&mut text);
    String::from_utf8(text).expect("the header is text")
}

/// What is declared twice: functions (`name(` after a type at the start of a line), constants and types
/// (`#define NAME`, `} NAME;`, `typedef … NAME;`).
fn declared_twice(header: &str) -> Vec<String> {
    let word = |text: &str| {
        let end = text.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(text.len());
        text[..end].to_owned()
    };
    let last = |text: &str| {
        let start = text.rfind(|c: char| !c.is_alphanumeric() && c != '_').map_or(0, |at| at + 1);
        text[start..].to_owned()
    };
    let mut names: Vec<String> = Vec::new();
    for line in header.lines() {
        if let Some(rest) = line.strip_prefix("#define ") {
            names.push(word(rest));
        } else if let Some(name) = line.strip_prefix("} ").and_then(|rest| rest.strip_suffix(';')) {
            names.push(word(name));
        } else if line.starts_with("typedef ") && line.ends_with(';') {
            let of_function = line.split_once("(*").map(|(_, rest)| word(rest));
            names.push(of_function.unwrap_or_else(|| last(&line[..line.len() - 1])));
        } else if line.starts_with(|c: char| c.is_alphabetic())
            && let Some((before, _)) = line.split_once('(')
        {
            names.push(last(before));
        }
    }
    names.sort();
    let mut twice: Vec<String> =
        names.windows(2).filter(|pair| pair[0] == pair[1]).map(|pair| pair[0].clone()).collect();
    twice.dedup();
    twice
}

fn main() -> ExitCode {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let path = root.join("include/pinpool.h");
    let made = header(&root);
    let twice = declared_twice(&made);
    if !twice.is_empty() {
        eprintln!("the header declares more than once: {}", twice.join(", "));
        return ExitCode::FAILURE;
    }
    if std::env::args().nth(1).as_deref() != Some("--check") {
        std::fs::write(&path, made).expect("include/pinpool.h can be written");
        return ExitCode::SUCCESS;
    }
    if std::fs::read_to_string(&path).is_ok_and(|text| text == made) {
        return ExitCode::SUCCESS;
    }
    eprintln!("include/pinpool.h is not current; cargo run --manifest-path capi/header/Cargo.toml");
    ExitCode::FAILURE
}
