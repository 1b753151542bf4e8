//! The segments that there are, how many bytes they have together, and open files of many of them, with which they can be
//! put back when their names are taken away.

use crate::message::Seq;
use std::collections::BTreeMap;
use std::fs::File;
use std::ops::Deref;

/// First seq and size in bytes of every segment, the one being written included. Reads as a map; the sum is kept with
/// every change, for it is asked for at each wake-up, and a long backlog has thousands of segments.
#[derive(Debug, Default)]
pub struct Segments {
    sizes: BTreeMap<Seq, u64>,
    bytes: u64,
    /// Files of some of them, but for the one being written.
    held: BTreeMap<Seq, File>,
}

impl From<BTreeMap<Seq, u64>> for Segments {
    fn from(sizes: BTreeMap<Seq, u64>) -> Self {
        Self { bytes: sizes.values().sum(), sizes, held: BTreeMap::new() }
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
        // An open file would keep its room on the disk.
        self.held.remove(&first);
    }

    /// Keeps the file of a segment open until it is removed.
    pub fn hold(&mut self, first: Seq, file: File) {
        self.held.insert(first, file);
    }

    /// The open file of a segment.
    pub fn held(&self, first: Seq) -> Option<&File> {
        self.held.get(&first)
    }

    /// The first few segments whose files are not held, so many that `most` are then.
    pub fn not_held(&self, most: usize) -> Vec<Seq> {
        let free = most.saturating_sub(self.held.len());
        self.sizes.keys().filter(|first| !self.held.contains_key(first)).take(free).copied().collect()
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
