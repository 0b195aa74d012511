//! What a process is started with, worked out by the keeper before there is a child.
//!
//! The child then needs no memory of its own: it tells why it failed in a few bytes ([`Refusal`]), from which
//! [`Plan::failure`] makes words.

use std::ffi::{CStr, CString, c_char};

use gdn_namespaces::{Capabilities, CapabilitySet};

use super::failure::{Result, failure};
use crate::protocol::{Failure, FailureKind, Run};

/// Where programs without a slash are looked for when the environment has no PATH.
const DEFAULT_PATH: &[u8] = b"/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Everything a child needs to become its program.
pub(crate) struct Plan {
    /// What may be the program, in this order.
    pub(crate) candidates: Vec<CString>,
    /// Whether they were made from PATH: then one that is not there is no failure yet.
    pub(crate) searched: bool,
    pub(crate) args: Strings,
    pub(crate) env: Strings,
    /// Working directory, absolute.
    pub(crate) dir: CString,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) groups: Vec<u32>,
    pub(crate) capabilities: Capabilities,
    pub(crate) no_new_privileges: bool,
    /// Limit of open files.
    pub(crate) files: Option<u64>,
    /// Number and value of the other resource limits, alternating.
    pub(crate) limits: Vec<u64>,
}

/// Terminated strings, and the terminated list of them that execve(2) takes.
pub(crate) struct Strings {
    strings: Vec<CString>,
    pointers: Vec<*const c_char>,
}

impl Strings {
    /// Refuses a string with a NUL byte.
    pub(crate) fn new(list: &[Vec<u8>]) -> Result<Self> {
        let strings = list.iter().map(|bytes| CString::new(bytes.as_slice())).collect::<Result<Vec<_>, _>>();
        let strings = strings
            .map_err(|_| failure(FailureKind::BadRequest, "an argument or a variable contains a NUL byte"))?;
        let pointers = strings.iter().map(|string| string.as_ptr()).chain([std::ptr::null()]).collect();
        Ok(Strings { strings, pointers })
    }

    /// The first string.
    pub(crate) fn first(&self) -> Option<&CStr> {
        self.strings.first().map(CString::as_c_str)
    }

    /// The list; its strings live as long as `self`.
    pub(crate) fn pointers(&self) -> &[*const c_char] {
        &self.pointers
    }
}

impl Plan {
    /// Refuses what no child could carry out.
    pub(crate) fn new(run: &Run) -> Result<Self> {
        let (args, env) = (Strings::new(&run.args)?, Strings::new(&run.env)?);
        let Some(program) = args.strings.first() else {
            return Err(failure(FailureKind::BadRequest, "no program to run"));
        };
        let searched = !program.as_bytes().contains(&b'/');
        let candidates =
            if searched { candidates(program.as_bytes(), &run.env) } else { vec![program.clone()] };
        let (files, limits) = limit_of_files(&run.rlimits);
        Ok(Plan {
            candidates,
            searched,
            args,
            env,
            dir: directory(&run.dir)?,
            uid: run.uid,
            gid: run.gid,
            groups: run.groups.clone(),
            capabilities: Capabilities {
                bounding: CapabilitySet(run.bounding),
                inheritable: CapabilitySet(run.inheritable),
            },
            no_new_privileges: run.no_new_privileges,
            files,
            limits,
        })
    }

    /// What a child's refusal means.
    pub(crate) fn failure(&self, refusal: Refusal) -> Failure {
        let (kind, what) = match refusal.step {
            Step::JoinCgroups => (FailureKind::Exhausted, "join the container's cgroups".into()),
            Step::PlaceStreams => (FailureKind::Exhausted, "place the standard streams".into()),
            Step::SetLimit => (FailureKind::BadRequest, self.limit(refusal.detail)),
            Step::JoinContainer => (FailureKind::NotRunning, "join the container".into()),
            Step::CloseDescriptors => (FailureKind::Internal, "close descriptors".into()),
            Step::RestoreFiles => (FailureKind::Internal, "restore the limit of open files".into()),
            Step::LeadSession => (FailureKind::Internal, "start a session".into()),
            Step::TakeTerminal => (FailureKind::Internal, "take the terminal".into()),
            Step::WorkingDirectory => (FailureKind::WorkingDirectory, in_directory(&self.dir)),
            Step::OutsideRoot => {
                let what = format!("{}: it is outside the container's root", in_directory(&self.dir));
                (FailureKind::WorkingDirectory, what)
            }
            Step::KeepRights => (FailureKind::Internal, self.become_user()),
            Step::BecomeUser => (FailureKind::BadRequest, self.become_user()),
            Step::Seccomp => (FailureKind::Internal, "load the seccomp program".into()),
            Step::Execute => self.not_executed(refusal),
            Step::Denied => (FailureKind::NotExecutable, self.not_found()),
            Step::NotFound => (FailureKind::NoExecutable, self.not_found()),
        };
        // That text says it already.
        let errno = if kind == FailureKind::NoExecutable { 0 } else { refusal.errno };
        Failure { kind: kind.into(), what, errno }
    }

