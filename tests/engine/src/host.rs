//! A host of a test's own: network namespaces in which an engine and those around it run.
//!
//! The engine's server runs in one namespace, with everything it makes; an outside, linked to it, is another. The host's own
//! network is not touched.

use std::io::{Read, Write};
use std::net::{Ipv6Addr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::process::{Child, Command, Output, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::wait::until;

/// A network namespace, held open by a process that does nothing.
pub struct Namespace {
    holder: Child,
}

/// The engine's namespace with an uplink to another.
pub struct Host {
    /// Where the server runs.
    pub inside: Namespace,
    /// What is behind its uplink: `192.0.2.1` and `2001:db8::1`, with a route to nowhere else.
    pub outside: Namespace,
}

impl Namespace {
    /// A new one with a loopback interface that is up.
    pub fn new() -> Self {
        let holder = Command::new("unshare")
            .args([
                "--net",
                "--kill-child",
                "sh",
                "-c",
                // Nobody else has the addresses of a link that is made here: the kernel need not ask for a second.
                "echo 0 > /proc/sys/net/ipv6/conf/default/accept_dad && ip link set lo up && echo up && \
                 exec sleep infinity",
            ])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .expect("unshare of util-linux can be started");
        let mut namespace = Namespace { holder };
        let mut said = [0; 3];
        namespace.holder.stdout.as_mut().unwrap().read_exact(&mut said).expect("the namespace is set up");
        namespace
    }

    /// The process that holds it.
    pub fn pid(&self) -> u32 {
        self.holder.id()
    }

    /// A command that runs in it.
    pub fn command(&self, program: &str) -> Command {
        Namespace::command_in(self.pid(), program)
    }

    /// A command that runs in the namespace of a process.
    pub fn command_in(pid: u32, program: &str) -> Command {
        let mut command = Command::new("nsenter");
        command.arg(format!("--net=/proc/{pid}/ns/net")).arg(program);
        command
    }

    /// Runs a shell's script in it and answers with what came of it.
    pub fn shell(&self, script: &str) -> Output {
        self.command("sh").args(["-c", script]).stdin(Stdio::null()).output().unwrap()
    }

    /// Runs a shell's script in it, which must succeed, and answers with what it printed.
    #[track_caller]
    pub fn must(&self, script: &str) -> String {
        let output = self.shell(script);
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{script}: {text}{}", String::from_utf8_lossy(&output.stderr));
        text
    }

    /// Does something in it, on a thread of its own: sockets that it opens stay there.
    pub fn within<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        within(self.pid(), work)
    }

    /// Whether a TCP connection is answered with the greeting of a listener.
    pub fn reaches(&self, address: &str, port: u16) -> bool {
        let address = SocketAddr::new(address.parse().unwrap(), port);
        self.within(|| {
            let Ok(mut stream) = TcpStream::connect_timeout(&address, REFUSAL) else { return false };
            stream.set_read_timeout(Some(REFUSAL)).unwrap();
            let mut text = String::new();
            // A connection that is cut is one that does not reach.
            let _ = stream.read_to_string(&mut text);
            text.contains(GREETING)
        })
    }

    /// Greets whoever connects to a port, on every address of both families.
    pub fn listen(&self, port: u16) -> Listener {
        listen_in(self.pid(), port)
    }
}

/// Greets whoever connects to a port in the network namespace of a process, on every address of both families.
pub fn listen_in(pid: u32, port: u16) -> Listener {
    let listener = within(pid, || TcpListener::bind((Ipv6Addr::UNSPECIFIED, port)).unwrap());
    listener.set_nonblocking(true).unwrap();
    let over = Arc::new(AtomicBool::new(false));
    let told = over.clone();
    let server = std::thread::spawn(move || {
        while !told.load(Ordering::Relaxed) {
            match listener.accept() {
                // Whoever went away needs no greeting.
                Ok((mut stream, _)) => drop(stream.write_all(GREETING.as_bytes())),
                Err(_) => std::thread::park_timeout(Duration::from_millis(5)),
            }
        }
    });
    Listener { over, server: Some(server) }
}

/// Does something in the network namespace of a process, on a thread of its own: sockets that it opens stay there.
pub fn within<T: Send>(pid: u32, work: impl FnOnce() -> T + Send) -> T {
    let namespace = std::fs::File::open(format!("/proc/{pid}/ns/net")).unwrap();
    std::thread::scope(|scope| {
        let worker = scope.spawn(|| {
            let kind = Some(rustix::thread::LinkNameSpaceType::Network);
            rustix::thread::move_into_link_name_space(namespace.as_fd(), kind).unwrap();
            work()
        });
        worker.join().expect("the work in a namespace succeeds")
    })
}

/// What a [`Listener`] says.
pub const GREETING: &str = "hello-from-there";

/// How long a connection that nobody answers is waited for.
const REFUSAL: Duration = Duration::from_secs(1);

/// A TCP server that greets. Ended when dropped.
pub struct Listener {
    over: Arc<AtomicBool>,
    server: Option<JoinHandle<()>>,
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        if let Some(server) = self.server.take() {
            server.thread().unpark();
            // Its failure would have been seen by who connected.
            let _ = server.join();
        }
    }
}

impl Host {
    /// Two namespaces, linked: `192.0.2.2` is the host's address, `192.0.2.1` the outside's.
    pub fn new() -> Self {
        let (inside, outside) = (Namespace::new(), Namespace::new());
        inside.must(&format!(
            "ip link add up0 type veth peer name down0 netns {}; \
             ip addr add 192.0.2.2/24 dev up0; ip -6 addr add 2001:db8::2/64 dev up0 nodad; ip link set up0 up; \
             ip route add default via 192.0.2.1",
            outside.pid()
        ));
        outside.must(
            "ip addr add 192.0.2.1/24 dev down0; ip addr add 192.0.2.7/24 dev down0; \
             ip -6 addr add 2001:db8::1/64 dev down0 nodad; ip link set down0 up",
        );
        inside.must("ip -6 route add default via 2001:db8::1");
        // The kernel gives the ends their link-local addresses a moment later, without which nobody finds a neighbour.
        until("the uplink to carry IPv6", || {
            inside.shell("busybox ping -6 -c 1 -W 1 2001:db8::1").status.success()
        });
        Host { inside, outside }
    }
}

impl Default for Host {
    fn default() -> Self {
        Host::new()
    }
}

impl Default for Namespace {
    fn default() -> Self {
        Namespace::new()
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        let _ = self.holder.kill();
        let _ = self.holder.wait();
    }
}
