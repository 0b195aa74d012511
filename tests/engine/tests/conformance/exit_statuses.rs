//! The matrix of exit statuses (row R4.03 of the campaigns): more than 320 cases, counted, all exact.

use engine_tests::session::{collect, program, script};
use engine_tests::{Engine, inside, until};
use gdn_client::Client;
use gdn_types::{
    ContainerSpec, ExitStatus, Handle, ImageRef, ProcessId, ProcessSpec, ProcessState, Rlimits, Signal,
    WindowSize,
};

/// How many cases the matrix has at least.
const CASES: usize = 320;

/// Every signal that ends a program that does not care, with and without a core.
const DEADLY: [u8; 15] = [1, 2, 3, 4, 5, 6, 7, 8, 9, 11, 13, 14, 15, 24, 31];

/// Codes that are easily taken for something else, and some others.
const CODES: [u8; 16] = [0, 1, 2, 3, 42, 63, 64, 100, 125, 126, 127, 128, 129, 137, 254, 255];

/// Signals with which a shell ends itself.
const BY_ITSELF: [u8; 4] = [6, 9, 11, 15];

/// Processes that run at once.
const AT_ONCE: usize = 16;

/// Clients that wait for one process.
const WAITERS: usize = 1000;

/// Attachments to processes that end at that moment.
const ATTACHMENTS: usize = 20;

/// A process, what is sent to it once it runs, and how it ends.
#[derive(Clone)]
struct Case {
    name: String,
    spec: ProcessSpec,
    signals: Vec<i32>,
    expected: ExitStatus,
}

impl Case {
    /// A process that ends by itself.
    fn of(name: impl Into<String>, spec: ProcessSpec, expected: ExitStatus) -> Self {
        Case { name: name.into(), spec, signals: Vec::new(), expected }
    }

    /// A shell that exits with each code, and one that kills itself by each signal.
    fn shells(what: &str, codes: &[u8], make: impl Fn(&str) -> ProcessSpec) -> Vec<Case> {
        let exits = codes.iter().map(|code| {
            Case::of(format!("{what}-exit-{code}"), make(&format!("exit {code}")), ExitStatus::Code(*code))
        });
        let kills = BY_ITSELF.iter().map(|signal| {
            let spec = make(&format!("kill -{signal} $$"));
            Case::of(format!("{what}-signal-{signal}"), spec, ExitStatus::Signal(*signal))
        });
        exits.chain(kills).collect()
    }

    /// A program that knows nothing of signals and is sent these.
    fn signalled(name: impl Into<String>, spec: ProcessSpec, signals: &[i32], expected: ExitStatus) -> Self {
        Case { signals: signals.to_vec(), ..Case::of(name, spec, expected) }
    }

    /// Starts it and follows it to its end.
    async fn follow(self, client: Client, handle: Handle) -> (Case, ExitStatus) {
        let process = client.run(&handle, self.spec.clone()).await.unwrap();
        for signal in &self.signals {
            client.signal(&handle, process.id(), Signal::new(*signal).unwrap()).await.unwrap();
        }
        let status = collect(process).await.unwrap().status;
        (self, status)
    }
}

fn id(name: &str) -> ProcessId {
    ProcessId::parse(name).unwrap()
}

/// The script of a shell that first waits until a file is there.
fn once(file: &str, then: &str) -> ProcessSpec {
    script(&format!("while [ ! -e {file} ]; do sleep 0.02; done; {then}"))
}

/// The cases so far, in one container.
struct Matrix {
    engine: Engine,
    handle: Handle,
    cases: usize,
}

impl Matrix {
    fn start() -> Self {
        let engine = Engine::start();
        let handle = engine.create_from(ContainerSpec::default());
        Matrix { engine, handle, cases: 0 }
    }

    fn count(&mut self, name: &str, status: ExitStatus, expected: ExitStatus) {
        assert_eq!(status, expected, "{name}");
        self.cases += 1;
    }

    fn touch(&self, file: &str) {
        std::fs::write(inside::path(self.engine.init_pid(self.handle.as_str()), file), "").unwrap();
    }

