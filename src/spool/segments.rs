//! The segments that there are, and how many bytes they have together. Pure.

use crate::message::Seq;
use std::collections::BTreeMap;
use std::ops::Deref;

/// First seq and size in bytes of every segment, the one being written included. Reads as a map; the sum is kept with
/// every change, for it is asked for at each wake-up, and a long backlog has thousands of segments.
#[derive(Debug, Default)]
pub struct Segments {
    sizes: BTreeMap<Seq, u64>,
    bytes: u64,
}

impl From<BTreeMap<Seq, u64>> for Segments {
    fn from(sizes: BTreeMap<Seq, u64>) -> Self {
        Self { bytes: sizes.values().sum(), sizes }
    }
}

impl Deref for Segments {
    type Target = BTreeMap<Seq, u64>;

    fn deref(&self) -> &Self::Target {
        &self.sizes
    }
}

impl Segments {
    /// Bytes of all of them.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Adds one, in the place of one with the same first seq.
    pub fn insert(&mut self, first: Seq, size: u64) {
        let former = self.sizes.insert(first, size);
        self.bytes = self.bytes - former.unwrap_or(0) + size;
    }

    /// Removes one, where it is there.
    pub fn remove(&mut self, first: Seq) {
        self.bytes -= self.sizes.remove(&first).unwrap_or(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn the_sum_is_that_of_the_segments(
            found in proptest::collection::btree_map(0u64..20, 0u64..1000, 0..20),
            changes in proptest::collection::vec((0u64..20, proptest::option::of(0u64..1000)), 0..40),
        ) {
            let found: BTreeMap<Seq, u64> = found.into_iter().map(|(first, size)| (Seq(first), size)).collect();
            let mut segments = Segments::from(found);

            for (first, size) in changes {
                match size {
                    Some(size) => segments.insert(Seq(first), size),
                    None => segments.remove(Seq(first)),
                }
            }

            prop_assert_eq!(segments.bytes(), segments.values().sum::<u64>());
        }
    }
}
