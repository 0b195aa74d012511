//! What is established goes on, whatever happens to servers meanwhile.
//!
//! `GDN_NETWORK_ROUNDS` says how many servers are stopped and killed. That nothing denied gets out meanwhile is row S6.05 of the
//! campaigns.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use super::*;

fn rounds(usual: usize) -> usize {
    std::env::var("GDN_NETWORK_ROUNDS").ok().and_then(|text| text.parse().ok()).unwrap_or(usual)
}

/// Streams through a mapped port go on while servers stop, are killed and start.
#[test]
fn established_streams_outlive_servers() {
    let mut bed = Bed::start(&[]);
    bed.engine.create(&["--handle", "web", "--publish", "8080:80"]);
    let _echo = bed.engine.begin(["exec", "web", "nc", "-ll", "-p", "80", "-e", "cat"]);
    until("the echo to listen", || bed.engine.shell("web", "netstat -ltn").text().contains(":80 "));
    let mut streams: Vec<(TcpStream, BufReader<TcpStream>)> = ["192.0.2.2", "2001:db8::2"]
        .into_iter()
        .map(|address| {
            let address = SocketAddr::new(address.parse().unwrap(), 8080);
            let stream = bed.host.outside.within(|| TcpStream::connect(address).unwrap());
            stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
            (stream.try_clone().unwrap(), BufReader::new(stream))
        })
        .collect();
    let mut talk = |what: &str| {
        for (writer, reader) in &mut streams {
            writeln!(writer, "{what}").unwrap();
            let mut line = String::new();
            reader.read_line(&mut line).unwrap();
            assert_eq!(line.trim_end(), what);
        }
    };
    talk("begin");
    for round in 0..rounds(4) {
        if round % 2 == 0 {
            bed.engine.kill_server();
        } else {
            bed.engine.stop_server();
        }
        talk(&format!("without a server {round}"));
        bed.serve();
        talk(&format!("with the next {round}"));
    }
    drop(streams);
    bed.finish();
}
