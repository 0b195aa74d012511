//! Block I/O: weights and rates. Which of them a kernel has depends on how it was built; what it has not is refused by name.

use std::path::Path;

use engine_tests::session::{program, script};
use engine_tests::{Engine, inside, until};
use gdn_types::{ContainerSpec, ErrorKind, Handle, IoChange, IoLimits, IoWeight, LimitChange, Limits};

const MIB: u64 = 1 << 20;

fn weight(weight: u64) -> Option<IoWeight> {
    IoWeight::new(weight).unwrap()
}

fn spec(io: IoLimits) -> ContainerSpec {
    ContainerSpec { limits: Limits { io, ..Limits::default() }, ..ContainerSpec::default() }
}

fn told(engine: &Engine, handle: &Handle) -> IoLimits {
    engine.with_client(async |client| client.limits(handle).await.unwrap()).io
}

/// Whether the kernel has one of these files for the engine's groups. They are there once a limit was asked for.
fn kernel_has(engine: &Engine, v1: &[&str], v2: &[&str]) -> bool {
    let (directory, files) = match inside::cgroups_are_v1() {
        true => (format!("/sys/fs/cgroup/blkio/{}", engine.mark()), v1),
        false => (format!("/sys/fs/cgroup/{}", engine.mark()), v2),
    };
    files.iter().any(|file| Path::new(&directory).join(file).exists())
}

fn kernel_has_weights(engine: &Engine) -> bool {
    kernel_has(engine, &["blkio.weight", "blkio.bfq.weight"], &["io.weight", "io.bfq.weight"])
}

/// Whether it can limit rates, and has disks.
fn kernel_has_rates(engine: &Engine) -> bool {
    let is_disk = |device: std::fs::DirEntry| device.path().join("device").exists();
    let disks = std::fs::read_dir("/sys/block").unwrap().flatten().any(is_disk);
    disks && kernel_has(engine, &["blkio.throttle.read_bps_device"], &["io.max"])
}

#[track_caller]
fn expect_refusal(refused: gdn_types::Result<Handle>) {
    let refused = refused.expect_err("a kernel cannot do what it has no file for");
    assert_eq!(refused.kind(), ErrorKind::FailedPrecondition, "{}", refused.report());
    let names = ["block i/o", "blkio", "block device"];
    assert!(names.iter().any(|name| refused.report().contains(name)), "{}", refused.report());
}

/// The weight as the kernel has it for a process.
fn kernels_weight(pid: u32) -> String {
    let groups = std::fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap();
    let path = |name: &str| groups.lines().find_map(|line| line.split_once(name).map(|(_, path)| path));
    let (directory, files) = match inside::cgroups_are_v1() {
        true => (
            format!("/sys/fs/cgroup/blkio{}", path(":blkio:").unwrap()),
            ["blkio.weight", "blkio.bfq.weight"],
        ),
        false => (format!("/sys/fs/cgroup{}", path("0::").unwrap()), ["io.bfq.weight", "io.weight"]),
    };
    let read = |file: &str| std::fs::read_to_string(Path::new(&directory).join(file)).ok();
    let text = files.into_iter().find_map(read).expect("a kernel with weights has a file for them");
    text.trim().trim_start_matches("default ").to_owned()
}

/// Conformance: Q82
#[test]
fn a_weight_is_the_kernels_or_refused_by_name() {
    let engine = Engine::start();
    let made = engine.try_create(spec(IoLimits { weight: weight(300), ..IoLimits::default() }));
    if kernel_has_weights(&engine) {
        let handle = made.unwrap();
        assert_eq!(told(&engine, &handle).weight, weight(300));
        let kernel = kernels_weight(engine.init_pid(handle.as_str()));
        let converted = (1 + (300 - 10) * 9999 / 990).to_string();
        assert!(kernel == "300" || kernel == converted, "{kernel}");
        engine.gdn(["update", "--io-weight", "700", handle.as_str()]).expect_status(0);
        assert_eq!(told(&engine, &handle).weight, weight(700));
    } else {
        expect_refusal(made);
    }
    engine.finish();
}

