//! The host ids that containers have for themselves.

use gdn_types::{Error, ErrorKind, HostIds, Result};

/// Host ids out of which every unprivileged container gets a range of its own, all of one size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IdPool {
    all: HostIds,
    each: u32,
}

impl IdPool {
    /// The fewest ids of a container: system accounts of images are below.
    pub const LEAST_EACH: u32 = 1000;

    /// Ranges of `each` ids, the first of which begins with the first of `all`. What is left at the end is not used.
    ///
    /// # Errors
    /// `InvalidArgument` for fewer than [`IdPool::LEAST_EACH`], and for more than there are.
    pub fn new(all: HostIds, each: u32) -> Result<Self> {
        if (Self::LEAST_EACH..=all.count()).contains(&each) {
            return Ok(IdPool { all, each });
        }
        let (least, most) = (Self::LEAST_EACH, all.count());
        Err(Error::invalid(format!(
            "a container cannot have {each} of the host ids {all}: at least {least} and at most {most}"
        )))
    }

    /// The lowest range of which nobody has any id. Those that are taken may come from another pool.
    ///
    /// # Errors
    /// `ResourceExhausted` when there is none.
    pub(crate) fn free(&self, taken: impl Iterator<Item = HostIds>) -> Result<HostIds> {
        let number = self.all.count() / self.each;
        // The parts of this pool that each has ids of, in order; one of another pool may have ids of many.
        let parts = |ids: HostIds| {
            let last = ids.last().checked_sub(self.all.first())? / self.each;
            Some((ids.first().saturating_sub(self.all.first()) / self.each, last))
        };
        let mut taken: Vec<(u32, u32)> = taken.filter_map(parts).collect();
        taken.sort_unstable();
        let mut index = 0;
        for (first, last) in taken {
            if first > index {
                break;
            }
            index = index.max(last.saturating_add(1));
        }
        if index >= number {
            let message = format!(
                "the pool of host ids {} is used up: {number} containers with {} each have it",
                self.all, self.each
            );
            return Err(Error::new(ErrorKind::ResourceExhausted, message));
        }
        HostIds::new(self.all.first() + index * self.each, self.each)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(first: u32, count: u32) -> HostIds {
        HostIds::new(first, count).unwrap()
    }

    #[test]
    fn ranges_are_handed_out_from_the_lowest_on_and_again() {
        let pool = IdPool::new(ids(100_000, 3_500), 1000).unwrap();
        let mut taken = Vec::new();
        for expected in [100_000, 101_000, 102_000] {
            let range = pool.free(taken.iter().copied()).unwrap();
            assert_eq!(range, ids(expected, 1000));
            taken.push(range);
        }
        let error = pool.free(taken.iter().copied()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ResourceExhausted);
        assert!(error.message().contains("100000-103499"), "{}", error.message());
        taken.remove(1);
        assert_eq!(pool.free(taken.iter().copied()).unwrap(), ids(101_000, 1000));
    }

    #[test]
    fn a_range_of_an_earlier_pool_is_kept_clear_of() {
        let pool = IdPool::new(ids(100_000, 4000), 1000).unwrap();
        let of_another = [ids(99_500, 1000), ids(101_999, 1001), ids(90_000, 10_000), ids(104_000, 65_536)];
        assert_eq!(pool.free(of_another.into_iter()).unwrap(), ids(103_000, 1000));
        let all_over = [ids(65_536, 1 << 30)];
        assert_eq!(pool.free(all_over.into_iter()).unwrap_err().kind(), ErrorKind::ResourceExhausted);
    }

    #[test]
    fn a_pool_has_room_for_one_container_at_least() {
        assert!(IdPool::new(ids(100_000, 65_535), 65_536).is_err());
        assert!(IdPool::new(ids(100_000, 65_536), 999).is_err());
        assert!(IdPool::new(ids(100_000, 65_536), 65_536).is_ok());
    }
}
