//! Programs that can do a part of the engine's work.

use containerizer::Runtime;

use super::Finding;

/// Runtimes that `--runtime-plugin` was tried with.
const RUNTIMES: [&str; 2] = ["runc", "crun"];

/// Looks for them.
pub(super) fn check() -> Vec<Finding> {
    let found = RUNTIMES.iter().filter_map(|name| Runtime::find(name, Vec::new()).ok());
    let found: Vec<String> = found.map(|runtime| runtime.program().to_owned()).collect();
    // None is needed, so none is no lack.
    let found = if found.is_empty() { "none installed, none needed".to_owned() } else { found.join(", ") };
    vec![Finding::ok("runtime plug-ins", found)]
}