/// Conformance: Q82-83
#[test]
fn the_operators_weight_is_everybodys_and_zero_is_the_kernels() {
    for given in [400, 0] {
        let mut engine = Engine::new();
        engine.start_server(&["--default-container-blockio-weight", &given.to_string()]);
        let handle = engine.create_from(ContainerSpec::default());
        engine.create_from(ContainerSpec::default());
        let told_in_log = engine.log().matches("no weights of block i/o").count();
        if given == 0 {
            assert_eq!((told(&engine, &handle).weight, told_in_log), (None, 0));
        } else if kernel_has_weights(&engine) {
            assert_eq!((told(&engine, &handle).weight, told_in_log), (weight(given), 0));
            let own = engine.create_from(spec(IoLimits { weight: weight(20), ..IoLimits::default() }));
            assert_eq!(told(&engine, &own).weight, weight(20), "a container's own wins");
        } else {
            assert_eq!((told(&engine, &handle).weight, told_in_log), (None, 1), "{}", engine.log());
        }
        engine.finish();
    }
}

/// Conformance: Q84
#[test]
fn a_weight_out_of_range_is_refused_with_its_value() {
    let engine = Engine::start();
    for wrong in ["9", "1001"] {
        engine.gdn(["create", "--io-weight", wrong]).expect_error(wrong);
        engine.gdn(["server", "--default-container-blockio-weight", wrong]).expect_error(wrong);
    }
    let handle = engine.create_from(ContainerSpec::default());
    engine.gdn(["update", "--io-weight", "5", handle.as_str()]).expect_error("block i/o weight 5");
    engine.finish();
}

#[test]
fn rates_read_back_and_hold_for_the_processes_of_a_container_in_use() {
    let engine = Engine::start();
    let io = IoLimits { read_bps: 3 * MIB, write_iops: 50, ..IoLimits::default() };
    let made = engine.try_create(spec(io));
    if !kernel_has_rates(&engine) {
        expect_refusal(made);
        return engine.finish();
    }
    let limited = made.unwrap();
    let read_back = told(&engine, &limited);
    assert_eq!(IoLimits { weight: None, ..read_back }, io);
    let write = "dd if=/dev/zero of=/tmp/x bs=4096 count=4 conv=fsync 2>/dev/null";
    engine.run(&limited, script(write)).expect(0);

    let handle = engine.create_from(ContainerSpec::default());
    let init = engine.init_pid(handle.as_str());
    let begin = |number: usize| {
        let sleeper = engine.begin(["exec", handle.as_str(), "sleep", "1000"]);
        until("the sleeper to run", || inside::processes_beside(init).len() == number);
        sleeper
    };
    let early = begin(1);
    let change = |write_bps| {
        let io = IoChange { write_bps: Some(write_bps), ..IoChange::default() };
        let change = LimitChange { io, ..LimitChange::default() };
        engine.with_client(async |client| client.change_limits(&handle, change).await.unwrap().io)
    };
    assert_eq!(change(5 * MIB).write_bps, 5 * MIB);
    // Those that run already are limited, and those that come.
    let late = begin(2);
    for pid in inside::processes_beside(init).into_iter().chain([init]) {
        let kernel = inside::cgroup_file(pid, ("blkio", "blkio.throttle.write_bps_device"), "io.max");
        assert!(kernel.contains(&(5 * MIB).to_string()), "{pid}: {kernel:?}");
    }
    assert_eq!(change(0).write_bps, 0);
    drop((early, late));
    engine.finish();
}

#[test]
fn the_operators_rates_fill_what_a_container_leaves_open_and_outlast_the_server() {
    let mut engine = Engine::new();
    let options = ["--container-io-max-read-bps", "8M", "--container-io-max-write-iops", "900"];
    engine.start_server(&options);
    if !kernel_has_rates(&engine) {
        engine.create_from(ContainerSpec::default());
        assert!(engine.log().contains("cannot limit rates of block i/o"), "{}", engine.log());
        return engine.finish();
    }
    let handle = engine.create_from(spec(IoLimits { read_bps: 2 * MIB, ..IoLimits::default() }));
    let rates = |engine: &Engine| {
        let told = told(engine, &handle);
        (told.read_bps, told.write_iops)
    };
    assert_eq!(rates(&engine), (2 * MIB, 900));
    engine.kill_server();
    engine.start_server(&options);
    assert_eq!(rates(&engine), (2 * MIB, 900));
    engine.run(&handle, program(&["true"])).expect(0);
    engine.finish();
}
