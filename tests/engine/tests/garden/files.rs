//! Tars in and out.

use std::io::{BufReader, Read, Write};

use engine_tests::Engine;
use engine_tests::garden::{Answer, head};
use serde_json::json;

/// A tar of one file.
fn tar_of(name: &str, content: &[u8]) -> Vec<u8> {
    let mut archive = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    header.set_size(content.len() as u64);
    header.set_mode(0o644);
    archive.append_data(&mut header, name, content).unwrap();
    archive.into_inner().unwrap()
}

fn names(tar: &[u8]) -> Vec<String> {
    let mut archive = tar::Archive::new(tar);
    let entries = archive.entries().unwrap();
    entries.map(|entry| String::from_utf8(entry.unwrap().path_bytes().into_owned()).unwrap()).collect()
}

#[test]
fn files_go_in_and_come_out() {
    let engine = Engine::start();
    let garden = engine.garden();
    let handle = garden.create(&engine.busybox(json!({})));
    let files = |query: &str| format!("/containers/{handle}/files?{query}");
    let content: Vec<u8> = (0..3_000_000_u32).map(|number| (number % 251) as u8).collect();
    let tar = tar_of("dir/file", &content);

    garden.call("PUT", &files("user=alice&destination=new%2Fplace"), &tar).expect_done();
    let seen = garden.shell(&handle, "stat -c '%U %a' /home/alice/new /home/alice/new/place/dir/file");
    assert_eq!(seen.expect(0).text(), "alice 755\nalice 644\n");

    // As the usual client sends what it does not know the length of.
    let mut connection = BufReader::new(garden.connect());
    let request = head("PUT", &files("destination=/tmp/chunks"), &[("Transfer-Encoding", "chunked")], None);
    connection.get_mut().write_all(request.as_bytes()).unwrap();
    for piece in tar.chunks(100_001) {
        let chunk = [format!("{:x}\r\n", piece.len()).as_bytes(), piece, b"\r\n"].concat();
        connection.get_mut().write_all(&chunk).unwrap();
    }
    connection.get_mut().write_all(b"0\r\n\r\n").unwrap();
    Answer::read(&mut connection).expect_done();

    let whole = garden.get(&files("source=/tmp/chunks/dir")).expect(200);
    assert_eq!(whole.header("transfer-encoding"), Some("chunked"));
    assert_eq!(names(&whole.body), ["dir/", "dir/file"]);
    let inside = garden.get(&files("source=/tmp/chunks/dir/")).expect(200);
    assert_eq!(names(&inside.body), ["./", "./file"]);
    let alone = garden.get(&files("source=/tmp/chunks/dir/file&user=alice")).expect(200);
    let mut archive = tar::Archive::new(&*alone.body);
    let mut file = Vec::new();
    archive.entries().unwrap().next().unwrap().unwrap().read_to_end(&mut file).unwrap();
    assert!(file == content);

    garden.put(&format!("/containers/{handle}/stop"), &json!({ "kill": true })).expect_done();
    assert_eq!(names(&garden.get(&files("source=/etc/passwd")).expect(200).body), ["passwd"]);
    engine.finish();
}

#[test]
fn copies_that_fail_say_so() {
    let engine = Engine::start();
    let garden = engine.garden();
    let handle = garden.create(&engine.busybox(json!({})));
    let files = |query: &str| format!("/containers/{handle}/files?{query}");
    let tar = tar_of("file", &[b'x'; 100_000]);
    let refused = |query: &str, body: &[u8]| garden.call("PUT", &files(query), body).expect_error(500, "");
    let message = refused("user=bob&destination=/tmp", &tar);
    assert!(message.contains("error streaming in"), "{message}");
    let message = refused("user=alice&destination=/root/x", &tar);
    assert!(message.contains("Permission denied"), "{message}");
    refused("destination=/tmp", &tar[..50_000]);
    refused(
        "destination=/tmp",
        b"no tar at all, but more than a block of one would hold: ".repeat(100).as_slice(),
    );
    garden.get(&files("source=/not/there")).expect_error(500, "");
    garden.get(&files("source=/root&user=bob")).expect_error(500, "");

    // A body that breaks off is not taken for a shorter one.
    let mut connection = BufReader::new(garden.connect());
    let request = head("PUT", &files("destination=/tmp/cut"), &[], Some(tar.len()));
    connection.get_mut().write_all(&[request.as_bytes(), &tar[..tar.len() - 1024]].concat()).unwrap();
    connection.get_ref().shutdown(std::net::Shutdown::Write).unwrap();
    let message = Answer::read(&mut connection).expect_error(500, "");
    assert!(message.contains("unexpected EOF"), "{message}");
    engine.finish();
}

/// Conformance: S8-10
#[test]
fn a_client_that_stops_reading_a_tar_and_goes_leaves_nothing_running() {
    let engine = Engine::start();
    let garden = engine.garden();
    let handle = garden.create(&engine.busybox(json!({})));
    garden.shell(&handle, "head -c 20000000 /dev/zero > /tmp/large").expect(0);
    for _ in 0..3 {
        let mut connection = BufReader::new(garden.connect());
        let path = format!("/containers/{handle}/files?source=/tmp/large");
        connection.get_mut().write_all(head("GET", &path, &[], None).as_bytes()).unwrap();
        Answer::read_head(&mut connection).expect(200);
        connection.read_exact(&mut [0; 1000]).unwrap();
    }
    garden.destroy(&handle);
    engine.finish();
}
