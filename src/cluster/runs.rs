//! Each rank's run of bytes in what is gathered of all, cut into windows that MPI can count.

#![forbid(unsafe_code)]

use std::ops::Range;

/// Where the bytes of each rank lie among those of all.
#[derive(Debug)]
pub(super) struct Runs {
    /// Where each rank's begin, and the end of all.
    starts: Vec<usize>,
}

impl Runs {
    pub(super) fn new(counts: &[usize]) -> Runs {
        let mut starts = vec![0; counts.len() + 1];
        for (rank, count) in counts.iter().enumerate() {
            starts[rank + 1] = starts[rank] + count;
        }
        Runs { starts }
    }

    /// All bytes, in windows of at most so many; none where there are no bytes.
    pub(super) fn windows(&self, bytes: usize) -> impl Iterator<Item = Range<usize>> + use<> {
        let end = self.starts[self.starts.len() - 1];
        (0..end).step_by(bytes).map(move |at| at..end.min(at + bytes))
    }

    fn overlap(&self, rank: usize, window: &Range<usize>) -> Range<usize> {
        let clamp = |at: usize| at.clamp(window.start, window.end);
        clamp(self.starts[rank])..clamp(self.starts[rank + 1])
    }

    /// Which of a rank's own bytes lie in the window.
    pub(super) fn part(&self, rank: usize, window: &Range<usize>) -> Range<usize> {
        let overlap = self.overlap(rank, window);
        let own = |at: usize| at.saturating_sub(self.starts[rank]);
        if overlap.is_empty() { 0..0 } else { own(overlap.start)..own(overlap.end) }
    }

    /// How many bytes of the window each rank has, and where in it.
    pub(super) fn layout(&self, window: &Range<usize>) -> (Vec<i32>, Vec<i32>) {
        let overlaps = (0..self.starts.len() - 1).map(|rank| self.overlap(rank, window));
        overlaps.map(|o| (o.len() as i32, (o.start - window.start) as i32)).unzip()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_put_together_what_the_ranks_have() {
        let ranks: [&[u8]; 5] = [b"abc", b"", b"defghij", b"k", b""];
        let counts: Vec<usize> = ranks.iter().map(|bytes| bytes.len()).collect();
        let runs = Runs::new(&counts);
        for bytes in 1..20 {
            let mut all = Vec::new();
            for window in runs.windows(bytes) {
                let (lens, starts) = runs.layout(&window);
                let mut part = vec![0; window.len()];
                for (rank, own) in ranks.iter().enumerate() {
                    let own = &own[runs.part(rank, &window)];
                    assert_eq!(own.len() as i32, lens[rank]);
                    let at = starts[rank] as usize;
                    part[at..at + own.len()].copy_from_slice(own);
                }
                all.extend(part);
            }
            assert_eq!(all, b"abcdefghijk", "windows of {bytes}");
        }
        assert_eq!(Runs::new(&[0, 0]).windows(8).count(), 0);
    }
}
