//! Sidecars: processes with an image of their own.

use std::fs;
use std::path::PathBuf;

use engine_tests::session::{Ran, as_user, collect, program, read_until, script};
use engine_tests::{Engine, inside, until};
use gdn_types::{
    BindMode, BindMount, ContainerSpec, CpuLimits, CpuShares, ErrorKind, ExitStatus, Handle, ImageRef,
    Limits, MemoryLimits, PidLimits, ProcessId, ProcessSpec, Signal,
};

const MIB: u64 = 1 << 20;

fn sidecar(image: &str, spec: ProcessSpec) -> ProcessSpec {
    ProcessSpec { image: Some(ImageRef::uri(image)), ..spec }
}

fn named(name: &str, spec: ProcessSpec) -> ProcessSpec {
    ProcessSpec { id: Some(process(name)), ..spec }
}

fn process(name: &str) -> ProcessId {
    ProcessId::parse(name).unwrap()
}

fn with_own_limits(cpu: CpuLimits, memory: u64, spec: ProcessSpec) -> ProcessSpec {
    ProcessSpec { limits: Some((cpu, MemoryLimits { bytes: memory })), ..spec }
}

/// Whether so many bytes of memory can be had.
fn fills(mebibytes: u64) -> ProcessSpec {
    script(&format!("dd if=/dev/zero of=/dev/shm/x bs=1M count={mebibytes} 2>&1"))
}

/// Directories of sidecars' volumes.
fn volumes(engine: &Engine) -> Vec<PathBuf> {
    let containers = fs::read_dir(engine.root().join("volumes")).unwrap();
    let sidecars = containers.filter_map(|entry| fs::read_dir(entry.unwrap().path().join("sidecars")).ok());
    sidecars.flat_map(|found| found.map(|entry| entry.unwrap().path())).collect()
}

/// Control groups of sidecars, in whatever tree.
fn groups(engine: &Engine) -> Vec<PathBuf> {
    let mut trees = vec![PathBuf::from("/sys/fs/cgroup")];
    trees.extend(fs::read_dir("/sys/fs/cgroup").unwrap().map(|entry| entry.unwrap().path()));
    let below = |path: &PathBuf| -> Vec<PathBuf> {
        let entries = fs::read_dir(path).into_iter().flatten();
        entries.map(|entry| entry.unwrap().path()).filter(|path| path.is_dir()).collect()
    };
    let outer: Vec<_> = trees.iter().flat_map(|tree| below(&tree.join(engine.mark()))).collect();
    let inner = outer.iter().flat_map(below);
    // Container, process and a number.
    let is_sidecar = |path: &PathBuf| path.file_name().unwrap().to_str().unwrap().split('.').count() == 3;
    inner.chain(outer.clone()).filter(is_sidecar).collect()
}

fn expect_no_traces(engine: &Engine) {
    until("the sidecars' volumes are gone", || volumes(engine).is_empty());
    until("the sidecars' control groups are gone", || groups(engine).is_empty());
}

/// Conformance: G135-137
#[test]
fn a_sidecar_shares_all_but_the_files() {
    let engine = Engine::start();
    let image = engine.image_with("own", |rootfs| fs::write(rootfs.join("only-in-the-sidecar"), "").unwrap());
    for privileged in [false, true] {
        let handle = engine.create_from(ContainerSpec { privileged, ..ContainerSpec::default() });
        let look = "for n in mnt net ipc pid uts user; do readlink /proc/self/ns/$n; done; ls /";
        let own = engine.run(&handle, sidecar(&image, script(look))).expect(0).text();
        let main = engine.run(&handle, script(look)).expect(0).text();
        let (own, main): (Vec<_>, Vec<_>) = (own.lines().collect(), main.lines().collect());
        assert_ne!(own[0], main[0]);
        assert_eq!(own[1..6], main[1..6]);
        assert!(own.contains(&"only-in-the-sidecar") && !main.contains(&"only-in-the-sidecar"));
    }
    expect_no_traces(&engine);
    engine.finish();
}

