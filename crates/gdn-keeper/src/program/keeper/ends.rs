//! What happens when a child has ended: its last words go out, its status is written down, then everyone is told.

use rustix::fs::FallocateFlags;
use rustix::process::{WaitOptions, wait};

use super::{Answer, Keeper};
use crate::program::failure::{Result, failure};
use crate::program::process::Job;
use crate::protocol::{Body, Exited, Failure, FailureKind, Message};

/// Bytes of the exit log that are kept: more records than an engine reads back (4,096), with names as long as they may be.
const LOG_KEPT: u64 = 1024 * 1024;

impl Keeper {
    pub(super) fn reap(&mut self) {
        let mut drained = [0; 128 * 8];
        while matches!(rustix::io::read(&self.children, &mut drained), Ok(length) if length == drained.len())
        {
        }
        while let Ok(Some((pid, status))) = wait(WaitOptions::NOHANG) {
            self.ended(pid.as_raw_nonzero().get().cast_unsigned(), status.as_raw());
        }
    }

    pub(super) fn ended(&mut self, pid: u32, wait_status: i32) {
        if let Some(index) = self.processes.iter().position(|process| process.pid == pid && !process.ended) {
            // The start may not have been answered yet: the program can be faster than we are. Then its whole output is in
            // the pipes before the client gets them, and the client needs not wait for any of it.
            let answer = self.start_answer(index);
            self.processes[index].end();
            if let Some((key, id, answer)) = answer {
                self.tell_started(index, key, id, answer);
            }
            let name = self.processes[index].name.clone();
            if !name.is_empty() {
                self.announce(name, wait_status);
            }
        } else if let Some(index) = self.jobs.iter().position(|job| job.pid == pid) {
            let job = self.jobs.remove(index);
            self.reply(job.connection, job.request, job_outcome(&job, wait_status));
        } else if self.container.as_ref().is_some_and(|container| container.pid == pid) {
            self.dead = true;
            self.hear_init();
            self.announce(String::new(), wait_status);
            for (key, id) in std::mem::take(&mut self.mourners) {
                self.reply(key, id, Ok(Answer::default()));
            }
            self.stopping |= self.leaving;
        } else {
            self.client_ended(pid, wait_status);
        }
    }

    /// Writes the end of a process down, then tells everyone. The empty name is init's.
    fn announce(&mut self, process: String, wait_status: i32) {
        self.log(&wait_status.to_string(), &process);
        let message = Message { body: Some(Body::Exited(Exited { process, wait_status })) };
        self.tell(|_| true, &message, &[]);
    }

    /// Adds a line to the log. If the disk is full it is lost, but whoever is connected learns of it from a message.
    pub(super) fn log(&mut self, what: &str, process: &str) {
        let line = format!("{what} {process}\n");
        let _ = rustix::io::write(&self.exits, line.as_bytes());
        self.logged += line.len() as u64;
        self.trim_log();
    }

    /// Gives the disk back what the log's oldest records take. The length stays; a reader finds zeros at the beginning.
    fn trim_log(&mut self) {
        if self.logged < self.trimmed + 2 * LOG_KEPT {
            return;
        }
        self.trimmed = self.logged - LOG_KEPT;
        let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
        // A file system without holes keeps the old records; they do no harm.
        let _ = rustix::fs::fallocate(&self.exits, flags, 0, self.trimmed);
    }
}

/// What came of a copy: the child's own words, or the way it ended.
fn job_outcome(job: &Job, wait_status: i32) -> Result<Answer> {
    let mut said = vec![0; 8192];
    match rustix::io::read(&job.errors, &mut said) {
        Ok(length @ 1..) => Err(<Failure as prost::Message>::decode(&said[..length])
            .unwrap_or_else(|_| failure(FailureKind::Internal, "the copy did not say why it failed"))),
        _ if wait_status == 0 => Ok(Answer::default()),
        _ => Err(failure(
            FailureKind::Internal,
            format!("the copy was ended from outside (wait status {wait_status})"),
        )),
    }
}
