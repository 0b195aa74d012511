//! What it costs on this host to find the connections of addresses among many. Needs root; works in a network namespace of
//! its own.
//!
//! `cargo run --release -p gdn-nft --example conntrack_cost`

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, UdpSocket};
use std::time::{Duration, Instant};

use gdn_nft::{Batch, Chain, ChainType, Conntrack, CtState, Family, Hook, Rule, Socket, Table, ct_state};

/// Connections of others.
const MANY: u32 = 50_000;
/// Enough for a steady median.
const ROUNDS: usize = 11;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    own_network();
    // Connections are tracked only where a rule asks for them.
    let table = Table::new(Family::Inet, "cost");
    let mut batch = Batch::new();
    batch
        .add_table(&table)
        .add_chain(&table, &Chain::base("c", ChainType::Filter, Hook::Output, 0))
        .add_rule(&table, &Rule::new("c").matches(ct_state(CtState::NEW)).counter());
    Socket::open()?.commit(&batch)?;
    assert!(std::process::Command::new("ip").args(["link", "set", "lo", "up"]).status()?.success());

    let mut connections = Conntrack::open()?;
    for present in [0, MANY] {
        if present > 0 {
            let from = UdpSocket::bind("127.0.0.1:0")?;
            for number in 0..present {
                let to = Ipv4Addr::from(0x7f01_0000 + number / 50);
                let port = u16::try_from(1000 + number % 50).unwrap_or(0);
                // Nobody listens there, which a later send is told.
                while from.send_to(b"x", (to, port)).is_err() {}
            }
        }
        let four: IpAddr = Ipv4Addr::new(10, 254, 0, 2).into();
        let six: IpAddr = Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 2).into();
        let others: Vec<IpAddr> = (0..50).map(|number| Ipv4Addr::new(10, 254, 1, number).into()).collect();
        for (what, addresses, together) in [
            ("two addresses one by one", &[four, six][..], false),
            ("two addresses together", &[four, six][..], true),
            ("fifty addresses together", &others[..], true),
        ] {
            let mut times: Vec<Duration> = Vec::new();
            for _ in 0..ROUNDS {
                let start = Instant::now();
                if together {
                    connections.delete_of_any(addresses)?;
                } else {
                    addresses.iter().try_for_each(|address| connections.delete_of(*address).map(drop))?;
                }
                times.push(start.elapsed());
            }
            times.sort_unstable();
            println!("{present} connections of others: those of {what} {:?}", times[ROUNDS / 2]);
        }
    }
    Ok(())
}

#[allow(unsafe_code, reason = "unshare(2) is safe only when it leaves the table of descriptors alone")]
fn own_network() {
    use rustix::thread::{UnshareFlags, unshare_unsafe};
    // SAFETY: only the network namespace of the only thread is unshared.
    unsafe { unshare_unsafe(UnshareFlags::NEWNET) }.expect("the example is run as root");
}
