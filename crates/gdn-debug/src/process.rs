//! What the kernel tells about this process and this host (proc(5), Linux 2.6.33 and later).

use std::fs;
use std::path::Path;

/// Ticks of a second in `/proc/PID/stat`: USER_HZ, which is 100 on every platform of Linux.
const TICKS: f64 = 100.0;

/// Figures of this process. What cannot be read is absent.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Process {
    /// Memory that is resident, bytes.
    pub(crate) resident: Option<u64>,
    /// The part of it that is no file's: heap and stacks, bytes.
    pub(crate) anonymous: Option<u64>,
    /// Address space, bytes.
    pub(crate) virtual_memory: Option<u64>,
    /// Threads.
    pub(crate) threads: Option<u64>,
    /// Open descriptors.
    pub(crate) descriptors: Option<u64>,
    /// As many of which it may have.
    pub(crate) most_descriptors: Option<u64>,
    /// Processor time, seconds.
    pub(crate) cpu_seconds: Option<f64>,
}

impl Process {
    /// This process now.
    pub(crate) fn read() -> Self {
        let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
        let limits = fs::read_to_string("/proc/self/limits").unwrap_or_default();
        let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
        Process {
            resident: kibibytes(&status, "VmRSS:"),
            anonymous: kibibytes(&status, "RssAnon:"),
            virtual_memory: kibibytes(&status, "VmSize:"),
            threads: number(&status, "Threads:"),
            // The one by which they are counted is open as well.
            descriptors: fs::read_dir("/proc/self/fd").ok().map(|all| (all.count() as u64).saturating_sub(1)),
            most_descriptors: number(&limits, "Max open files"),
            cpu_seconds: cpu_seconds(&stat),
        }
    }
}

/// The first number behind a name at the beginning of a line.
fn number(text: &str, name: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix(name))?.split_whitespace().next()?.parse().ok()
}

fn kibibytes(text: &str, name: &str) -> Option<u64> {
    Some(number(text, name)? * 1024)
}

/// User and system time. The name of the program, which may hold anything, ends at the last parenthesis.
fn cpu_seconds(stat: &str) -> Option<f64> {
    let (_, fields) = stat.rsplit_once(") ")?;
    let mut times = fields.split(' ').skip(11).map(str::parse::<f64>);
    Some((times.next()?.ok()? + times.next()?.ok()?) / TICKS)
}

/// Processors that are switched on.
pub(crate) fn processors() -> usize {
    std::thread::available_parallelism().map_or(0, usize::from)
}

/// Loop devices of the host that have a file behind them.
pub(crate) fn loop_devices() -> usize {
    let Ok(devices) = fs::read_dir("/sys/block") else { return 0 };
    let in_use = |path: &Path| path.join("loop/backing_file").exists();
    devices.flatten().filter(|device| in_use(&device.path())).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_has_figures() {
        let process = Process::read();
        for (name, figure) in [
            ("resident", process.resident),
            ("anonymous", process.anonymous),
            ("virtual", process.virtual_memory),
            ("threads", process.threads),
            ("descriptors", process.descriptors),
            ("most descriptors", process.most_descriptors),
        ] {
            assert!(figure.is_some_and(|figure| figure > 0), "{name}: {figure:?}");
        }
        assert!(process.cpu_seconds.is_some_and(|seconds| seconds >= 0.0));
        assert!(processors() > 0);
        loop_devices();
    }

    #[test]
    fn lines_are_read_whatever_the_program_is_called() {
        let stat = "7 (a) b) S 1 2 3 4 5 6 7 8 9 10 150 50 0 0 20";
        assert_eq!(cpu_seconds(stat), Some(2.0));
        assert_eq!(kibibytes("VmRSS:\t    12 kB\n", "VmRSS:"), Some(12288));
        assert_eq!(number("Threads:\tx\n", "Threads:"), None);
        assert_eq!(cpu_seconds(""), None);
    }
}
