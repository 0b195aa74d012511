//! The arithmetic of throttling: who gives way, and by how much. Nothing here asks anybody for anything.

use std::time::Duration;

/// What one container may claim, and did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Account {
    /// Shares of the processors.
    pub(crate) shares: u64,
    /// Processor time it has used.
    pub(crate) usage: Duration,
    /// Processor time it was entitled to.
    pub(crate) entitlement: Duration,
}

impl Account {
    /// Whether it has used more than it was entitled to.
    pub(crate) fn is_overdrawn(&self) -> bool {
        self.usage > self.entitlement
    }
}

/// The part of its weight that each overdrawn container keeps.
///
/// All shares of the machine fall into those of the overdrawn, times `multiplier`, and the rest. The part is such that the
/// smallest of the others alone outweighs all the overdrawn together as that rest outweighs theirs: whoever wakes up gets the
/// processors, and the overdrawn get what they are entitled to at least as long as only one of the others is busy. Where none
/// is left to wake up, the smallest of all stands for one that may be created.
///
/// Above 0 and at most 1: where more shares are given away than there are, nobody gains by having overdrawn.
pub(crate) fn part_kept(accounts: &[Account], machine_shares: u64, multiplier: u32) -> f64 {
    let overdrawn: u64 = accounts
        .iter()
        .filter(|account| account.is_overdrawn())
        .fold(0, |sum, account| sum.saturating_add(account.shares));
    let theirs = overdrawn.saturating_mul(multiplier.into());
    let rest = machine_shares.saturating_sub(theirs);
    let least = |accounts: &mut dyn Iterator<Item = &Account>| accounts.map(|account| account.shares).min();
    let smallest = least(&mut accounts.iter().filter(|account| !account.is_overdrawn()))
        .or_else(|| least(&mut accounts.iter()))
        .unwrap_or(0)
        .max(1);
    if rest == 0 {
        return 1.0;
    }
    (f64::from(multiplier) * smallest as f64 / rest as f64).min(1.0)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn account(shares: u64, usage: u64, entitlement: u64) -> Account {
        let seconds = Duration::from_secs;
        Account { shares, usage: seconds(usage), entitlement: seconds(entitlement) }
    }

    #[test]
    fn only_more_than_the_entitlement_is_too_much() {
        assert!(!account(1, 5, 5).is_overdrawn());
        assert!(account(1, 6, 5).is_overdrawn());
    }

    #[test]
    fn one_who_wakes_up_outweighs_the_overdrawn_as_the_rest_of_the_machine_does() {
        // 1000 shares in all, 100 overdrawn: the other's 50 are to count as 900 against 100.
        let accounts = [account(60, 2, 1), account(40, 2, 1), account(50, 0, 1), account(70, 0, 1)];
        let part = part_kept(&accounts, 1000, 1);
        let ratio = 50.0 / (part * 100.0);
        assert!((ratio - 9.0).abs() < 1e-9, "{ratio}");
    }

    /// Conformance: Q301
    #[test]
    fn a_multiplier_leaves_the_overdrawn_so_many_times_their_part() {
        let accounts = [account(100, 2, 1), account(100, 0, 1)];
        let ratio = |multiplier| 1.0 / part_kept(&accounts, 1000, multiplier);
        assert!((ratio(1) - 9.0).abs() < 1e-9 && (ratio(2) - 4.0).abs() < 1e-9, "{} {}", ratio(1), ratio(2));
    }

    #[test]
    fn nobody_to_wake_up_and_too_many_shares_are_no_fault() {
        assert_eq!(part_kept(&[account(100, 2, 1)], 1000, 1), 100.0 / 900.0);
        assert_eq!(part_kept(&[account(2000, 2, 1), account(9, 0, 1)], 1000, 1), 1.0);
        assert_eq!(part_kept(&[], 1000, 1), 1.0 / 1000.0);
        assert_eq!(part_kept(&[account(u64::MAX, 2, 1); 2], u64::MAX, u32::MAX), 1.0);
    }

    fn accounts() -> impl Strategy<Value = Vec<Account>> {
        let one = (1..=262_144u64, 0..1000u64, 0..1000u64)
            .prop_map(|(shares, usage, entitlement)| account(shares, usage, entitlement));
        proptest::collection::vec(one, 0..300)
    }

    proptest! {
        #[test]
        fn a_part_is_above_0_and_never_more_than_all(
            accounts in accounts(), machine in any::<u64>(), multiplier in 1..1000u32
        ) {
            let part = part_kept(&accounts, machine, multiplier);
            prop_assert!(part > 0.0 && part <= 1.0, "{}", part);
        }

        #[test]
        fn each_of_the_others_alone_outweighs_the_overdrawn_together(
            accounts in accounts(), machine in 1..1u64 << 40, multiplier in 1..10u32
        ) {
            let part = part_kept(&accounts, machine, multiplier);
            let theirs: u64 = accounts.iter().filter(|a| a.is_overdrawn()).map(|a| a.shares).sum();
            let rest = machine.saturating_sub(theirs * u64::from(multiplier));
            prop_assume!(part < 1.0);
            for other in accounts.iter().filter(|a| !a.is_overdrawn()) {
                // other : part x theirs >= rest : multiplier x theirs
                let left = other.shares as f64 * f64::from(multiplier);
                prop_assert!(left >= part * rest as f64 * (1.0 - 1e-9));
            }
        }

        #[test]
        fn the_more_is_overdrawn_the_less_is_taken_from_each(
            accounts in accounts(), machine in 1..1u64 << 40
        ) {
            // The same containers with one more of the overdrawn kind, no smaller than any.
            let mut more = accounts.clone();
            more.push(account(262_144, 1, 0));
            prop_assume!(accounts.iter().any(|account| !account.is_overdrawn()));
            prop_assert!(part_kept(&more, machine, 1) >= part_kept(&accounts, machine, 1));
        }
    }
}
