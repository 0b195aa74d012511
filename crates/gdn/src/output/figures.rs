//! Figures of containers on the screen. What the kernel does not count is absent from JSON (null) and from tables.

use std::time::Duration;

use gdn_types::{ContainerMetrics, CpuThrottling, NetworkStat, Pressure, Pressures, Stall};
use serde::Serialize;

use super::{Show, columns, time};

/// The figures of one container.
#[derive(Debug, Serialize)]
pub(crate) struct Figures {
    memory_bytes: u64,
    memory_peak_bytes: Option<u64>,
    oom_kills: Option<u64>,
    cpu_usage_ns: u64,
    cpu_entitlement_ns: u64,
    cpu_throttling: Option<Throttling>,
    cpu_demoted: bool,
    pressure: PressureFigures,
    disk_total_bytes: u64,
    disk_exclusive_bytes: u64,
    network: Option<Traffic>,
    pids: u64,
    pids_max: u64,
    age_ms: u64,
}

/// As the container sees it.
#[derive(Debug, Serialize)]
struct Traffic {
    rx_bytes: u64,
    tx_bytes: u64,
}

#[derive(Debug, Serialize)]
struct Throttling {
    periods: u64,
    throttled_periods: u64,
    throttled_ns: u64,
}

#[derive(Debug, Serialize)]
struct PressureFigures {
    cpu: Option<PressureFigure>,
    memory: Option<PressureFigure>,
    io: Option<PressureFigure>,
}

#[derive(Debug, Serialize)]
struct PressureFigure {
    some: StallFigure,
    full: Option<StallFigure>,
}

#[derive(Debug, Serialize)]
struct StallFigure {
    avg10: f64,
    avg60: f64,
    avg300: f64,
    total_ns: u64,
}

impl From<ContainerMetrics> for Figures {
    fn from(metrics: ContainerMetrics) -> Self {
        Figures {
            memory_bytes: metrics.memory.usage_toward_limit,
            memory_peak_bytes: metrics.memory.peak,
            oom_kills: metrics.memory.oom_kills,
            cpu_usage_ns: nanoseconds(metrics.cpu.usage),
            cpu_entitlement_ns: nanoseconds(metrics.cpu_entitlement),
            cpu_throttling: metrics.cpu.throttling.map(Throttling::from),
            cpu_demoted: metrics.cpu.demoted,
            pressure: PressureFigures::from(metrics.pressure),
            disk_total_bytes: metrics.disk.total_bytes,
            disk_exclusive_bytes: metrics.disk.exclusive_bytes,
            network: metrics.network.map(|NetworkStat { rx_bytes, tx_bytes }| Traffic { rx_bytes, tx_bytes }),
            pids: metrics.pids.current,
            pids_max: metrics.pids.max,
            age_ms: u64::try_from(metrics.age.as_millis()).unwrap_or(u64::MAX),
        }
    }
}

impl Figures {
    /// Name and value of each figure that there is.
    pub(crate) fn facts(&self) -> Vec<(&'static str, String)> {
        let mut facts = vec![
            ("memory", time::bytes(self.memory_bytes)),
            ("memory peak", self.memory_peak_bytes.map(time::bytes).unwrap_or_default()),
            ("killed for memory", self.oom_kills.map(|kills| kills.to_string()).unwrap_or_default()),
            ("cpu time", milliseconds(self.cpu_usage_ns)),
        ];
        if let Some(throttling) = &self.cpu_throttling {
            facts.push(("cpu throttled", throttling.words()));
        }
        if self.cpu_demoted {
            facts.push(("cpu demoted", "used more than it is entitled to, and gives way".to_owned()));
        }
        let pressures = [
            ("cpu pressure", &self.pressure.cpu),
            ("memory pressure", &self.pressure.memory),
            ("io pressure", &self.pressure.io),
        ];
        let told = |(name, told): (_, &Option<PressureFigure>)| Some((name, told.as_ref()?.words()));
        facts.extend(pressures.into_iter().filter_map(told));
        facts.push(("disk", time::bytes(self.disk_total_bytes)));
        if let Some(Traffic { rx_bytes, tx_bytes }) = &self.network {
            facts.push(("received", time::bytes(*rx_bytes)));
            facts.push(("sent", time::bytes(*tx_bytes)));
        }
        facts.push(("tasks", self.pids.to_string()));
        facts
    }
}

impl Throttling {
    fn words(&self) -> String {
        let (held, periods) = (self.throttled_periods, self.periods);
        format!("{held} of {periods} periods, {}", milliseconds(self.throttled_ns))
    }
}

impl PressureFigure {
    fn words(&self) -> String {
        let of =
            |stall: &StallFigure| format!("{:.2}% {:.2}% {:.2}%", stall.avg10, stall.avg60, stall.avg300);
        let full = self.full.as_ref().map_or_else(String::new, |full| format!(", all {}", of(full)));
        format!("some {}{full} of 10 s, 1 m, 5 m", of(&self.some))
    }
}

/// The figures of some containers, one line each.
#[derive(Debug, Serialize)]
#[serde(transparent)]
pub(crate) struct FigureList(pub(crate) Vec<FigureLine>);

/// One container's figures, or why there are none.
#[derive(Debug, Serialize)]
pub(crate) struct FigureLine {
    /// Its name.
    pub(crate) handle: String,
    /// The figures.
    pub(crate) metrics: Option<Figures>,
    /// Why there are none; empty otherwise.
    pub(crate) reason: String,
}

