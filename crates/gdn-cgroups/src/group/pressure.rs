//! How long a group's tasks had to wait for what they lacked (pressure stall information).

use std::time::Duration;

use rustix::io::Errno;

use super::Cgroup;
use crate::error::{Error, Result};
use crate::tree::Hierarchy;

/// What a group's tasks lacked. `None` where the kernel does not tell.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Pressures {
    /// Processors.
    pub cpu: Option<Pressure>,
    /// Memory.
    pub memory: Option<Pressure>,
    /// Block I/O.
    pub io: Option<Pressure>,
}

/// How long tasks waited for one resource.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Pressure {
    /// At least one task waited.
    pub some: Stall,
    /// All tasks waited at once; `None` where the kernel does not tell (for processors before 5.13).
    pub full: Option<Stall>,
}

/// Shares of the time in which tasks waited, in percent, and the sum.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Stall {
    /// Over the last 10 seconds.
    pub avg10: f64,
    /// Over the last minute.
    pub avg60: f64,
    /// Over the last 5 minutes.
    pub avg300: f64,
    /// Since the group was made.
    pub total: Duration,
}

impl Cgroup {
    /// How long the group's tasks waited. Only cgroup2 counts this, with whatever controllers; on a hybrid host its tree is
    /// asked.
    ///
    /// # Errors
    /// [`Error::Path`] when a file cannot be read, [`Error::Unexpected`] when it holds something unknown.
    pub fn pressures(&self) -> Result<Pressures> {
        let Some(unified) = self.tree.unified() else { return Ok(Pressures::default()) };
        Ok(Pressures {
            cpu: self.pressure(unified, "cpu.pressure")?,
            memory: self.pressure(unified, "memory.pressure")?,
            io: self.pressure(unified, "io.pressure")?,
        })
    }

    fn pressure(&self, unified: &Hierarchy, name: &'static str) -> Result<Option<Pressure>> {
        let content = match self.figures(unified, name) {
            Ok(content) => content,
            // No file without the kernel's option; EOPNOTSUPP with it, but switched off at boot or for the group.
            Err(Error::Path { errno: Errno::NOENT | Errno::OPNOTSUPP, .. })
                if unified.directory.has(self.name())? =>
            {
                return Ok(None);
            }
            Err(error) => return Err(error),
        };
        parse(&content).map(Some).ok_or_else(|| unified.directory.unexpected(&self.file(name), &content))
    }
}

fn parse(content: &str) -> Option<Pressure> {
    let line = |kind: &str| content.lines().find_map(|line| line.strip_prefix(kind)?.strip_prefix(' '));
    let full = match line("full") {
        Some(full) => Some(stall(full)?),
        None => None,
    };
    Some(Pressure { some: stall(line("some")?)?, full })
}

/// Reads `avg10=0.12 avg60=0.00 avg300=0.00 total=12345`, the total in microseconds.
fn stall(line: &str) -> Option<Stall> {
    let field = |name: &str| line.split(' ').find_map(|field| field.strip_prefix(name)?.strip_prefix('='));
    let percent = |name| field(name)?.parse::<f64>().ok();
    Some(Stall {
        avg10: percent("avg10")?,
        avg60: percent("avg60")?,
        avg300: percent("avg300")?,
        total: Duration::from_micros(field("total")?.parse().ok()?),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_lines_are_read_and_the_second_may_be_missing() {
        let some = "some avg10=1.50 avg60=0.25 avg300=0.00 total=1500000\n";
        let read = parse(some).unwrap();
        assert_eq!(read.some.total, Duration::from_millis(1500));
        assert_eq!((read.some.avg10, read.some.avg60, read.full), (1.5, 0.25, None));
        let both = format!("{some}full avg10=0.75 avg60=0.00 avg300=0.00 total=7\n");
        assert_eq!(parse(&both).unwrap().full.unwrap().avg10, 0.75);
        for wrong in
            ["", "some", "some avg10=x avg60=0 avg300=0 total=0", "full avg10=0 avg60=0 avg300=0 total=0"]
        {
            assert_eq!(parse(wrong), None, "{wrong}");
        }
    }
}
