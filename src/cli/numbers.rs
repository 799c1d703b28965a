//! Numbers as people write them: `40000000`, `40_000_000`, `4e7`, `40M`, `1.5e3`, `64Ki`.
//!
//! Every form is an exact integer: the digits are never a float on the way, so `1e18` and
//! `12345678901234567890` arrive whole, and `1.5` is an error rather than a 1.

#![forbid(unsafe_code)]

use std::fmt;
use std::time::Duration;

/// What is wrong with a number on the command line.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NumberError {
    #[error("{0:?} is no number; write it like 40000000, 40_000_000, 4e7 or 40M")]
    Malformed(String),
    #[error("{0:?} is no whole number; drop the fraction or raise the exponent")]
    Fraction(String),
    #[error("{0:?} is too large; numbers go up to 18446744073709551615")]
    TooLarge(String),
    #[error("0 is too small here; give at least 1")]
    Zero,
    #[error("{0:?} is no time; give seconds above 0, such as 90 or 0.5")]
    Seconds(String),
    #[error("{0:?} is no number above 0; write it like 1.25 or 40")]
    NotAboveZero(String),
}

/// An exact integer in any of the forms above.
pub(crate) fn integer(text: &str) -> Result<u64, NumberError> {
    let malformed = || NumberError::Malformed(text.to_owned());
    let too_large = || NumberError::TooLarge(text.to_owned());
    let Parts { whole, fraction, exponent, factor } = Parts::of(text).ok_or_else(malformed)?;

    let mut digits = whole.chars().chain(fraction.chars()).collect::<String>();
    let mut zeros =
        i64::from(exponent) - fraction.chars().filter(char::is_ascii_digit).count() as i64;
    digits.retain(|c| c != '_');
    while zeros < 0 && digits.ends_with('0') {
        digits.pop();
        zeros += 1;
    }
    let digits = digits.trim_start_matches('0');
    if digits.is_empty() {
        return Ok(0);
    }
    if zeros < 0 {
        // A factor may still make it whole, as in 1.5k: its twos and tens take the places up.
        return fractional(digits, zeros, factor)
            .ok_or_else(|| NumberError::Fraction(text.to_owned()));
    }
    let value: u64 = digits.parse().map_err(|_| too_large())?;
    let scale = u32::try_from(zeros).ok().and_then(|zeros| 10u64.checked_pow(zeros));
    scale
        .and_then(|scale| value.checked_mul(scale))
        .and_then(|value| value.checked_mul(factor))
        .ok_or_else(too_large)
}

/// The same, but not 0.
pub(crate) fn positive(text: &str) -> Result<u64, NumberError> {
    match integer(text)? {
        0 => Err(NumberError::Zero),
        n => Ok(n),
    }
}

/// A positive number that counts things in memory.
pub(crate) fn count(text: &str) -> Result<usize, NumberError> {
    usize::try_from(positive(text)?).map_err(|_| NumberError::TooLarge(text.to_owned()))
}

/// A time in seconds, above 0 and finite.
pub(crate) fn seconds(text: &str) -> Result<Duration, NumberError> {
    let wrong = || NumberError::Seconds(text.to_owned());
    let seconds: f64 = text.parse().map_err(|_| wrong())?;
    let time = Duration::try_from_secs_f64(seconds).map_err(|_| wrong())?;
    if time.is_zero() { Err(wrong()) } else { Ok(time) }
}

/// A number above 0 that need not be whole.
pub(crate) fn above_zero(text: &str) -> Result<f64, NumberError> {
    let number = text.parse().ok().filter(|number: &f64| number.is_finite() && *number > 0.0);
    number.ok_or_else(|| NumberError::NotAboveZero(text.to_owned()))
}

/// `digits`·10^`zeros`·`factor` for negative `zeros`, where that is whole.
fn fractional(digits: &str, zeros: i64, factor: u64) -> Option<u64> {
    let product = digits.parse::<u128>().ok()?.checked_mul(u128::from(factor))?;
    let scale = 10u128.checked_pow(u32::try_from(-zeros).ok()?)?;
    if product % scale == 0 { u64::try_from(product / scale).ok() } else { None }
}

/// A number taken apart: `whole.fraction` × 10^`exponent` × `factor`.
struct Parts<'a> {
    whole: &'a str,
    fraction: &'a str,
    exponent: i32,
    factor: u64,
}

