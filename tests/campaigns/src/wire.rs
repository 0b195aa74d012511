//! Watching links for what was sent elsewhere.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::net::{IpAddr, UdpSocket};
use std::process::{Child, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use engine_tests::host::{Namespace, within};
use engine_tests::images::path_text;

use crate::probe;

/// What a packet carries to be known again: eight letters and digits.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Word(String);

impl Word {
    /// One that no packet has yet.
    pub fn fresh() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        Word(format!("w{:07}", NEXT.fetch_add(1, Ordering::Relaxed)))
    }

    /// The word.
    pub fn text(&self) -> &str {
        &self.0
    }

    /// The word as it stands in a packet.
    pub fn marked(&self) -> Vec<u8> {
        format!("~{}~", self.0).into_bytes()
    }
}

/// Counts the words that arrive at a link, whatever they are packed into. Ended when dropped.
pub struct Sniffer {
    child: Child,
    words: Arc<Mutex<BTreeMap<String, u64>>>,
    reader: Option<JoinHandle<()>>,
}

impl Sniffer {
    /// At a link of the network namespace of a process.
    ///
    /// # Panics
    /// When it cannot be opened.
    pub fn open(pid: u32, link: &str) -> Self {
        let mut command = Namespace::command_in(pid, &path_text(&probe()));
        command.args(["sniff", link]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().expect("it is piped")).lines();
        let ready = lines.next().and_then(Result::ok);
        assert_eq!(ready.as_deref(), Some("ready"), "the link {link} of process {pid} cannot be watched");
        let words = Arc::new(Mutex::new(BTreeMap::new()));
        let noted = words.clone();
        let reader = std::thread::spawn(move || {
            for word in lines.map_while(Result::ok) {
                *locked(&noted).entry(word).or_default() += 1;
            }
        });
        Sniffer { child, words, reader: Some(reader) }
    }

    /// How many frames with this word have arrived.
    pub fn count(&self, word: &Word) -> u64 {
        locked(&self.words).get(word.text()).copied().unwrap_or(0)
    }
}

impl Drop for Sniffer {
    fn drop(&mut self) {
        // It ends when its input does; a link that is gone has ended it already.
        drop(self.child.stdin.take());
        let _ = self.child.wait();
        if let Some(reader) = self.reader.take() {
            let _ = reader.join();
        }
    }
}

/// A program that receives datagrams: what arrives at a link and is kept from programs is not heard.
pub struct Ear {
    socket: UdpSocket,
    heard: Mutex<Vec<Vec<u8>>>,
}

impl Ear {
    /// On an address and port in the network namespace of a process.
    ///
    /// # Panics
    /// When they are taken.
    pub fn open(pid: u32, address: IpAddr, port: u16) -> Self {
        let socket = within(pid, || UdpSocket::bind((address, port)).unwrap());
        socket.set_nonblocking(true).unwrap();
        Ear { socket, heard: Mutex::default() }
    }

    /// Whether a word has been heard.
    pub fn has(&self, word: &Word) -> bool {
        let mut heard = locked(&self.heard);
        let mut packet = [0; 2048];
        while let Ok(read) = self.socket.recv(&mut packet) {
            heard.push(packet[..read].to_vec());
        }
        let marked = word.marked();
        heard.iter().any(|packet| packet.windows(marked.len()).any(|part| part == marked))
    }
}

fn locked<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}