    fn limit(&self, index: u32) -> String {
        let limit = self.limits.chunks_exact(2).nth(index as usize);
        let files = [u64::from(libc::RLIMIT_NOFILE), self.files.unwrap_or_default()];
        let limit = limit.unwrap_or(&files);
        format!("set resource limit {} to {}", limit[0], limit[1])
    }

    fn become_user(&self) -> String {
        format!("become user {}:{}", self.uid, self.gid)
    }

    fn not_executed(&self, refusal: Refusal) -> (FailureKind, String) {
        let candidate = self.candidates.get(refusal.detail as usize).map(CString::as_c_str);
        let name = candidate.unwrap_or_default().to_string_lossy();
        if !self.searched && matches!(refusal.errno, libc::ENOENT | libc::ENOTDIR) {
            return (FailureKind::NoExecutable, format!("stat {name}: no such file or directory"));
        }
        (FailureKind::NotExecutable, format!("exec {name}"))
    }

    fn not_found(&self) -> String {
        let name = self.args.strings[0].to_string_lossy();
        format!("exec {name:?}: executable file not found in $PATH")
    }
}

/// The paths at which PATH says that a program could be.
fn candidates(program: &[u8], env: &[Vec<u8>]) -> Vec<CString> {
    let path = env.iter().find_map(|entry| entry.strip_prefix(b"PATH=")).unwrap_or(DEFAULT_PATH);
    let directories = path.split(|byte| *byte == b':').filter(|_| !program.is_empty());
    let candidate = |directory: &[u8]| {
        let directory = if directory.is_empty() { b".".as_slice() } else { directory };
        CString::new([directory, b"/", program].concat()).ok()
    };
    directories.filter_map(candidate).collect()
}

fn directory(dir: &[u8]) -> Result<CString> {
    let dir = CString::new(if dir.is_empty() { b"/" } else { dir })
        .map_err(|_| failure(FailureKind::WorkingDirectory, "the working directory contains a NUL byte"))?;
    if dir.as_bytes()[0] != b'/' {
        let what = format!("{}: it is not an absolute path", in_directory(&dir));
        return Err(failure(FailureKind::WorkingDirectory, what));
    }
    Ok(dir)
}

fn in_directory(dir: &CStr) -> String {
    format!("use {} as the working directory", dir.to_string_lossy())
}

/// The last limit of open files among these, and the others.
fn limit_of_files(limits: &[u64]) -> (Option<u64>, Vec<u64>) {
    let is_of_files = |limit: &&[u64]| limit[0] == u64::from(libc::RLIMIT_NOFILE);
    let files = limits.chunks_exact(2).filter(is_of_files).map(|limit| limit[1]).next_back();
    (files, limits.chunks_exact(2).filter(|limit| !is_of_files(limit)).flatten().copied().collect())
}

/// What a child was doing when it failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Step {
    JoinCgroups,
    PlaceStreams,
    /// The detail is the limit's place among [`Plan::limits`]; behind them, that of open files.
    SetLimit,
    JoinContainer,
    CloseDescriptors,
    RestoreFiles,
    LeadSession,
    TakeTerminal,
    WorkingDirectory,
    OutsideRoot,
    KeepRights,
    BecomeUser,
    Seccomp,
    /// The detail is the program's place among [`Plan::candidates`].
    Execute,
    Denied,
    NotFound,
}

const STEPS: [Step; 16] = [
    Step::JoinCgroups,
    Step::PlaceStreams,
    Step::SetLimit,
    Step::JoinContainer,
    Step::CloseDescriptors,
    Step::RestoreFiles,
    Step::LeadSession,
    Step::TakeTerminal,
    Step::WorkingDirectory,
    Step::OutsideRoot,
    Step::KeepRights,
    Step::BecomeUser,
    Step::Seccomp,
    Step::Execute,
    Step::Denied,
    Step::NotFound,
];

/// Why a child did not become its program, in a form that needs no memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) step: Step,
    pub(crate) errno: i32,
    pub(crate) detail: u32,
}

/// The first byte of a refusal. No [`Failure`] begins with it: it would be a field number that does not exist.
const MARK: u8 = 0xff;
const LENGTH: usize = 10;

impl Refusal {
    /// As a child writes it.
    pub(crate) fn bytes(self) -> [u8; LENGTH] {
        let ([a, b, c, d], [e, f, g, h]) = (self.errno.to_le_bytes(), self.detail.to_le_bytes());
        [MARK, self.step as u8, a, b, c, d, e, f, g, h]
    }

