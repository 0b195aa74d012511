//! A process in the words of the OCI specification.

use gdn_launcher::protocol::Run;
use gdn_seccomp::Capabilities;
use gdn_types::{Error, Result};
use serde_json::{Value, json};

/// Names of resource limits, by number (`asm-generic/resource.h`).
const RLIMITS: [&str; 16] = [
    "RLIMIT_CPU",
    "RLIMIT_FSIZE",
    "RLIMIT_DATA",
    "RLIMIT_STACK",
    "RLIMIT_CORE",
    "RLIMIT_RSS",
    "RLIMIT_NPROC",
    "RLIMIT_NOFILE",
    "RLIMIT_MEMLOCK",
    "RLIMIT_AS",
    "RLIMIT_LOCKS",
    "RLIMIT_SIGPENDING",
    "RLIMIT_MSGQUEUE",
    "RLIMIT_NICE",
    "RLIMIT_RTPRIO",
    "RLIMIT_RTTIME",
];

/// `process` of a configuration, and the whole of `process.json`.
pub(super) fn document(run: &Run) -> Result<Value> {
    let texts = |list: &[Vec<u8>], what: &str| {
        list.iter().map(|bytes| String::from_utf8(bytes.clone())).collect::<Result<Vec<_>, _>>().map_err(
            |_| Error::invalid(format!("{what} is no UTF-8, which a runtime plug-in cannot be told")),
        )
    };
    let mut process = json!({
        "terminal": run.tty.is_some(),
        "user": { "uid": run.uid, "gid": run.gid, "additionalGids": run.groups, "umask": 0o022 },
        "args": texts(&run.args, "an argument")?,
        "env": texts(&run.env, "a variable")?,
        "cwd": String::from_utf8_lossy(&run.dir),
        "capabilities": capabilities(run),
        "rlimits": rlimits(&run.rlimits),
        "noNewPrivileges": run.no_new_privileges,
    });
    if let Some(window) = run.tty {
        process["consoleSize"] = json!({ "width": window.columns, "height": window.rows });
    }
    Ok(process)
}

/// Root has what the bounding set allows; other users have nothing until they execute a program that brings it.
fn capabilities(run: &Run) -> Value {
    let names = |bits: u64| Capabilities::from_bits(bits).names().collect::<Vec<_>>();
    let own = if run.uid == 0 { run.bounding } else { 0 };
    json!({
        "bounding": names(run.bounding),
        "permitted": names(own),
        "effective": names(own),
        "inheritable": names(run.inheritable),
        "ambient": [],
    })
}

fn rlimits(limits: &[u64]) -> Vec<Value> {
    let named = |limit: &[u64]| {
        let name = RLIMITS.get(usize::try_from(limit[0]).ok()?)?;
        Some(json!({ "type": name, "soft": limit[1], "hard": limit[1] }))
    };
    limits.chunks_exact(2).filter_map(named).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use gdn_launcher::protocol::Window;

    /// Conformance: Q414-416
    #[test]
    fn a_process_is_described_with_all_that_it_is_to_be() {
        let run = Run {
            args: vec![b"/bin/sh".to_vec(), b"-c".to_vec()],
            env: vec![b"A=1".to_vec()],
            dir: b"/home/alice".to_vec(),
            uid: 1000,
            gid: 1001,
            groups: vec![29],
            rlimits: vec![7, 512],
            bounding: 0b11,
            tty: Some(Window { columns: 120, rows: 40 }),
            no_new_privileges: true,
            ..Run::default()
        };
        let expected = json!({
            "terminal": true,
            "consoleSize": { "width": 120, "height": 40 },
            "user": { "uid": 1000, "gid": 1001, "additionalGids": [29], "umask": 18 },
            "args": ["/bin/sh", "-c"],
            "env": ["A=1"],
            "cwd": "/home/alice",
            "capabilities": {
                "bounding": ["CAP_CHOWN", "CAP_DAC_OVERRIDE"],
                "permitted": [], "effective": [], "inheritable": [], "ambient": [],
            },
            "rlimits": [{ "type": "RLIMIT_NOFILE", "soft": 512, "hard": 512 }],
            "noNewPrivileges": true,
        });
        assert_eq!(document(&run).unwrap(), expected);
        let root = document(&Run { uid: 0, tty: None, inheritable: 1, ..run.clone() }).unwrap();
        assert_eq!(root["capabilities"]["effective"], root["capabilities"]["bounding"]);
        assert_eq!(root["capabilities"]["inheritable"], json!(["CAP_CHOWN"]));
        assert!(root.get("consoleSize").is_none());
        assert!(document(&Run { args: vec![vec![0xff]], ..run }).is_err());
    }
}