/// Conformance: G203-204
#[test]
fn the_filter_of_system_calls_and_the_capabilities_hold_for_it_too() {
    let engine = Engine::start();
    let handle = engine.create_from(ContainerSpec::default());
    let run = |user: &str, spec| engine.run(&handle, sidecar(engine.image(), as_user(user, spec)));
    let tell = "sed -n 's/^\\(Cap...\\|Seccomp\\):[[:space:]]*//p' /proc/self/status";
    let (none, all) = ("0000000000000000", "00000000a80425fb");
    for (user, sets) in [("", [none, all, all, all, none]), ("7:8", [none, none, none, all, none])] {
        let said = run(user, script(tell)).expect(0).text();
        assert_eq!(said.lines().collect::<Vec<_>>(), [&sets[..], &["2"]].concat());
        let refused = run(user, program(&["unshare", "-U", "true"]));
        assert!(refused.errors().contains("Operation not permitted"), "{}", refused.errors());
    }
    engine.finish();
}

/// Conformance: G138-142, G147, Q264-268
#[test]
fn users_and_the_working_directory_are_those_of_its_image() {
    let engine = Engine::start();
    let image = engine.image_with("users", |rootfs| {
        fs::write(rootfs.join("etc/passwd"), "root:x:0:0::/root:/bin/sh\nbob:x:12:34::/home/bob:/bin/sh\n")
            .unwrap();
        fs::write(rootfs.join("etc/group"), "root:x:0:\nbob:x:34:\nstaff:x:56:bob\n").unwrap();
    });
    let userless = engine.image_with("userless", |rootfs| {
        fs::remove_file(rootfs.join("etc/passwd")).unwrap();
        fs::remove_file(rootfs.join("etc/group")).unwrap();
    });
    let handle = engine.create_from(ContainerSpec::default());
    let who = |image: &str, user: &str| {
        let spec = sidecar(image, as_user(user, script("echo $(id -u):$(id -g) $(pwd)")));
        engine.try_run(&handle, spec).map(|ran| ran.expect(0).text())
    };
    assert_eq!(who(&image, "").unwrap(), "0:0 /\n");
    assert_eq!(who(&image, "7:8").unwrap(), "7:8 /\n");
    assert_eq!(who(&image, "bob").unwrap(), "12:34 /\n");
    assert_eq!(who(&userless, "root").unwrap(), "0:0 /\n");
    let error = who(&userless, "bob").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::UserNotFound);
    assert!(error.report().contains("unable to find user bob: no matching entries in passwd file"));
    expect_no_traces(&engine);
    assert_eq!(inside::processes_beside(engine.init_pid(handle.as_str())), Vec::<u32>::new());
    engine.finish();
}

/// Conformance: G143-144, G155, Q262-263, Q283
#[test]
fn its_end_and_its_output_arrive_and_a_missing_program_is_told() {
    let engine = Engine::start();
    let handle = engine.create_from(ContainerSpec::default());
    let image = engine.image().to_owned();
    let init = engine.init_pid(handle.as_str());
    let pipes = || {
        let files = fs::read_dir(format!("/proc/{}/fd", engine.server_pid())).unwrap();
        let targets = files.filter_map(|file| fs::read_link(file.ok()?.path()).ok());
        targets.filter(|target| target.to_string_lossy().starts_with("pipe:")).count()
    };
    let before = pipes();
    for _ in 0..3 {
        let ran = engine.run(&handle, sidecar(&image, script("echo out; echo err >&2; exit 123")));
        assert_eq!((ran.text().as_str(), ran.errors().as_str()), ("out\n", "err\n"));
        assert_eq!(ran.status, ExitStatus::Code(123));
    }
    until("the pipes are closed", || pipes() <= before);
    let error = engine.try_run(&handle, sidecar(&image, program(&["missing"]))).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ExecutableNotFound);
    assert!(error.report().contains("executable file not found in $PATH"), "{}", error.report());
    let error = engine.try_run(&handle, sidecar("oci:///nowhere:tag", program(&["true"]))).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ImageNotFound);
    expect_no_traces(&engine);
    assert_eq!(engine.init_pid(handle.as_str()), init);
    assert!(inside::lives(init));
    engine.run(&handle, program(&["true"])).expect(0);
    engine.finish();
}

/// Conformance: G145-146
#[test]
fn the_files_of_the_network_are_the_containers() {
    let engine = Engine::start();
    let image = engine.image_with("networked", |rootfs| {
        fs::write(rootfs.join("etc/hosts"), "127.0.0.1 first\n").unwrap();
        fs::write(rootfs.join("etc/resolv.conf"), "nameserver 192.0.2.1\n").unwrap();
    });
    let handle =
        engine.create_from(ContainerSpec { image: ImageRef::uri(image), ..ContainerSpec::default() });
    let side = |text: &str| engine.run(&handle, sidecar(engine.image(), script(text))).expect(0).text();
    let main = |text: &str| engine.run(&handle, script(text)).expect(0).text();
    for file in ["/etc/hosts", "/etc/resolv.conf"] {
        assert_eq!(side(&format!("cat {file}")), main(&format!("cat {file}")));
        main(&format!("echo from the container >> {file}"));
        assert!(side(&format!("cat {file}; echo from the sidecar >> {file}")).contains("from the container"));
        assert!(main(&format!("cat {file}")).contains("from the sidecar"));
    }
    engine.finish();
}

