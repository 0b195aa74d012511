//! A keeper on real kernel objects: a container out of busybox, without an engine around it. Needs root and busybox.

#![allow(clippy::unwrap_used, reason = "a failed step fails the test")]

use std::collections::HashSet;
use std::io::Read;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use gdn_launcher::protocol::{
    Attach, Call, CloseStdin, Create, FailureKind, Forget, Prepare, Run, Sidecar, Signal, Transfer, Window,
};
use gdn_launcher::{Error, Keeper, Launcher, News};
use gdn_mounts::Detached;
use gdn_namespaces::IdMap;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

const CAPABILITIES: u64 = 0xa804_25fb;

struct Container {
    keeper: Keeper,
    news: UnboundedReceiver<News>,
    directory: tempfile::TempDir,
    init: u32,
    pid: u32,
    _launcher: Launcher,
}

fn busybox_root(at: &Path) {
    for directory in ["bin", "etc", "proc", "sys", "dev", "tmp"] {
        std::fs::create_dir_all(at.join(directory)).unwrap();
    }
    std::fs::copy("/bin/busybox", at.join("bin/busybox")).unwrap();
    for name in ["sh", "id", "cat", "echo", "sleep", "true", "stty", "ls", "tty", "readlink"] {
        std::os::unix::fs::symlink("busybox", at.join("bin").join(name)).unwrap();
    }
    for directory in [at.to_owned(), at.join("etc")] {
        std::os::unix::fs::chown(directory, Some(4_294_967_294), Some(4_294_967_294)).unwrap();
    }
    std::fs::set_permissions(at.join("tmp"), std::os::unix::fs::PermissionsExt::from_mode(0o1777)).unwrap();
}

async fn container() -> Container {
    container_in(None).await
}

/// What every unprivileged sandbox needs.
fn unprivileged() -> Prepare {
    Prepare { map: IdMap::container_default().triples(), ..Prepare::default() }
}

async fn container_in(cgroup: Option<&Path>) -> Container {
    let directory = tempfile::tempdir().unwrap();
    let rootfs = directory.path().join("rootfs");
    busybox_root(&rootfs);
    let launcher = Launcher::start().unwrap();
    let pid = launcher.launch(directory.path()).await.unwrap();
    let (sender, news) = unbounded_channel();
    let (keeper, status, _) =
        Keeper::connect(directory.path(), move |item| drop(sender.send(item))).await.unwrap();
    assert_eq!(status.init_pid, 0);
    let prepare =
        Prepare { unified: cgroup.is_some(), hostname: "box".into(), owner: 0x8000_0000, ..unprivileged() };
    let cgroup: Vec<OwnedFd> = cgroup.iter().map(|path| std::fs::File::open(path).unwrap().into()).collect();
    let cgroup: Vec<_> = cgroup.iter().map(AsFd::as_fd).collect();
    let (reply, descriptors) = keeper.call(Call::Prepare(prepare), &cgroup).await.unwrap();
    assert_eq!(descriptors.len(), 2);
    let root: OwnedFd = std::fs::File::open(&rootfs).unwrap().into();
    let root = Detached::copy_of(root.as_fd()).unwrap();
    let create = Create {
        capabilities: CAPABILITIES,
        sysctls: vec!["net.ipv4.ip_unprivileged_port_start".into(), "79".into()],
        ..Create::default()
    };
    let (_, descriptors) = keeper.call(Call::Create(create), &[root.as_fd()]).await.unwrap();
    assert_eq!(descriptors.len(), 1);
    Container { keeper, news, directory, init: reply.pid, pid, _launcher: launcher }
}

fn command(process: &str, args: &[&str]) -> Run {
    Run {
        process: process.into(),
        args: args.iter().map(|arg| arg.as_bytes().to_vec()).collect(),
        env: vec![b"PATH=/bin".to_vec()],
        bounding: CAPABILITIES,
        ..Run::default()
    }
}

impl Container {
    async fn run(&self, run: Run) -> Result<Vec<OwnedFd>, Error> {
        let (reply, descriptors) = self.keeper.call(Call::Run(run), &[]).await?;
        let streams = reply.streams.unwrap();
        assert_eq!(
            descriptors.len(),
            [streams.stdin, streams.stdout, streams.stderr].iter().filter(|is| **is).count()
        );
        Ok(descriptors)
    }

