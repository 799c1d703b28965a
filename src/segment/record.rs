//! A record of the registry: what is known of one named segment, as a small text.
//!
//! Text in, text out; what is read here was written by this user's processes, and is checked all the
//! same. Files and locks are `registry`'s.
#![forbid(unsafe_code)]

use std::fmt::Write as _;

use crate::sys::mem;

/// What is known of one named segment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Record {
    pub(crate) name: String,
    /// Device and inode; `None` while it is being made.
    pub(crate) identity: Option<(u64, u64)>,
    /// Who made it; for people only, since a pid is not an identity.
    pub(crate) pid: u32,
    pub(crate) persist: bool,
}

impl Record {
    /// Said before the object is made.
    pub(crate) fn intent(name: &str) -> Self {
        Self { name: name.to_owned(), identity: None, pid: std::process::id(), persist: false }
    }

    /// Said of an object that is there.
    pub(crate) fn of(name: &str, stat: &mem::Stat, persist: bool) -> Self {
        Self { identity: Some(mem::identity(stat)), persist, ..Self::intent(name) }
    }

    /// As lines of `key value`.
    pub(super) fn to_text(&self) -> String {
        let mut text = format!("pinpool-segment 1\nname {}\npid {}\n", self.name, self.pid);
        if let Some((device, inode)) = self.identity {
            write!(text, "device {device}\ninode {inode}\n").expect("a String takes any text");
        }
        writeln!(text, "persist {}", u8::from(self.persist)).expect("a String takes any text");
        text
    }

    /// `None`: not a record.
    pub(super) fn from_text(text: &str) -> Option<Self> {
        let rest = text.strip_prefix("pinpool-segment 1\n")?;
        let field =
            |key: &str| rest.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(' '));
        let number = |key: &str| field(key).and_then(|text| text.parse::<u64>().ok());
        Some(Self {
            name: field("name")?.to_owned(),
            identity: number("device").zip(number("inode")),
            pid: field("pid")?.parse().ok()?,
            persist: match field("persist")? {
                "0" => false,
                "1" => true,
                _ => return None,
            },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_read_as_it_was_written() {
        let intent = Record::intent("a");
        let made = Record { identity: Some((1, u64::MAX)), persist: true, ..intent.clone() };
        for record in [intent, made] {
            assert_eq!(Record::from_text(&record.to_text()), Some(record));
        }
    }

    #[test]
    fn what_is_no_record_is_none() {
        let good = Record::intent("a").to_text();
        for bad in [
            "",
            "pinpool-segment 2\nname a\n",
            &good.replace("persist 0", "persist x"),
            &good[..20],
        ] {
            assert_eq!(Record::from_text(bad), None, "{bad}");
        }
    }
}
