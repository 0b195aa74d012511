//! Processes and their ends.

use gdn_types::{
    CpuLimits, Environment, Error, ExitStatus, MemoryLimits, OutputPolicy, ProcessId, ProcessSpec,
    ProcessState, Result, Rlimits, WindowSize,
};

use super::{all, enumeration, missing, narrow, octet, unless_default};
use crate::garden::{self, exit_status::How};

impl TryFrom<garden::ProcessSpec> for ProcessSpec {
    type Error = Error;

    fn try_from(wire: garden::ProcessSpec) -> Result<Self> {
        Ok(ProcessSpec {
            id: if wire.process_id.is_empty() { None } else { Some(ProcessId::parse(&wire.process_id)?) },
            path: wire.path,
            args: wire.args,
            env: Environment::parse(wire.env)?,
            dir: wire.dir,
            user: wire.user,
            rlimits: wire.rlimits.map(Rlimits::from).unwrap_or_default(),
            tty: wire.tty.map(WindowSize::try_from).transpose()?,
            output: match enumeration("output policy", wire.output)? {
                garden::OutputPolicy::Unspecified | garden::OutputPolicy::Discard => OutputPolicy::Discard,
                garden::OutputPolicy::Block => OutputPolicy::Block,
                garden::OutputPolicy::Hold => OutputPolicy::Hold,
            },
            keep_output: wire.keep_output_bytes,
            image: wire.image.map(Into::into),
            bind_mounts: all(wire.bind_mounts)?,
            limits: wire.limits.map(|limits| {
                let cpu = limits.cpu.map(CpuLimits::from).unwrap_or_default();
                (cpu, limits.memory.map(MemoryLimits::from).unwrap_or_default())
            }),
        })
    }
}

impl TryFrom<ProcessSpec> for garden::ProcessSpec {
    type Error = Error;

    /// Fails for a bind mount whose path is not UTF-8.
    fn try_from(spec: ProcessSpec) -> Result<Self> {
        let output = match spec.output {
            OutputPolicy::Discard => garden::OutputPolicy::Discard,
            OutputPolicy::Block => garden::OutputPolicy::Block,
            OutputPolicy::Hold => garden::OutputPolicy::Hold,
        };
        Ok(garden::ProcessSpec {
            process_id: spec.id.map(|id| id.to_string()).unwrap_or_default(),
            path: spec.path,
            args: spec.args,
            env: spec.env.entries().collect(),
            dir: spec.dir,
            user: spec.user,
            rlimits: unless_default(spec.rlimits),
            tty: spec.tty.map(Into::into),
            output: output.into(),
            keep_output_bytes: spec.keep_output,
            image: spec.image.map(Into::into),
            bind_mounts: all(spec.bind_mounts)?,
            limits: spec.limits.map(|(cpu, memory)| garden::SidecarLimits {
                cpu: unless_default(cpu),
                memory: unless_default(memory),
            }),
        })
    }
}

/// Both structures have the same members; this says so once.
macro_rules! same_members {
    ($($member:ident)*) => {
        impl From<garden::Rlimits> for Rlimits {
            fn from(wire: garden::Rlimits) -> Self {
                Rlimits { $($member: wire.$member),* }
            }
        }

        impl From<Rlimits> for garden::Rlimits {
            fn from(rlimits: Rlimits) -> Self {
                garden::Rlimits { $($member: rlimits.$member),* }
            }
        }
    };
}

same_members! {
    address_space core cpu data fsize locks memlock msgqueue nice nofile nproc rss rtprio sigpending stack
}

impl TryFrom<garden::WindowSize> for WindowSize {
    type Error = Error;

    fn try_from(wire: garden::WindowSize) -> Result<Self> {
        Ok(WindowSize { columns: narrow("columns", wire.columns)?, rows: narrow("rows", wire.rows)? })
    }
}

impl From<WindowSize> for garden::WindowSize {
    fn from(size: WindowSize) -> Self {
        garden::WindowSize { columns: size.columns.into(), rows: size.rows.into() }
    }
}

impl TryFrom<garden::ExitStatus> for ExitStatus {
    type Error = Error;

