//! Much input and output, and a side that is late.

use std::time::Duration;

use engine_tests::session::{collect, script};
use engine_tests::{Engine, images};
use gdn_client::ProcessEvent;
use gdn_types::ContainerSpec;

/// A hundred mebibytes: far more than all buffers on the way together.
const MUCH: usize = 100 << 20;

/// By how much a side is late. Part of the case, not a wait for anything.
const LATE: Duration = Duration::from_secs(5);

/// Conformance: A6
#[test]
fn a_client_that_reads_late_gets_all_output_unchanged() {
    let engine = Engine::start();
    let handle = engine.create_from(ContainerSpec::default());
    let make = format!("head -c {MUCH} /dev/urandom > /tmp/much; sha256sum < /tmp/much");
    let expected = engine.run(&handle, script(&make)).expect(0).text();
    let (bytes, status) = engine.with_client(async |client| {
        let mut process = client.run(&handle, script("cat /tmp/much; exit 3")).await.unwrap();
        tokio::time::sleep(LATE).await;
        let (mut bytes, mut status) = (Vec::with_capacity(MUCH), None);
        while let Some(event) = process.next().await.unwrap() {
            match event {
                ProcessEvent::Stdout(chunk) => bytes.extend_from_slice(&chunk),
                ProcessEvent::Exited(ended) => status = Some(ended.code()),
                other => panic!("{other:?}"),
            }
        }
        (bytes, status)
    });
    assert_eq!((bytes.len(), status), (MUCH, Some(3)));
    assert_eq!(images::sha256(&bytes), expected[..64]);
    engine.finish();
}

/// Conformance: A7
#[test]
fn a_process_that_reads_late_gets_all_input_unchanged() {
    let engine = Engine::start();
    let handle = engine.create_from(ContainerSpec::default());
    // A Weyl sequence: every byte value, and no period that buffers have.
    let bytes: Vec<u8> = (0..MUCH as u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    let expected = images::sha256(&bytes);
    let said = engine.with_client(async |client| {
        let text = format!("sleep {}; sha256sum; exit 4", LATE.as_secs());
        let process = client.run(&handle, script(&text)).await.unwrap();
        let input = process.input();
        let send = async {
            input.stdin(bytes).await.unwrap();
            input.close_stdin().await.unwrap();
        };
        tokio::join!(send, collect(process)).1.unwrap().expect(4)
    });
    assert_eq!(said.text()[..64], expected);
    engine.finish();
}
