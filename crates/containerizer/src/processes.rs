//! The records of a container's processes: who runs, and how those that ended did.

use std::collections::{HashMap, HashSet, VecDeque};
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

use gdn_launcher::protocol::RELEASED;
use gdn_types::{Error, ErrorKind, ExitStatus, ProcessId, ProcessState, Result};
use tokio::sync::watch;

/// Ended processes whose status is kept in memory. The oldest are forgotten first; clients ask within seconds.
const MAX_ENDED: usize = 4096;
/// Most of an exit log that is read back, in bytes from its end: some 200,000 records.
const MAX_LOG: u64 = 16 * 1024 * 1024;

/// All records of one container.
#[derive(Default)]
pub(crate) struct Processes {
    records: HashMap<ProcessId, Record>,
    /// Who is over, in the order they ended: the first are forgotten first.
    over: VecDeque<ProcessId>,
    /// Grows with every process, to tell which records are old.
    started: u64,
    /// Ends of processes without a record: told of before the records were restored.
    early: Vec<(ProcessId, ExitStatus)>,
    /// Whether ends without a record are of no interest any more.
    complete: bool,
}

struct Record {
    order: u64,
    state: watch::Sender<ProcessState>,
    /// Whether whoever wants the name may have it. Only of one that has ended.
    free: bool,
}

impl Processes {
    /// The records after a restart: those that run now, and those whose end is in the log.
    pub(crate) fn restored(running: &[String], log: &Path) -> Self {
        let mut processes = Processes { complete: true, ..Processes::default() };
        let alive: HashSet<&str> = running.iter().map(String::as_str).collect();
        let runs = |ended: &Ended| alive.contains(ended.process.as_str());
        // Of one whose name was taken again, the log has what is over.
        for Ended { process, status, free } in read_log(log).into_iter().filter(|ended| !runs(ended)) {
            processes.insert(process.clone(), ProcessState::Running);
            processes.ended(&process, status);
            if free {
                processes.release_name(&process);
            }
        }
        for name in running.iter().filter_map(|name| ProcessId::parse(name).ok()) {
            processes.insert(name, ProcessState::Running);
        }
        processes
    }

    fn insert(&mut self, id: ProcessId, state: ProcessState) {
        self.started += 1;
        let order = self.started;
        self.records.insert(id, Record { order, state: watch::Sender::new(state), free: false });
    }

    /// Takes a name for a process about to start.
    pub(crate) fn reserve(&mut self, id: &ProcessId) -> Result<()> {
        match self.records.get(id) {
            Some(record) if record.free => {
                self.records.remove(id);
                self.over.retain(|over| over != id);
            }
            Some(_) => {
                let text = format!("process ID '{id}' already in use");
                return Err(Error::new(ErrorKind::AlreadyExists, text));
            }
            None => {}
        }
        self.forget_oldest();
        // Who starts processes restores none.
        self.complete = true;
        self.insert(id.clone(), ProcessState::Running);
        Ok(())
    }

    /// Lets the name of a process that has ended be taken again. Whether that is news.
    pub(crate) fn release_name(&mut self, id: &ProcessId) -> bool {
        let Some(record) = self.records.get_mut(id) else { return false };
        let ended = *record.state.borrow() != ProcessState::Running;
        ended && !std::mem::replace(&mut record.free, true)
    }

    /// A process runs that an earlier engine started and was never told of.
    pub(crate) fn found(&mut self, name: &str) {
        if let Ok(id) = ProcessId::parse(name)
            && !self.records.contains_key(&id)
        {
            self.insert(id, ProcessState::Running);
        }
    }

    /// Gives a name back whose process could not be started.
    pub(crate) fn release(&mut self, id: &ProcessId) {
        self.records.remove(id);
    }

    /// Notes how a process ended and tells everyone who waits.
    pub(crate) fn ended(&mut self, id: &ProcessId, status: ExitStatus) {
        if let Some(record) = self.records.get(id) {
            if record.state.send_replace(ProcessState::Exited(status)) == ProcessState::Running {
                self.over.push_back(id.clone());
            }
        } else if !self.complete {
            self.early.push((id.clone(), status));
        }
    }

    /// The ends that were told before there were records.
    pub(crate) fn take_early(&mut self) -> Vec<(ProcessId, ExitStatus)> {
        std::mem::take(&mut self.early)
    }