    async fn exit(&mut self, process: &str) -> i32 {
        loop {
            match self.news.recv().await.expect("the keeper lives") {
                News::Exited(exited) if exited.process == process => return exited.wait_status,
                News::Exited(_) | News::Started(_) => {}
                News::Gone => panic!("the keeper is gone"),
            }
        }
    }

    async fn output(&mut self, args: &[&str]) -> (String, i32) {
        let mut streams = self.run(command("p", args)).await.unwrap();
        let errors = streams.remove(2);
        let text = text(streams.remove(1)).await + &text(errors).await;
        (text, self.exit("p").await)
    }

    async fn end(self) {
        self.keeper.kill().await.unwrap();
        assert!(!Path::new(&format!("/proc/{}", self.init)).exists(), "init is reaped");
        self.keeper.shut_down().await.unwrap();
    }
}

async fn text(fd: OwnedFd) -> String {
    rustix::fs::fcntl_setfl(&fd, rustix::fs::OFlags::empty()).unwrap();
    tokio::task::spawn_blocking(move || {
        let mut text = String::new();
        std::fs::File::from(fd).read_to_string(&mut text).unwrap();
        text
    })
    .await
    .unwrap()
}

/// Number of the limit of open files.
const NOFILE: u64 = 7;

#[tokio::test]
async fn a_container_shows_itself_and_nothing_of_the_host() {
    let mut container = container().await;
    let (out, status) = container
        .output(&[
            "sh",
            "-c",
            "id; cat /proc/1/comm /proc/sys/net/ipv4/ip_unprivileged_port_start; ls /proc/self/fd; exit 42",
        ])
        .await;
    assert_eq!(out, "uid=0 gid=0\ngarden-init\n79\n0\n1\n2\n3\n", "{out}");
    assert_eq!(status >> 8, 42);
    let (mounts, _) = container.output(&["cat", "/proc/self/mountinfo"]).await;
    assert!(!mounts.contains("/run/") && !mounts.contains("cgroup"), "{mounts}");
    let (caps, _) = container.output(&["cat", "/proc/self/status"]).await;
    assert!(caps.contains("CapInh:\t0000000000000000\n"), "{caps}");
    assert!(caps.contains("CapEff:\t00000000a80425fb\n"), "{caps}");
    assert!(caps.contains("CapBnd:\t00000000a80425fb\n"), "{caps}");
    container.end().await;
}

#[tokio::test]
async fn what_cannot_run_says_why_and_leaves_no_process() {
    let mut container = container().await;
    let kind = |error: Error| error.kind().unwrap();
    assert_eq!(
        kind(container.run(command("a", &["nonesuch"])).await.unwrap_err()),
        FailureKind::NoExecutable
    );
    assert_eq!(
        kind(container.run(command("a", &["/bin/nonesuch"])).await.unwrap_err()),
        FailureKind::NoExecutable
    );
    assert_eq!(kind(container.run(command("a", &["/etc"])).await.unwrap_err()), FailureKind::NotExecutable);
    let elsewhere = Run { dir: b"/proc/self/fd/3/..".to_vec(), ..command("a", &["true"]) };
    assert!(container.run(elsewhere).await.is_err());
    assert_eq!(container.output(&["true"]).await.1, 0);
    container.end().await;
}

