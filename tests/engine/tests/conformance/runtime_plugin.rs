//! Containers made by external runtimes.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use engine_tests::session::{as_user, collect, program, read_until, script};
use engine_tests::{Engine, until};
use gdn_types::{
    BindMode, BindMount, ContainerSpec, Environment, ErrorKind, ExitStatus, Handle, ImageRef, Limits,
    MemoryLimits, ProcessId, ProcessSpec, Signal, WindowSize,
};

const RUNTIMES: [&str; 2] = ["runc", "crun"];

fn engine_with(runtime: &str) -> Engine {
    let mut engine = Engine::new();
    engine.start_server(&["--runtime-plugin", runtime]);
    engine
}

/// A runtime that notes how it was called, does `first`, and then what runc does without the operator's argument.
struct Recorder {
    program: PathBuf,
    record: PathBuf,
}

impl Recorder {
    fn new(engine: &Engine, first: &str) -> Self {
        let (program, record) = (engine.scratch().join("recorder"), engine.scratch().join("record"));
        // The verb is the seventh word after the operator's: --root X --log Y --log-format json VERB.
        let text = format!(
            "#!/bin/sh\necho \"$*\" >> {}\n[ \"$1\" = --mine ] || exit 99\nshift\nverb=$7\n{first}\nexec runc \"$@\"\n",
            record.display()
        );
        fs::write(&program, text).unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
        Recorder { program, record }
    }

    fn start(&self, engine: &mut Engine) {
        let program = self.program.to_str().unwrap();
        engine.start_server(&["--runtime-plugin", program, "--runtime-plugin-extra-arg=--mine"]);
    }

    fn calls(&self, verb: &str) -> Vec<String> {
        let record = fs::read_to_string(&self.record).unwrap();
        let of_verb = |line: &&str| line.split(' ').nth(7) == Some(verb);
        record.lines().filter(of_verb).map(str::to_owned).collect()
    }
}

/// Conformance: Q417-419
#[test]
fn a_process_of_a_runtime_is_like_one_of_ours() {
    for runtime in RUNTIMES {
        let engine = engine_with(runtime);
        let handle = engine.create_from(ContainerSpec::default());
        let ran = engine.run(&handle, script("cat; echo out; echo err >&2; exit 7")).expect(7);
        assert_eq!((ran.text().as_str(), ran.errors().as_str()), ("out\n", "err\n"), "{runtime}");
        let killed = engine.run(&handle, script("kill -9 $$"));
        assert_eq!(killed.status, ExitStatus::Signal(9), "{runtime}");
        engine.run(&handle, script("exit 137")).expect(137);
        let much = engine.run(&handle, script("head -c 20000000 /dev/zero")).expect(0);
        assert_eq!(much.stdout.len(), 20_000_000, "{runtime}");
        let mut spec = as_user("1000:7", script("id -u; id -g; pwd; echo $SECRET"));
        spec.dir = "/made/for/me".into();
        spec.env = Environment::parse(["SECRET=hidden"]).unwrap();
        let said = engine.run(&handle, spec).expect(0).text();
        assert_eq!(said, "1000\n7\n/made/for/me\nhidden\n", "{runtime}");
        for missing in ["no-such-program", "/no/such/program", "/etc"] {
            let error = engine.try_run(&handle, program(&[missing])).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::ExecutableNotFound, "{runtime}: {}", error.report());
        }
        let taken = ProcessSpec { id: Some(ProcessId::parse("one").unwrap()), ..script("sleep 1000") };
        engine.with_client(async |client| {
            let process = client.run(&handle, taken.clone()).await.unwrap();
            let error = client.run(&handle, taken).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::AlreadyExists, "{runtime}");
            client.signal(&handle, process.id(), Signal::TERM).await.unwrap();
            collect(process).await.unwrap().expect(143);
        });
        engine.finish();
    }
}

#[test]
fn a_terminal_of_a_runtime_has_its_size_and_is_resized() {
    for runtime in RUNTIMES {
        let engine = engine_with(runtime);
        let handle = engine.create_from(ContainerSpec::default());
        engine.with_client(async |client| {
            let text =
                "trap 'echo new $(stty size)' WINCH; echo at $(stty size); while :; do sleep 0.02; done";
            let spec = ProcessSpec { tty: Some(WindowSize { columns: 99, rows: 33 }), ..script(text) };
            let mut process = client.run(&handle, spec).await.unwrap();
            // crun sets the size from outside, while the program begins: one that was faster is told of it by the signal.
            let first = if runtime == "crun" { " 33 99" } else { "at 33 99" };
            read_until(&mut process, first).await;
            process.input().resize(WindowSize { columns: 123, rows: 45 }).await.unwrap();
            read_until(&mut process, "new 45 123").await;
            client.signal(&handle, process.id(), Signal::KILL).await.unwrap();
            collect(process).await.unwrap().expect(137);
        });
        engine.finish();
    }
}

