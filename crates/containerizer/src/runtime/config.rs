//! `config.json`: a container in the words of the OCI runtime specification, with the same mounts, masks, rights and limits as
//! one that the engine builds itself.

use gdn_cgroups::{DeviceAccess, DeviceKind, DevicePolicy, DeviceRule, Mode, Resources, Swap};
use gdn_launcher::protocol::Run;
use gdn_namespaces::{CapabilitySet, IdMap};
use gdn_types::{CapabilityProfile, Result};
use serde_json::{Map, Value, json};

use super::mounts::Mounts;
use super::process;
use crate::arguments;

/// Where init's program is shown: in a file system that is the container's own, not in the image.
const INIT: &str = "/dev/.garden-init";
/// What of procfs and sysfs concerns the host.
const MASKED: [&str; 12] = [
    "/proc/acpi",
    "/proc/asound",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/latency_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/proc/keys",
    "/sys/devices/virtual/powercap",
    "/sys/firmware",
];

/// What a container's configuration is made from.
pub(super) struct Container<'a> {
    pub(super) hostname: &'a str,
    pub(super) privileged: bool,
    /// The map of an unprivileged one.
    pub(super) ids: &'a IdMap,
    /// The process whose user and network namespaces it gets.
    pub(super) sandbox: u32,
    pub(super) cgroup: String,
    pub(super) mode: Mode,
    pub(super) resources: &'a Resources,
    /// Whether the kernel has a limit of swap to tell of.
    pub(super) counts_swap: bool,
    /// Name and value, alternating.
    pub(super) sysctls: &'a [String],
    pub(super) seccomp: Option<Value>,
    pub(super) mounts: &'a Mounts,
    /// Which capabilities init inherits.
    pub(super) capabilities: CapabilityProfile,
    /// Name of the AppArmor profile; empty for none.
    pub(super) apparmor: &'a str,
    /// Capabilities that this engine can hand out.
    pub(super) available: CapabilitySet,
}

/// The whole document.
pub(super) fn document(container: Container<'_>) -> Result<Value> {
    let bounding = if container.privileged {
        CapabilitySet::PRIVILEGED.intersection(container.available)
    } else {
        CapabilitySet::UNPRIVILEGED
    };
    let init = Run {
        args: vec![INIT.as_bytes().to_vec()],
        dir: b"/".to_vec(),
        bounding: bounding.0,
        inheritable: arguments::inheritable_set(container.capabilities, bounding).0,
        ..Run::default()
    };
    let mut process = process::document(&init)?;
    if !container.apparmor.is_empty() {
        process["apparmorProfile"] = container.apparmor.into();
    }
    let mut mounts = own_mounts(container.privileged, container.mode);
    let source = container.mounts.init();
    mounts.push(json!({ "type": "bind", "source": source, "destination": INIT, "options": ["bind"] }));
    mounts.extend(container.mounts.entries.iter().cloned());
    Ok(json!({
        "ociVersion": "1.0.0",
        "root": { "path": container.mounts.rootfs() },
        "hostname": container.hostname,
        "process": process,
        "mounts": mounts,
        "linux": linux(&container),
    }))
}

fn linux(container: &Container<'_>) -> Value {
    let path = |kind: &str| format!("/proc/{}/ns/{kind}", container.sandbox);
    let mut namespaces: Vec<Value> =
        ["pid", "mount", "ipc", "uts", "cgroup"].map(|kind| json!({ "type": kind })).into();
    namespaces.push(json!({ "type": "network", "path": path("net") }));
    let mut linux = json!({
        "cgroupsPath": container.cgroup,
        "rootfsPropagation": "private",
        "resources": resources(container.resources, container.counts_swap),
        "sysctl": sysctls(container.sysctls),
    });
    if container.privileged {
        linux["devices"] = json!([{
            "path": "/dev/fuse", "type": "c", "major": 10, "minor": 229, "fileMode": 0o666, "uid": 0, "gid": 0,
        }]);
    } else {
        namespaces.push(json!({ "type": "user", "path": path("user") }));
        linux["uidMappings"] = id_map(container.ids);
        linux["gidMappings"] = id_map(container.ids);
        linux["maskedPaths"] = json!(MASKED);
    }
    linux["namespaces"] = namespaces.into();
    if let Some(seccomp) = &container.seccomp {
        linux["seccomp"] = seccomp.clone();
    }
    linux
}