#[tokio::test]
async fn input_output_signals_and_attachments_reach_the_process() {
    let mut container = container().await;
    let mut first = container.run(command("cat", &["cat"])).await.unwrap();
    let attach = Call::Attach(Attach { process: "cat".into(), ..Attach::default() });
    let (_, mut second) = container.keeper.call(attach, &[]).await.unwrap();
    rustix::io::write(&first[0], b"to both\n").unwrap();
    drop(first.remove(0));
    drop(second.remove(0));
    container.keeper.call(Call::CloseStdin(CloseStdin { process: "cat".into() }), &[]).await.unwrap();
    assert_eq!(container.exit("cat").await, 0);
    assert_eq!(text(first.remove(0)).await, "to both\n");
    assert_eq!(text(second.remove(0)).await, "to both\n");

    container.run(command("sleep", &["sleep", "1000"])).await.unwrap();
    container.keeper.call(Call::Signal(Signal { process: "sleep".into(), signal: 15 }), &[]).await.unwrap();
    assert_eq!(container.exit("sleep").await, 15);
    container.run(command("sleep", &["sleep", "1000"])).await.unwrap();
    container.keeper.call(Call::Signal(Signal { process: String::new(), signal: 9 }), &[]).await.unwrap();
    assert_eq!(container.exit("sleep").await, 9);
    let exits = std::fs::read_to_string(container.directory.path().join("exits")).unwrap();
    assert_eq!(exits, "0 cat\n15 sleep\n9 sleep\n");
    container.end().await;
}

#[tokio::test]
async fn a_terminal_is_the_containers_own() {
    let mut container = container().await;
    let run = Run {
        tty: Some(Window { columns: 90, rows: 30 }),
        uid: 1000,
        gid: 1000,
        ..command("tty", &["sh", "-c", "tty; stty size; read line; echo got $line; id -u"])
    };
    let mut streams = container.run(run).await.unwrap();
    assert_eq!(streams.len(), 2);
    rustix::io::write(&streams[0], b"word\n").unwrap();
    let out = text(streams.remove(1)).await;
    assert_eq!(
        out.replace("word\r\n", ""),
        "/dev/pts/0\r\n30 90\r\ngot word\r\n1000\r\n".replace("word\r\n", ""),
        "{out:?}"
    );
    assert_eq!(container.exit("tty").await, 0);
    container.end().await;
}

#[tokio::test]
async fn files_go_in_and_out_as_a_user() {
    let mut container = container().await;
    let (_, status) = container.output(&["sh", "-c", "echo content > /tmp/file"]).await;
    assert_eq!(status, 0);
    let (read, write) = rustix::pipe::pipe().unwrap();
    let out =
        Transfer { out: true, path: b"/tmp/file".to_vec(), uid: 1000, gid: 1000, ..Transfer::default() };
    let reader = tokio::task::spawn_blocking(move || {
        let mut tar = Vec::new();
        std::fs::File::from(read).read_to_end(&mut tar).unwrap();
        tar
    });
    container.keeper.call(Call::Transfer(out), &[write.as_fd()]).await.unwrap();
    drop(write);
    let tar = reader.await.unwrap();
    assert!(tar.windows(8).any(|window| window == b"content\n"));

    for (length, expected) in [
        (tar.len(), None),
        (tar.len() - 1024, Some(FailureKind::BadArchive)),
        (700, Some(FailureKind::BadArchive)),
    ] {
        let (read, write) = rustix::pipe::pipe().unwrap();
        let into = Transfer { path: b"/tmp/new/place".to_vec(), ..Transfer::default() };
        let part = tar[..length].to_vec();
        let feeder = std::thread::spawn(move || rustix::io::write(&write, &part).unwrap());
        let result = container.keeper.call(Call::Transfer(into), &[read.as_fd()]).await;
        assert_eq!(feeder.join().unwrap(), length);
        assert_eq!(result.err().and_then(|error| error.kind()), expected, "{length}");
    }
    assert_eq!(container.output(&["cat", "/tmp/new/place/file"]).await.0, "content\n");
    let (read, _write) = rustix::pipe::pipe().unwrap();
    let denied = Transfer { path: b"/etc/new".to_vec(), uid: 1000, gid: 1000, ..Transfer::default() };
    let error = container.keeper.call(Call::Transfer(denied), &[read.as_fd()]).await.unwrap_err();
    assert_eq!(error.kind(), Some(FailureKind::Permission), "{error}");
    container.end().await;
}

