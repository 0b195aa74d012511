//! Leaks of every kind, removed when dropped.

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// Something planted on the host; dropping it removes it.
pub(crate) struct Plant {
    remove: Option<Box<dyn FnOnce()>>,
    id: String,
}

impl Plant {
    fn new(remove: impl FnOnce() + 'static) -> Self {
        Plant { remove: Some(Box::new(remove)), id: String::new() }
    }

    /// The number the kernel gave it, where a test needs that.
    pub(crate) fn id(&self) -> &str {
        &self.id
    }
}

impl Drop for Plant {
    fn drop(&mut self) {
        if let Some(remove) = self.remove.take() {
            remove();
        }
    }
}

/// Runs a program to its end and returns what it printed.
fn run(program: &str, arguments: &[&str]) -> String {
    let output =
        Command::new(program).args(arguments).output().unwrap_or_else(|error| panic!("{program}: {error}"));
    assert!(output.status.success(), "{program} {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn temporary(mark: &str) -> PathBuf {
    std::env::temp_dir().join(mark)
}

/// A process that sleeps until it is killed, with the mark in its working directory.
fn sleeper(mark: &str, program: &[&str]) -> (Child, PathBuf) {
    let directory = temporary(mark);
    fs::create_dir_all(&directory).unwrap();
    let mut command = Command::new(program[0]);
    let child = command
        .args(&program[1..])
        .current_dir(&directory)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    (child, directory)
}

fn end(mut child: Child, directory: &Path) {
    child.kill().unwrap();
    child.wait().unwrap();
    fs::remove_dir(directory).unwrap();
}

pub(crate) fn mount(mark: &str) -> Plant {
    let directory = temporary(mark);
    fs::create_dir_all(&directory).unwrap();
    run("mount", &["-t", "tmpfs", "none", directory.to_str().unwrap()]);
    Plant::new(move || {
        run("umount", &[directory.to_str().unwrap()]);
        // A mount below this one keeps the directory busy; the last one to go removes it.
        fs::remove_dir(&directory).ok();
    })
}

pub(crate) fn process(mark: &str) -> Plant {
    let (child, directory) = sleeper(mark, &["sleep", "1000"]);
    Plant::new(move || end(child, &directory))
}

/// A child that has ended and is not waited for. Its cgroup is all that still tells whose it was, and only in the unified
/// hierarchy: the others show a zombie in their root.
pub(crate) fn zombie(mark: &str) -> Plant {
    let group = cgroup_hierarchies()
        .into_iter()
        .find(|point| point.join("cgroup.controllers").exists())
        .unwrap()
        .join(mark);
    fs::create_dir(&group).unwrap();
    let mut child = Command::new("sleep").arg("1000").spawn().unwrap();
    fs::write(group.join("cgroup.procs"), child.id().to_string()).unwrap();
    child.kill().unwrap();
    Plant::new(move || {
        child.wait().unwrap();
        fs::remove_dir(&group).unwrap();
    })
}

pub(crate) fn namespace(mark: &str) -> Plant {
    let (child, directory) = sleeper(mark, &["unshare", "--net", "sleep", "1000"]);
    Plant::new(move || end(child, &directory))
}

/// A shell that opens another process's network namespace and goes on holding it when that process has ended.
pub(crate) fn namespace_descriptor(mark: &str) -> Plant {
    let script = "unshare --net sleep 1000 & held=$!
        while [ \"$(readlink /proc/$held/ns/net)\" = \"$(readlink /proc/$$/ns/net)\" ]; do :; done
        exec 3</proc/$held/ns/net; kill $held; wait $held 2>/dev/null; echo ready; exec sleep 1000";
    let (mut child, directory) = sleeper(mark, &["bash", "-c", script]);
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    assert_eq!(line, "ready\n");
    Plant::new(move || end(child, &directory))
}

pub(crate) fn named_netns(mark: &str) -> Plant {
    fs::create_dir_all("/run/netns").unwrap();
    let file = Path::new("/run/netns").join(mark);
    fs::write(&file, "").unwrap();
    run("unshare", &[&format!("--net={}", file.display()), "true"]);
    Plant::new(move || {
        run("umount", &[file.to_str().unwrap()]);
        fs::remove_file(&file).unwrap();
    })
}

pub(crate) fn link(name: &str) -> Plant {
    run("ip", &["link", "add", name, "type", "bridge"]);
    let name = name.to_owned();
    Plant::new(move || {
        run("ip", &["link", "delete", &name]);
    })
}

/// Mount points of every cgroup hierarchy.
pub(crate) fn cgroup_hierarchies() -> Vec<PathBuf> {
    let table = fs::read_to_string("/proc/self/mounts").unwrap();
    let points =
        table.lines().filter(|line| line.split(' ').nth(2).is_some_and(|kind| kind.starts_with("cgroup")));
    points.map(|line| PathBuf::from(line.split(' ').nth(1).unwrap())).collect()
}

/// A directory in a directory of its own, as a container's cgroup is.
pub(crate) fn directories(inner: &Path) -> Plant {
    fs::create_dir_all(inner).unwrap();
    let inner = inner.to_path_buf();
    Plant::new(move || {
        fs::remove_dir(&inner).unwrap();
        fs::remove_dir(inner.parent().unwrap()).unwrap();
    })
}

pub(crate) fn loop_device(mark: &str) -> Plant {
    let file = temporary(mark);
    fs::File::create(&file).unwrap().set_len(1 << 20).unwrap();
    let device = run("losetup", &["--find", "--show", file.to_str().unwrap()]);
    Plant::new(move || {
        run("losetup", &["--detach", device.trim()]);
        fs::remove_file(&file).unwrap();
    })
}

pub(crate) fn file(root: &Path, kind: &str) -> Plant {
    let path = root.join("planted");
    match kind {
        "file" => fs::write(&path, "").unwrap(),
        "directory" => fs::create_dir(&path).unwrap(),
        "link" => std::os::unix::fs::symlink("nowhere", &path).unwrap(),
        "fifo" => drop(run("mkfifo", &[path.to_str().unwrap()])),
        // The file stays when the listener goes, as after a kill.
        "socket" => drop(UnixListener::bind(&path).unwrap()),
        other => panic!("no such kind of file: {other}"),
    }
    Plant::new(move || match path.symlink_metadata().unwrap().is_dir() {
        true => fs::remove_dir(&path).unwrap(),
        false => fs::remove_file(&path).unwrap(),
    })
}

pub(crate) fn abstract_socket(mark: &str) -> Plant {
    let address = SocketAddr::from_abstract_name(mark).unwrap();
    let listener = UnixListener::bind_addr(&address).unwrap();
    Plant::new(move || drop(listener))
}

pub(crate) fn socket(mark: &str) -> Plant {
    let path = temporary(mark);
    let listener = UnixListener::bind(&path).unwrap();
    Plant::new(move || {
        drop(listener);
        fs::remove_file(&path).unwrap();
    })
}

/// A System V object: `-Q` a queue, `-S` a semaphore set of one, `-M` a segment of one page.
pub(crate) fn sysv(option: &'static str) -> Plant {
    let size: &[&str] = match option {
        "-S" => &["1"],
        "-M" => &["4096"],
        _ => &[],
    };
    let printed = run("ipcmk", &[&[option], size].concat());
    let id = printed.split_whitespace().last().unwrap().to_owned();
    let (remove, of) = (option.to_lowercase(), id.clone());
    Plant {
        remove: Some(Box::new(move || {
            run("ipcrm", &[&remove, &of]);
        })),
        id,
    }
}

pub(crate) fn shared_memory(mark: &str) -> Plant {
    let path = Path::new("/dev/shm").join(mark);
    fs::write(&path, "").unwrap();
    Plant::new(move || fs::remove_file(&path).unwrap())
}

/// A key in root's own keyring, by the system calls themselves, since their command is rarely installed.
pub(crate) fn key(mark: &str) -> Plant {
    // add_key(2) is call 248 and keyctl(2) call 250 on x86_64; -4 is the user's keyring and 21 is KEYCTL_INVALIDATE.
    let script = "my @a = (\"user\", $ARGV[0], \"x\"); print syscall(248, $a[0], $a[1], $a[2], 1, -4)";
    let id = run("perl", &["-e", script, mark]);
    Plant::new(move || {
        run("perl", &["-e", "exit(syscall(250, 21, $ARGV[0] + 0) != 0)", &id]);
    })
}
