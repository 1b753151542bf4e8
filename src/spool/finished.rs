//! Which messages of a stream are finished: acknowledged, dropped by a rule, or lost to damage. Pure.

use crate::message::Seq;
use std::collections::BTreeMap;
use std::ops::RangeInclusive;

/// A set of message numbers: everything below `low`, and ranges above it.
///
/// Its size is that of the disorder, not of the backlog: acknowledgements come nearly in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finished {
    low: Seq,
    /// First to last, both in the set; no range touches another one or `low`.
    above: BTreeMap<u64, u64>,
}

impl Finished {
    /// The set in which everything below `low` is finished.
    pub fn below(low: Seq) -> Self {
        Self { low, above: BTreeMap::new() }
    }

    /// The lowest number that is not finished.
    pub fn low(&self) -> Seq {
        self.low
    }

    /// How many numbers above `low` are finished.
    pub fn count_above(&self) -> u64 {
        self.above.iter().map(|(first, last)| last - first + 1).sum()
    }

    /// How many ranges above `low` are finished.
    pub fn range_count(&self) -> usize {
        self.above.len()
    }

    /// The finished ranges above `low`, in order.
    pub fn ranges(&self) -> impl Iterator<Item = RangeInclusive<Seq>> + '_ {
        self.above.iter().map(|(first, last)| Seq(*first)..=Seq(*last))
    }

    /// The lowest number from `seq` on that is not finished.
    pub fn next_unfinished(&self, seq: Seq) -> Seq {
        if seq < self.low {
            return self.low;
        }
        match self.above.range(..=seq.0).next_back() {
            Some((_, last)) if *last >= seq.0 => Seq(last.saturating_add(1)),
            _ => seq,
        }
    }

    /// The last number of the row of unfinished ones that begins at `seq`, at most `at_most`.
    pub fn unfinished_row_end(&self, seq: Seq, at_most: Seq) -> Seq {
        match self.above.range(seq.0..).next() {
            Some((first, _)) if *first <= at_most.0 => Seq(first - 1),
            _ => at_most,
        }
    }

    /// How many numbers from `first` on, and below `end`, are not finished.
    pub fn unfinished_in(&self, first: Seq, end: Seq) -> u64 {
        let first = first.max(self.low);
        if first >= end {
            return 0;
        }
        let overlap = |(begin, last): (&u64, &u64)| last.saturating_add(1).min(end.0) - (*begin).max(first.0);
        let before = self.above.range(..end.0).rev();
        let finished: u64 = before.take_while(|(_, last)| **last >= first.0).map(overlap).sum();
        end.0 - first.0 - finished
    }

    /// The number behind the highest finished one.
    pub fn end(&self) -> Seq {
        self.above.last_key_value().map_or(self.low, |(_, last)| Seq(last.saturating_add(1)))
    }

    /// Adds a range; what is in the set already may be in it. An empty range adds nothing.
    pub fn insert(&mut self, range: &RangeInclusive<Seq>) {
        let (mut first, mut last) = (range.start().0.max(self.low.0), range.end().0);
        if first > last {
            return;
        }
        // Swallow every range that overlaps or touches the new one, from the last backwards.
        while let Some((&begin, &end)) = self.above.range(..=last.saturating_add(1)).next_back() {
            if end.saturating_add(1) < first {
                break;
            }
            first = first.min(begin);
            last = last.max(end);
            self.above.remove(&begin);
        }
        if first == self.low.0 {
            self.low = Seq(last.saturating_add(1));
        } else {
            self.above.insert(first, last);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    proptest! {
        #[test]
        fn it_holds_exactly_what_was_inserted(
            low in 1u64..10, ranges in proptest::collection::vec((1u64..60, 0u64..8), 0..30),
        ) {
            let mut finished = Finished::below(Seq(low));
            let mut model: BTreeSet<u64> = (0..low).collect();

            for (first, length) in ranges {
                finished.insert(&(Seq(first)..=Seq(first + length)));
                model.extend(first..=first + length);
            }

            for seq in 0..80 {
                prop_assert_eq!(finished.next_unfinished(Seq(seq)) != Seq(seq), model.contains(&seq), "seq {}", seq);
            }
            let lowest = (0..).find(|seq| !model.contains(seq)).unwrap();
            prop_assert_eq!(finished.low(), Seq(lowest));
            prop_assert_eq!(finished.end().0, model.last().unwrap() + 1);
            for seq in (0..80).filter(|seq| !model.contains(seq)) {
                let row_end = (seq..=75.max(seq)).take_while(|seq| !model.contains(seq)).last().unwrap();
                prop_assert_eq!(finished.unfinished_row_end(Seq(seq), Seq(75.max(seq))), Seq(row_end));
            }
            for (first, end) in [(0, 80), (5, 30), (20, 21), (40, 10)] {
                let count = (first..end).filter(|seq| !model.contains(seq)).count() as u64;
                prop_assert_eq!(finished.unfinished_in(Seq(first), Seq(end)), count, "{} to {}", first, end);
            }
            prop_assert_eq!(finished.count_above(), model.iter().filter(|seq| **seq > lowest).count() as u64);
            let ranges: Vec<_> = finished.ranges().collect();
            for pair in ranges.windows(2) {
                prop_assert!(pair[0].end().0 + 1 < pair[1].start().0, "ranges touch: {:?}", pair);
            }
        }

        #[test]
        fn acknowledgements_in_any_order_leave_nothing_above(order in Just((1u64..50).collect::<Vec<_>>()).prop_shuffle()) {
            let mut finished = Finished::below(Seq::FIRST);

            for seq in order {
                finished.insert(&(Seq(seq)..=Seq(seq)));
            }

            prop_assert_eq!(finished, Finished::below(Seq(50)));
        }
    }

    #[test]
    #[allow(clippy::reversed_empty_ranges)]
    fn an_empty_range_adds_nothing() {
        let mut finished = Finished::below(Seq(5));

        finished.insert(&(Seq(9)..=Seq(8)));

        assert_eq!(finished, Finished::below(Seq(5)));
    }
}
