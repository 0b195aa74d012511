//! Somebody who is in a container's network before the container is.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use crate::Word;

/// For how long it sends from each network: a create is over long before.
const PERSISTENCE: Duration = Duration::from_millis(250);
/// Between two looks, and between two packets.
const PAUSE: Duration = Duration::from_micros(100);

/// Joins every network namespace that an engine makes, as soon as that is there, and sends from it all the time: also while it
/// has no link yet. Ended when dropped.
pub(super) struct Stalker {
    over: Arc<AtomicBool>,
    joined: Arc<Mutex<Vec<Instant>>>,
    watch: Option<JoinHandle<()>>,
}

impl Stalker {
    /// Sends a word to an address from all networks of the engine with this mark.
    pub(super) fn start(mark: String, to: SocketAddr, word: &Word) -> Self {
        let (over, joined) = (Arc::new(AtomicBool::new(false)), Arc::new(Mutex::new(Vec::new())));
        let (told, noted, packet) = (over.clone(), joined.clone(), word.marked());
        let watch = std::thread::spawn(move || {
            let mut known = Known::now();
            let mut senders = Vec::new();
            while !told.load(Ordering::Relaxed) {
                for namespace in known.news(&mark) {
                    let (noted, packet) = (noted.clone(), packet.clone());
                    senders.push(std::thread::spawn(move || send_from(&namespace, to, &packet, &noted)));
                }
                std::thread::park_timeout(PAUSE);
            }
            for sender in senders {
                // What it could not send has not arrived.
                let _ = sender.join();
            }
        });
        Stalker { over, joined, watch: Some(watch) }
    }

    /// Whether it was in a network between these moments.
    pub(super) fn joined_between(&self, from: Instant, to: Instant) -> bool {
        let joined = self.joined.lock().unwrap_or_else(PoisonError::into_inner);
        joined.iter().any(|moment| (from..to).contains(moment))
    }
}

impl Drop for Stalker {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        if let Some(watch) = self.watch.take() {
            let _ = watch.join();
        }
    }
}

fn send_from(namespace: &File, to: SocketAddr, packet: &[u8], joined: &Mutex<Vec<Instant>>) {
    if move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network)).is_err() {
        return;
    }
    let any: IpAddr = if to.is_ipv4() { [0; 4].into() } else { [0; 16].into() };
    let Ok(socket) = UdpSocket::bind((any, 0)) else { return };
    let begin = Instant::now();
    joined.lock().unwrap_or_else(PoisonError::into_inner).push(begin);
    while begin.elapsed() < PERSISTENCE {
        // Without a link, and where it is refused, it tries again.
        let _ = socket.send_to(packet, to);
        std::thread::park_timeout(PAUSE);
    }
}

/// Processes and network namespaces that have been looked at.
struct Known {
    processes: BTreeSet<u32>,
    namespaces: BTreeSet<PathBuf>,
}

impl Known {
    fn now() -> Self {
        let mut known = Known { processes: BTreeSet::new(), namespaces: BTreeSet::new() };
        for pid in processes() {
            known.namespaces.extend(network_of(pid));
            known.processes.insert(pid);
        }
        known
    }

    /// Namespaces of the engine that were not there before.
    fn news(&mut self, mark: &str) -> Vec<File> {
        let now: BTreeSet<u32> = processes().collect();
        let mut new = Vec::new();
        for pid in now.difference(&self.processes) {
            let Some(network) = network_of(*pid) else { continue };
            let groups = fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap_or_default();
            // Other engines of this host are left alone.
            if !self.namespaces.contains(&network) && groups.contains(mark) {
                new.extend(File::open(format!("/proc/{pid}/ns/net")));
                self.namespaces.insert(network);
            }
        }
        self.processes = now;
        new
    }
}

fn network_of(pid: u32) -> Option<PathBuf> {
    fs::read_link(format!("/proc/{pid}/ns/net")).ok()
}

fn processes() -> impl Iterator<Item = u32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}