    /// Follows the processes, some at once, to their ends.
    fn follow(&mut self, cases: &[Case]) {
        for batch in cases.chunks(AT_ONCE) {
            let ended = self.engine.with_client(async |client| {
                let follow =
                    |case: &Case| tokio::spawn(case.clone().follow(client.clone(), self.handle.clone()));
                let following: Vec<_> = batch.iter().map(follow).collect();
                let mut ended = Vec::new();
                for following in following {
                    ended.push(following.await.unwrap());
                }
                ended
            });
            for (case, status) in ended {
                self.count(&case.name, status, case.expected);
            }
        }
    }

    /// Starts the processes under their names; nobody follows them.
    fn detach(&self, cases: &[Case]) {
        self.engine.with_client(async |client| {
            for case in cases {
                let spec = ProcessSpec { id: Some(id(&case.name)), ..case.spec.clone() };
                drop(client.run(&self.handle, spec).await.unwrap());
            }
        });
    }

    /// Waits for detached processes, as often as is asked for, and attaches to them.
    fn wait(&mut self, cases: &[Case]) {
        for case in cases {
            let (first, again, attached) = self.engine.with_client(async |client| {
                let (handle, process) = (&self.handle, id(&case.name));
                let first = client.wait(handle, &process).await.unwrap();
                let again = client.wait(handle, &process).await.unwrap();
                let late = client.attach(handle, &process, false).await.unwrap();
                (first, again, collect(late).await.unwrap().status)
            });
            assert_eq!((again, attached), (first, first), "{}", case.name);
            self.count(&case.name, first, case.expected);
        }
    }

    /// Some end while there is no server, and some when the next one has run for a while.
    fn without_server(&mut self) {
        let during = Case::shells("during", &[0, 1, 42, 255], |then| once("/tmp/during", then));
        let mut after = Case::shells("after", &[0, 3, 200, 255], |then| once("/tmp/after", then));
        let late = once("/tmp/after", "sleep 2; exit 44");
        after.push(Case::of("two-seconds-after", late, ExitStatus::Code(44)));
        self.detach(&during);
        self.detach(&after);
        let init = self.engine.init_pid(self.handle.as_str());
        self.engine.kill_server();
        std::fs::write(inside::path(init, "/tmp/during"), "").unwrap();
        let shells = || {
            let name = |pid: &u32| std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
            inside::processes_beside(init).iter().filter(|pid| name(pid) == "sh\n").count()
        };
        until("the others to have ended", || shells() == after.len());
        self.engine.start_server(&[]);
        self.wait(&during);
        self.touch("/tmp/after");
        self.wait(&after);
    }

    /// Processes that are attached to in the moment of their end.
    fn attached_at_the_end(&mut self) {
        for _ in 0..ATTACHMENTS {
            let (ran, attached) = self.engine.with_client(async |client| {
                let process = client.run(&self.handle, script("exit 24")).await.unwrap();
                let follower = client.attach(&self.handle, process.id(), false).await.unwrap();
                let attached = collect(follower).await.unwrap().status;
                (collect(process).await.unwrap().status, attached)
            });
            assert_eq!(ran, attached);
            self.count("attached at the end", attached, ExitStatus::Code(24));
        }
    }

    /// One process, and a thousand who wait for it.
    fn many_waiters(&mut self) {
        let awaited = Case::of("awaited", once("/tmp/awaited", "exit 77"), ExitStatus::Code(77));
        self.detach(std::slice::from_ref(&awaited));
        let statuses = self.engine.with_client(async |client| {
            let wait = || {
                let (client, handle) = (client.clone(), self.handle.clone());
                tokio::spawn(async move { client.wait(&handle, &id("awaited")).await })
            };
            let waits: Vec<_> = (0..WAITERS).map(|_| wait()).collect();
            self.touch("/tmp/awaited");
            let mut statuses = Vec::new();
            for wait in waits {
                statuses.push(wait.await.unwrap().unwrap());
            }
            statuses
        });
        assert_eq!(statuses, vec![awaited.expected; WAITERS]);
        self.count("a thousand waiters", statuses[0], awaited.expected);
    }

