//! What is told of a container's traffic.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpListener};

use gdn_types::{Handle, NetworkStat};
use serde_json::Value;

use super::*;

const MUCH: usize = 8 << 20;
/// What is said of so much in the other direction is far less.
const LITTLE: u64 = MUCH as u64 / 4;

impl Bed {
    /// Has a script of the container talk to somebody outside.
    fn talk(&self, handle: &str, script: &str, serve: impl FnOnce(&TcpListener) + Send) {
        let listener = self.host.outside.within(|| TcpListener::bind((Ipv4Addr::UNSPECIFIED, 9000)).unwrap());
        std::thread::scope(|scope| {
            scope.spawn(|| serve(&listener));
            self.engine.shell(handle, script).expect_status(0);
        });
    }

    /// What the container has received and sent, as both gates tell it.
    fn counted(&self, handle: &str) -> (u64, u64) {
        let parsed = Handle::parse(handle).unwrap();
        let metrics = self.engine.with_client(async |client| client.metrics(&parsed).await.unwrap());
        let NetworkStat { rx_bytes, tx_bytes } = metrics.network.unwrap();
        let figures = self.engine.garden().get(&format!("/containers/{handle}/metrics")).expect(200).json();
        // A neighbour's question may come between.
        let near = |told: &Value, counted: u64| told.as_u64().unwrap().abs_diff(counted) < 10_000;
        let told = &figures["NetworkStat"];
        assert!(near(&told["RxBytes"], rx_bytes) && near(&told["TxBytes"], tx_bytes), "{figures}");
        (rx_bytes, tx_bytes)
    }
}

/// Received is what comes to the container and sent what it says, also where a limit leads it another way, and over a kill.
#[test]
fn what_a_container_receives_and_sends_is_counted_as_that() {
    let mut bed = Bed::start(&[]);
    bed.engine.create(&["--handle", "free"]);
    bed.engine.create(&["--handle", "limited", "--network-rate", "100M", "--network-burst", "16M"]);
    for handle in ["free", "limited"] {
        let before = bed.counted(handle);
        assert!(before.0 < LITTLE && before.1 < LITTLE, "{before:?}");
        bed.talk(handle, &format!("head -c {MUCH} /dev/zero | nc 192.0.2.1 9000"), |listener| {
            let (mut stream, _) = listener.accept().unwrap();
            assert_eq!(stream.read_to_end(&mut Vec::new()).unwrap(), MUCH);
        });
        let sent = bed.counted(handle);
        assert!(sent.1 >= before.1 + MUCH as u64 && sent.0 < before.0 + LITTLE, "{before:?} {sent:?}");
        bed.talk(handle, &format!("test $(nc 192.0.2.1 9000 < /dev/null | wc -c) = {MUCH}"), |listener| {
            let (mut stream, _) = listener.accept().unwrap();
            stream.write_all(&vec![0; MUCH]).unwrap();
            stream.shutdown(Shutdown::Write).unwrap();
            stream.read_to_end(&mut Vec::new()).unwrap();
        });
        let received = bed.counted(handle);
        assert!(received.0 >= sent.0 + MUCH as u64 && received.1 < sent.1 + LITTLE, "{sent:?} {received:?}");
    }
    let before = bed.counted("free");
    bed.restart();
    let after = bed.counted("free");
    assert!(after.0 >= before.0 && after.1 >= before.1, "{before:?} {after:?}");
    assert!(after.0 < before.0 + LITTLE && after.1 < before.1 + LITTLE, "{before:?} {after:?}");
    bed.finish();
}