#[tokio::test]
async fn a_sidecar_has_a_root_of_its_own_in_the_containers_other_namespaces() {
    let mut container = container().await;
    container.output(&["sh", "-c", "echo container > /etc/hosts; echo mine > /only-here"]).await;
    let own = tempfile::tempdir().unwrap();
    busybox_root(own.path());
    std::fs::write(own.path().join("etc/hosts"), "image").unwrap();
    let volume = tempfile::tempdir().unwrap();
    std::fs::write(volume.path().join("file"), "from a mount").unwrap();
    let copy_of =
        |path: &Path| Detached::copy_of(OwnedFd::from(std::fs::File::open(path).unwrap()).as_fd()).unwrap();
    let script = "for n in mnt net ipc pid uts user; do readlink /proc/self/ns/$n; done; cat /etc/hosts /mnt/file; \
                  ls /only-here; cat /proc/1/comm; tty; [ -s /proc/keys ] || echo masked; ls /proc/self/fd; exit 7";
    let run = |process: &str, tty| {
        let create = Create { mounts: vec!["/mnt".into()], ..Create::default() };
        let shared = vec!["/etc/hosts".into(), "/etc/resolv.conf".into()];
        let sidecar = Some(Sidecar { create: Some(create), shared, ..Sidecar::default() });
        Run { sidecar, tty, dir: b"/work".to_vec(), ..command(process, &["sh", "-c", script]) }
    };
    for tty in [None, Some(Window { columns: 80, rows: 24 })] {
        let mounts = [copy_of(own.path()), copy_of(volume.path())];
        let mounts: Vec<_> = mounts.iter().map(Detached::as_fd).collect();
        let (_, mut streams) = container.keeper.call(Call::Run(run("side", tty)), &mounts).await.unwrap();
        let out = text(streams.remove(1)).await.replace('\r', "");
        assert_eq!(container.exit("side").await >> 8, 7);
        let (inside, _) = container.output(&["sh", "-c", script]).await;
        let (theirs, ours): (Vec<_>, Vec<_>) = (out.lines().collect(), inside.lines().collect());
        assert_ne!(theirs[0], ours[0], "mount namespaces differ: {out}");
        assert_eq!(theirs[1..6], ours[1..6], "the others are the same");
        assert_eq!(theirs[6], "container");
        assert!(theirs[7].starts_with("from a mount"), "{out}");
        let terminal = tty.map_or("not a tty", |_| "/dev/pts/0");
        assert!(out.contains(terminal) && out.contains("masked"), "{out}");
        assert!(!out.contains("\n5\n"), "no descriptor but 0 to 3 and the listing's: {out}");
    }
    // A limit below the number of files that its root file system is made of.
    let few = Run { rlimits: vec![NOFILE, 5], ..run("few", None) };
    let mounts = [copy_of(own.path()), copy_of(volume.path())];
    let mounts: Vec<_> = mounts.iter().map(Detached::as_fd).collect();
    container
        .keeper
        .call(
            Call::Run(Run { args: vec![b"sh".into(), b"-c".into(), b"exit $(ulimit -n)".into()], ..few }),
            &mounts,
        )
        .await
        .unwrap();
    assert_eq!(container.exit("few").await >> 8, 5);
    let no_mounts = container.keeper.call(Call::Run(run("side", None)), &[]).await.unwrap_err();
    assert_eq!(no_mounts.kind(), Some(FailureKind::BadRequest));
    container.end().await;
}

#[tokio::test]
async fn a_tar_cut_behind_a_file_of_zeros_is_no_complete_tar() {
    let container = container().await;
    let mut header = tar::Header::new_gnu();
    header.set_size(4096);
    header.set_mode(0o644);
    let mut builder = tar::Builder::new(Vec::new());
    builder.append_data(&mut header, "zeros", [0; 4096].as_slice()).unwrap();
    let whole = builder.into_inner().unwrap();
    for (length, expected) in [
        (512 + 4096, Some(FailureKind::BadArchive)),
        (512 + 4096 + 512, Some(FailureKind::BadArchive)),
        (whole.len(), None),
    ] {
        let (read, write) = rustix::pipe::pipe().unwrap();
        assert_eq!(rustix::io::write(&write, &whole[..length]), Ok(length));
        drop(write);
        let into = Transfer { path: b"/tmp".to_vec(), ..Transfer::default() };
        let result = container.keeper.call(Call::Transfer(into), &[read.as_fd()]).await;
        assert_eq!(result.err().and_then(|error| error.kind()), expected, "{length} of {}", whole.len());
    }
    container.end().await;
}