#[test]
fn containers_and_statuses_of_a_runtime_survive_a_kill_of_the_server() {
    for runtime in RUNTIMES {
        let mut engine = engine_with(runtime);
        let handle = engine.create_from(ContainerSpec::default());
        let init = engine.init_pid(handle.as_str());
        let id = ProcessId::parse("survivor").unwrap();
        let spec = ProcessSpec {
            id: Some(id.clone()),
            ..script("while [ ! -e /tmp/go ]; do sleep 0.05; done; exit 42")
        };
        engine.with_client(async |client| drop(client.run(&handle, spec).await.unwrap()));
        engine.kill_server();
        fs::write(format!("/proc/{init}/root/tmp/go"), "").unwrap();
        let exits = fs::read_dir(engine.root().join("run")).unwrap().next().unwrap().unwrap().path();
        let exits = fs::read_dir(exits).unwrap().next().unwrap().unwrap().path().join("exits");
        until("the end to be written down", || fs::read_to_string(&exits).unwrap().contains("survivor"));
        engine.start_server(&["--runtime-plugin", runtime]);
        assert_eq!(engine.init_pid(handle.as_str()), init, "{runtime}");
        let status = engine.with_client(async |client| client.wait(&handle, &id).await.unwrap());
        assert_eq!(status, ExitStatus::Code(42), "{runtime}");
        engine.run(&handle, script("echo still here")).expect(0);
        engine.finish();
    }
}

#[test]
fn an_engine_without_the_plugin_removes_what_one_with_it_made() {
    let mut engine = engine_with("runc");
    let handle = engine.create_from(ContainerSpec::default());
    engine.stop_server();
    engine.start_server(&[]);
    let error = engine.try_run(&handle, program(&["true"])).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::FailedPrecondition, "{}", error.report());
    assert!(
        error.message().contains("start the engine with the same --runtime-plugin"),
        "{}",
        error.report()
    );
    engine.finish();
}

/// Conformance: Q394-404
#[test]
fn a_runtime_is_called_with_the_operators_arguments_first_and_without_secrets() {
    let mut engine = Engine::new();
    let recorder = Recorder::new(&engine, "");
    recorder.start(&mut engine);
    let handle = engine.create_from(ContainerSpec::default());
    let spec =
        ProcessSpec { env: Environment::parse(["TOKEN=very-secret"]).unwrap(), ..script("echo $TOKEN") };
    assert_eq!(engine.run(&handle, spec).expect(0).text(), "very-secret\n");
    engine.gdn(["destroy", handle.as_str()]).expect_status(0);
    let (run, exec, delete) = (recorder.calls("run"), recorder.calls("exec"), recorder.calls("delete"));
    assert_eq!((run.len(), exec.len(), delete.len()), (1, 1, 1), "{run:?} {exec:?} {delete:?}");
    for (call, words) in [
        (&run[0], &["--detach", "--pid-file", "--bundle"][..]),
        (&exec[0], &["--detach", "--pid-file", "--process"][..]),
        (&delete[0], &["--force"][..]),
    ] {
        assert!(call.starts_with("--mine --root "), "{call}");
        assert!(words.iter().all(|word| call.split(' ').any(|had| had == *word)), "{call}");
    }
    assert!(!fs::read_to_string(&recorder.record).unwrap().contains("very-secret"));
    engine.finish();
}

