//! Taking as much of one thing as the kernel gives.

use std::fs;
use std::ptr;
use std::time::{Duration, Instant};

use crate::system::checked;

/// What tells others, in the directory for temporary files, that all there is has been taken.
const HOLDING: &str = "/tmp/holding";
/// Most of anything: what has no limit of its own is not taken for ever.
const MOST: u64 = 200_000;
/// A mebibyte: of shared memory, of a pipe.
const LARGE: usize = 1 << 20;

/// `hoard KIND SECONDS`: takes things until the kernel refuses or the time is over, says how many, and keeps them until it is
/// killed.
pub(crate) fn hoard(kind: &str, seconds: &str) -> Result<u8, String> {
    let end = Instant::now() + Duration::from_secs(crate::calls::value(seconds)?);
    raise_limit_of_files();
    let mut taken = 0;
    let refused = loop {
        if taken == most(kind) || Instant::now() >= end {
            break "nothing refused".to_owned();
        }
        match one(kind, taken) {
            Ok(()) => taken += 1,
            Err(refused) => break refused,
        }
    };
    fs::write(HOLDING, format!("{taken}: {refused}")).map_err(|error| format!("{HOLDING}: {error}"))?;
    loop {
        // SAFETY: no arguments.
        unsafe { libc::pause() };
    }
}

/// Directories are removed one by one afterwards, which takes longer than making them.
fn most(kind: &str) -> u64 {
    if kind == "directories" { MOST / 100 } else { MOST }
}

/// `take KIND`: takes one, and fails when there is none.
pub(crate) fn take(kind: &str) -> Result<u8, String> {
    one(kind, u64::from(std::process::id())).map(|()| 0)
}

fn raise_limit_of_files() {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: a place for one limit; a refusal leaves the limit as it is, which is only less to take.
    unsafe {
        libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit);
        limit.rlim_cur = limit.rlim_max;
        libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit);
    }
}

/// Takes one more thing and keeps it.
fn one(kind: &str, number: u64) -> Result<(), String> {
    let name = format!("/tmp/hoard-{number}\0");
    // SAFETY: numbers, texts that end with a zero byte, and places that live through the calls.
    let answer = unsafe {
        match kind {
            "descriptors" => i64::from(libc::open(c"/dev/null".as_ptr(), libc::O_RDONLY)),
            "inotify" => libc::inotify_init1(0).into(),
            "epoll" => libc::epoll_create1(0).into(),
            "eventfds" => libc::eventfd(0, 0).into(),
            "timers" => {
                let mut timer = ptr::null_mut();
                libc::timer_create(libc::CLOCK_MONOTONIC, ptr::null_mut(), &raw mut timer).into()
            }
            "queues" => {
                let name = format!("/hoard-{number}\0");
                let flags = libc::O_CREAT | libc::O_RDWR;
                libc::mq_open(name.as_ptr().cast(), flags, 0o600, ptr::null::<libc::mq_attr>()).into()
            }
            "semaphores" => libc::semget(libc::IPC_PRIVATE, 1, 0o600).into(),
            "shared-memory" => libc::shmget(libc::IPC_PRIVATE, LARGE, 0o600).into(),
            "messages" => libc::msgget(libc::IPC_PRIVATE, 0o600).into(),
            "terminals" => libc::posix_openpt(libc::O_RDWR | libc::O_NOCTTY).into(),
            "sockets" => libc::socket(libc::AF_UNIX, libc::SOCK_STREAM, 0).into(),
            "pipes" => {
                let mut ends = [0; 2];
                let made = libc::pipe(ends.as_mut_ptr());
                if made == 0 {
                    // Where it is refused the pipe is a small one.
                    libc::fcntl(ends[1], libc::F_SETPIPE_SZ, LARGE);
                }
                made.into()
            }
            "net-namespaces" => libc::unshare(libc::CLONE_NEWNET).into(),
            "user-namespaces" => libc::unshare(libc::CLONE_NEWUSER).into(),
            "mounts" => {
                libc::mount(c"none".as_ptr(), c"/tmp".as_ptr(), c"tmpfs".as_ptr(), 0, ptr::null()).into()
            }
            "keys" => {
                let session = -3;
                let text = name.as_ptr().cast::<libc::c_char>();
                libc::syscall(libc::SYS_add_key, c"user".as_ptr(), text, c"x".as_ptr(), 1_usize, session)
            }
            "processes" => match libc::fork() {
                0 => loop {
                    libc::pause();
                },
                child => child.into(),
            },
            "memory" => {
                let (protection, flags) = (
                    libc::PROT_READ | libc::PROT_WRITE,
                    libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_POPULATE,
                );
                let place = libc::mmap(ptr::null_mut(), LARGE, protection, flags, -1, 0);
                if place == libc::MAP_FAILED { -1 } else { 0 }
            }
            "connections" => return connection(),
            "files-of-memory" => return written(&format!("/dev/shm/hoard-{number}"), LARGE),
            "directories" => libc::mkdir(name.as_ptr().cast(), 0o700).into(),
            "output" => libc::write(1, [b'x'; 4096].as_ptr().cast(), 4096) as i64,
            _ => return Err(format!("there is no kind {kind:?}")),
        }
    };
    checked(kind, answer).map(|_| ())
}

fn written(path: &str, bytes: usize) -> Result<(), String> {
    fs::write(path, vec![1; bytes]).map_err(|error| format!("{path}: {error}"))
}

/// A connection over loopback, both ends of it.
fn connection() -> Result<(), String> {
    let failed = |error: std::io::Error| format!("connection: {error}");
    let listener = std::net::TcpListener::bind("127.0.0.1:0").map_err(failed)?;
    let one = std::net::TcpStream::connect(listener.local_addr().map_err(failed)?).map_err(failed)?;
    let (other, _) = listener.accept().map_err(failed)?;
    std::mem::forget((one, other));
    Ok(())
}
