//! Limits on what links carry, in namespaces of their own. Needs root.

#![allow(clippy::unwrap_used, reason = "a failed step is a failed test")]

mod ground;

use std::io::{Read, Write};
use std::net::{IpAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use gdn_links::shaping::Limit;
use gdn_links::{Batch, Connection, Error, LinkChange, LinkIndex};
use ground::{CONTAINER, GATEWAY, Netns, connect, leave, name};
use rustix::io::Errno;

/// Slow enough that a loaded host is not the limit.
const LIMIT: Limit = Limit { bytes_per_second: 2 << 20, burst_bytes: 64 << 10 };
/// One second at the limit.
const BYTES: usize = 2 << 20;

#[test]
fn what_goes_to_a_container_is_limited_until_the_limit_is_removed() {
    leave();
    let (mut host, netns) = (Connection::open().unwrap(), Netns::new());
    let ends = connect(&mut host, &netns, &name("gdn-a"));
    let listener = netns.run(|| TcpListener::bind((CONTAINER[0], 0)).unwrap());
    let send = || transfer(&listener, |address| TcpStream::connect(address).unwrap());

    let mut batch = Batch::new();
    batch.limit_sending(ends.index, LIMIT);
    host.commit(batch).unwrap();
    assert_limited(send(), LIMIT);

    let doubled = Limit { bytes_per_second: 2 * LIMIT.bytes_per_second, ..LIMIT };
    let mut batch = Batch::new();
    batch.limit_sending(ends.index, doubled);
    host.commit(batch).unwrap();
    assert_limited(send(), doubled);

    for _ in 0..2 {
        let mut batch = Batch::new();
        batch.remove_sending_limit(ends.index);
        host.commit(batch).unwrap();
    }
    assert!(send() < Duration::from_millis(250));
}

#[test]
fn what_comes_from_a_container_is_limited_until_the_redirection_is_removed() {
    leave();
    let (mut host, netns) = (Connection::open().unwrap(), Netns::new());
    let ends = connect(&mut host, &netns, &name("gdn-b"));
    let listener = TcpListener::bind((GATEWAY[1], 0)).unwrap();
    let receive = || transfer(&listener, |address| netns.run(|| TcpStream::connect(address).unwrap()));

    let intermediate = host.add_intermediate(&name("gdn-b-in")).unwrap();
    for _ in 0..2 {
        let mut batch = Batch::new();
        batch.set_link(intermediate, &LinkChange::new().up());
        batch.limit_sending(intermediate, LIMIT).redirect_received(ends.index, intermediate);
        host.commit(batch).unwrap();
    }
    assert_limited(receive(), LIMIT);

    for _ in 0..2 {
        let mut batch = Batch::new();
        batch.remove_redirect(ends.index).remove_link(intermediate);
        host.commit(batch).unwrap();
    }
    assert_eq!(host.link_named(&name("gdn-b-in")).unwrap(), None);
    assert!(receive() < Duration::from_millis(250));
}

#[test]
fn limits_of_links_that_are_not_there_are_errors_and_their_removal_is_none() {
    leave();
    let (mut host, nowhere) = (Connection::open().unwrap(), LinkIndex::new(4711));
    let mut batch = Batch::new();
    batch.limit_sending(nowhere, LIMIT);
    let error = host.commit(batch).unwrap_err();
    assert!(
        matches!(&error, Error::Refused { operation, errno: Errno::NODEV, .. } if operation == "limit what link 4711 sends"),
        "{error:?}"
    );
    let mut batch = Batch::new();
    batch.remove_sending_limit(nowhere).remove_redirect(nowhere);
    batch.remove_sending_limit(LinkIndex::LOOPBACK).remove_redirect(LinkIndex::LOOPBACK);
    host.commit(batch).unwrap();
}

/// How long it takes until all bytes are through.
fn transfer(listener: &TcpListener, open: impl FnOnce((IpAddr, u16)) -> TcpStream) -> Duration {
    let address = listener.local_addr().unwrap();
    let mut sender = open((address.ip(), address.port()));
    let (mut receiver, _) = listener.accept().unwrap();
    receiver.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let start = Instant::now();
    std::thread::scope(|scope| {
        scope.spawn(move || sender.write_all(&vec![0; BYTES]).unwrap());
        let mut received = Vec::new();
        receiver.read_to_end(&mut received).unwrap();
        assert_eq!(received.len(), BYTES);
    });
    start.elapsed()
}

/// Within a factor of two of the limit.
fn assert_limited(taken: Duration, limit: Limit) {
    let expected = (BYTES - limit.burst_bytes as usize) as f64 / limit.bytes_per_second as f64;
    let seconds = taken.as_secs_f64();
    assert!((expected / 2.0..=expected * 2.0).contains(&seconds), "{seconds} s in place of {expected}");
}
