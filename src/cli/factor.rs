//! `pinpool factor`: prints what GNU `factor` prints, for numbers below 2^128.
//!
//! Numbers come from the arguments, else from standard input, parted by blanks, tabs and newlines.
//! Whole blocks are read, and the numbers of a block are factored together, so that the batch
//! kernels and not the text set the pace. What a block gave is written before the next is asked
//! for, so whoever waits for an answer at the other end of a pipe gets it. A number of 2^64 and more is
//! factored alone; where that takes long, a terminal is told how far it is.

#![forbid(unsafe_code)]

use std::ffi::OsString;
use std::io::{self, IsTerminal, Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::time::{Duration, Instant};

use pinpool_kernels::primes::{Factors, Progress, factor_slice, factor_u128};

use super::exit::Exit;

/// How much is read at once.
const BLOCK_BYTES: usize = 1 << 17;
/// How many numbers are factored together: enough to fill the widest batch kernel many times over.
const BATCH: usize = 4096;
/// How often a terminal is told how far a long number is.
const TELL_EVERY: Duration = Duration::from_millis(300);

/// Factors the arguments, or standard input where there are none.
pub(super) fn run(numbers: &[OsString]) -> Exit {
    let mut printer = Printer::new(io::stdout().lock(), io::stderr().lock());
    printer.tells = io::stderr().is_terminal().then_some(TELL_EVERY);
    let done = if numbers.is_empty() {
        printer.read(io::stdin().lock())
    } else {
        numbers
            .iter()
            .try_for_each(|number| printer.token(number.as_bytes()))
            .and_then(|()| printer.flush())
    };
    match done {
        Ok(()) if printer.all_good => Exit::Done,
        Ok(()) => Exit::Failed,
        Err(error) => Exit::from_stream(&error, &mut printer.errors),
    }
}

/// Why a token was not factored.
#[derive(Debug, PartialEq, Eq)]
enum TokenError {
    Invalid,
    TooLarge,
}

struct Printer<W, E> {
    out: W,
    errors: E,
    /// Numbers that wait to be factored.
    batch: Vec<u64>,
    factors: Vec<Factors>,
    text: Vec<u8>,
    all_good: bool,
    /// How often somebody who looks at `errors` is told how far a long number is.
    tells: Option<Duration>,
}

impl<W: Write, E: Write> Printer<W, E> {
    fn new(out: W, errors: E) -> Printer<W, E> {
        Printer {
            out,
            errors,
            batch: Vec::with_capacity(BATCH),
            factors: Vec::new(),
            text: Vec::new(),
            all_good: true,
            tells: None,
        }
    }

    fn read(&mut self, mut input: impl Read) -> io::Result<()> {
        let mut block = vec![0; BLOCK_BYTES];
        // The beginning of a token that the last block broke off.
        let mut broken: Vec<u8> = Vec::new();
        loop {
            let len = match input.read(&mut block) {
                Ok(0) => break,
                Ok(len) => len,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => {
                    self.flush()?;
                    self.complain(&format!("error reading input: {}", plain(&error)))?;
                    return Ok(());
                }
            };
            let mut rest = &block[..len];
            while let Some(end) = rest.iter().position(|&b| is_separator(b)) {
                if broken.is_empty() {
                    self.token_unless_empty(&rest[..end])?;
                } else {
                    broken.extend_from_slice(&rest[..end]);
                    let token = std::mem::take(&mut broken);
                    self.token_unless_empty(&token)?;
                }
                rest = &rest[end + 1..];
            }
            broken.extend_from_slice(rest);
            self.flush()?;
        }
        self.token_unless_empty(&broken)?;
        self.flush()
    }

    fn token_unless_empty(&mut self, token: &[u8]) -> io::Result<()> {
        if token.is_empty() { Ok(()) } else { self.token(token) }
    }

    fn token(&mut self, token: &[u8]) -> io::Result<()> {
        match parse(token) {
            Ok(n) => match u64::try_from(n) {
                Ok(n) => {
                    self.batch.push(n);
                    if self.batch.len() == BATCH { self.flush() } else { Ok(()) }
                }
                Err(_) => self.long(n),
            },
            Err(error) => {
                self.flush()?;
                let token = quoted(token);
                self.complain(&match error {
                    TokenError::Invalid => format!("{token} is not a valid positive integer"),
                    TokenError::TooLarge => {
                        format!("{token} is too large; numbers below 2^128 can be factored")
                    }
                })
            }
        }
    }

    /// Factors and writes a number that no batch takes, after what waits.
    fn long(&mut self, n: u128) -> io::Result<()> {
        self.flush()?;
        let (errors, tells) = (&mut self.errors, self.tells);
        let (mut told, mut last) = (false, Instant::now());
        let factors = factor_u128(n, |progress: &Progress| {
            if tells.is_some_and(|every| last.elapsed() >= every) {
                let Progress { composite, curves, bound, .. } = progress;
                // Over the line before it; nobody to tell is no reason to stop.
                let _ = write!(errors, "\r\x1b[K{composite}: {curves} curves, B1 = {bound}");
                let _ = errors.flush();
                (told, last) = (true, Instant::now());
            }
            true
        });
        if told {
            let _ = write!(self.errors, "\r\x1b[K");
        }
        match factors {
            Ok(factors) => {
                let factors = factors.iter().map(|p| format!(" {p}")).collect::<String>();
                writeln!(self.out, "{n}:{factors}")?;
                self.out.flush()
            }
            Err(error) => self.complain(&format!("{n}: {error}")),
        }
    }

    /// Factors and writes what waits.
    fn flush(&mut self) -> io::Result<()> {
        self.factors.resize(self.batch.len(), Factors::NONE);
        factor_slice(&self.batch, &mut self.factors);
        self.text.clear();
        push_lines(&mut self.text, &self.batch, &self.factors);
        self.batch.clear();
        self.out.write_all(&self.text)?;
        self.out.flush()
    }

    fn complain(&mut self, what: &str) -> io::Result<()> {
        self.all_good = false;
        // Nobody to complain to is no reason to leave the rest undone.
        let _ = writeln!(self.errors, "pinpool factor: {what}");
        Ok(())
    }
}

fn is_separator(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n')
}

/// A token as GNU `factor` reads it: blanks, a plus sign, decimal digits; a NUL ends it.
fn parse(token: &[u8]) -> Result<u128, TokenError> {
    let token = token.split(|&b| b == 0).next().unwrap_or_default();
    let blanks = token.iter().take_while(|&&b| b == b' ').count();
    let digits = &token[blanks..];
    let digits = digits.strip_prefix(b"+").unwrap_or(digits);
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return Err(TokenError::Invalid);
    }
    // As u64 while it fits: most do, and the multiplication is a fraction of the wide one.
    let mut short = 0u64;
    let mut at = 0;
    while let Some(digit) = digits.get(at)
        && let Some(next) = short.checked_mul(10)
        && let Some(next) = next.checked_add(u64::from(digit - b'0'))
    {
        short = next;
        at += 1;
    }
    let mut n = u128::from(short);
    for digit in &digits[at..] {
        let next = n.checked_mul(10).and_then(|n| n.checked_add(u128::from(digit - b'0')));
        n = next.ok_or(TokenError::TooLarge)?;
    }
    Ok(n)
}

