//! Frames and packets: sent from inside, seen where they must not arrive.
//!
//! What is sent carries a word between two tildes, by which it is known again wherever it arrives.

use std::io::{Write, stdout};
use std::net::{IpAddr, SocketAddr, TcpStream, UdpSocket};
use std::ptr;
use std::thread;
use std::time::{Duration, Instant};

use crate::system::{checked, text};

/// Bytes that are looked at of each frame.
const MOST: usize = 2048;
/// How long a connection that nobody answers is waited for.
const REFUSAL: Duration = Duration::from_millis(800);

fn packet_socket(link: &str, kinds: u16) -> Result<(i32, libc::sockaddr_ll), String> {
    let name = text(link)?;
    // SAFETY: the name ends with a zero byte; socket takes numbers only; a zeroed sockaddr_ll is one of no family.
    let (index, socket, mut address) = unsafe {
        let index = libc::if_nametoindex(name.as_ptr());
        let protocol = i32::from(kinds.to_be());
        let socket = checked("socket", libc::socket(libc::AF_PACKET, libc::SOCK_RAW, protocol))?;
        (index, socket as i32, std::mem::zeroed::<libc::sockaddr_ll>())
    };
    if index == 0 {
        return Err(format!("there is no link {link}"));
    }
    address.sll_family = libc::AF_PACKET as u16;
    address.sll_protocol = kinds.to_be();
    address.sll_ifindex = index as i32;
    Ok((socket, address))
}

fn bytes_of(hex: &str) -> Result<Vec<u8>, String> {
    let pair = |index: usize| hex.get(index..index + 2).ok_or_else(|| format!("half a byte in {hex}"));
    let byte = |index| u8::from_str_radix(pair(index)?, 16).map_err(|error| format!("{hex}: {error}"));
    (0..hex.len()).step_by(2).map(byte).collect()
}

/// Stays on this processor: what a processor sends over a pair of links it receives in the same order.
fn stay_here() -> Result<(), String> {
    // SAFETY: a zeroed set is an empty one; the number of this processor is within it.
    unsafe {
        let here = checked("sched_getcpu", libc::sched_getcpu())? as usize;
        let mut set: libc::cpu_set_t = std::mem::zeroed();
        libc::CPU_SET(here, &mut set);
        checked(
            "sched_setaffinity",
            libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), &raw const set),
        )?;
    }
    Ok(())
}

/// `send LINK FRAME...`: sends frames, each in hexadecimal digits, as they are and in order.
pub(crate) fn send(link: &str, frames: &[&str]) -> Result<u8, String> {
    stay_here()?;
    let (socket, address) = packet_socket(link, 0)?;
    for frame in frames {
        let frame = bytes_of(frame)?;
        // SAFETY: the frame and the address live for the call, with the sizes that are said.
        let sent = unsafe {
            let size = size_of::<libc::sockaddr_ll>() as u32;
            libc::sendto(socket, frame.as_ptr().cast(), frame.len(), 0, (&raw const address).cast(), size)
        };
        checked("sendto", sent as i64)?;
    }
    println!("sent {}", frames.len());
    Ok(0)
}

/// `sniff LINK`: prints the words of the frames that arrive at a link, until standard input is closed.
pub(crate) fn sniff(link: &str) -> Result<u8, String> {
    let (socket, address) = packet_socket(link, libc::ETH_P_ALL as u16)?;
    // SAFETY: the address lives for the call and has the size that is said.
    checked("bind", unsafe {
        libc::bind(socket, (&raw const address).cast(), size_of::<libc::sockaddr_ll>() as u32)
    })?;
    println!("ready");
    let mut frame = [0_u8; MOST];
    loop {
        let mut waited = [0, socket].map(|fd| libc::pollfd { fd, events: libc::POLLIN, revents: 0 });
        // SAFETY: an array of two.
        checked("poll", unsafe { libc::poll(waited.as_mut_ptr(), 2, -1) })?;
        if waited[1].revents == 0 {
            return Ok(0);
        }
        let mut from = address;
        let mut size = size_of::<libc::sockaddr_ll>() as u32;
        // SAFETY: places of the sizes that are said.
        let read = unsafe {
            let place = frame.as_mut_ptr().cast();
            libc::recvfrom(socket, place, MOST, 0, (&raw mut from).cast(), &raw mut size)
        };
        let read = checked("recvfrom", read as i64)? as usize;
        if from.sll_pkttype != libc::PACKET_OUTGOING
            && let Some(word) = word_in(&frame[..read])
        {
            println!("{word}");
        }
    }
}

fn word_in(frame: &[u8]) -> Option<&str> {
    let mut parts = frame.split(|byte| *byte == b'~').skip(1);
    let is_word = |part: &[u8]| part.len() == 8 && part.iter().all(u8::is_ascii_alphanumeric);
    let word = parts.find(|part| is_word(part))?;
    std::str::from_utf8(word).ok()
}

