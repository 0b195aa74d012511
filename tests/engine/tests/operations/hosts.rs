//! Hosts that are prepared, and cleaned up after an engine.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use engine_tests::host::Host;
use engine_tests::{Engine, binary};

/// Runs a script with a copy of /etc in place of the host's, in which there is no group "garden".
fn with_etc(copy: &Path, script: &str) -> String {
    let prepared = format!(
        "set -e; mkdir -p {copy}; test -e {copy}/group || {{ cp /etc/group /etc/passwd /etc/login.defs {copy}; \
         sed -i '/^garden:/d' {copy}/group; }}; mount --bind {copy} /etc; {script}",
        copy = copy.display()
    );
    let ran = Command::new("unshare").args(["-m", "sh", "-c", &prepared]).output().unwrap();
    let text = String::from_utf8_lossy(&ran.stdout).into_owned();
    assert!(ran.status.success(), "{script}: {text}{}", String::from_utf8_lossy(&ran.stderr));
    text
}

#[test]
fn a_host_is_prepared_once_and_again_without_harm() {
    let engine = Engine::new();
    let (gdn, root, etc) = (binary(), engine.root(), engine.scratch().join("etc"));
    let unit = engine.scratch().join("gdn.service");
    let setup = |more: &str| {
        let line = format!("{} --root {} setup {more}", gdn.display(), root.display());
        with_etc(&etc, &line)
    };
    let first = setup(&format!("--systemd-unit={}", unit.display()));
    let lines: Vec<&str> = first.lines().collect();
    assert!(lines[0].starts_with("directory /") && lines[0].ends_with(" made"), "{first}");
    assert!(lines[1].starts_with("group garden made: "), "{first}");
    assert!(lines[2].contains("gdn.service made: systemctl daemon-reload"), "{first}");
    let groups = fs::read_to_string(etc.join("group")).unwrap();
    assert_eq!(groups.lines().filter(|line| line.starts_with("garden:")).count(), 1, "{groups}");
    assert_eq!(fs::metadata(&root).unwrap().permissions().mode() & 0o777, 0o700);

    let text = fs::read_to_string(&unit).unwrap();
    let line = format!("ExecStart={} --root {} server $GDN_OPTIONS", gdn.display(), root.display());
    assert!(text.contains(&line) && text.contains("\nKillMode=process\n"), "{text}");
    if let Ok(verified) = Command::new("systemd-analyze").arg("verify").arg(&unit).output() {
        let told = String::from_utf8_lossy(&verified.stderr);
        assert!(verified.status.success() && !told.contains("gdn.service:"), "{told}");
    }

    let again = setup(&format!("--systemd-unit={}", unit.display()));
    assert_eq!(again.matches(" is there").count(), 3, "{again}");
    let json = setup("--no-group --tag x --enable-cpu-throttling --format json");
    assert!(json.contains("\"outcome\": \"there\"") && !json.contains("group"), "{json}");
    assert_eq!(fs::read_to_string(etc.join("group")).unwrap(), groups);
    fs::write(&unit, "mine").unwrap();
    let unit = format!("--systemd-unit={}", unit.display());
    let kept = engine.gdn(["setup", "--no-group", &unit]);
    kept.expect_error("says something else than this would");
    setup(&format!("--no-group {unit} --replace"));
}

/// Conformance: Q449-450
#[test]
fn a_clean_up_removes_containers_their_properties_and_their_networks() {
    let (host, mut engine) = (Host::new(), Engine::new());
    let nothing = engine.gdn(["cleanup"]).expect_status(0);
    assert_eq!((nothing.text().trim(), engine.root().exists()), ("no container destroyed", false));
    engine.start_server_in(&host.inside, &["--network-pool", "10.9.0.0/24"]);
    engine.create(&["--handle", "one", "--property", "k=v", "--publish", "8080:80"]);
    engine.create(&["--handle", "two", "--network", "none"]);
    engine.shell("two", "sleep 1000 >/dev/null 2>&1 &").expect_status(0);
    engine.gdn(["cleanup"]).expect_error("another engine");
    engine.kill_server();

    let mut cleanup = host.inside.command(binary().to_str().unwrap());
    let cleaned = cleanup.arg("--root").arg(engine.root()).args(["cleanup"]).output().unwrap();
    let told = String::from_utf8_lossy(&cleaned.stdout).into_owned();
    assert!(cleaned.status.success(), "{told}{}", String::from_utf8_lossy(&cleaned.stderr));
    assert_eq!(told, "2 containers destroyed\n");
    engine.expect_nothing_left();
    assert_eq!(host.inside.must("nft list ruleset"), "");
    assert_eq!(host.inside.must("ip -o link | grep -c gdn- || true").trim(), "0");

    engine.start_server_in(&host.inside, &["--network-pool", "10.9.0.0/24"]);
    assert!(engine.handles().is_empty());
    engine.create(&["--handle", "one"]);
    let properties = engine.inspect("one")["properties"].clone();
    assert!(properties.get("k").is_none(), "{properties}");
    engine.finish();
}
