//! The same for the older tables: a FORWARD chain of iptables-legacy that drops by policy.
//!
//! The kernel gives and takes such a table as a whole and tells nobody of changes, so it is looked at by the watcher alone,
//! never when a container comes or goes. Where there is no table none is made.

use std::time::Duration;

use gdn_xtables::{Family, Filter, Result, Rule};

/// How long another program's `iptables` is waited for: it holds the lock for milliseconds.
const PATIENCE: Duration = Duration::from_millis(500);
/// A table of some 300 rules. To read it takes the kernel less than a tenth of a millisecond.
const SMALL_BYTES: u32 = 64 << 10;
/// How many looks a larger table is left alone for.
const SPARED: u32 = 20;

/// Looks at the tables of both families.
#[derive(Debug, Default)]
pub(super) struct Older {
    /// Whether there are links to let pass.
    needed: bool,
    looks: u32,
}

impl Older {
    /// From now on there are links to let pass.
    pub(super) fn begin(&mut self) {
        self.needed = true;
        self.looks = 0;
    }

    /// Sees to it that chains which drop by policy let pass what is ours: `mark` is the comment of the rules put there.
    pub(super) fn let_pass(&mut self, prefix: &str, mark: &str) -> Result<()> {
        // Withdrawn since the caller began to look.
        if !self.needed {
            return Ok(());
        }
        let is_turn = self.looks.is_multiple_of(SPARED);
        self.looks = self.looks.wrapping_add(1);
        for family in [Family::Ip, Family::Ip6] {
            let Some(filter) = Filter::open(family)? else { continue };
            if filter.size()? > SMALL_BYTES && !is_turn {
                continue;
            }
            let rules = [Rule::accept_from(prefix, mark), Rule::accept_to(prefix, mark)];
            if filter.read()?.forward_drops() && filter.put_at_head(&rules, PATIENCE)? {
                tracing::info!(%family, "the chain FORWARD of iptables-legacy drops by policy; it lets our links pass now");
            }
        }
        Ok(())
    }

    /// Takes the rules out again.
    pub(super) fn withdraw(&mut self, mark: &str) -> Result<()> {
        self.needed = false;
        for family in [Family::Ip, Family::Ip6] {
            if let Some(filter) = Filter::open(family)? {
                filter.remove(mark, PATIENCE)?;
            }
        }
        Ok(())
    }
}