#[tokio::test]
async fn a_keeper_without_a_free_descriptor_says_so_and_recovers() {
    let mut container = container().await;
    let keeper = rustix::process::Pid::from_raw(container.pid.cast_signed()).unwrap();
    // Answered when the keeper is done with all before, and has closed what it does not keep.
    container.keeper.call(Call::Forget(Forget::default()), &[]).await.unwrap();
    let used: HashSet<u64> = std::fs::read_dir(format!("/proc/{}/fd", container.pid))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().to_str().unwrap().parse().unwrap())
        .collect();
    let held = (0..).find(|number| !used.contains(number)).unwrap();
    let maximum = rustix::process::getrlimit(rustix::process::Resource::Nofile).maximum;
    let limit = |current| {
        let new = rustix::process::Rlimit { current: Some(current), maximum };
        rustix::process::prlimit(Some(keeper), rustix::process::Resource::Nofile, new).unwrap()
    };
    let before = limit(held);
    assert_eq!(
        container.run(command("p", &["true"])).await.unwrap_err().kind(),
        Some(FailureKind::Exhausted)
    );
    assert!(Keeper::connect(container.directory.path(), |_| ()).await.is_err(), "it is turned away");
    limit(before.current.unwrap());
    assert_eq!(container.output(&["echo", "again"]).await, ("again\n".into(), 0));
    Keeper::connect(container.directory.path(), |_| ()).await.unwrap();
    container.end().await;
}

