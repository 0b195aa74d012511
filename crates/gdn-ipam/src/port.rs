//! Host ports.

use std::collections::{BTreeSet, HashSet, VecDeque};

use crate::{Error, Result};

/// Hands out ports of a range in the order in which they became free, and any other port on request.
#[derive(Clone, Debug)]
pub struct PortPool {
    start: u16,
    count: u16,
    /// Ports of the range, longest free first. May name ports that are in use; those are passed over.
    queue: VecDeque<u16>,
    /// Ports that `queue` names.
    queued: HashSet<u16>,
    /// Every port in use, also outside the range.
    in_use: BTreeSet<u16>,
}

impl PortPool {
    /// A pool of `count` ports from `start`. `first` says with which it begins: the one after the last that an earlier life
    /// handed out, so that a port just given up by a crash is not the next to be handed out.
    ///
    /// # Errors
    /// [`Error::InvalidPool`] when there is none, port 0 is among them, or they go beyond 65535.
    pub fn new(start: u16, count: u16, first: Option<u16>) -> Result<Self> {
        let invalid = |reason| Error::InvalidPool { pool: format!("{count} ports from {start}"), reason };
        if count == 0 || start == 0 {
            return Err(invalid("there must be a port, and 0 is none"));
        }
        let last = start.checked_add(count - 1).ok_or_else(|| invalid("the highest port is 65535"))?;
        let first = first.filter(|port| (start..=last).contains(port)).unwrap_or(start);
        let queue: VecDeque<u16> = (first..=last).chain(start..first).collect();
        let queued = queue.iter().copied().collect();
        Ok(PortPool { start, count, queue, queued, in_use: BTreeSet::new() })
    }

    /// Hands out the port that is free for longest.
    ///
    /// # Errors
    /// [`Error::NoPort`].
    pub fn acquire(&mut self) -> Result<u16> {
        while let Some(port) = self.queue.pop_front() {
            self.queued.remove(&port);
            if self.in_use.insert(port) {
                return Ok(port);
            }
        }
        Err(Error::NoPort)
    }

    /// Takes a certain port, of the range or not.
    ///
    /// # Errors
    /// [`Error::PortTaken`].
    pub fn acquire_exactly(&mut self, port: u16) -> Result<()> {
        // Its place in the queue is passed over when its turn comes.
        if self.in_use.insert(port) { Ok(()) } else { Err(Error::PortTaken(port)) }
    }

    /// Makes a port free: it is the last of the range to be handed out again. Answers whether it was in use.
    pub fn release(&mut self, port: u16) -> bool {
        let was_in_use = self.in_use.remove(&port);
        let of_range = port >= self.start && port - self.start < self.count;
        if was_in_use && of_range && self.queued.insert(port) {
            self.queue.push_back(port);
        }
        was_in_use
    }

    /// Every port in use, in order.
    pub fn in_use(&self) -> impl Iterator<Item = u16> + '_ {
        self.in_use.iter().copied()
    }

    /// How many ports the range has.
    pub fn size(&self) -> u16 {
        self.count
    }

    /// How many ports of the range are free.
    pub fn free(&self) -> usize {
        let of_range = self.in_use.range(self.start..=self.start + (self.count - 1));
        usize::from(self.count) - of_range.count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_come_in_the_order_in_which_they_became_free() {
        let mut pool = PortPool::new(61001, 3, None).unwrap();
        assert_eq!([pool.acquire(), pool.acquire()], [Ok(61001), Ok(61002)]);
        assert!(pool.release(61001));
        assert_eq!(
            [pool.acquire(), pool.acquire(), pool.acquire()],
            [Ok(61003), Ok(61001), Err(Error::NoPort)]
        );
    }

    #[test]
    fn a_port_asked_for_by_number_is_not_handed_out_to_another() {
        let mut pool = PortPool::new(61001, 2, None).unwrap();
        pool.acquire_exactly(61001).unwrap();
        pool.acquire_exactly(80).unwrap();
        assert_eq!(pool.acquire_exactly(80), Err(Error::PortTaken(80)));
        assert_eq!([pool.acquire(), pool.acquire()], [Ok(61002), Err(Error::NoPort)]);
        assert!(pool.release(80) && pool.release(61001));
        assert_eq!([pool.acquire(), pool.acquire()], [Ok(61001), Err(Error::NoPort)]);
        assert_eq!(pool.in_use().collect::<Vec<_>>(), [61001, 61002]);
    }

    #[test]
    fn the_order_goes_on_where_an_earlier_life_stopped() {
        let mut pool = PortPool::new(61001, 4, Some(61003)).unwrap();
        assert_eq!([pool.acquire(), pool.acquire(), pool.acquire()], [Ok(61003), Ok(61004), Ok(61001)]);
        let mut elsewhere = PortPool::new(61001, 4, Some(80)).unwrap();
        assert_eq!(elsewhere.acquire(), Ok(61001));
    }

    #[test]
    fn a_range_that_is_no_pool_is_refused() {
        for (start, count) in [(0, 1), (1, 0), (65535, 2), (61001, 4536)] {
            assert!(PortPool::new(start, count, None).is_err(), "{count} from {start}");
        }
        assert!(PortPool::new(61001, 4535, None).is_ok());
    }

    proptest::proptest! {
        #[test]
        fn a_port_has_one_holder_and_none_is_lost(calls in proptest::collection::vec((0_u8..3, 1_u16..9), 0..300)) {
            let mut pool = PortPool::new(3, 4, None).unwrap();
            let mut held = BTreeSet::new();
            for (call, port) in calls {
                match call {
                    0 => match pool.acquire() {
                        Ok(port) => proptest::prop_assert!((3..7).contains(&port) && held.insert(port)),
                        Err(_) => proptest::prop_assert!((3..7).all(|port| held.contains(&port))),
                    },
                    1 => proptest::prop_assert_eq!(pool.acquire_exactly(port).is_ok(), held.insert(port)),
                    _ => proptest::prop_assert_eq!(pool.release(port), held.remove(&port)),
                }
                proptest::prop_assert_eq!(pool.in_use().collect::<BTreeSet<_>>(), held.clone());
                proptest::prop_assert_eq!(pool.free(), (3..7).filter(|port| !held.contains(port)).count());
                proptest::prop_assert!(pool.queue.len() <= 4);
            }
        }
    }
}