/// The token in apostrophes, with what a terminal must not see escaped.
fn quoted(token: &[u8]) -> String {
    let text = String::from_utf8_lossy(token);
    let mut quoted = String::from("'");
    for c in text.chars() {
        if c.is_control() || c == '\'' {
            quoted.extend(c.escape_default());
        } else {
            quoted.push(c);
        }
    }
    quoted.push('\'');
    quoted
}

/// The system's words for an error, without Rust's "(os error 28)".
fn plain(error: &io::Error) -> String {
    let text = error.to_string();
    text.split(" (os error").next().unwrap_or_default().to_owned()
}

/// Writes numbers that are factored already, in the same form.
pub(super) fn write_lines(
    numbers: &[u64],
    factors: &[Factors],
    out: &mut impl Write,
) -> io::Result<()> {
    let mut text = Vec::new();
    for (numbers, factors) in numbers.chunks(BATCH).zip(factors.chunks(BATCH)) {
        text.clear();
        push_lines(&mut text, numbers, factors);
        out.write_all(&text)?;
    }
    out.flush()
}

/// A line for each number: itself, a colon, its prime factors in rising order.
fn push_lines(text: &mut Vec<u8>, numbers: &[u64], factors: &[Factors]) {
    for (&n, factors) in numbers.iter().zip(factors) {
        push_decimal(text, n);
        text.push(b':');
        for prime in factors.prime_factors() {
            text.push(b' ');
            push_decimal(text, prime);
        }
        text.push(b'\n');
    }
}

