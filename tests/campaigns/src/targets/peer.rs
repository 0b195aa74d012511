//! Runtimes of the distribution, whose weaknesses are known.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use engine_tests::images::path_text;
use serde_json::{Value, json};

use super::{Seen, Target, finish};

/// An OCI runtime that is installed on the host, with a configuration of the row's choice.
#[derive(Clone, Debug)]
pub struct Peer {
    program: &'static str,
    rootfs: PathBuf,
    change: fn(&mut Value),
}

impl Peer {
    /// `runc` or `crun` with the root file system of a bundle, and what it is configured with beyond its own template.
    pub fn new(program: &'static str, rootfs: &Path, change: fn(&mut Value)) -> Self {
        Peer { program, rootfs: rootfs.to_owned(), change }
    }
}

impl Target for Peer {
    /// The user is `uid` or `uid:gid`: these runtimes know no names.
    fn run(&self, user: &str, words: &[&str]) -> Seen {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let bundle = tempfile::Builder::new().prefix("gdn-campaign-peer-").tempdir().unwrap();
        let state = path_text(&bundle.path().join("state"));
        let base = |arguments: &[&str]| {
            let mut command = started(self.program);
            command.args(["--root", &state]).args(arguments).current_dir(bundle.path());
            command
        };
        let made = finish(base(&["spec"]));
        assert_eq!(made.status, Some(0), "{} spec: {made}", self.program);
        let file = bundle.path().join("config.json");
        let mut config: Value = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
        let (uid, gid) = user.split_once(':').unwrap_or((user, "0"));
        let id = |text: &str| text.parse::<u32>().unwrap_or(0);
        config["process"]["terminal"] = json!(false);
        config["process"]["args"] = json!(words);
        config["process"]["user"] = json!({ "uid": id(uid), "gid": id(gid) });
        config["root"] = json!({ "path": self.rootfs, "readonly": false });
        (self.change)(&mut config);
        fs::write(&file, config.to_string()).unwrap();
        let name = format!("gdn-campaign-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let seen = finish(base(&["run", &name]));
        // What ended by itself is gone already, which this does not mind.
        finish(base(&["delete", "--force", &name]));
        seen
    }
}

/// crun refuses a host with control groups of both versions: it gets one without the tree of version 2 in sight.
fn started(program: &str) -> Command {
    if program != "crun" {
        return Command::new(program);
    }
    let mut command = Command::new("unshare");
    command.args([
        "--mount",
        "sh",
        "-c",
        "umount /sys/fs/cgroup/unified 2>/dev/null; exec crun \"$@\"",
        "sh",
    ]);
    command
}
