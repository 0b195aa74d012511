//! The server is killed; the containers go on.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use engine_tests::{Engine, inside, until};
use gdn_client::{Client, ProcessEvent, ProcessStream};
use gdn_types::{ExitStatus, Handle, ProcessId, ProcessSpec};

/// How many containers run when the server is killed.
const CONTAINERS: usize = 20;

/// Counts until a file appears, and then ends with status 7.
const COUNTER: &str = "i=0; while [ ! -e /tmp/stop ]; do echo $i; i=$((i+1)); sleep 0.05; done; exit 7";

fn counter() -> ProcessSpec {
    ProcessSpec {
        id: Some(ProcessId::parse("counter").unwrap()),
        path: "/bin/sh".into(),
        args: vec!["-c".into(), COUNTER.into()],
        ..ProcessSpec::default()
    }
}

async fn start_counter(client: &Client, handle: &str) {
    client.run(&Handle::parse(handle).unwrap(), counter()).await.unwrap();
}

/// Reads numbers until three came, which must go up by one.
async fn expect_counting(process: &mut ProcessStream) {
    let mut text = String::new();
    while text.lines().count() < 5 {
        match process.next().await.unwrap().expect("the counter runs") {
            ProcessEvent::Stdout(bytes) => text.push_str(std::str::from_utf8(&bytes).unwrap()),
            other => panic!("the counter should run: {other:?}"),
        }
    }
    // The first line may have begun before, the last may not be over.
    let lines: Vec<&str> = text.lines().collect();
    let numbers: Vec<u64> = lines[1..lines.len() - 1].iter().map(|line| line.parse().unwrap()).collect();
    assert!(numbers.windows(2).all(|pair| pair[1] == pair[0] + 1), "{text:?}");
}

async fn expect_exit(process: &mut ProcessStream, status: ExitStatus) {
    while let Some(event) = process.next().await.unwrap() {
        if let ProcessEvent::Exited(seen) = event {
            return assert_eq!(seen, status);
        }
    }
    panic!("the stream ended without a status");
}

#[test]
fn twenty_containers_outlive_a_killed_server_with_their_pids_output_and_statuses() {
    let mut engine = Engine::start();
    let handles: Vec<String> = (0..CONTAINERS).map(|number| format!("counter-{number}")).collect();
    for handle in &handles {
        engine.create(&["--handle", handle, "--property", &format!("name=of-{handle}")]);
    }
    engine.with_client(async |client| {
        for handle in &handles {
            start_counter(&client, handle).await;
        }
    });
    let before: Vec<u32> = handles.iter().map(|handle| engine.init_pid(handle)).collect();

    engine.kill_server();
    engine.start_server(&[]);

    let mut listed = engine.handles();
    listed.sort_unstable();
    let mut expected = handles.clone();
    expected.sort_unstable();
    assert_eq!(listed, expected);
    for (handle, init) in handles.iter().zip(before) {
        let info = engine.inspect(handle);
        assert_eq!(info["init_pid"], init, "{handle}");
        assert_eq!(info["state"], "active", "{handle}");
        assert_eq!(info["properties"]["name"], format!("of-{handle}"));
    }
    let counter = ProcessId::parse("counter").unwrap();
    engine.with_client(async |client| {
        for name in &handles {
            let handle = Handle::parse(name).unwrap();
            let mut attached = client.attach(&handle, &counter, false).await.unwrap();
            expect_counting(&mut attached).await;
            let stop =
                ProcessSpec { path: "touch".into(), args: vec!["/tmp/stop".into()], ..Default::default() };
            let mut stop = client.run(&handle, stop).await.unwrap();
            expect_exit(&mut stop, ExitStatus::Code(0)).await;
            expect_exit(&mut attached, ExitStatus::Code(7)).await;
        }
    });
    engine.finish();
}

#[test]
fn the_status_of_a_process_that_ends_while_no_server_runs_is_delivered_later() {
    let mut engine = Engine::start();
    let handle = engine.create(&[]);
    engine.with_client(async |client| start_counter(&client, &handle).await);
    let init = engine.init_pid(&handle);
    until("the counter to run", || !inside::processes_beside(init).is_empty());

    engine.kill_server();
    fs::write(inside::path(init, "/tmp/stop"), "").unwrap();
    until("the counter to end", || inside::processes_beside(init).is_empty());
    engine.start_server(&[]);

    let id = (Handle::parse(&handle).unwrap(), ProcessId::parse("counter").unwrap());
    engine.with_client(async |client| {
        assert_eq!(client.wait(&id.0, &id.1).await.unwrap(), ExitStatus::Code(7));
        let mut attached = client.attach(&id.0, &id.1, false).await.unwrap();
        expect_exit(&mut attached, ExitStatus::Code(7)).await;
    });
    engine.finish();
}