impl Parts<'_> {
    fn of(text: &str) -> Option<Parts<'_>> {
        let (number, factor) = split_suffix(text)?;
        let (mantissa, exponent) = match number.split_once(['e', 'E']) {
            // A suffix and an exponent together would be one too many.
            Some(_) if factor != 1 => return None,
            Some((mantissa, exponent)) => {
                let digits = exponent.strip_prefix(['+', '-']).unwrap_or(exponent);
                if digits.is_empty()
                    || digits.len() > 4
                    || !digits.bytes().all(|b| b.is_ascii_digit())
                {
                    return None;
                }
                (mantissa, exponent.parse().ok()?)
            }
            None => (number, 0),
        };
        let (whole, fraction) = match mantissa.split_once('.') {
            Some((_, "")) => return None,
            Some(parts) => parts,
            None => (mantissa, ""),
        };
        let well_formed = is_digits(whole) && (fraction.is_empty() || is_digits(fraction));
        well_formed.then_some(Parts { whole, fraction, exponent, factor })
    }
}

/// Digits with single underscores between them.
fn is_digits(text: &str) -> bool {
    text.split('_').all(|group| !group.is_empty() && group.bytes().all(|b| b.is_ascii_digit()))
}

fn split_suffix(text: &str) -> Option<(&str, u64)> {
    let number = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let factor = match &text[number.len()..] {
        "" => 1,
        "k" | "K" => 1000,
        "M" => 1_000_000,
        "G" => 1_000_000_000,
        "T" => 1_000_000_000_000,
        "Ki" => 1 << 10,
        "Mi" => 1 << 20,
        "Gi" => 1 << 30,
        "Ti" => 1 << 40,
        _ => return None,
    };
    Some((number, factor))
}

/// Writes a number with a space between groups of three digits, for text that people read.
pub(crate) struct Grouped(pub(crate) u64);

impl fmt::Display for Grouped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = self.0.to_string();
        let mut text = String::new();
        for (i, digit) in digits.chars().enumerate() {
            if i > 0 && (digits.len() - i).is_multiple_of(3) {
                text.push(' ');
            }
            text.push(digit);
        }
        f.pad(&text)
    }
}

/// Writes a number of bytes in the binary unit that suits it.
pub(crate) struct Bytes(pub(crate) u64);

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut value = self.0 as f64;
        let mut units = ["B", "KiB", "MiB", "GiB", "TiB"].into_iter();
        let mut unit = units.next().unwrap_or("B");
        for next in units {
            if value < 1024.0 {
                break;
            }
            (value, unit) = (value / 1024.0, next);
        }
        let places = if unit == "B" { 0 } else { 1 };
        f.pad(&format!("{value:.places$} {unit}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn every_form_gives_the_same_integer() {
        for text in
            ["40000000", "40_000_000", "4e7", "4E+7", "40M", "0.4e8", "40000k", "0.04G", "4.0e7"]
        {
            assert_eq!(integer(text), Ok(40_000_000), "{text}");
        }
        assert_eq!(integer("1e14"), Ok(100_000_000_000_000));
        assert_eq!(integer("64Ki"), Ok(65_536));
        assert_eq!(integer("1.5Ki"), Ok(1536));
        assert_eq!(integer("0.5Gi"), Ok(1 << 29));
        assert_eq!(integer("1000e-3"), Ok(1));
        assert_eq!(integer("18446744073709551615"), Ok(u64::MAX));
        assert_eq!(integer("18446744073709551.615e3"), Ok(u64::MAX));
        assert_eq!(integer("000"), Ok(0));
        assert_eq!(integer("0e9999"), Ok(0));
    }

    #[test]
    fn what_is_no_number_is_refused() {
        for text in [
            "", "x", "4x", "-1", "+1", "1__0", "_1", "1_", "4e", "4e+", "1.", ".5", "4eM", "4e1M",
            "１", "0x10", "1 0", "nan", "1m",
        ] {
            assert_eq!(integer(text), Err(NumberError::Malformed(text.into())), "{text}");
        }
    }

    #[test]
    fn fractions_and_overflow_are_told_apart() {
        for text in ["1.5", "15e-1", "0.0001k", "1.0005Ki"] {
            assert_eq!(integer(text), Err(NumberError::Fraction(text.into())), "{text}");
        }
        for text in ["18446744073709551616", "2e19", "1e9999", "99999999T", "18014398509481984Ki"] {
            assert_eq!(integer(text), Err(NumberError::TooLarge(text.into())), "{text}");
        }
        assert_eq!(positive("0"), Err(NumberError::Zero));
    }

    #[test]
    fn numbers_and_bytes_are_written_for_people() {
        assert_eq!(Grouped(0).to_string(), "0");
        assert_eq!(Grouped(123).to_string(), "123");
        assert_eq!(Grouped(40_000_000).to_string(), "40 000 000");
        assert_eq!(Bytes(1023).to_string(), "1023 B");
        assert_eq!(Bytes(320_000_000).to_string(), "305.2 MiB");
    }

    proptest! {
        #[test]
        fn plain_digits_parse_as_they_are(n: u64) {
            prop_assert_eq!(integer(&n.to_string()), Ok(n));
        }

        #[test]
        fn no_text_makes_it_panic(text in "[0-9eE._+kKMGTi-]{0,12}") {
            let _ = integer(&text);
        }
    }
}
