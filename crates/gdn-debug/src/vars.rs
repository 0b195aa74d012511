//! `/debug/vars`: the members of Guardian's that its suites and operators read.

use serde::Serialize;

use crate::process::{self, Process};
use crate::serve::DebugSources;

/// The document. Names are those of Go's `expvar` and of Guardian.
#[derive(Debug, Serialize)]
struct Vars {
    cmdline: Vec<String>,
    memstats: MemStats,
    #[serde(rename = "numCPUS")]
    cpus: usize,
    /// Tasks of the runtime: what comes closest.
    #[serde(rename = "numGoRoutines")]
    tasks: usize,
    #[serde(rename = "loopDevices")]
    loop_devices: usize,
    /// Files that hold a store of images: there are none.
    #[serde(rename = "backingStores")]
    backing_stores: usize,
    /// Containers, those being made or destroyed included.
    #[serde(rename = "depotDirs")]
    containers: u64,
}

/// Bytes of memory.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct MemStats {
    alloc: u64,
    heap_alloc: u64,
    sys: u64,
}

pub(crate) fn text(sources: &DebugSources) -> String {
    let own = Process::read();
    let anonymous = own.anonymous.unwrap_or_default();
    let vars = Vars {
        cmdline: without_values(&sources.command_line),
        memstats: MemStats { alloc: anonymous, heap_alloc: anonymous, sys: own.resident.unwrap_or_default() },
        cpus: process::processors(),
        tasks: tokio::runtime::Handle::current().metrics().num_alive_tasks(),
        loop_devices: process::loop_devices(),
        backing_stores: 0,
        containers: sources.gardener.census().total(),
    };
    serde_json::to_string(&vars).expect("names and numbers are JSON") + "\n"
}

/// The program, its verb, and names of options: their values may be secret.
fn without_values(command_line: &[String]) -> Vec<String> {
    let mut arguments = command_line.iter();
    let program = arguments.next().cloned();
    let mut behind_option = false;
    let rest = arguments.filter_map(|argument| match argument.split_once('=') {
        // One dash begins a value that an option allows to begin so, or short options, which say little.
        _ if !argument.starts_with("--") => {
            let value = std::mem::take(&mut behind_option);
            (!value && !argument.starts_with('-')).then(|| argument.clone())
        }
        Some((name, _)) => {
            behind_option = false;
            Some(name.to_owned())
        }
        None => {
            behind_option = true;
            Some(argument.clone())
        }
    });
    program.into_iter().chain(rest).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_of_options_are_not_told() {
        let line = "/bin/gdn --root /r server --apparmor x --tag=hunter2 --allow-host-access --a hunter2";
        let line: Vec<String> = line.split(' ').map(Into::into).collect();
        let told = without_values(&line);
        let dashed =
            ["gdn", "server", "--network-plugin-extra-arg", "-phunter2", "-p", "hunter2"].map(Into::into);
        assert!(!without_values(&dashed).join(" ").contains("hunter2 "), "{:?}", without_values(&dashed));
        assert_eq!(told.join(" "), "/bin/gdn --root server --apparmor --tag --allow-host-access --a");
        assert!(without_values(&[]).is_empty());
    }
}