fn id_map(ids: &IdMap) -> Value {
    let triples = ids.triples();
    let lines = triples.chunks_exact(3);
    lines.map(|line| json!({ "containerID": line[0], "hostID": line[1], "size": line[2] })).collect()
}

fn own_mounts(privileged: bool, mode: Mode) -> Vec<Value> {
    let mount = |kind: &str, target: &str, options: &[&str]| json!({ "type": kind, "source": kind, "destination": target, "options": options });
    let terminals = ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"];
    let mut mounts = vec![
        mount("proc", "/proc", &["nosuid", "noexec", "nodev"]),
        mount("sysfs", "/sys", &["nosuid", "noexec", "nodev", "ro"]),
        mount("tmpfs", "/dev", &["noexec", "strictatime", "mode=755", "size=1m"]),
        mount("devpts", "/dev/pts", &terminals),
        mount("tmpfs", "/dev/shm", &["nosuid", "noexec", "nodev", "mode=1777"]),
        mount("mqueue", "/dev/mqueue", &["nosuid", "noexec", "nodev"]),
    ];
    if !privileged || mode == Mode::V2 {
        mounts.push(mount("cgroup", "/sys/fs/cgroup", &["nosuid", "noexec", "nodev", "relatime", "ro"]));
    }
    mounts
}

/// The limits, which the engine has set already: a runtime that resets what it is not told of sets them again.
pub(super) fn resources(resources: &Resources, counts_swap: bool) -> Value {
    let mut rules = vec![json!({ "allow": false, "access": "rwm" })];
    let devices = match &resources.devices {
        DevicePolicy::Only(rules) => rules,
        _ => &DeviceRule::container_defaults(),
    };
    rules.extend(devices.iter().map(device));
    let mut told = Map::from_iter([("devices".to_owned(), rules.into())]);
    let mut tell = |key: &str, value: Value| drop(told.insert(key.to_owned(), value));
    let signed = |bytes: u64| i64::try_from(bytes).unwrap_or(i64::MAX);
    if let Some(bytes) = resources.memory_bytes {
        let limit = signed(bytes);
        let mut memory = json!({ "limit": limit });
        // Where there is no such limit, runc would fail to set it. Without it, crun takes it away where there is.
        if counts_swap {
            // That of memory and swap together; -1 is none.
            memory["swap"] = if resources.swap == Swap::Counted { limit.into() } else { (-1).into() };
        }
        tell("memory", memory);
    }
    if let Some(max) = resources.pids_max {
        tell("pids", json!({ "limit": signed(max) }));
    }
    let mut cpu = Map::new();
    if let Some(shares) = resources.cpu_shares {
        cpu.insert("shares".to_owned(), shares.into());
    }
    if let Some(quota) = resources.cpu_quota_us {
        cpu.insert("quota".to_owned(), signed(quota).into());
    }
    if !cpu.is_empty() {
        tell("cpu", cpu.into());
    }
    told.into()
}

fn device(rule: &DeviceRule) -> Value {
    let DeviceAccess { read, write, mknod } = rule.access;
    let access: String = [(read, 'r'), (write, 'w'), (mknod, 'm')]
        .iter()
        .filter(|(given, _)| *given)
        .map(|(_, c)| c)
        .collect();
    let kind = match rule.kind {
        DeviceKind::Block => "b",
        DeviceKind::Character => "c",
    };
    let mut device = json!({ "allow": true, "type": kind, "access": access });
    for (key, number) in [("major", rule.major), ("minor", rule.minor)] {
        if let Some(number) = number {
            device[key] = number.into();
        }
    }
    device
}

