//! Events of others' changes.

use std::time::Duration;

use gdn_nft::{Batch, Change, Error, Event, Family, Subject, Watch};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::ground::{in_own_network, run, socket, table};

fn readable(watch: &Watch) -> bool {
    let patience = Timespec::try_from(Duration::from_secs(5)).unwrap();
    poll(&mut [PollFd::new(watch, PollFlags::IN)], Some(&patience)).unwrap() == 1
}

fn all(watch: &mut Watch) -> Vec<Event> {
    std::iter::from_fn(|| watch.next().unwrap()).collect()
}

#[test]
fn a_foreign_table_is_seen_with_its_chains_and_rules_and_its_end() {
    in_own_network(|| {
        let mut watch = Watch::open().unwrap();
        assert_eq!(watch.next().unwrap(), None);
        run("nft add table ip foreign");
        assert!(readable(&watch));
        let events = all(&mut watch);
        assert_eq!(events.len(), 2);
        assert_eq!((events[0].change, events[0].subject), (Change::New, Subject::Table));
        assert_eq!((events[0].family, events[0].table.as_deref()), (Some(Family::Ip), Some("foreign")));
        assert_eq!(events[1].subject, Subject::Generation);

        run("nft add chain ip foreign c { type filter hook forward priority 0 ; policy drop ; }");
        run("nft add rule ip foreign c drop");
        let events = all(&mut watch);
        let rule = events.iter().find(|event| event.subject == Subject::Rule).unwrap();
        assert_eq!(rule.name.as_deref(), Some("c"));
        assert!(rule.handle.is_some());
        assert!(
            events.iter().any(|event| event.subject == Subject::Chain && event.name.as_deref() == Some("c"))
        );

        run("nft flush ruleset");
        let events = all(&mut watch);
        assert!(
            events.iter().any(|event| (event.change, event.subject) == (Change::Deleted, Subject::Table))
        );
    });
}

#[test]
fn changes_of_ones_own_are_told_from_those_of_others() {
    in_own_network(|| {
        let mut watch = Watch::open().unwrap();
        let mut socket = socket();
        let mut batch = Batch::new();
        batch.add_table(&table());
        socket.commit(&batch).unwrap();
        run("nft add table ip foreign");
        let events = all(&mut watch);
        let own: Vec<bool> = events
            .iter()
            .filter(|event| event.subject == Subject::Table)
            .map(|event| event.port == socket.port())
            .collect();
        assert_eq!(own, [true, false]);
    });
}

#[test]
fn a_watch_that_is_not_read_says_that_events_were_lost_and_goes_on() {
    in_own_network(|| {
        let mut watch = Watch::open().unwrap();
        let mut socket = socket();
        let mut batch = Batch::new();
        batch.add_table(&table());
        for index in 0..2000 {
            batch.add_chain(&table(), &gdn_nft::Chain::new(&format!("chain-{index}")));
        }
        for _ in 0..40 {
            let mut again = batch.clone();
            again.delete_table(&table());
            socket.commit(&again).unwrap();
        }
        assert_eq!(watch.next(), Err(Error::EventsLost));
        assert_eq!(watch.next().unwrap(), None);
        run("nft add table ip foreign");
        assert!(readable(&watch));
        assert_eq!(watch.next().unwrap().unwrap().table.as_deref(), Some("foreign"));
    });
}