/// `reach WHAT...`: tries each of `tcp,ADDRESS,PORT`, `udp,ADDRESS,PORT,WORD` and `ping,ADDRESS,WORD`, all at once, and prints
/// what came of it. Of the last two only the sending is known here.
pub(crate) fn reach(places: &[&str]) -> Result<u8, String> {
    let outcomes: Vec<Result<&str, String>> = thread::scope(|scope| {
        let tries: Vec<_> = places.iter().map(|place| scope.spawn(|| reach_one(place))).collect();
        tries.into_iter().map(|one| one.join().unwrap_or_else(|_| Err("panicked".into()))).collect()
    });
    for (place, outcome) in places.iter().zip(outcomes) {
        println!("{place} {}", outcome?);
    }
    Ok(0)
}

fn reach_one(place: &str) -> Result<&'static str, String> {
    let bad = |error: &dyn std::fmt::Display| format!("{place}: {error}");
    let address = |text: &str| text.parse::<IpAddr>().map_err(|error| bad(&error));
    let port = |text: &str| text.parse::<u16>().map_err(|error| bad(&error));
    match place.split(',').collect::<Vec<_>>()[..] {
        ["tcp", to, number] => {
            let to = SocketAddr::new(address(to)?, port(number)?);
            Ok(if TcpStream::connect_timeout(&to, REFUSAL).is_ok() { "connected" } else { "refused" })
        }
        ["udp", to, number, word] => {
            let to = SocketAddr::new(address(to)?, port(number)?);
            let socket = datagrams(&to).map_err(|error| bad(&error))?;
            Ok(if socket.send_to(marked(word).as_bytes(), to).is_ok() { "sent" } else { "not sent" })
        }
        ["ping", to, word] => ping(address(to)?, word),
        _ => Err(bad(&"neither tcp, udp nor ping")),
    }
}

fn marked(word: &str) -> String {
    format!("~{word}~")
}

fn datagrams(to: &SocketAddr) -> std::io::Result<UdpSocket> {
    UdpSocket::bind(if to.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" })
}

fn ping(to: IpAddr, word: &str) -> Result<&'static str, String> {
    let (family, protocol, kind) = match to {
        IpAddr::V4(_) => (libc::AF_INET, libc::IPPROTO_ICMP, 8),
        IpAddr::V6(_) => (libc::AF_INET6, libc::IPPROTO_ICMPV6, 128),
    };
    let mut packet = vec![kind, 0, 0, 0, 0, 7, 0, 1];
    packet.extend(marked(word).bytes());
    let sum = packet.chunks(2).fold(0_u32, |sum, pair| {
        sum + u32::from(pair[0]) * 256 + u32::from(pair.get(1).copied().unwrap_or(0))
    });
    // The kernel does so itself for the other family.
    if to.is_ipv4() {
        packet[2..4].copy_from_slice(&(!((sum >> 16) + (sum & 0xffff)) as u16).to_be_bytes());
    }
    // SAFETY: the packet and the address live for the call; a zeroed address is one of no family.
    let sent = unsafe {
        let socket = checked("socket", libc::socket(family, libc::SOCK_RAW, protocol))? as i32;
        let mut address: libc::sockaddr_in6 = std::mem::zeroed();
        let size = match to {
            IpAddr::V4(to) => {
                let place: *mut libc::sockaddr_in = (&raw mut address).cast();
                let s_addr = u32::from(to).to_be();
                (*place).sin_family = family as u16;
                (*place).sin_addr = libc::in_addr { s_addr };
                size_of::<libc::sockaddr_in>()
            }
            IpAddr::V6(to) => {
                address.sin6_family = family as u16;
                ptr::copy_nonoverlapping(to.octets().as_ptr(), address.sin6_addr.s6_addr.as_mut_ptr(), 16);
                size_of::<libc::sockaddr_in6>()
            }
        };
        let place = (&raw const address).cast();
        libc::sendto(socket, packet.as_ptr().cast(), packet.len(), 0, place, size as u32)
    };
    Ok(if sent >= 0 { "sent" } else { "not sent" })
}

/// `beacon ADDRESS PORT WORD MILLISECONDS`: sends datagrams as fast as it can for a time, 0 for ever.
pub(crate) fn beacon(to: &str, port: &str, word: &str, time: &str) -> Result<u8, String> {
    let to: IpAddr = to.parse().map_err(|error| format!("{to}: {error}"))?;
    let to = SocketAddr::new(to, port.parse().map_err(|error| format!("{port}: {error}"))?);
    let time: u64 = time.parse().map_err(|error| format!("{time}: {error}"))?;
    let begin = Instant::now();
    let packet = marked(word);
    let socket = datagrams(&to).map_err(|error| error.to_string())?;
    let mut sent = 0_u64;
    while time == 0 || begin.elapsed() < Duration::from_millis(time) {
        // What is refused is told by an error of a later one.
        sent += u64::from(socket.send_to(packet.as_bytes(), to).is_ok());
        if sent == 1 {
            println!("sending");
            stdout().flush().map_err(|error| error.to_string())?;
        }
        // Others have to run on this machine as well.
        if begin.elapsed() > Duration::from_millis(20) {
            thread::park_timeout(Duration::from_micros(200));
        }
    }
    println!("sent {sent}");
    Ok(0)
}