/// Conformance: Q382, Q420
#[test]
fn a_runtime_that_fails_is_told_of_however_much_it_complains() {
    let mut engine = Engine::new();
    let flag = engine.scratch().join("how");
    let first = format!(
        "how=$(cat {}); pid_file=${{10}}\n\
         [ $verb = exec ] && [ \"$how\" = flood ] && {{ head -c 9000000 /dev/zero >&2; exit 100; }}\n\
         [ $verb = exec ] && [ \"$how\" = zero ] && {{ echo 0 > $pid_file; exit 0; }}\n\
         [ $verb = exec ] && [ \"$how\" = stranger ] && {{ echo $PPID > $pid_file; exit 0; }}\n\
         [ $verb = exec ] && [ \"$how\" = silent ] && exit 0",
        flag.display()
    );
    let recorder = Recorder::new(&engine, &first);
    fs::write(&flag, "").unwrap();
    recorder.start(&mut engine);
    let handle = engine.create_from(ContainerSpec::default());
    for (how, expected) in [
        ("flood", "exit status 100"),
        ("zero", "holds no number of a process"),
        ("stranger", "which the runtime has not left"),
        ("silent", "pid file cannot be read"),
    ] {
        fs::write(&flag, how).unwrap();
        let error = engine.try_run(&handle, program(&["true"])).unwrap_err();
        assert!(error.message().contains(expected), "{how}: {}", error.report());
        assert_eq!(error.kind(), ErrorKind::Internal, "{how}");
    }
    fs::write(&flag, "").unwrap();
    engine.run(&handle, program(&["true"])).expect(0);
    engine.finish();
}

/// Conformance: Q412-413
#[test]
fn a_sidecar_of_a_runtime_shares_all_but_the_mounts() {
    for runtime in RUNTIMES {
        let engine = engine_with(runtime);
        let handle = engine.create_from(ContainerSpec::default());
        let image = engine.image_with("other", |rootfs| fs::write(rootfs.join("only-here"), "").unwrap());
        let namespaces = "cd /proc/self/ns; for n in net ipc pid uts user; do readlink $n; done";
        let own = engine.run(&handle, script(namespaces)).expect(0).text();
        let sidecar = |text: &str| ProcessSpec { image: Some(ImageRef::uri(image.clone())), ..script(text) };
        let ran = engine.run(&handle, sidecar(&format!("ls /only-here; {namespaces}"))).expect(0);
        assert_eq!(ran.text(), format!("/only-here\n{own}"), "{runtime}");
        engine.run(&handle, sidecar("exit 9")).expect(9);
        engine.finish();
    }
}

/// Conformance: Q281-282
#[test]
fn mounts_of_a_runtime_are_as_read_only_as_they_were_asked_for() {
    for runtime in RUNTIMES {
        let engine = engine_with(runtime);
        let bind = |name: &str, mode| {
            let source = engine.scratch().join(name);
            fs::create_dir_all(&source).unwrap();
            BindMount::new(source, format!("/mnt/{name}"), mode).unwrap()
        };
        let binds = vec![bind("closed", BindMode::ReadOnly), bind("open", BindMode::ReadWrite)];
        let write = "touch /mnt/open/new && touch /mnt/closed/new";
        for privileged in [false, true] {
            let spec = ContainerSpec { privileged, bind_mounts: binds.clone(), ..ContainerSpec::default() };
            let handle = engine.create_from(spec);
            let image = Some(ImageRef::uri(engine.image()));
            let sidecar = ProcessSpec { image, bind_mounts: binds.clone(), ..script(write) };
            for spec in [script(write), sidecar] {
                // Others than the owner may write there, too.
                fs::set_permissions(engine.scratch().join("open"), fs::Permissions::from_mode(0o777))
                    .unwrap();
                let ran = engine.run(&handle, spec).expect(1);
                assert!(ran.errors().contains("Read-only file system"), "{runtime}: {}", ran.errors());
                assert!(engine.scratch().join("open/new").exists(), "{runtime}");
                fs::remove_file(engine.scratch().join("open/new")).unwrap();
            }
        }
        engine.finish();
    }
}

/// Conformance: Q407-410
#[test]
fn limits_of_a_container_of_a_runtime_are_in_force() {
    for runtime in RUNTIMES {
        let engine = engine_with(runtime);
        let limits = Limits { memory: MemoryLimits { bytes: 64 << 20 }, ..Limits::default() };
        let handle: Handle = engine.create_from(ContainerSpec { limits, ..ContainerSpec::default() });
        let told = engine.with_client(async |client| client.limits(&handle).await.unwrap());
        assert_eq!(told.memory.bytes, 64 << 20, "{runtime}");
        let ran = engine.run(&handle, script("head -c 200000000 /dev/zero | tail | wc -c"));
        assert!(ran.text() != "200000000\n", "{runtime}: {}", ran.text());
        engine.finish();
    }
}
