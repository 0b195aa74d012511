//! Filling what the journal lost from the index.

use std::ops::RangeInclusive;

use crate::damage::{Damage, DamageKind};
use crate::index::Witness;
use crate::recovery::Recovered;
use crate::store::{Map, replay_onto};

/// Decides what the state is: what the journal says, or, where batches are missing that a verified index had taken in, what
/// the index says with the later records laid over it.
///
/// The index lags: of what the journal lost it may hold all, a part, or nothing, and only the first is a repair.
pub(crate) fn settle(recovered: &mut Recovered, witness: Option<&Witness>) -> Map {
    let mut replayed = Map::new();
    replay_onto(&mut replayed, &recovered.records);
    let Some(witness) = witness else { return replayed };
    let journal_end = recovered.next_seq;
    notice_lost_end(recovered, witness);
    let helps = |lost: &RangeInclusive<u64>| *lost.start() <= witness.seq;
    if !recovered.damages.iter().any(|damage| damage.lost.as_ref().is_some_and(helps)) {
        return replayed;
    }
    let mut map = witness.map.clone();
    let later = recovered.records.partition_point(|record| record.seq <= witness.seq);
    replay_onto(&mut map, &recovered.records[later..]);
    let affected = difference(&replayed, &map);
    for damage in &mut recovered.damages {
        let Some(lost) = damage.lost.clone().filter(helps) else { continue };
        // Where the journal goes on behind the damage, the damage ends there. Where it does not, more may have followed
        // than the index knows, unless the store was closed.
        let known_whole = *lost.end() < journal_end || witness.complete;
        if known_whole && *lost.end() <= witness.seq {
            damage.keys.clone_from(&affected);
            damage.repaired = true;
        } else if *lost.end() > witness.seq {
            damage.lost = Some(witness.seq + 1..=*lost.end());
        }
    }
    map
}

/// Whatever the index knows beyond the journal's end was durable once: it is given nothing that is not.
fn notice_lost_end(recovered: &mut Recovered, witness: &Witness) {
    if witness.seq < recovered.next_seq {
        return;
    }
    let lost = recovered.next_seq..=witness.seq;
    let unexplained =
        recovered.damages.iter_mut().find(|damage| damage.lost.is_none() && takes_the_end(damage));
    match unexplained {
        Some(damage) => {
            damage.lost = Some(lost);
            if damage.kind == DamageKind::TornTail {
                // Batches at the end were acknowledged: no loss of power tore them.
                damage.kind = DamageKind::Records;
            }
        }
        None => {
            let mut damage = Damage::new(&witness.path, DamageKind::Missing, 0..=0);
            damage.lost = Some(lost);
            recovered.damages.push(damage);
        }
    }
    recovered.next_seq = witness.seq + 1;
}

fn takes_the_end(damage: &Damage) -> bool {
    matches!(
        damage.kind,
        DamageKind::TornTail | DamageKind::Segment | DamageKind::Misplaced | DamageKind::Missing
    )
}

fn difference(one: &Map, other: &Map) -> Vec<Vec<u8>> {
    let missing = other.iter().filter(|(key, value)| one.get(*key) != Some(value)).map(|(key, _)| key);
    let surplus = one.keys().filter(|key| !other.contains_key(*key));
    let mut keys: Vec<Vec<u8>> = missing.chain(surplus).map(|key| key.to_vec()).collect();
    keys.sort_unstable();
    keys
}
