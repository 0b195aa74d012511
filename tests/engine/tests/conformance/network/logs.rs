//! What the kernel's log says of rules that are logged.
//!
//! The log is one for the whole host, so what is looked for begins with a name that only this run has.

use std::fs::{self, File};
use std::io::{ErrorKind, Read, Seek, SeekFrom};
use std::os::unix::fs::OpenOptionsExt;

use rustix::fs::{FlockOperation, OFlags, flock};

use super::*;

/// Whether the kernel logs what rules of other network namespaces than the first say.
const ALL_NAMESPACES: &str = "/proc/sys/net/netfilter/nf_log_all_netns";
/// Bytes of a handle that a line begins with.
const PREFIX: usize = 28;

/// Has the kernel log what rules say in every namespace, until it is dropped. One at a time on a host.
struct Logging {
    before: String,
    _lock: File,
}

impl Logging {
    fn everywhere() -> Self {
        let lock = File::open(ALL_NAMESPACES).expect("the kernel can log what its firewall sees");
        until("other runs to end", || flock(&lock, FlockOperation::NonBlockingLockExclusive).is_ok());
        let before = fs::read_to_string(ALL_NAMESPACES).unwrap();
        fs::write(ALL_NAMESPACES, "1").unwrap();
        Logging { before, _lock: lock }
    }
}

impl Drop for Logging {
    fn drop(&mut self) {
        if let Err(error) = fs::write(ALL_NAMESPACES, &self.before) {
            eprintln!("{ALL_NAMESPACES} is not as it was: {error}");
        }
    }
}

/// The kernel's log from now on.
struct KernelLog {
    file: File,
    lines: Vec<String>,
}

impl KernelLog {
    fn from_now() -> Self {
        let nonblocking = OFlags::NONBLOCK.bits().cast_signed();
        let opened = File::options().read(true).custom_flags(nonblocking).open("/dev/kmsg");
        let mut file = opened.expect("who runs the tests may read the kernel's log");
        file.seek(SeekFrom::End(0)).unwrap();
        KernelLog { file, lines: Vec::new() }
    }

    /// What came that begins so, up to the line that has this in it, which is waited for and is not told.
    fn until_line(&mut self, begin: &str, last: &str) -> Vec<String> {
        until(&format!("the kernel to log {begin:?} and {last:?}"), || {
            self.read();
            self.lines.iter().any(|line| line.starts_with(begin) && line.contains(last))
        });
        let mut told: Vec<String> = std::mem::take(&mut self.lines);
        told.retain(|line| line.starts_with(begin));
        let end = told.iter().position(|line| line.contains(last)).unwrap();
        self.lines = told.split_off(end + 1);
        told.truncate(end);
        told
    }

    /// Reads whatever is there. Each read is one record: fields, a semicolon, and the text.
    fn read(&mut self) {
        let mut record = [0; 8192];
        loop {
            match self.file.read(&mut record) {
                Ok(length) => {
                    let text = String::from_utf8_lossy(&record[..length]).into_owned();
                    let line = text.lines().next().and_then(|line| line.split_once(';'));
                    self.lines.extend(line.map(|(_, line)| line.to_owned()));
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                // The kernel wrote over what was not read yet; what comes next is read.
                Err(error) if error.kind() == ErrorKind::BrokenPipe => {}
                Err(error) => panic!("read the kernel's log: {error}"),
            }
        }
    }
}

/// One line for each new connection, none for what follows it nor for what a rule without the word allows; what is logged
/// passes. A line begins with the handle, of which a long one is cut.
#[test]
fn a_rule_that_is_logged_writes_a_line_for_each_new_connection_and_lets_it_pass() {
    let _logging = Logging::everywhere();
    let mut log = KernelLog::from_now();
    let mut bed = Bed::start(&["--deny-network", "192.0.2.0/24", "--deny-network", "2001:db8::/64"]);
    let _listeners = [80, 81, 82, 83].map(|port| bed.host.outside.listen(port));
    let long = format!("logged-{}-and-more-than-is-shown", std::process::id());
    let short = format!("log-{}", std::process::id());
    assert!(long.len() > PREFIX);
    bed.engine.create(&[
        "--handle",
        &long,
        "--allow",
        "tcp,to=192.0.2.1,ports=80,log",
        "--allow",
        "tcp,to=192.0.2.1,ports=81",
        "--allow",
        "tcp,to=2001:db8::1,ports=80,log",
        "--allow",
        "icmp,log",
    ]);
    bed.engine.create(&["--handle", &short, "--allow", "tcp,to=192.0.2.1,ports=80-82"]);
    let (address, address6) = bed.addresses(&long);
    let begin = format!("{} IN=", &long[..PREFIX]);

    for _ in 0..3 {
        assert!(bed.reaches(&long, "192.0.2.1", 80) && bed.reaches(&long, "192.0.2.1", 81));
        assert!(bed.reaches(&short, "192.0.2.1", 80) && !bed.reaches(&long, "192.0.2.1", 82));
    }
    bed.engine.gdn(["exec", &long, "ping", "-c", "3", "-W", "1", "192.0.2.1"]).expect_status(0);
    assert!(bed.reaches(&long, "2001:db8::1", 80) && !bed.reaches(&long, "2001:db8::1", 81));
    bed.engine.gdn(["net", "out", &long, "tcp,to=192.0.2.1,ports=83,log"]).expect_status(0);
    assert!(bed.reaches(&long, "192.0.2.1", 83));

    let told = log.until_line(&begin, " DPT=83 ");
    let count = |parts: &[&str]| {
        told.iter().filter(|line| parts.iter().all(|part| line.contains(&format!(" {part} ")))).count()
    };
    let (from, from6) = (format!("SRC={address}"), format!("SRC={}", whole(&address6)));
    assert_eq!(count(&[&from, "DST=192.0.2.1", "PROTO=TCP", "DPT=80", "SYN"]), 3, "{told:#?}");
    assert_eq!(count(&[&from, "DST=192.0.2.1", "PROTO=ICMP"]), 1, "{told:#?}");
    assert_eq!(count(&[&from6, "PROTO=TCP", "DPT=80", "SYN"]), 1, "{told:#?}");
    assert_eq!(told.len(), 5, "and no more: {told:#?}");

    // What a rule without the word allows too is logged still, also by the next server; of a short handle all is shown.
    bed.engine.gdn(["net", "out", &long, "tcp,to=192.0.2.1"]).expect_status(0);
    bed.engine.gdn(["net", "out", &short, "tcp,to=192.0.2.1,ports=83,log"]).expect_status(0);
    bed.restart();
    for port in [80, 82, 83] {
        assert!(bed.reaches(&long, "192.0.2.1", port) && bed.reaches(&short, "192.0.2.1", port));
    }
    let told = log.until_line(&begin, " DPT=83 ");
    assert!(told.len() == 1 && told[0].contains(" DPT=80 "), "{told:#?}");
    bed.finish();
}

/// An address of IPv6 as the kernel logs it.
fn whole(address: &str) -> String {
    let address: std::net::Ipv6Addr = address.parse().unwrap();
    address.segments().map(|part| format!("{part:04x}")).join(":")
}