fn sysctls(settings: &[String]) -> Value {
    let pairs = settings.chunks_exact(2);
    pairs.map(|pair| (pair[0].clone(), Value::from(pair[1].clone()))).collect::<Map<_, _>>().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn configuration(privileged: bool) -> Value {
        let empty = tempfile::tempdir().unwrap();
        let empty = std::fs::File::open(empty.path()).unwrap();
        let mounts = Mounts::new("/mnt", empty.into(), Vec::new(), (&[], Vec::new())).unwrap();
        let limits = Resources {
            memory_bytes: Some(64 << 20),
            cpu_shares: Some(512),
            cpu_quota_us: Some(20_000),
            pids_max: Some(100),
            ..Resources::default()
        };
        let sysctls = ["net.core.somaxconn".to_owned(), "7".to_owned()];
        let container = Container {
            hostname: "host",
            privileged,
            ids: &IdMap::container_default(),
            sandbox: 4711,
            cgroup: "/gdn-x/c".to_owned(),
            mode: Mode::Hybrid,
            resources: &limits,
            counts_swap: true,
            sysctls: &sysctls,
            seccomp: None,
            mounts: &mounts,
            capabilities: CapabilityProfile::Strict,
            apparmor: "confined",
            available: CapabilitySet::UNPRIVILEGED,
        };
        document(container).unwrap()
    }

    #[test]
    fn swap_is_told_where_the_kernel_counts_it() {
        let told = |swap, counts_swap| {
            let limits = Resources { memory_bytes: Some(4096), swap, ..Resources::default() };
            resources(&limits, counts_swap)["memory"].clone()
        };
        assert_eq!(told(Swap::Counted, true), json!({ "limit": 4096, "swap": 4096 }));
        assert_eq!(told(Swap::Unlimited, true), json!({ "limit": 4096, "swap": -1 }));
        assert_eq!(told(Swap::Counted, false), json!({ "limit": 4096 }));
    }

    #[test]
    fn the_operators_rules_for_devices_are_told() {
        let told = |devices: DevicePolicy| {
            let told = resources(&Resources { devices, ..Resources::default() }, true);
            told["devices"].as_array().unwrap().clone()
        };
        let rules = DeviceRule::container_devices(&["b 7:* rw".parse().unwrap()]);
        let devices = told(DevicePolicy::Only(rules));
        assert_eq!(devices[0], json!({ "allow": false, "access": "rwm" }));
        assert_eq!(devices[1], json!({ "allow": true, "type": "b", "major": 7, "access": "rw" }));
        assert_eq!(devices[2..], told(DevicePolicy::Default)[1..]);
    }

    /// Conformance: Q407-410
    #[test]
    fn limits_and_namespaces_are_told() {
        let config = configuration(false);
        let linux = &config["linux"];
        let resources = &linux["resources"];
        assert_eq!(resources["memory"], json!({ "limit": 64 << 20, "swap": 64 << 20 }));
        assert_eq!(resources["cpu"], json!({ "shares": 512, "quota": 20_000 }));
        assert_eq!(resources["pids"], json!({ "limit": 100 }));
        assert_eq!(resources["devices"][0], json!({ "allow": false, "access": "rwm" }));
        assert!(resources["devices"].as_array().unwrap().iter().any(|rule| {
            *rule == json!({ "allow": true, "type": "c", "major": 1, "minor": 3, "access": "rwm" })
        }));
        let namespaces = linux["namespaces"].as_array().unwrap();
        assert!(namespaces.contains(&json!({ "type": "user", "path": "/proc/4711/ns/user" })));
        assert!(namespaces.contains(&json!({ "type": "network", "path": "/proc/4711/ns/net" })));
        assert!(namespaces.contains(&json!({ "type": "pid" })));
        assert_eq!(linux["cgroupsPath"], "/gdn-x/c");
        assert_eq!(linux["sysctl"], json!({ "net.core.somaxconn": "7" }));
        assert_eq!(config["root"]["path"], "/mnt/rootfs");
        assert_eq!(config["process"]["apparmorProfile"], "confined");
        assert_eq!(config["process"]["capabilities"]["inheritable"], json!([]));
        assert_eq!(linux["uidMappings"][0]["hostID"], 4_294_967_294_u32);
    }

    #[test]
    fn a_privileged_container_has_what_the_engine_has() {
        let config = configuration(true);
        let linux = &config["linux"];
        assert!(linux["namespaces"].as_array().unwrap().iter().all(|namespace| namespace["type"] != "user"));
        assert!(linux.get("maskedPaths").is_none() && linux.get("uidMappings").is_none());
        assert_eq!(linux["devices"][0]["path"], "/dev/fuse");
        // Nobody can hand out more than he has.
        assert_eq!(config["process"]["capabilities"]["bounding"].as_array().unwrap().len(), 14);
    }
}