#[test]
fn a_server_that_stops_in_order_leaves_the_containers_running_too() {
    let mut engine = Engine::start();
    let handle = engine.create(&[]);
    engine.with_client(async |client| start_counter(&client, &handle).await);
    let init = engine.init_pid(&handle);
    engine.stop_server();
    assert!(inside::lives(init));
    engine.start_server(&[]);
    assert_eq!(engine.init_pid(&handle), init);
    engine.shell(&handle, "true").expect_status(0);
    engine.finish();
}

/// Cgroups of a service, as a process manager makes them: in the unified tree and in the named one, where each exists.
struct Service(Vec<PathBuf>);

impl Service {
    fn make(name: &str) -> Self {
        let trees =
            ["unified", "systemd", "freezer", "pids", ""].map(|tree| format!("/sys/fs/cgroup/{tree}"));
        let trees = trees.iter().filter(|tree| PathBuf::from(tree).join("cgroup.procs").exists());
        let groups: Vec<_> = trees.map(|tree| PathBuf::from(tree).join(name)).collect();
        groups.iter().for_each(|group| fs::create_dir(group).unwrap());
        assert!(!groups.is_empty(), "no cgroup tree is mounted");
        Service(groups)
    }

    fn processes(&self) -> Vec<Vec<u32>> {
        let read = |group: &PathBuf| fs::read_to_string(group.join("cgroup.procs")).unwrap();
        self.0.iter().map(|group| read(group).lines().map(|pid| pid.parse().unwrap()).collect()).collect()
    }

    /// Kills whatever is in it, as KillMode=control-group does.
    fn kill(&self) {
        let killer = self.0.iter().map(|group| group.join("cgroup.kill")).find(|file| file.exists());
        fs::write(killer.expect("the unified tree can kill"), "1").unwrap();
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        for group in &self.0 {
            // Busy while a killed process is still being taken apart.
            let gone = engine_tests::eventually(engine_tests::PATIENCE, || fs::remove_dir(group).ok());
            if gone.is_none() {
                eprintln!("left behind: {}", group.display());
            }
        }
    }
}

#[test]
fn a_process_manager_that_kills_the_servers_whole_cgroup_does_not_touch_containers() {
    let service = Service::make(&format!("engine-tests-service-{}", std::process::id()));
    let mut engine = Engine::new();
    let enter: String =
        service.0.iter().map(|group| format!("echo $$ > {}/cgroup.procs && ", group.display())).collect();
    let mut command = Command::new("/bin/sh");
    command.arg("-c").arg(format!("{enter} exec \"$0\" \"$@\"")).arg(engine_tests::binary());
    command.args(engine.server_arguments(&[]));
    engine.start_server_by(command);
    let handle = engine.create(&[]);
    engine.with_client(async |client| start_counter(&client, &handle).await);
    let init = engine.init_pid(&handle);
    let of_container: Vec<u32> = inside::processes_beside(init).into_iter().chain([init]).collect();
    let parent = |pid: u32| {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        status.lines().find_map(|line| line.strip_prefix("PPid:")).unwrap().trim().parse::<u32>().unwrap()
    };
    let keeper = parent(init);
    let inside_service = service.processes();
    for processes in &inside_service {
        assert!(processes.contains(&engine.server_pid()), "the server was not put into its service's cgroup");
    }
    for processes in &inside_service {
        assert!(!processes.contains(&keeper), "the keeper is in the server's service: {processes:?}");
        assert!(!of_container.iter().any(|pid| processes.contains(pid)), "{processes:?}");
    }

    service.kill();
    engine.wait_for_server_to_be_killed();
    engine.start_server(&[]);

    assert_eq!(engine.init_pid(&handle), init);
    assert!(inside::lives(keeper));
    engine.with_client(async |client| {
        let (handle, process) = (Handle::parse(&handle).unwrap(), ProcessId::parse("counter").unwrap());
        let mut attached = client.attach(&handle, &process, false).await.unwrap();
        expect_counting(&mut attached).await;
    });
    engine.finish();
}