    fn try_from(wire: garden::ExitStatus) -> Result<Self> {
        match wire.how.ok_or_else(|| missing("how the process ended"))? {
            How::Code(code) => Ok(ExitStatus::Code(octet("exit code", code)?)),
            How::Signal(signal) => Ok(ExitStatus::Signal(octet("signal", signal)?)),
        }
    }
}

impl From<ExitStatus> for garden::ExitStatus {
    fn from(status: ExitStatus) -> Self {
        let how = match status {
            ExitStatus::Code(code) => How::Code(code.into()),
            ExitStatus::Signal(signal) => How::Signal(signal.into()),
        };
        garden::ExitStatus { exit_code: status.code(), how: Some(how) }
    }
}

impl TryFrom<garden::ProcessInfo> for (ProcessId, ProcessState) {
    type Error = Error;

    fn try_from(wire: garden::ProcessInfo) -> Result<Self> {
        let state = match enumeration("process state", wire.state)? {
            garden::ProcessState::Unspecified => return Err(missing("a process's state")),
            garden::ProcessState::Running => ProcessState::Running,
            garden::ProcessState::Exited => {
                ProcessState::Exited(wire.status.ok_or_else(|| missing("an exit status"))?.try_into()?)
            }
            garden::ProcessState::Lost => ProcessState::Lost,
        };
        Ok((ProcessId::parse(&wire.process_id)?, state))
    }
}

impl From<(ProcessId, ProcessState)> for garden::ProcessInfo {
    fn from((id, state): (ProcessId, ProcessState)) -> Self {
        let (state, status) = match state {
            ProcessState::Running => (garden::ProcessState::Running, None),
            ProcessState::Exited(status) => (garden::ProcessState::Exited, Some(status.into())),
            ProcessState::Lost => (garden::ProcessState::Lost, None),
        };
        garden::ProcessInfo { process_id: id.to_string(), state: state.into(), status }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use gdn_types::{BindMode, BindMount, CpuShares, ImageRef};

    fn full() -> ProcessSpec {
        ProcessSpec {
            id: Some(ProcessId::parse("p").unwrap()),
            path: "/bin/sh".into(),
            args: vec!["-c".into(), String::new()],
            env: Environment::parse(["A=1"]).unwrap(),
            dir: "/tmp".into(),
            user: "alice".into(),
            rlimits: Rlimits { core: Some(0), nofile: Some(1024), ..Rlimits::default() },
            tty: Some(WindowSize { columns: 132, rows: 0 }),
            output: OutputPolicy::Block,
            keep_output: 65_536,
            image: Some(ImageRef::uri("builtin:hello")),
            bind_mounts: vec![BindMount::new("/a", "/b", BindMode::ReadOnly).unwrap()],
            limits: Some((CpuLimits { shares: CpuShares::new(5), quota_us: 0 }, MemoryLimits::default())),
        }
    }

    #[test]
    fn a_process_spec_reads_back_as_it_was_sent() {
        let empty_limits = ProcessSpec { limits: Some(Default::default()), ..full() };
        for spec in [ProcessSpec::default(), full(), empty_limits] {
            let wire = garden::ProcessSpec::try_from(spec.clone()).unwrap();
            assert_eq!(ProcessSpec::try_from(wire).unwrap(), spec);
        }
    }

    #[test]
    fn every_process_state_reads_back_and_clients_see_the_shells_number() {
        let id = ProcessId::parse("p").unwrap();
        let states = [
            ProcessState::Running,
            ProcessState::Lost,
            ProcessState::Exited(ExitStatus::Code(255)),
            ProcessState::Exited(ExitStatus::Signal(9)),
        ];
        for state in states {
            let wire = garden::ProcessInfo::from((id.clone(), state));
            assert_eq!(<(ProcessId, ProcessState)>::try_from(wire).unwrap(), (id.clone(), state));
        }
        assert_eq!(garden::ExitStatus::from(ExitStatus::Signal(9)).exit_code, 137);
    }

    #[test]
    fn an_answer_without_its_meaning_is_an_error() {
        assert!(ExitStatus::try_from(garden::ExitStatus::default()).is_err());
        let silent = garden::ProcessInfo { process_id: "p".into(), ..Default::default() };
        assert!(<(ProcessId, ProcessState)>::try_from(silent).is_err());
    }
}
