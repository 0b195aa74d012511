//! What a change costs on this host: adding and deleting one element of a small and of a large set, and many ranges at
//! once. Needs root; works in a network namespace of its own.
//!
//! `cargo run --release -p gdn-nft --example nft_cost`

use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use gdn_nft::{Batch, Chain, Element, Family, Field, Load, Result, Rule, Set, Socket, Table, Value, Verdict};

/// Enough for a steady median.
const ROUNDS: usize = 200;
/// Elements of a large set.
const MANY: u32 = 10_000;
/// Ranges in one batch: a long list of what a container may reach.
const RANGES: u32 = 3_000;

fn main() -> Result<()> {
    // In a namespace of its own no ruleset is disturbed.
    own_network();
    let table = Table::new(Family::Inet, "cost");
    let mut socket = Socket::open()?;
    let mut batch = Batch::new();
    batch.add_table(&table).add_chain(&table, &Chain::new("other"));
    socket.commit(&batch)?;

    let hash = Set::new("hash", [Field::IfName, Field::Ipv4]).map_to_verdicts();
    let ranges = Set::new("ranges", [Field::Ipv4, Field::Protocol, Field::Port]).intervals();
    for (set, element) in [(&hash, mapped as fn(u32) -> Element), (&ranges, range)] {
        for present in [0, MANY] {
            let there: Vec<Element> = (0..present).map(element).collect();
            let mut batch = Batch::new();
            batch.add_set(&table, set).add_elements(&table, set, &there);
            socket.commit(&batch)?;
            let one = [element(present)];
            let mut add = Batch::new();
            add.add_elements(&table, set, &one);
            let mut delete = Batch::new();
            delete.delete_elements(&table, set, &one);
            let mut times: [Vec<Duration>; 2] = Default::default();
            for _ in 0..ROUNDS {
                times[0].push(timed(&mut socket, &add)?);
                times[1].push(timed(&mut socket, &delete)?);
            }
            let [add, delete] = times.map(median);
            println!("{} with {present} elements: add {add:?}, delete {delete:?}", set.name());
            let mut batch = Batch::new();
            batch.delete_set(&table, set.name());
            socket.commit(&batch)?;
        }
    }

    let mut batch = Batch::new();
    batch.add_set(&table, &ranges);
    socket.commit(&batch)?;
    let elements: Vec<Element> = (0..RANGES).map(range).collect();
    let start = Instant::now();
    let mut batch = Batch::new();
    batch.add_elements(&table, &ranges, &elements);
    let built = start.elapsed();
    let done = timed(&mut socket, &batch)?;
    println!("{RANGES} ranges in one batch: build {built:?}, commit {done:?}");
    let mut delete = Batch::new();
    delete.delete_elements(&table, &ranges, &elements);
    println!("{RANGES} ranges deleted one by one in one batch: {:?}", timed(&mut socket, &delete)?);
    timed(&mut socket, &batch)?;
    let mut flush = Batch::new();
    flush.flush_set(&table, ranges.name());
    println!("{RANGES} ranges flushed: {:?}", timed(&mut socket, &flush)?);
    timed(&mut socket, &batch)?;
    let mut delete = Batch::new();
    delete.delete_set(&table, ranges.name());
    println!("set of {RANGES} ranges deleted: {:?}", timed(&mut socket, &delete)?);
    chains(&mut socket, &table)
}

/// A set, a chain and two rules of its own, as a container has them.
fn chains(socket: &mut Socket, table: &Table) -> Result<()> {
    let set = Set::new("own", [Field::Ipv4, Field::Protocol, Field::Port]).intervals();
    let key = [Load::IpDestination, Load::L4Proto, Load::DestinationPort];
    let mut add = Batch::new();
    add.add_set(table, &set)
        .add_elements(table, &set, &[range(1), range(2)])
        .add_chain(table, &Chain::new("own"))
        .add_rule(table, &Rule::new("own").in_set("own", key).accept())
        .add_rule(table, &Rule::new("own").drop());
    let mut delete = Batch::new();
    delete.flush_chain(table, "own").delete_chain(table, "own").delete_set(table, "own");
    let mut times: [Vec<Duration>; 2] = Default::default();
    for _ in 0..ROUNDS {
        times[0].push(timed(socket, &add)?);
        times[1].push(timed(socket, &delete)?);
    }
    let [add, delete] = times.map(median);
    println!("a chain with two rules and a set with two ranges: add {add:?}, delete {delete:?}");
    Ok(())
}

fn timed(socket: &mut Socket, batch: &Batch) -> Result<Duration> {
    let start = Instant::now();
    socket.commit(batch)?;
    Ok(start.elapsed())
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times.get(times.len() / 2).copied().unwrap_or_default()
}

fn address(number: u32) -> Value {
    Value::Ipv4(Ipv4Addr::from(0x0a00_0000 + number))
}

fn mapped(number: u32) -> Element {
    let key = [Value::IfName(format!("gab{number}")), address(number)];
    Element::new(key).verdict(Verdict::Goto("other".to_owned()))
}

fn range(number: u32) -> Element {
    let port = u16::try_from(number % 50_000).unwrap_or(0);
    Element::range([
        (address(number * 16), address(number * 16 + 9)),
        (Value::Byte(6), Value::Byte(6)),
        (Value::Port(port), Value::Port(port + 10)),
    ])
}

#[allow(unsafe_code, reason = "unshare(2) is safe only when it leaves the table of descriptors alone")]
fn own_network() {
    use rustix::thread::{UnshareFlags, unshare_unsafe};
    // SAFETY: only the network namespace of the only thread is unshared.
    unsafe { unshare_unsafe(UnshareFlags::NEWNET) }.expect("the example is run as root");
}
