//! Command lines: where they come from, and how they are split into words.

#![forbid(unsafe_code)]

use std::ffi::OsString;
use std::io::{self, Read};
use std::os::unix::ffi::{OsStrExt, OsStringExt};

use crate::cli::args::ExecArgs;
use crate::cli::failure::Failure;
use crate::cli::plan::UsageError;

/// A command as it was given, and as it is run. Never without a word.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct CommandLine {
    /// For people.
    pub(super) text: String,
    pub(super) words: Vec<OsString>,
}

/// All commands, from the arguments or else from standard input.
pub(super) fn read(args: &ExecArgs) -> Result<Vec<CommandLine>, Failure> {
    let mut input = Vec::new();
    let lines: Vec<&[u8]> = if args.commands.is_empty() {
        let read = io::stdin().lock().read_to_end(&mut input);
        read.map_err(|source| Failure::System { action: "read standard input", source })?;
        let lines = input.split(|&byte| byte == b'\n');
        lines.filter(|line| !line.trim_ascii_start().starts_with(b"#")).collect()
    } else {
        args.commands.iter().map(|command| command.as_bytes()).collect()
    };
    let mut commands = Vec::new();
    for line in lines.into_iter().map(<[u8]>::trim_ascii).filter(|line| !line.is_empty()) {
        let text = String::from_utf8_lossy(line).into_owned();
        let words = if args.shell {
            Ok(vec!["sh".into(), "-c".into(), OsString::from_vec(line.to_vec())])
        } else {
            split(line)
        };
        let line = commands.len() + 1;
        let words =
            words.map_err(|problem| UsageError::Command { line, text: text.clone(), problem })?;
        commands.push(CommandLine { text, words });
    }
    if commands.is_empty() { Err(UsageError::NoCommands.into()) } else { Ok(commands) }
}

/// The words of a line, as a shell splits them that expands nothing.
fn split(line: &[u8]) -> Result<Vec<OsString>, &'static str> {
    let mut words = Vec::new();
    // `None` between words: '' is a word too.
    let mut word: Option<Vec<u8>> = None;
    let mut quote = None;
    let mut bytes = line.iter().copied().peekable();
    while let Some(byte) = bytes.next() {
        match (quote, byte) {
            (Some(open), _) if byte == open => quote = None,
            (Some(b'"'), b'\\') if matches!(bytes.peek(), Some(b'"' | b'\\')) => {
                word.get_or_insert_default().extend(bytes.next());
            }
            (Some(_), _) => word.get_or_insert_default().push(byte),
            (None, b'\'' | b'"') => {
                quote = Some(byte);
                word.get_or_insert_default();
            }
            (None, b'\\') => {
                let next = bytes.next().ok_or("a backslash stands at its end; take it away")?;
                word.get_or_insert_default().push(next);
            }
            (None, _) if byte.is_ascii_whitespace() => {
                words.extend(word.take().map(OsString::from_vec));
            }
            (None, _) => word.get_or_insert_default().push(byte),
        }
    }
    if quote.is_some() {
        return Err("a quote is not closed; close it, or put a backslash before it");
    }
    words.extend(word.map(OsString::from_vec));
    match words.first() {
        Some(program) if !program.is_empty() => Ok(words),
        _ => Err("it names no program; begin it with one"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Vec<String> {
        let words = split(line.as_bytes()).unwrap();
        words.into_iter().map(|word| word.into_string().unwrap()).collect()
    }

    #[test]
    fn words_are_split_as_a_shell_splits_them() {
        assert_eq!(words("a  b\tc"), ["a", "b", "c"]);
        assert_eq!(words(r#"a 'b c' "d e" f\ g"#), ["a", "b c", "d e", "f g"]);
        assert_eq!(words(r#"a "x\"y\\z\n" 'x\'"#), ["a", r#"x"y\z\n"#, r"x\"]);
        assert_eq!(words("a '' b\"\"c"), ["a", "", "bc"]);
        assert_eq!(words("a $HOME *"), ["a", "$HOME", "*"], "nothing is expanded");
    }

    #[test]
    fn what_is_no_command_is_refused() {
        for line in ["a 'b", "a \"b", "a \\", "'' a"] {
            assert!(split(line.as_bytes()).is_err(), "{line}");
        }
    }

    #[test]
    fn bytes_that_are_no_text_stay_as_they_are() {
        let words = split(b"a \xff\xfe").unwrap();
        assert_eq!(words[1].as_bytes(), b"\xff\xfe");
    }
}