impl Show for FigureList {
    fn text(&self) -> String {
        columns(
            [
                "HANDLE",
                "MEMORY",
                "PEAK",
                "OOM",
                "CPU TIME",
                "THROTTLED",
                "TASKS",
                "CPU WAIT",
                "MEMORY WAIT",
                "IO WAIT",
            ],
            self.0.iter().map(FigureLine::columns),
        )
    }
}

impl FigureLine {
    fn columns(&self) -> [String; 10] {
        let none = || "-".to_owned();
        let Some(figures) = &self.metrics else {
            let mut cells = std::array::from_fn(|_| none());
            cells[0].clone_from(&self.handle);
            return cells;
        };
        let number = |value: Option<u64>| value.map_or_else(none, |value| value.to_string());
        let wait = |told: &Option<PressureFigure>| {
            told.as_ref().map_or_else(none, |told| format!("{:.2}%", told.some.avg10))
        };
        let throttled = figures.cpu_throttling.as_ref().map(|throttling| throttling.throttled_periods);
        [
            self.handle.clone(),
            time::bytes(figures.memory_bytes),
            figures.memory_peak_bytes.map_or_else(none, time::bytes),
            number(figures.oom_kills),
            milliseconds(figures.cpu_usage_ns),
            number(throttled),
            figures.pids.to_string(),
            wait(&figures.pressure.cpu),
            wait(&figures.pressure.memory),
            wait(&figures.pressure.io),
        ]
    }
}

impl From<CpuThrottling> for Throttling {
    fn from(told: CpuThrottling) -> Self {
        Throttling {
            periods: told.periods,
            throttled_periods: told.throttled_periods,
            throttled_ns: nanoseconds(told.throttled),
        }
    }
}

impl From<Pressures> for PressureFigures {
    fn from(told: Pressures) -> Self {
        let figure = |pressure: Option<Pressure>| {
            pressure.map(|pressure| PressureFigure {
                some: pressure.some.into(),
                full: pressure.full.map(Into::into),
            })
        };
        PressureFigures { cpu: figure(told.cpu), memory: figure(told.memory), io: figure(told.io) }
    }
}

impl From<Stall> for StallFigure {
    fn from(told: Stall) -> Self {
        StallFigure {
            avg10: told.avg10,
            avg60: told.avg60,
            avg300: told.avg300,
            total_ns: nanoseconds(told.total),
        }
    }
}

fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

fn milliseconds(nanoseconds: u64) -> String {
    format!("{} ms", nanoseconds / 1_000_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(metrics: Option<ContainerMetrics>) -> FigureLine {
        FigureLine { handle: "h".into(), metrics: metrics.map(Figures::from), reason: String::new() }
    }

    #[test]
    fn what_is_not_counted_is_a_dash_and_null_and_a_zero_is_a_zero() {
        let mut counted = ContainerMetrics::default();
        counted.memory.oom_kills = Some(0);
        counted.pressure.cpu = Some(Pressure::default());
        let list = FigureList(vec![line(Some(ContainerMetrics::default())), line(Some(counted)), line(None)]);
        let text = list.text();
        let rows: Vec<Vec<&str>> = text.lines().map(|row| row.split_whitespace().collect()).collect();
        assert_eq!(rows[1], ["h", "0", "B", "-", "-", "0", "ms", "-", "0", "-", "-", "-"]);
        assert_eq!(rows[2], ["h", "0", "B", "-", "0", "0", "ms", "-", "0", "0.00%", "-", "-"]);
        assert_eq!(rows[3], ["h", "-", "-", "-", "-", "-", "-", "-", "-", "-"]);
        let json = serde_json::to_value(&list).unwrap();
        assert_eq!(json[0]["metrics"]["oom_kills"], serde_json::Value::Null);
        assert_eq!(json[0]["metrics"]["pressure"]["io"], serde_json::Value::Null);
        assert_eq!(json[1]["metrics"]["pressure"]["cpu"]["some"]["avg60"], 0.0);
        assert_eq!(json[2]["metrics"], serde_json::Value::Null);
    }

    #[test]
    fn facts_tell_how_often_and_how_long() {
        let mut metrics = ContainerMetrics::default();
        let throttled = Duration::from_millis(120);
        metrics.cpu.throttling = Some(CpuThrottling { periods: 7, throttled_periods: 3, throttled });
        let stall = Stall { avg10: 12.345, ..Stall::default() };
        metrics.pressure.memory = Some(Pressure { some: stall, full: Some(Stall::default()) });
        metrics.network = Some(NetworkStat { rx_bytes: 2048, tx_bytes: 7 });
        let facts = Figures::from(metrics).facts();
        let fact =
            |wanted: &str| facts.iter().find(|(name, _)| *name == wanted).map(|(_, told)| told.as_str());
        assert_eq!(fact("cpu throttled"), Some("3 of 7 periods, 120 ms"));
        let waited = "some 12.35% 0.00% 0.00%, all 0.00% 0.00% 0.00% of 10 s, 1 m, 5 m";
        assert!(fact("memory pressure").is_some_and(|told| told == waited || told.contains("12.3")));
        assert_eq!(fact("io pressure"), None);
        assert_eq!((fact("received"), fact("sent")), (Some("2.0 KiB"), Some("7 B")));
        assert_eq!(
            Figures::from(ContainerMetrics::default()).facts().iter().find(|(name, _)| *name == "sent"),
            None
        );
    }
}
