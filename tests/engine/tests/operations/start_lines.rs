//! Start lines of Guardian, files of options, and what is refused.

use std::fs;
use std::io::{BufReader, Write};
use std::net::TcpStream;

use engine_tests::garden::{Answer, head};
use engine_tests::host::Host;
use engine_tests::{Engine, until, until_some};

/// A file as a BOSH release of Guardian writes it. Not in it: a runtime, which this host need not have.
const BOSH: &str = "[server]
; binaries
  assets-dir = /var/vcap/packages/guardian/assets
  dadoo-bin = /var/vcap/packages/guardian/bin/dadoo
  nstar-bin = /var/vcap/packages/guardian/bin/nstar
  tar-bin = /var/vcap/packages/tar/bin/tar
  init-bin = /var/vcap/packages/guardian/bin/init
  iptables-bin = /var/vcap/packages/iptables/sbin/iptables
  iptables-restore-bin = /var/vcap/packages/iptables/sbin/iptables-restore
; images
  image-plugin = /var/vcap/packages/grootfs/bin/grootfs
  image-plugin-extra-arg = --config
  image-plugin-extra-arg = /var/vcap/jobs/garden/config/grootfs_config.yml
  privileged-image-plugin = /var/vcap/packages/grootfs/bin/grootfs
  privileged-image-plugin-extra-arg = \"--config\"
  default-rootfs = /var/vcap/packages/busybox/busybox.tar
; containers
  containerd-socket = /var/vcap/sys/run/containerd/containerd.sock
  depot = /var/vcap/data/garden/depot
  properties-path = /var/vcap/data/garden/props.json
  console-sockets-path = /var/vcap/data/garden/console-sockets
  max-containers = 250
  default-grace-time = 0
  destroy-containers-on-startup = false
  cpu-quota-per-share = 0
  default-container-blockio-weight = 0
  enable-container-network-metrics = true
; networking
  network-pool = 10.254.0.0/22
  allow-host-access = false
  deny-network = 10.0.0.0/8
  deny-network = 169.254.0.0/16
  dns-server = 192.0.2.53
  port-pool-start = 61001
  port-pool-size = 4534
  port-pool-properties-path = /var/vcap/data/garden/port-pool-props.json
  mtu = 1500
; figures
  metrics-emission-interval = 1m
  dropsonde-origin = garden-linux
  dropsonde-destination = 127.0.0.1:3457
  debug-bind-ip = 127.0.0.1
  debug-bind-port = 17013
  log-level = info
  time-format = rfc3339
  tcp-keepalive-time = 0
";

/// How often the log warns of an option of Guardian.
fn warnings(engine: &Engine, option: &str) -> usize {
    engine.log().lines().filter(|line| line.contains(&format!("option=\"{option}\""))).count()
}

/// Conformance: Q18-19, Q95-97
#[test]
fn a_start_line_of_a_cell_starts_us_with_one_warning_for_each_option_that_means_nothing() {
    let (host, mut engine) = (Host::new(), Engine::new());
    let file = engine.scratch().join("config.ini");
    fs::write(&file, BOSH).unwrap();
    let file = file.to_str().unwrap().to_owned();
    let options = ["--config", &file, "--skip-setup", "--max-containers", "2"];
    engine.start_server_in(&host.inside, &options);
    for option in ["--skip-setup", "--depot", "--image-plugin-extra-arg", "--iptables-bin", "--time-format"] {
        assert_eq!(warnings(&engine, option), 1, "{option}: {}", engine.log());
    }
    for option in ["--max-containers", "--network-pool", "--mtu", "--default-rootfs"] {
        assert_eq!(warnings(&engine, option), 0, "{option}: {}", engine.log());
    }
    let capacity = engine.garden().get("/capacity").expect(200).json();
    // The command line wins over the file's 250.
    assert_eq!(capacity["max_containers"], 2);
    let handle = engine.garden().create(&engine.busybox(serde_json::json!({})));
    assert_eq!(engine.garden().info(&handle)["ContainerIP"], "10.254.0.2");
    let names = engine.garden().shell(&handle, "cat /etc/resolv.conf").expect(0).text();
    assert_eq!(names, "nameserver 192.0.2.53\n");
    let vars = host.inside.within(|| TcpStream::connect(("127.0.0.1", 17013)).is_ok());
    assert!(vars, "{}", engine.log());
    engine.finish();
}

/// What Guardian has where its line says nothing: a pool of addresses.
///
/// Conformance: Q95-97
#[test]
fn a_start_line_of_a_worker_starts_us_with_guardians_pool_and_its_address_is_its_own() {
    let (host, mut engine) = (Host::new(), Engine::new());
    let depot = engine.scratch().join("depot");
    let (depot, properties) = (depot.to_str().unwrap().to_owned(), depot.join("props.json"));
    let line = [
        "--bind-ip",
        "127.0.0.1",
        "--bind-port",
        "7777",
        "--depot",
        &depot,
        "--properties-path",
        properties.to_str().unwrap(),
        "--time-format",
        "rfc3339",
        "--no-image-plugin",
    ];
    engine.start_server_in(&host.inside, &line);
    for option in ["--depot", "--properties-path", "--time-format", "--no-image-plugin"] {
        assert_eq!(warnings(&engine, option), 1, "{option}: {}", engine.log());
    }
    host.inside.within(|| {
        let mut connection = BufReader::new(TcpStream::connect(("127.0.0.1", 7777)).unwrap());
        connection.get_mut().write_all(head("GET", "/capacity", &[], None).as_bytes()).unwrap();
        let capacity = Answer::read(&mut connection).expect(200).json();
        // A pool of 1,024 addresses in networks of four.
        assert_eq!(capacity["max_containers"], 256);
    });
    let handle = engine.create(&[]);
    assert_eq!(engine.inspect(&handle)["container_ip"], "10.254.0.2");
    assert!(!std::path::Path::new(&depot).exists());
    engine.finish();
}

