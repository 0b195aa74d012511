//! `gdn update`: other limits for a container in use.

use anyhow::Context;
use clap::Args;
use gdn_types::{CpuShares, Handle, IoWeight, LimitChange, Limits};
use serde::Serialize;

use super::DONE;
use crate::address;
use crate::cli::Global;
use crate::options::{IoOptions, RateOptions};
use crate::output::{self, Show, facts, time};
use crate::values;

/// Change the limits of a container in use; without an option, show them.
#[derive(Debug, Args)]
pub(crate) struct Update {
    /// Most memory, swap included, such as 64M; 0 = no limit
    #[arg(long, value_name = "SIZE", value_parser = values::size)]
    memory: Option<u64>,
    /// Weight of its processor share; 0 = the ordinary 1024
    #[arg(long, value_name = "SHARES")]
    cpu_weight: Option<u64>,
    /// Microseconds of processor time in each 100 ms; 0 = no limit
    #[arg(long, value_name = "MICROSECONDS")]
    cpu_quota: Option<u64>,
    /// Most processes and threads; 0 = no limit
    #[arg(long, value_name = "NUMBER")]
    pids: Option<u64>,
    /// Block I/O
    #[command(flatten)]
    io: IoOptions,
    /// Network
    #[command(flatten)]
    rate: RateOptions,
    /// Container
    #[arg(value_name = "HANDLE", value_parser = Handle::parse)]
    handle: Handle,
}

/// Limits in force; absent = none.
#[derive(Debug, Serialize)]
struct InForce {
    memory_bytes: Option<u64>,
    cpu_weight: Option<u64>,
    cpu_quota_us: Option<u64>,
    pids: Option<u64>,
    io_weight: Option<u64>,
    io_read_bps: Option<u64>,
    io_write_bps: Option<u64>,
    io_read_iops: Option<u64>,
    io_write_iops: Option<u64>,
    network_rate: Option<u64>,
    network_burst: Option<u64>,
}

impl From<Limits> for InForce {
    fn from(limits: Limits) -> Self {
        let given = |value: u64| (value > 0).then_some(value);
        InForce {
            memory_bytes: given(limits.memory.bytes),
            cpu_weight: limits.cpu.shares.map(CpuShares::get),
            cpu_quota_us: given(limits.cpu.quota_us),
            pids: given(limits.pids.max),
            io_weight: limits.io.weight.map(IoWeight::get),
            io_read_bps: given(limits.io.read_bps),
            io_write_bps: given(limits.io.write_bps),
            io_read_iops: given(limits.io.read_iops),
            io_write_iops: given(limits.io.write_iops),
            network_rate: given(limits.bandwidth.rate),
            network_burst: given(limits.bandwidth.burst),
        }
    }
}

impl Show for InForce {
    fn text(&self) -> String {
        let or_none = |text: Option<String>| text.unwrap_or_else(|| "unlimited".to_owned());
        let or_ordinary =
            |weight: Option<u64>| weight.map_or_else(|| "ordinary".to_owned(), |weight| weight.to_string());
        let rate =
            |bytes: Option<u64>| or_none(bytes.map(|bytes| format!("{} a second", time::bytes(bytes))));
        let times = |times: Option<u64>| or_none(times.map(|times| format!("{times} a second")));
        let all = [
            ("memory", or_none(self.memory_bytes.map(time::bytes))),
            ("cpu weight", or_ordinary(self.cpu_weight)),
            ("cpu quota", or_none(self.cpu_quota_us.map(|quota| format!("{quota} us of each 100 ms")))),
            ("tasks", or_none(self.pids.map(|most| most.to_string()))),
            ("io weight", or_ordinary(self.io_weight)),
            ("io read", rate(self.io_read_bps)),
            ("io written", rate(self.io_write_bps)),
            ("io reads", times(self.io_read_iops)),
            ("io writes", times(self.io_write_iops)),
            ("network", rate(self.network_rate)),
            ("network burst", self.network_burst.map_or_else(|| "ordinary".to_owned(), time::bytes)),
        ];
        facts(all.map(|(name, value)| (name.to_owned(), value)))
    }
}

impl Update {
    pub(crate) async fn perform(self, global: &Global) -> anyhow::Result<u8> {
        let client = address::connect(global).await?;
        let change = LimitChange {
            memory_bytes: self.memory,
            cpu_shares: self.cpu_weight,
            cpu_quota_us: self.cpu_quota,
            pids_max: self.pids,
            io: self.io.change()?,
            bandwidth: self.rate.change(),
        };
        let limits = match change == LimitChange::default() {
            true => client.limits(&self.handle).await,
            false => client.change_limits(&self.handle, change).await,
        };
        let limits = limits.with_context(|| format!("cannot change the limits of \"{}\"", self.handle))?;
        output::show(global.format, &InForce::from(limits))?;
        Ok(DONE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_limit_is_a_word_for_people_and_null_for_programs() {
        let none = InForce::from(Limits::default());
        assert!(none.text().contains("unlimited") && none.text().contains("ordinary"), "{}", none.text());
        assert_eq!(serde_json::to_value(&none).unwrap()["memory_bytes"], serde_json::Value::Null);
    }
}
