//! `/metrics`: what the orchestrator counts, and figures of the process.

use gardener_core::{Census, OperationFigures};

use crate::exposition::Exposition;
use crate::process::Process;
use crate::serve::DebugSources;

pub(crate) async fn text(sources: &DebugSources) -> String {
    let mut text = Exposition::default();
    text.family("gdn_build_info", "gauge", "The version of this engine.");
    text.sample("gdn_build_info", &[("version", sources.version)], 1);
    containers(&mut text, &sources.gardener.census());
    pools(&mut text, sources);
    operations(&mut text, &sources.gardener.operations());
    let panics = sources.gardener.panics();
    text.single("gdn_panics_total", "counter", "Panics that became the error of a call.", panics);
    host(&mut text, sources).await;
    process(&mut text, &Process::read());
    text.into_text()
}

fn containers(text: &mut Exposition, census: &Census) {
    text.family("gdn_containers", "gauge", "Containers by state.");
    for (state, count) in [
        ("creating", census.creating),
        ("active", census.active),
        ("stopped", census.stopped),
        ("lost", census.lost),
        ("destroying", census.destroying),
    ] {
        text.sample("gdn_containers", &[("state", state)], count);
    }
}

fn pools(text: &mut Exposition, sources: &DebugSources) {
    let pools = sources.gardener.pools();
    if pools.is_empty() {
        return;
    }
    text.family("gdn_pool_size", "gauge", "How many a pool of the network holds.");
    pools.iter().for_each(|pool| text.sample("gdn_pool_size", &[("pool", &pool.name)], pool.size));
    text.family("gdn_pool_in_use", "gauge", "How many of them are handed out.");
    pools.iter().for_each(|pool| text.sample("gdn_pool_in_use", &[("pool", &pool.name)], pool.in_use));
    text.family("gdn_pool_exhausted_total", "counter", "Calls that were refused because all were.");
    for pool in &pools {
        text.sample("gdn_pool_exhausted_total", &[("pool", &pool.name)], pool.exhausted);
    }
}

fn operations(text: &mut Exposition, operations: &[OperationFigures]) {
    const COUNT: &str = "gdn_operations_total";
    text.family(COUNT, "counter", "What clients asked for, by outcome.");
    for figures in operations {
        let outcome = |outcome| [("operation", figures.operation), ("outcome", outcome)];
        text.sample(COUNT, &outcome("succeeded"), figures.succeeded);
        text.sample(COUNT, &outcome("failed"), figures.failed);
    }
    text.family("gdn_operation_seconds", "histogram", "How long it took until it was answered.");
    for figures in operations {
        let operation = ("operation", figures.operation);
        for (bound, count) in &figures.within {
            let bound = bound.as_secs_f64().to_string();
            text.sample("gdn_operation_seconds_bucket", &[operation, ("le", &bound)], count);
        }
        // Counts are read one after the other: the total must not be less than its parts.
        let within = figures.within.last().map_or(0, |(_, count)| *count);
        let total = (figures.succeeded + figures.failed).max(within);
        text.sample("gdn_operation_seconds_bucket", &[operation, ("le", "+Inf")], total);
        text.sample("gdn_operation_seconds_sum", &[operation], figures.sum.as_secs_f64());
        text.sample("gdn_operation_seconds_count", &[operation], total);
    }
}

/// What the engine can hold; nothing before it has started.
async fn host(text: &mut Exposition, sources: &DebugSources) {
    let Ok(capacity) = sources.gardener.capacity().await else { return };
    if capacity.max_containers < u64::MAX {
        let help = "The most containers that there can be.";
        text.single("gdn_containers_max", "gauge", help, capacity.max_containers);
    }
    text.single("gdn_memory_bytes", "gauge", "Memory of the machine.", capacity.memory_bytes);
    text.single("gdn_disk_bytes", "gauge", "Size of the file system of the root.", capacity.disk_bytes);
}

/// The names that every client library of Prometheus uses.
fn process(text: &mut Exposition, process: &Process) {
    let gauges = [
        ("process_resident_memory_bytes", "Memory that is resident.", process.resident),
        ("process_virtual_memory_bytes", "Address space.", process.virtual_memory),
        ("process_open_fds", "Open descriptors.", process.descriptors),
        ("process_max_fds", "The most open descriptors.", process.most_descriptors),
        ("process_threads", "Threads.", process.threads),
    ];
    for (name, help, value) in gauges {
        if let Some(value) = value {
            text.single(name, "gauge", help, value);
        }
    }
    if let Some(seconds) = process.cpu_seconds {
        text.single("process_cpu_seconds_total", "counter", "Processor time.", seconds);
    }
}