/// Conformance: Q434-443
#[test]
fn settings_of_tcp_are_the_operators_the_clients_or_the_hosts() {
    const NAMES: [&str; 5] =
        ["tcp_keepalive_time", "tcp_keepalive_intvl", "tcp_keepalive_probes", "tcp_retries1", "tcp_retries2"];
    let (host, mut engine) = (Host::new(), Engine::new());
    // None of them the kernel's own.
    for (name, value) in NAMES.iter().zip(71..) {
        host.inside.must(&format!("echo {value} > /proc/sys/net/ipv4/{name}"));
    }
    let seen = |engine: &Engine, options: &[&str]| {
        let handle = engine.create(options);
        let script = NAMES.map(|name| format!("cat /proc/sys/net/ipv4/{name};")).concat();
        let text = engine.shell(&handle, &script).expect_status(0).text();
        text.lines().collect::<Vec<_>>().join(" ")
    };
    let flags = "--tcp-keepalive-time 11 --tcp-keepalive-interval 0 --tcp-keepalive-probes 13 --tcp-retries1 14 --tcp-retries2 15";
    let flags: Vec<&str> = flags.split(' ').collect();
    engine.start_server_in(&host.inside, &flags);
    assert_eq!(seen(&engine, &[]), "11 72 13 14 15");
    assert_eq!(seen(&engine, &["--privileged"]), "11 72 13 14 15");
    assert_eq!(seen(&engine, &["--sysctl", "net.ipv4.tcp_keepalive_time=99"]), "99 72 13 14 15");
    engine.stop_server();
    engine.start_server_in(&host.inside, &["--network-pool", "none", "--skip-setup", "--tcp-retries1", "8"]);
    assert_eq!(seen(&engine, &[]), "71 72 73 8 75");
    engine.stop_server();
    engine.start_server_in(&host.inside, &[]);
    assert_ne!(seen(&engine, &[]), "71 72 73 74 75");
    engine.finish();
}

/// Conformance: Q101
#[test]
fn a_second_server_at_the_same_port_ends() {
    let mut engine = Engine::new();
    engine.start_server(&["--bind-ip", "127.0.0.1", "--bind-port", "0"]);
    let port = until_some("the port in the log", || {
        let log = engine.log();
        let line = log.lines().rfind(|line| line.contains("listening for Garden's clients"))?.to_owned();
        Some(line.rsplit(':').next()?.trim().to_owned())
    });
    let other = Engine::new();
    let second = other.gdn(["server", "--bind-ip", "127.0.0.1", "--bind-port", &port]);
    assert_eq!(second.expect_error("cannot listen for Garden's clients").status, 1);
    engine.gdn(["ping"]).expect_status(0);
    engine.finish();
}

/// Conformance: Q20-21, Q189
#[test]
fn what_would_start_another_server_than_was_meant_is_refused() {
    let engine = Engine::new();
    let file = engine.scratch().join("config.ini");
    let path = file.to_str().unwrap();
    let with = |text: &str| {
        fs::write(&file, text).unwrap();
        let refused = engine.gdn(["--config", path, "server"]);
        assert_eq!(refused.status, 1, "{text}: {}", refused.stderr);
        refused
    };
    with("[server]\nmax-container = 1\n").expect_error("line 2: gdn server has no option \"max-container\"");
    with("[server]\nmax-containers = x\n").expect_error("line 2: invalid value 'x' for '--max-containers");
    with("max-containers = 1\n").expect_error("line 1: \"max-containers\" stands before any section");
    with("[server]\ndevice-cgroup-rule = c 1:3\n")
        .expect_error("line 2: invalid value 'c 1:3' for '--device");
    engine.gdn(["server", "--config", "/no/such.ini"]).expect_error("cannot read the file /no/such.ini");
    let rule = engine.gdn(["server", "--device-cgroup-rule", "c 1:3 rx"]);
    assert_eq!(rule.expect_error("device rule \"c 1:3 rx\": its access has other letters").status, 2);
    assert_eq!(engine.gdn(["server", "--log-level", "loud"]).expect_error("'loud'").status, 2);
    // Nothing was begun.
    assert!(!engine.root().join("state").exists());
}

/// Conformance: Q99-100
#[test]
fn the_version_is_told_by_the_known_letters() {
    let engine = Engine::new();
    let told: Vec<String> =
        ["-v", "-V", "--version"].map(|flag| engine.gdn([flag]).expect_status(0).text()).into();
    assert!(told[0].starts_with("gdn 0.") && told.iter().all(|text| *text == told[0]), "{told:?}");
}

/// Conformance: Q185-188
#[test]
fn the_log_tells_what_its_level_says_and_the_usual_one_is_info() {
    let mut engine = Engine::new();
    let mut logged = |options: &[&str]| {
        let before = engine.log().len();
        engine.start_server(options);
        engine.garden().get("/ping").expect_done();
        engine.stop_server();
        engine.log()[before..].to_owned()
    };
    let usual = logged(&[]);
    assert!(usual.contains(" INFO ") && !usual.contains("DEBUG"), "{usual}");
    let debug = logged(&["--log-level", "debug"]);
    assert!(debug.contains(" INFO ") && debug.contains("DEBUG"), "{debug}");
    for level in ["error", "fatal"] {
        assert_eq!(logged(&["--log-level", level]), "", "{level}");
    }
    until("the sockets to go", || !engine.root().join("garden.sock").exists());
    engine.finish();
}
