//! The last bytes of an output.

use std::collections::VecDeque;

/// A queue of bytes that holds little more memory than bytes, and none while it is empty.
#[derive(Default)]
pub(super) struct Recent {
    bytes: VecDeque<u8>,
}

impl Recent {
    pub(super) fn len(&self) -> usize {
        self.bytes.len()
    }

    pub(super) fn push(&mut self, bytes: &[u8]) {
        let length = self.bytes.len() + bytes.len();
        if length > self.bytes.capacity() {
            // To the next power of two: a queue that grows by doubling what it happens to have may take twice its bound.
            self.bytes.reserve_exact(length.next_power_of_two() - self.bytes.len());
        }
        self.bytes.extend(bytes);
    }

    /// Adds bytes before the first.
    pub(super) fn put_before(&mut self, bytes: &[u8]) {
        self.bytes.reserve_exact(bytes.len());
        bytes.iter().rev().for_each(|byte| self.bytes.push_front(*byte));
    }

    /// Forgets all but the last `length` bytes.
    pub(super) fn shorten(&mut self, length: usize) {
        let surplus = self.bytes.len().saturating_sub(length);
        self.bytes.drain(..surplus);
        if self.bytes.is_empty() {
            self.bytes = VecDeque::new();
        }
    }

    /// The bytes after the first `skipped`, as far as they lie together; empty only at the end.
    pub(super) fn after(&self, skipped: usize) -> &[u8] {
        let (front, back) = self.bytes.as_slices();
        match front.get(skipped..) {
            Some(rest) if !rest.is_empty() => rest,
            _ => &back[(skipped - front.len()).min(back.len())..],
        }
    }
}