/// Conformance: G148, G153
#[test]
fn it_is_told_to_end_and_ends_with_its_container() {
    let engine = Engine::start();
    let handle = engine.create_from(ContainerSpec::default());
    let image = engine.image().to_owned();
    engine.with_client(async |client| {
        let trap = script("trap 'exit 42' TERM; echo ready; while :; do sleep 0.1; done");
        let mut stream = client.run(&handle, sidecar(&image, trap)).await.unwrap();
        read_until(&mut stream, "ready").await;
        client.signal(&handle, stream.id(), Signal::TERM).await.unwrap();
        assert_eq!(collect(stream).await.unwrap().status, ExitStatus::Code(42));

        let endless = script("echo ready; sleep 1000");
        let mut stream = client.run(&handle, sidecar(&image, endless)).await.unwrap();
        read_until(&mut stream, "ready").await;
        client.destroy(&handle).await.unwrap();
        assert_eq!(collect(stream).await.unwrap().status.code(), 137);
    });
    engine.finish();
}

/// Conformance: G149-152, Q269
#[test]
fn absent_limits_are_the_containers_and_empty_ones_are_none() {
    let engine = Engine::start();
    let image = engine.image().to_owned();
    let limits =
        Limits { memory: MemoryLimits { bytes: 64 * MIB }, pids: PidLimits { max: 20 }, ..Limits::default() };
    let handle = engine.create_from(ContainerSpec { limits, ..ContainerSpec::default() });
    let run = |spec: ProcessSpec| -> Ran { engine.run(&handle, sidecar(&image, spec)) };
    run(fills(40)).expect(0);
    assert_ne!(run(fills(100)).status.code(), 0, "it shares the container's memory");
    let own = |memory, spec| with_own_limits(CpuLimits::default(), memory, spec);
    run(own(0, fills(100))).expect(0);
    let forks = "i=0; while [ $i -lt 40 ]; do sleep 1000 & i=$((i+1)); done; kill $(jobs -p)";
    assert_ne!(run(script(forks)).status.code(), 0, "it shares the container's tasks");
    run(own(0, script(forks))).expect(0);
    let killed =
        run(named("greedy", own(32 * MIB, script("exec dd if=/dev/zero of=/dev/shm/x bs=1M count=60"))));
    assert_eq!(killed.status, ExitStatus::Signal(9));
    let events = engine.with_client(async |client| client.info(&handle).await.unwrap().events);
    assert_eq!(events.last().map(String::as_str), Some("Out of memory: sidecar greedy"), "{events:?}");
    assert!(events.iter().any(|event| event == "Out of memory"), "the shared limit is the container's");
    expect_no_traces(&engine);
    engine.finish();
}