#[tokio::test]
async fn no_path_leads_to_a_descriptor_of_the_keeper_and_long_names_do_not_hold_a_copy_up() {
    // With a directory of the host among them.
    let cgroup = unified().join(format!("gdn-keeper-test-{}", std::process::id()));
    std::fs::create_dir(&cgroup).unwrap();
    let mut container = container_in(Some(&cgroup)).await;
    // Whichever of the keeper's descriptors were left: none leads to a directory.
    for number in 3..64 {
        let dir = format!("/proc/self/fd/{number}/new").into_bytes();
        let error = container.run(Run { dir, ..command("a", &["true"]) }).await.unwrap_err();
        assert_eq!(error.kind(), Some(FailureKind::WorkingDirectory), "{number}: {error}");
    }
    // A home that cannot be gone to is the root instead, where this file is not.
    for number in 3..64 {
        let (_read, write) = rustix::pipe::pipe().unwrap();
        let home = format!("/proc/self/fd/{number}/../../../../..").into_bytes();
        // There on every host, and not in this root.
        let out = Transfer { out: true, path: b"usr".to_vec(), home, ..Transfer::default() };
        let error = container.keeper.call(Call::Transfer(out), &[write.as_fd()]).await.unwrap_err();
        assert_eq!(error.kind(), Some(FailureKind::NoPath), "{number}: {error}");
    }
    let (_read, write) = rustix::pipe::pipe().unwrap();
    let out = Transfer { out: true, path: vec![b'x'; 200_000], ..Transfer::default() };
    let error = container.keeper.call(Call::Transfer(out), &[write.as_fd()]).await.unwrap_err();
    assert_eq!(error.kind(), Some(FailureKind::NoPath));
    let name = format!("/{}", "x".repeat(100_000));
    let error = container.run(command("a", &[name.as_str()])).await.unwrap_err();
    assert_eq!(error.kind(), Some(FailureKind::NotExecutable));
    assert_eq!(container.output(&["true"]).await.1, 0);
    container.end().await;
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(10);
    while std::fs::remove_dir(&cgroup).is_err() {
        assert!(std::time::Instant::now() < deadline, "the cgroup empties");
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_user_can_be_given_inheritable_capabilities() {
    let mut container = container().await;
    let run = Run {
        uid: 1000,
        gid: 1000,
        inheritable: CAPABILITIES,
        ..command("p", &["cat", "/proc/self/status"])
    };
    let mut streams = container.run(run).await.unwrap();
    let status = text(streams.remove(1)).await;
    assert!(status.contains("CapInh:\t00000000a80425fb\n"), "{status}");
    assert_eq!(container.exit("p").await, 0);
    container.end().await;
}

#[tokio::test]
async fn a_limit_of_open_files_is_the_programs_and_not_the_keepers() {
    const NOFILE: u64 = 7;
    let mut container = container().await;
    let limited = Run { rlimits: vec![NOFILE, 5], ..command("p", &["sh", "-c", "ulimit -n"]) };
    let mut streams = container.run(limited).await.unwrap();
    assert_eq!(text(streams.remove(1)).await, "5\n");
    assert_eq!(container.exit("p").await, 0);
    let ours = rustix::process::getrlimit(rustix::process::Resource::Nofile).current.unwrap();
    assert_eq!(container.output(&["sh", "-c", "ulimit -n"]).await.0, format!("{ours}\n"));
    container.end().await;
}

#[tokio::test]
async fn a_background_writer_neither_holds_the_keeper_nor_its_readers() {
    let mut container = container().await;
    let script = "(while :; do echo noise; done) & (while :; do echo noise; done) & echo started; exit 3";
    let mut streams = container.run(command("p", &["sh", "-c", script])).await.unwrap();
    assert_eq!(container.exit("p").await >> 8, 3);
    assert!(text(streams.remove(1)).await.contains("started"));
    container.end().await;
}

#[tokio::test]
async fn a_root_whose_dev_is_a_link_is_refused_and_named() {
    let directory = tempfile::tempdir().unwrap();
    let rootfs = directory.path().join("rootfs");
    let canary = directory.path().join("canary");
    std::fs::create_dir_all(&rootfs).unwrap();
    std::fs::create_dir(&canary).unwrap();
    std::os::unix::fs::chown(&rootfs, Some(4_294_967_294), Some(4_294_967_294)).unwrap();
    std::os::unix::fs::symlink(&canary, rootfs.join("dev")).unwrap();
    let launcher = Launcher::start().unwrap();
    launcher.launch(directory.path()).await.unwrap();
    let (keeper, _, _) = Keeper::connect(directory.path(), |_| ()).await.unwrap();
    keeper.call(Call::Prepare(unprivileged()), &[]).await.unwrap();
    let root: OwnedFd = std::fs::File::open(&rootfs).unwrap().into();
    let root = Detached::copy_of(root.as_fd()).unwrap();
    let error = keeper.call(Call::Create(Create::default()), &[root.as_fd()]).await.unwrap_err();
    assert_eq!(error.kind(), Some(FailureKind::RootFilesystem));
    assert!(error.to_string().contains("\"/dev\" is a symbolic link"), "{error}");
    assert_eq!(std::fs::read_dir(canary).unwrap().count(), 0);
    keeper.kill().await.unwrap();
    keeper.shut_down().await.unwrap();
}

#[tokio::test]
async fn a_container_outlives_its_launcher_and_its_engine() {
    let Container { keeper, news: _news, directory, init, _launcher: launcher, .. } = container().await;
    keeper.call(Call::Run(command("sleep", &["sleep", "1000"])), &[]).await.unwrap();
    drop((keeper, launcher));
    let (sender, mut news) = unbounded_channel();
    let (keeper, status, root) =
        Keeper::connect(directory.path(), move |item| drop(sender.send(item))).await.unwrap();
    assert_eq!((status.init_pid, status.created, status.running), (init, true, vec!["sleep".to_owned()]));
    assert!(root.is_some());
    keeper.kill().await.unwrap();
    assert!(
        matches!(news.recv().await, Some(News::Exited(exited)) if exited.process == "sleep" && exited.wait_status == 9)
    );
    keeper.shut_down().await.unwrap();
}

#[tokio::test]
async fn a_keeper_serves_what_was_asked_before_it_ran_and_leaves_with_its_container() {
    let launcher = Launcher::start().unwrap();
    // The first is forked when it is asked for; of the next, one may have been forked ahead.
    for _ in 0..3 {
        let directory = tempfile::tempdir().unwrap();
        let (sender, mut news) = unbounded_channel();
        let (keeper, launched) =
            launcher.launch_connected(directory.path(), move |item| drop(sender.send(item))).unwrap();
        let prepare = Prepare { hostname: "early".into(), ..unprivileged() };
        let (pid, prepared) = tokio::join!(launched, keeper.call(Call::Prepare(prepare), &[]));
        let (sandbox, _) = prepared.unwrap();
        let (again, status, _) = Keeper::connect(directory.path(), |_| ()).await.unwrap();
        assert_eq!((status.init_pid, status.created), (sandbox.pid, false));
        keeper.end().await.unwrap();
        assert!(!Path::new(&format!("/proc/{}", sandbox.pid)).exists(), "init is reaped");
        assert!(matches!(news.recv().await, Some(News::Exited(exited)) if exited.process.is_empty()));
        assert_eq!(news.recv().await, Some(News::Gone));
        assert!(matches!(again.kill().await, Err(Error::Gone { .. })));
        let comm = format!("/proc/{}/comm", pid.unwrap());
        until("the keeper is gone", || {
            std::fs::read_to_string(&comm).map_or(true, |comm| comm.trim() != "gdn-keeper")
        })
        .await;
    }
}

#[tokio::test]
async fn a_connection_hangs_up_when_the_launch_fails() {
    let launcher = Launcher::start().unwrap();
    launcher.stop().unwrap();
    let directory = tempfile::tempdir().unwrap();
    let (keeper, launched) = launcher.launch_connected(directory.path(), |_| ()).unwrap();
    let (launched, prepared) = tokio::join!(launched, keeper.call(Call::Prepare(unprivileged()), &[]));
    assert!(matches!(launched, Err(Error::Gone { .. })), "{launched:?}");
    assert!(matches!(prepared, Err(Error::Gone { .. })), "{prepared:?}");
}

async fn until(what: &str, condition: impl Fn() -> bool) {
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(10);
    while !condition() {
        assert!(std::time::Instant::now() < deadline, "{what}");
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn keepers_are_born_in_the_cgroup_that_their_launcher_is_given_before_the_first_call() {
    /// Number of recvfrom(2), in which the launcher waits when it has nothing else to do.
    const RECEIVE: &str = if cfg!(target_arch = "aarch64") { "207" } else { "45" };
    let launcher = Launcher::start().unwrap();
    let call = format!("/proc/{}/syscall", launcher.pid());
    until("the launcher waits", || {
        std::fs::read_to_string(&call).is_ok_and(|call| call.split(' ').next() == Some(RECEIVE))
    })
    .await;
    let cgroup = unified().join(format!("gdn-launcher-test-{}", std::process::id()));
    std::fs::create_dir(&cgroup).unwrap();
    std::fs::write(cgroup.join("cgroup.procs"), launcher.pid().to_string()).unwrap();
    for _ in 0..2 {
        let directory = tempfile::tempdir().unwrap();
        let keeper = launcher.launch(directory.path()).await.unwrap();
        let groups = std::fs::read_to_string(format!("/proc/{keeper}/cgroup")).unwrap();
        assert!(groups.contains(cgroup.file_name().unwrap().to_str().unwrap()), "{groups}");
        Keeper::connect(directory.path(), |_| ()).await.unwrap().0.end().await.unwrap();
    }
    launcher.stop().unwrap();
    until("everybody has left the cgroup", || std::fs::remove_dir(&cgroup).is_ok()).await;
}

/// Where the cgroup v2 tree is.
fn unified() -> std::path::PathBuf {
    let mounts = std::fs::read_to_string("/proc/self/mounts").unwrap();
    let unified = mounts.lines().find(|line| line.split(' ').nth(2) == Some("cgroup2"));
    unified.unwrap().split(' ').nth(1).unwrap().into()
}

#[tokio::test]
async fn what_the_engine_was_started_with_is_not_held_by_keepers() {
    // Without CLOEXEC, as a careless starter leaves it.
    let (read, write) = rustix::pipe::pipe().unwrap();
    let launcher = Launcher::start().unwrap();
    let directory = tempfile::tempdir().unwrap();
    launcher.launch(directory.path()).await.unwrap();
    let (keeper, _, _) = Keeper::connect(directory.path(), |_| ()).await.unwrap();
    drop(write);
    assert_eq!(text(read).await, "");
    keeper.end().await.unwrap();
}