    /// The container is gone without a word about these: nobody will ever know.
    pub(crate) fn lost(&mut self) {
        for (id, record) in &self.records {
            let lost = record.state.send_if_modified(|state| {
                let runs = *state == ProcessState::Running;
                if runs {
                    *state = ProcessState::Lost;
                }
                runs
            });
            if lost {
                self.over.push_back(id.clone());
            }
        }
    }

    /// A view of one process that tells when it changes.
    pub(crate) fn watch(&self, id: &ProcessId) -> Result<watch::Receiver<ProcessState>> {
        self.records
            .get(id)
            .map(|record| record.state.subscribe())
            .ok_or_else(|| Error::process_not_found(id))
    }

    /// The state of one process.
    pub(crate) fn state(&self, id: &ProcessId) -> Result<ProcessState> {
        self.records.get(id).map(|record| *record.state.borrow()).ok_or_else(|| Error::process_not_found(id))
    }

    /// Every record, oldest first.
    pub(crate) fn list(&self) -> Vec<(ProcessId, ProcessState)> {
        let mut list: Vec<_> = self.records.iter().collect();
        list.sort_by_key(|(_, record)| record.order);
        list.into_iter().map(|(id, record)| (id.clone(), *record.state.borrow())).collect()
    }

    /// Looks nothing up among thousands: this is on the way of every process.
    fn forget_oldest(&mut self) {
        if self.records.len() < MAX_ENDED {
            return;
        }
        if let Some(oldest) = self.over.pop_front() {
            self.records.remove(&oldest);
        }
    }
}

/// The last [`MAX_LOG`] bytes of a log; where they begin inside a line, that line makes no sense and is left out with it.
fn read_end(log: &Path) -> std::io::Result<String> {
    let mut log = std::fs::File::open(log)?;
    let skipped = log.metadata()?.len().saturating_sub(MAX_LOG);
    log.seek(SeekFrom::Start(skipped))?;
    let mut text = Vec::new();
    log.take(MAX_LOG).read_to_end(&mut text)?;
    let begin =
        if skipped == 0 { 0 } else { text.iter().position(|byte| *byte == b'\n').map_or(0, |end| end + 1) };
    Ok(String::from_utf8_lossy(&text[begin..]).into_owned())
}

/// What a log has of a process.
struct Ended {
    process: ProcessId,
    status: ExitStatus,
    /// Whether its name was released.
    free: bool,
}

/// The last processes that ended, of those of one name the last, in the order in which they did.
///
/// Lines of a wait status, a blank, and the process; the empty name is init's. Where the name was released, [`RELEASED`] is in
/// the status's place. A torn last line is left out.
fn read_log(log: &Path) -> Vec<Ended> {
    let text = read_end(log).unwrap_or_default();
    let complete = text.rfind('\n').map_or("", |end| &text[..end]);
    let (mut ended, mut known, mut released) = (Vec::new(), HashSet::new(), HashSet::new());
    for line in complete.lines().rev() {
        let Some((status, name)) = line.split_once(' ') else { continue };
        let Ok(process) = ProcessId::parse(name) else { continue };
        if status == RELEASED && !known.contains(name) {
            released.insert(name);
        } else if let Ok(status) = status.parse()
            && known.insert(name)
        {
            let (status, free) = (exit_status(status), released.contains(name));
            ended.push(Ended { process, status, free });
            if ended.len() == MAX_ENDED {
                break;
            }
        }
    }
    ended.reverse();
    ended
}