/// Conformance: G154, Q278-280, Q284
#[test]
fn its_figures_are_told_under_its_own_name_while_it_runs() {
    let engine = Engine::start();
    let image = engine.image().to_owned();
    let handle = engine.create_from(ContainerSpec::default());
    let name = Handle::parse("greedy-sidecar").unwrap();
    engine.with_client(async |client| {
        let error = client.metrics(&name).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ContainerNotFound);
        for own in [false, true] {
            let work = "echo changed > /file; dd if=/dev/zero of=/dev/shm/x bs=1M count=20 2>/dev/null; \
                        (exec sleep 1000) & echo ready; read line";
            let spec = named(name.as_str(), sidecar(&image, script(work)));
            let spec = if own { with_own_limits(CpuLimits::default(), 0, spec) } else { spec };
            let mut stream = client.run(&handle, spec).await.unwrap();
            read_until(&mut stream, "ready").await;
            let figures = client.metrics(&name).await.unwrap();
            assert!((1..120_000_000).contains(&figures.age.as_micros()), "{figures:?}");
            let bulk = client.bulk_metrics(&[name.clone(), handle.clone()]).await.unwrap();
            assert!(figures.cpu.usage.as_nanos() > 0 && figures.disk.exclusive_bytes > 0, "{figures:?}");
            if own || inside::cgroups_are_v1() {
                assert_eq!(figures.pids.current, 2, "{figures:?}");
                let memory = figures.memory.usage_toward_limit;
                assert!((20 * MIB..40 * MIB).contains(&memory), "{memory}");
            }
            let pids = bulk.iter().map(|(_, figures)| figures.as_ref().unwrap().pids.current);
            let pids: Vec<u64> = pids.collect();
            assert_eq!(pids[1], if own { 1 } else { 3 }, "the container's own, with what shares its limits");
            stream.input().close_stdin().await.unwrap();
            collect(stream).await.unwrap();
            client.wait(&handle, &process(name.as_str())).await.unwrap();
            expect_no_traces(&engine);
            assert_eq!(client.metrics(&name).await.unwrap_err().kind(), ErrorKind::ContainerNotFound);
            // Whoever wants the name next has it.
            let again = client.run(&handle, named(name.as_str(), sidecar(&image, program(&["false"])))).await;
            assert_eq!(collect(again.unwrap()).await.unwrap().status, ExitStatus::Code(1));
            assert_eq!(client.wait(&handle, &process(name.as_str())).await.unwrap(), ExitStatus::Code(1));
            expect_no_traces(&engine);
            if !own {
                client.destroy(&handle).await.unwrap();
                let spec = ContainerSpec {
                    handle: Some(handle.clone()),
                    image: ImageRef::uri(&image),
                    ..ContainerSpec::default()
                };
                client.create(spec).await.unwrap();
            }
        }
    });
    until("what the sidecar left is killed", || {
        inside::processes_beside(engine.init_pid(handle.as_str())).is_empty()
    });
    engine.finish();
}

/// Shares or weight, and quota and period, of a sidecar while it runs.
fn processor_limits(engine: &Engine, cpu: CpuLimits) -> (String, String) {
    let handle = engine.create_from(ContainerSpec::default());
    let spec = with_own_limits(cpu, 0, sidecar(engine.image(), script("echo ready; read line")));
    engine.with_client(async |client| {
        let mut stream = client.run(&handle, spec).await.unwrap();
        read_until(&mut stream, "ready").await;
        let pid = inside::processes_beside(engine.init_pid(handle.as_str()))[0];
        let read = |v1, v2| inside::cgroup_file(pid, ("cpu", v1), v2).trim().to_owned();
        let quota = match inside::cgroups_are_v1() {
            true => format!("{} {}", read("cpu.cfs_quota_us", ""), read("cpu.cfs_period_us", "")),
            false => read("", "cpu.max"),
        };
        let shares = read("cpu.shares", "cpu.weight");
        stream.input().close_stdin().await.unwrap();
        collect(stream).await.unwrap();
        (shares, quota.replace("-1", "max"))
    })
}

/// Conformance: Q270-277
#[test]
fn its_own_shares_and_quota_are_the_kernels() {
    let shares = |shares| CpuLimits { shares: CpuShares::new(shares), quota_us: 0 };
    let weight = |v1: &str, v2: &str| if inside::cgroups_are_v1() { v1.to_owned() } else { v2.to_owned() };
    let mut engine = Engine::start();
    let named = CpuLimits { quota_us: 20_000, ..shares(256) };
    assert_eq!(processor_limits(&engine, named), (weight("256", "35"), "20000 100000".into()));
    assert_eq!(processor_limits(&engine, shares(256)), (weight("256", "35"), "max 100000".into()));
    assert_eq!(processor_limits(&engine, shares(0)), (weight("1024", "100"), "max 100000".into()));
    engine.stop_server();
    engine.start_server(&["--cpu-quota-per-share", "10"]);
    assert_eq!(processor_limits(&engine, shares(256)), (weight("256", "35"), "2560 100000".into()));
    assert_eq!(processor_limits(&engine, shares(0)), (weight("1024", "100"), "max 100000".into()));
    expect_no_traces(&engine);
    engine.finish();
}