    /// Never waited for: it is known to have ended all the same, and nothing of it is left but its status.
    fn never_waited_for(&mut self) {
        self.detach(&[Case::of("forgotten", once("/tmp/forgotten", "exit 9"), ExitStatus::Code(9))]);
        self.touch("/tmp/forgotten");
        let states = || self.engine.with_client(async |client| client.processes(&self.handle).await.unwrap());
        let state = || states().into_iter().find(|(process, _)| *process == id("forgotten")).unwrap().1;
        until("it to have ended", || state() != ProcessState::Running);
        let ProcessState::Exited(status) = state() else { panic!("{:?}", state()) };
        self.count("never waited for", status, ExitStatus::Code(9));
        let init = self.engine.init_pid(self.handle.as_str());
        until("nothing of it to be left", || inside::processes_beside(init).is_empty());
    }
}

fn on_terminal(spec: ProcessSpec) -> ProcessSpec {
    ProcessSpec { tty: Some(WindowSize::default()), ..spec }
}

/// A program that does not care for signals, and may leave a core of this size.
fn sleeper(core: u64) -> ProcessSpec {
    let rlimits = Rlimits { core: Some(core), ..Rlimits::default() };
    ProcessSpec { rlimits, dir: "/tmp".into(), ..program(&["sleep", "1000"]) }
}

fn signals_from_outside() -> Vec<Case> {
    let of_core = |core: u64| {
        DEADLY.map(|signal| {
            let expected = ExitStatus::Signal(signal);
            Case::signalled(format!("{signal}, core of {core}"), sleeper(core), &[signal.into()], expected)
        })
    };
    of_core(0).into_iter().chain(of_core(1 << 20)).collect()
}

fn terminals() -> Vec<Case> {
    let mut cases = Case::shells("terminal", &CODES, |then| on_terminal(script(then)));
    cases.extend([1, 9, 11, 15].map(|signal: u8| {
        let expected = ExitStatus::Signal(signal);
        Case::signalled(format!("terminal, {signal}"), on_terminal(sleeper(0)), &[signal.into()], expected)
    }));
    cases
}

fn unusual_lives() -> Vec<Case> {
    let (stop, go_on, kill) = (19, 18, 9);
    let code = ExitStatus::Code;
    vec![
        Case::signalled("stopped, continued", script("sleep 0.2; exit 21"), &[stop, go_on], code(21)),
        Case::signalled("killed while stopped", sleeper(0), &[stop, kill], ExitStatus::Signal(9)),
        Case::of("a child's child lives on", script("(sleep 5 >/dev/null 2>&1 &) ; exit 22"), code(22)),
        Case::of("forked twice", script("(sh -c 'exit 1' & wait; exit 2) & wait; exit 25"), code(25)),
        Case::of("another program", script("exec sh -c 'exit 23'"), code(23)),
        Case::of("output after", script("(sleep 0.2; echo late) & exit 26"), code(26)),
    ]
}

/// Row R4.03 of the campaigns.
#[test]
fn every_status_of_the_matrix_is_exact() {
    let mut matrix = Matrix::start();
    let codes: Vec<u8> = (0..=255).collect();
    matrix.follow(&Case::shells("followed", &codes, script));
    matrix.follow(&signals_from_outside());
    matrix.follow(&terminals());
    let image = ImageRef::uri(matrix.engine.image());
    let of_its_own = |then: &str| ProcessSpec { image: Some(image.clone()), ..script(then) };
    matrix.follow(&Case::shells("sidecar", &CODES[..8], of_its_own));
    matrix.follow(&unusual_lives());
    matrix.attached_at_the_end();
    let detached = Case::shells("detached", &CODES[..8], |then| once("/tmp/go", then));
    matrix.detach(&detached);
    matrix.touch("/tmp/go");
    matrix.wait(&detached);
    matrix.many_waiters();
    matrix.without_server();
    // Last: it looks at what runs.
    matrix.never_waited_for();
    assert!(matrix.cases >= CASES, "only {} cases", matrix.cases);
    println!("{} cases", matrix.cases);
    matrix.engine.finish();
}