/// What `wait(2)` says, as clients know it.
pub(crate) fn exit_status(wait_status: i32) -> ExitStatus {
    let signal = u8::try_from(wait_status & 0x7f).unwrap_or(0);
    let code = u8::try_from((wait_status >> 8) & 0xff).unwrap_or(0);
    if signal == 0 { ExitStatus::Code(code) } else { ExitStatus::Signal(signal) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(name: &str) -> ProcessId {
        ProcessId::parse(name).unwrap()
    }

    #[test]
    fn wait_statuses_are_codes_or_signals() {
        assert_eq!(exit_status(42 << 8), ExitStatus::Code(42));
        assert_eq!(exit_status(9), ExitStatus::Signal(9));
        assert_eq!(exit_status(11 | 0x80), ExitStatus::Signal(11));
    }

    #[test]
    fn a_restart_finds_who_runs_and_how_the_others_ended() {
        let directory = tempfile::tempdir().unwrap();
        let log = directory.path().join("exits");
        std::fs::write(&log, "10752 first\n9 second\n0 \n0 torn").unwrap();
        let processes = Processes::restored(&["third".into()], &log);
        assert_eq!(
            processes.list(),
            [
                (id("first"), ProcessState::Exited(ExitStatus::Code(42))),
                (id("second"), ProcessState::Exited(ExitStatus::Signal(9))),
                (id("third"), ProcessState::Running),
            ]
        );
    }

    #[test]
    fn a_name_is_free_when_its_process_has_ended_and_it_was_released() {
        let mut processes = Processes::default();
        let used = |processes: &mut Processes| {
            let error = processes.reserve(&id("a")).unwrap_err();
            assert_eq!(
                (error.kind(), error.message()),
                (ErrorKind::AlreadyExists, "process ID 'a' already in use")
            );
        };
        processes.reserve(&id("a")).unwrap();
        assert!(!processes.release_name(&id("a")), "it runs");
        used(&mut processes);
        processes.ended(&id("a"), ExitStatus::Code(1));
        used(&mut processes);
        assert!(processes.release_name(&id("a")));
        assert!(!processes.release_name(&id("a")), "it was released before");
        assert_eq!(processes.state(&id("a")).unwrap(), ProcessState::Exited(ExitStatus::Code(1)));
        processes.reserve(&id("a")).unwrap();
        assert_eq!(processes.state(&id("a")).unwrap(), ProcessState::Running);
        used(&mut processes);
        assert!(processes.over.is_empty(), "the record of one that runs is never forgotten");
        assert!(!processes.release_name(&id("unknown")));
    }

    #[test]
    fn a_restart_finds_which_names_were_released() {
        let directory = tempfile::tempdir().unwrap();
        let log = directory.path().join("exits");
        let lines = "0 kept\n256 freed\n- freed\n512 again\n- again\n768 again\n0 runs\n- runs\n- unknown\n";
        std::fs::write(&log, lines).unwrap();
        let mut processes = Processes::restored(&["runs".into()], &log);
        let exited = |code| ProcessState::Exited(ExitStatus::Code(code));
        let list = [
            ("kept", exited(0)),
            ("freed", exited(1)),
            ("again", exited(3)),
            ("runs", ProcessState::Running),
        ];
        assert_eq!(processes.list(), list.map(|(name, state)| (id(name), state)));
        assert_eq!(processes.over, ["kept", "freed", "again"].map(id));
        for (name, free) in [("kept", false), ("freed", true), ("again", false), ("runs", false)] {
            assert_eq!(processes.reserve(&id(name)).is_ok(), free, "{name}");
        }
    }

    #[test]
    fn of_a_large_log_the_end_counts() {
        let directory = tempfile::tempdir().unwrap();
        let log = directory.path().join("exits");
        let lines = usize::try_from(MAX_LOG).unwrap() / 100 + 10;
        let mut text = format!("0 {}\n", "x".repeat(97)).repeat(lines);
        text.push_str("10752 last\n");
        std::fs::write(&log, text).unwrap();
        let processes = Processes::restored(&[], &log);
        assert_eq!(processes.state(&id("last")).unwrap(), ProcessState::Exited(ExitStatus::Code(42)));
    }

    #[test]
    fn an_end_told_before_the_records_are_restored_is_not_lost() {
        let directory = tempfile::tempdir().unwrap();
        let mut processes = Processes::default();
        processes.ended(&id("quick"), ExitStatus::Code(7));
        let early = processes.take_early();
        let mut processes = Processes::restored(&["quick".into()], &directory.path().join("exits"));
        for (process, status) in early {
            processes.ended(&process, status);
        }
        assert_eq!(processes.state(&id("quick")).unwrap(), ProcessState::Exited(ExitStatus::Code(7)));
        processes.ended(&id("unknown"), ExitStatus::Code(0));
        assert!(processes.take_early().is_empty());
    }

    #[test]
    fn a_name_is_taken_until_its_record_is_gone_and_the_oldest_ended_go_first() {
        let mut processes = Processes::default();
        processes.reserve(&id("long-lived")).unwrap();
        assert_eq!(processes.reserve(&id("long-lived")).unwrap_err().kind(), ErrorKind::AlreadyExists);
        for number in 0..MAX_ENDED + 10 {
            let name = id(&number.to_string());
            processes.reserve(&name).unwrap();
            processes.ended(&name, ExitStatus::Code(0));
        }
        assert_eq!(processes.list().len(), MAX_ENDED);
        assert_eq!(processes.state(&id("long-lived")).unwrap(), ProcessState::Running);
        assert!(processes.state(&id("0")).is_err());
    }
}