    /// As the keeper reads it; `None` for something else.
    pub(crate) fn parse(bytes: &[u8]) -> Option<Self> {
        let [MARK, step, a, b, c, d, e, f, g, h] = *bytes else { return None };
        Some(Refusal {
            step: *STEPS.get(usize::from(step))?,
            errno: i32::from_le_bytes([a, b, c, d]),
            detail: u32::from_le_bytes([e, f, g, h]),
        })
    }
}

/// Says which step failed.
pub(crate) trait At<T> {
    /// Turns the error into a refusal.
    fn at(self, step: Step) -> Result<T, Refusal>;
}

impl<T> At<T> for std::io::Result<T> {
    fn at(self, step: Step) -> Result<T, Refusal> {
        self.map_err(|error| Refusal { step, errno: error.raw_os_error().unwrap_or(0), detail: 0 })
    }
}

impl<T> At<T> for Result<T, rustix::io::Errno> {
    fn at(self, step: Step) -> Result<T, Refusal> {
        self.map_err(|errno| Refusal { step, errno: errno.raw_os_error(), detail: 0 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(args: &[&str], env: &[&str]) -> Run {
        let bytes = |list: &[&str]| list.iter().map(|text| text.as_bytes().to_vec()).collect();
        Run { args: bytes(args), env: bytes(env), dir: b"/tmp".to_vec(), ..Run::default() }
    }

    #[test]
    fn a_program_is_looked_for_where_path_says() {
        let plan = Plan::new(&run(&["true"], &["A=b", "PATH=/bin::/x"])).unwrap();
        assert_eq!(plan.candidates, [c"/bin/true".to_owned(), c"./true".into(), c"/x/true".into()]);
        assert!(plan.searched);
        let plan = Plan::new(&run(&["./true"], &["PATH=/bin"])).unwrap();
        assert_eq!((plan.candidates, plan.searched), (vec![c"./true".to_owned()], false));
        assert_eq!(Plan::new(&run(&["a"], &[])).unwrap().candidates.len(), 6);
        assert!(Plan::new(&run(&[""], &[])).unwrap().candidates.is_empty());
    }

    #[test]
    fn what_no_child_could_do_is_refused_before_there_is_one() {
        let refused = |run: Run| Plan::new(&run).err().expect("this is refused").what;
        assert_eq!(refused(run(&[], &[])), "no program to run");
        assert!(refused(run(&["a\0b"], &[])).contains("NUL"));
        assert!(refused(run(&["a"], &["A=\0"])).contains("NUL"));
        let relative = Run { dir: b"tmp".to_vec(), ..run(&["a"], &[]) };
        assert!(refused(relative).ends_with("it is not an absolute path"));
        assert!(refused(Run { dir: b"/a\0".to_vec(), ..run(&["a"], &[]) }).contains("NUL"));
    }

    #[test]
    fn every_refusal_arrives_as_it_was_sent() {
        for (number, step) in STEPS.into_iter().enumerate() {
            assert_eq!(step as usize, number);
            let refusal = Refusal { step, errno: -7, detail: 70_000 };
            assert_eq!(Refusal::parse(&refusal.bytes()), Some(refusal));
        }
        assert_eq!(Refusal::parse(b""), None);
        assert_eq!(Refusal::parse(&[MARK, 99, 0, 0, 0, 0, 0, 0, 0, 0]), None);
        let failure = failure(FailureKind::Internal, "0123456");
        assert_eq!(Refusal::parse(&super::super::failure::encoded(failure)), None);
    }

    #[test]
    fn refusals_are_told_in_the_words_of_the_plan() {
        let plan = Plan::new(&Run { rlimits: vec![4, 9, 7, 30], ..run(&["true"], &["PATH=/bin"]) }).unwrap();
        let told = |step, errno, detail| {
            let failure = plan.failure(Refusal { step, errno, detail });
            (failure.what, failure.errno)
        };
        assert_eq!(told(Step::SetLimit, 1, 0), ("set resource limit 4 to 9".into(), 1));
        assert_eq!(told(Step::SetLimit, 1, 1), ("set resource limit 7 to 30".into(), 1));
        assert_eq!(told(Step::Execute, libc::ENOEXEC, 0), ("exec /bin/true".into(), libc::ENOEXEC));
        let not_found = "exec \"true\": executable file not found in $PATH";
        assert_eq!(told(Step::NotFound, 2, 0), (not_found.into(), 0));
        assert_eq!(told(Step::WorkingDirectory, 13, 0), ("use /tmp as the working directory".into(), 13));
        let direct = Plan::new(&run(&["/none"], &[])).unwrap();
        let failure = direct.failure(Refusal { step: Step::Execute, errno: libc::ENOENT, detail: 0 });
        assert_eq!(failure.what, "stat /none: no such file or directory");
        assert_eq!((failure.kind, failure.errno), (FailureKind::NoExecutable.into(), 0));
    }
}