fn push_decimal(text: &mut Vec<u8>, mut n: u64) {
    let mut digits = [0; 20];
    let mut at = digits.len();
    loop {
        at -= 1;
        digits[at] = b'0' + (n % 10) as u8;
        n /= 10;
        if n == 0 {
            break;
        }
    }
    text.extend_from_slice(&digits[at..]);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn factored(input: impl Read) -> (String, String, bool) {
        let mut printer = Printer::new(Vec::new(), Vec::new());
        printer.read(input).unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (text(printer.out), text(printer.errors), printer.all_good)
    }

    #[test]
    fn tokens_are_read_as_gnu_factor_reads_them() {
        let good: [(&[u8], u128); 8] = [
            (b"0", 0),
            (b"007", 7),
            (b"+7", 7),
            (b"  12", 12),
            (b"12\0x", 12),
            (b"0000000000000000000000018446744073709551615", u64::MAX as u128),
            (b"18446744073709551616", 1 << 64),
            (b"340282366920938463463374607431768211455", u128::MAX),
        ];
        for (token, n) in good {
            assert_eq!(parse(token), Ok(n));
        }
        for token in ["", "+", "-3", "0x10", "1e3", "1_000", "12 ", "++1", "8\r", "٣"] {
            assert_eq!(parse(token.as_bytes()), Err(TokenError::Invalid), "{token}");
        }
        let beyond = b"340282366920938463463374607431768211456";
        assert_eq!(parse(beyond), Err(TokenError::TooLarge));
    }

    #[test]
    fn zero_and_one_have_no_factors_and_the_rest_is_done_after_a_bad_line() {
        let (out, errors, all_good) = factored(
            &b"0 1\t6\n\nx 8\r\n18446744073709551617\n340282366920938463463374607431768211456\n5"[..],
        );
        assert_eq!(out, "0:\n1:\n6: 2 3\n18446744073709551617: 274177 67280421310721\n5: 5\n");
        assert_eq!(
            errors,
            "pinpool factor: 'x' is not a valid positive integer\n\
             pinpool factor: '8\\r' is not a valid positive integer\n\
             pinpool factor: '340282366920938463463374607431768211456' is too large; \
             numbers below 2^128 can be factored\n"
        );
        assert!(!all_good);
    }

    #[test]
    fn a_long_number_tells_how_far_it_is_and_wipes_it_away() {
        let mut printer = Printer::new(Vec::new(), Vec::new());
        printer.tells = Some(Duration::ZERO);
        let n = 1_125_899_906_842_597u128 * 1_125_899_906_842_589;
        printer.token(n.to_string().as_bytes()).unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        let (out, errors) = (text(printer.out), text(printer.errors));
        assert_eq!(out, format!("{n}: 1125899906842589 1125899906842597\n"));
        assert!(errors.contains(&format!("{n}: 0 curves, B1 = ")), "{errors:?}");
        assert!(errors.ends_with("\r\x1b[K"), "{errors:?}");
    }

    /// Gives its bytes a few at a time.
    struct Dribble<'a>(&'a [u8], usize);

    impl Read for Dribble<'_> {
        fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
            let len = self.1.min(self.0.len());
            out[..len].copy_from_slice(&self.0[..len]);
            self.0 = &self.0[len..];
            Ok(len)
        }
    }

    #[test]
    fn tokens_broken_between_reads_are_whole_again() {
        let input: String = (0..2000).map(|n| format!("{}\n", n * 9973)).collect();
        let whole = factored(input.as_bytes());
        for step in [1, 2, 3, 7, 1000] {
            assert_eq!(factored(Dribble(input.as_bytes(), step)), whole, "{step} at a time");
        }
    }
}