/// Conformance: Q281-282
#[test]
fn it_sees_its_own_bind_mounts_and_not_the_containers() {
    let engine = Engine::start();
    let directory = |name: &str| {
        let path = engine.scratch().join(name);
        fs::create_dir(&path).unwrap();
        fs::write(path.join("file"), name).unwrap();
        path
    };
    let bind = |source: PathBuf, mode| {
        let target = format!("/mnt/{}", source.file_name().unwrap().to_str().unwrap());
        BindMount::new(source, target, mode).unwrap()
    };
    let theirs = bind(directory("containers"), BindMode::ReadOnly);
    let (own, writable) =
        (bind(directory("own"), BindMode::ReadOnly), bind(directory("rw"), BindMode::ReadWrite));
    let handle = engine.create_from(ContainerSpec { bind_mounts: vec![theirs], ..ContainerSpec::default() });
    let look = "cat /mnt/own/file /mnt/rw/file; ls /mnt; touch /mnt/own/new || touch /mnt/rw/new";
    let spec = ProcessSpec { bind_mounts: vec![own.clone(), writable.clone()], ..script(look) };
    let privileged = engine.create_from(ContainerSpec { privileged: true, ..ContainerSpec::default() });
    let said = engine.run(&privileged, sidecar(engine.image(), spec.clone())).expect(0).text();
    assert_eq!(said, "ownrwown\nrw\n");
    assert!(writable.source.join("new").exists() && !own.source.join("new").exists());
    let spec = ProcessSpec { args: vec!["-c".into(), look.replace("touch", ": #")], ..spec };
    assert_eq!(engine.run(&handle, sidecar(engine.image(), spec.clone())).expect(0).text(), "ownrwown\nrw\n");
    let error = engine.try_run(&handle, spec).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidArgument);
    assert!(error.report().contains("bind mounts and no image provided is not allowed"));
    engine.finish();
}

/// Conformance: Q318, Q324
#[test]
fn sidecars_outlive_a_kill_of_the_server_and_are_cleaned_up_after() {
    let mut engine = Engine::start();
    let image = engine.image().to_owned();
    let handle = engine.create_from(ContainerSpec::default());
    let gate = engine.scratch().join("gate");
    fs::create_dir(&gate).unwrap();
    let start = |engine: &Engine, name: &str, own: bool| {
        let gate = BindMount::new(&gate, "/gate", BindMode::ReadOnly).unwrap();
        let work = format!("echo ready; while ! [ -e /gate/{name} ]; do sleep 0.02; done; exit 7");
        let spec = named(name, sidecar(&image, script(&work)));
        let spec = ProcessSpec { bind_mounts: vec![gate], ..spec };
        let spec = if own { with_own_limits(CpuLimits::default(), 0, spec) } else { spec };
        engine.with_client(async |client| {
            let mut stream = client.run(&handle, spec).await.unwrap();
            read_until(&mut stream, "ready").await;
        });
    };
    for (name, own) in
        [("early-shared", false), ("early-own", true), ("late-shared", false), ("late-own", true)]
    {
        start(&engine, name, own);
    }
    let init = engine.init_pid(handle.as_str());
    // Groups that a privileged container would make in its own, also with a name that the engine would not give.
    let groups_of_init = fs::read_to_string(format!("/proc/{init}/cgroup")).unwrap();
    let v1 = inside::cgroups_are_v1();
    let line = groups_of_init.lines().find(|line| line.contains(if v1 { ":pids:" } else { "0::" })).unwrap();
    let tree = if v1 { "/sys/fs/cgroup/pids" } else { "/sys/fs/cgroup" };
    let theirs = ["docker", "user@0.service"]
        .map(|name| PathBuf::from(format!("{tree}{}/{name}", line.rsplit(':').next().unwrap())));
    for group in &theirs {
        fs::create_dir(group).unwrap();
    }
    engine.kill_server();
    for name in ["early-shared", "early-own"] {
        fs::write(gate.join(name), "").unwrap();
    }
    until("the early ones have ended", || inside::processes_beside(init).len() <= 4);
    engine.start_server(&[]);
    until("what the early ones left is gone", || volumes(&engine).len() == 2);
    until("their control groups too", || {
        groups(&engine).iter().all(|group| {
            // Whoever lives has a process in its group.
            fs::read_to_string(group.join("cgroup.procs")).is_ok_and(|procs| !procs.is_empty())
        })
    });
    assert!(theirs.iter().all(|group| group.exists()), "the container's own groups stay");
    for group in &theirs {
        fs::remove_dir(group).unwrap();
    }
    engine.with_client(async |client| {
        for name in ["late-shared", "late-own"] {
            let figures = client.metrics(&Handle::parse(name).unwrap()).await.unwrap();
            assert!((1..300).contains(&figures.age.as_millis().div_ceil(1000)), "{figures:?}");
            fs::write(gate.join(name), "").unwrap();
        }
        for name in ["early-shared", "early-own", "late-shared", "late-own"] {
            assert_eq!(client.wait(&handle, &process(name)).await.unwrap(), ExitStatus::Code(7));
        }
    });
    expect_no_traces(&engine);
    engine.finish();
}
