//! Which bytes of a file are here: a set of byte ranges.

use std::collections::BTreeMap;
use std::ops::Range;

/// Ranges that neither overlap nor touch, by where they begin.
#[derive(Debug, Clone, Default)]
pub(super) struct Intervals(BTreeMap<u64, u64>);

impl Intervals {
    /// Adds a range; what of it is there already stays.
    pub(super) fn insert(&mut self, range: Range<u64>) {
        let Range { mut start, mut end } = range;
        if start >= end {
            return;
        }
        while let Some((&found, &until)) = self.0.range(..=end).next_back()
            && until >= start
        {
            start = start.min(found);
            end = end.max(until);
            self.0.remove(&found);
        }
        self.0.insert(start, end);
    }

    /// Whether all of a range is there; of an empty one it is.
    pub(super) fn contains(&self, range: &Range<u64>) -> bool {
        range.is_empty() || self.first_missing(range.start) >= range.end
    }

    /// The first byte from `at` on that is not there.
    pub(super) fn first_missing(&self, at: u64) -> u64 {
        match self.0.range(..=at).next_back() {
            Some((_, &end)) if end > at => end,
            _ => at,
        }
    }

    /// The first byte from `at` on that is there.
    pub(super) fn first_there(&self, at: u64) -> Option<u64> {
        if self.first_missing(at) > at {
            return Some(at);
        }
        self.0.range(at..).next().map(|(&start, _)| start)
    }

    /// Where the bytes begin that are there without a gap up to `at`; `at` where the one before it is not.
    pub(super) fn run_before(&self, at: u64) -> u64 {
        match self.0.range(..at).next_back() {
            Some((&start, &end)) if end >= at => start,
            _ => at,
        }
    }

    /// Where the bytes begin that are missing without a gap up to `at`; `at` where the one before it is there.
    pub(super) fn gap_before(&self, at: u64) -> u64 {
        let before = self.0.range(..at).next_back();
        before.map_or(0, |(_, &end)| end.min(at))
    }

    /// How many bytes are there.
    pub(super) fn total(&self) -> u64 {
        self.0.iter().map(|(start, end)| end - start).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(ranges: &[Range<u64>]) -> Intervals {
        let mut intervals = Intervals::default();
        for range in ranges {
            intervals.insert(range.clone());
        }
        intervals
    }

    #[expect(clippy::single_range_in_vec_init, reason = "lists of ranges are meant")]
    #[test]
    fn ranges_are_joined() {
        for (inserted, expected) in [
            (&[][..], &[][..]),
            (&[5..5], &[]),
            (&[5..7], &[(5, 7)]),
            (&[0..2, 4..6], &[(0, 2), (4, 6)]),
            (&[4..6, 0..2], &[(0, 2), (4, 6)]),
            (&[0..2, 2..4], &[(0, 4)]),
            (&[2..4, 0..2], &[(0, 4)]),
            (&[0..2, 4..6, 2..4], &[(0, 6)]),
            (&[0..2, 4..6, 1..5], &[(0, 6)]),
            (&[0..9, 4..6], &[(0, 9)]),
            (&[4..6, 0..9], &[(0, 9)]),
            (&[1..2, 3..4, 5..6, 7..8, 2..7], &[(1, 8)]),
            (&[1..2, 3..4, 5..6, 2..5], &[(1, 6)]),
        ] {
            let intervals = of(inserted);
            let found: Vec<_> = intervals.0.iter().map(|(s, e)| (*s, *e)).collect();
            assert_eq!(found, expected, "{inserted:?}");
            let total: u64 = expected.iter().map(|(start, end)| end - start).sum();
            assert_eq!(intervals.total(), total);
        }
    }

    /// Against a plain list of bytes, for every place and every set of a few ranges.
    #[test]
    fn every_question_is_answered_as_a_list_of_bytes_would() {
        const SIZE: u64 = 9;
        for bits in 0..1_u32 << SIZE {
            let is_there = |at: u64| at < SIZE && bits >> at & 1 == 1;
            let mut intervals = Intervals::default();
            // From both ends, so that ranges are joined on either side.
            for at in (0..SIZE).step_by(2).chain((0..SIZE).rev()) {
                if is_there(at) {
                    intervals.insert(at..at + 1);
                }
            }
            for at in 0..=SIZE {
                let missing = (at..=SIZE).find(|at| !is_there(*at)).unwrap();
                assert_eq!(intervals.first_missing(at), missing, "{bits:b} {at}");
                let there = (at..SIZE).find(|at| is_there(*at));
                assert_eq!(intervals.first_there(at), there, "{bits:b} {at}");
                let run = (0..at).rev().take_while(|at| is_there(*at)).last();
                assert_eq!(intervals.run_before(at), run.unwrap_or(at), "{bits:b} {at}");
                let gap = (0..at).rev().take_while(|at| !is_there(*at)).last();
                assert_eq!(intervals.gap_before(at), gap.unwrap_or(at), "{bits:b} {at}");
                for end in at..=SIZE {
                    let all = (at..end).all(is_there);
                    assert_eq!(intervals.contains(&(at..end)), all, "{bits:b} {at}..{end}");
                }
            }
        }
    }
}
