//! The loads of Garden's own suite, without bars of time: what comes out is all that is looked at.

use std::thread;

use serde_json::json;

use super::{Bed, program, script};

/// Containers beside those that are looked at.
const NEIGHBOURS: usize = 4;

/// Processes that start at once.
const AT_ONCE: usize = 4;

/// Conformance: P1, P3-6, P8
#[test]
fn many_calls_at_once_and_large_streams_are_all_answered() {
    let bed = Bed::start();
    let garden = &bed.garden;
    let handles: Vec<String> = thread::scope(|scope| {
        let creates: Vec<_> = (0..NEIGHBOURS + 1).map(|_| scope.spawn(|| bed.create(json!({})))).collect();
        creates.into_iter().map(|create| create.join().unwrap()).collect()
    });
    let (handle, neighbours) = handles.split_first().unwrap();
    let busy: Vec<_> = neighbours
        .iter()
        .map(|neighbour| garden.run(neighbour, &script("while :; do sleep 0.1; done")).unwrap())
        .collect();

    let content = vec![b'x'; 20 << 20];
    let mut builder = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    header.set_size(content.len() as u64);
    header.set_mode(0o644);
    builder.append_data(&mut header, "large", &*content).unwrap();
    let path = format!("/containers/{handle}/files?destination=/tmp");
    garden.call("PUT", &path, &builder.into_inner().unwrap()).expect_done();
    let told = bed.run(handle, script("cat /tmp/large & cat /tmp/large >&2; wait")).expect(0);
    assert!(told.stdout == content && told.stderr == content, "{} {}", told.stdout.len(), told.stderr.len());

    thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                for n in 0..25 {
                    let told = bed.run(handle, program(&["echo", &n.to_string()])).expect(0);
                    assert_eq!(told.text(), format!("{n}\n"));
                }
            });
        }
    });
    // A sum that is known: 1 + 2 + ... + 20000.
    let sum = "i=0; s=0; while [ $i -lt 20000 ]; do i=$((i+1)); s=$((s+i)); done; echo $s";
    assert_eq!(bed.said(handle, "", sum), "200010000\n");
    for mut process in busy {
        process.kill();
        process.finish().expect(137);
    }
    bed.finish();
}
