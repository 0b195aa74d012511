//! The keeper's loop: one thread, one poll, everything it holds.
//!
//! It sleeps until a client, a child or a pipe has something to say. By a clock it wakes up only where a reader that does
//! not read holds others back, and once where the last reader of an output has gone.

mod clients;
mod ends;
mod past;
mod processes;
mod readiness;

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Instant;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::OFlags;
use rustix::io::Errno;
use rustix::net::sockopt::set_socket_send_buffer_size_force;
use rustix::net::{SocketFlags, accept_with};

use super::container::{Built, Container};
use super::failure::{During, Result, failure};
use super::process::{Job, Process};
use super::pump::Side;
use super::system::Filter;
use super::{exec, system};
use crate::protocol::{
    Body, Call, Create, FailureKind, Message, RELEASED, Reply, Request, Status, Streams, VERSION,
};
use crate::wire::{self, Received};

use clients::Clients;
use past::Past;
pub(crate) use readiness::Readiness;

/// Bytes that may wait for a client, as the kernel counts them: some 10,000 messages. Nothing is reserved.
const SEND_BUFFER: usize = 8 * 1024 * 1024;

/// How long a keeper waits when the kernel has no memory for its `poll`, or no descriptor to turn a client away with.
const STARVED_PAUSE: std::time::Duration = std::time::Duration::from_millis(50);

/// Waits a moment where no condition can be waited for.
#[allow(clippy::disallowed_methods, reason = "nothing tells that the host has memory again")]
fn pause_starved() {
    std::thread::sleep(STARVED_PAUSE);
}

/// How long it is from now to then.
fn until(then: Instant) -> Timespec {
    let rest = then.saturating_duration_since(Instant::now());
    Timespec { tv_sec: rest.as_secs().cast_signed(), tv_nsec: rest.subsec_nanos().into() }
}

/// Everything one keeper holds.
pub(crate) struct Keeper {
    listener: OwnedFd,
    /// A line for each process that ended, written before anyone is told.
    exits: OwnedFd,
    /// Bytes written to it, and how many of its first ones were given back.
    logged: u64,
    trimmed: u64,
    init_program: OwnedFd,
    children: OwnedFd,
    /// Given up for a moment to turn a client away when no other descriptor is free.
    spare: Option<OwnedFd>,
    connections: Vec<Connection>,
    next_connection: u64,
    container: Option<Container>,
    /// The order that init is carrying out: who asked, and what processes will need of it.
    building: Option<(u64, u64, Create)>,
    processes: Vec<Process>,
    /// When it was last looked at what is kept of those that have ended.
    looked: Instant,
    past: Past,
    jobs: Vec<Job>,
    runtime: Clients,
    /// Who waits for the container's end.
    mourners: Vec<(u64, u64)>,
    /// Init has been reaped, and with it every process.
    dead: bool,
    /// Whether the keeper ends with the container.
    leaving: bool,
    stopping: bool,
}

struct Connection {
    key: u64,
    socket: OwnedFd,
}

/// Whose descriptor became ready.
#[derive(Clone, Copy, Debug)]
enum Ready {
    Children,
    Listener,
    Connection(u64),
    Init,
    Start(usize),
    Output(usize, usize, Side),
    RelaySource(usize),
    RelayTarget(usize),
}

impl Keeper {
    /// Takes over what the launcher was given: a listening socket, the exit log, and perhaps a first connection.
    pub(crate) fn new(
        ready: Readiness,
        listener: OwnedFd,
        exits: OwnedFd,
        first: Option<OwnedFd>,
    ) -> std::io::Result<Self> {
        system::set_name(c"gdn-keeper");
        rustix::io::ioctl_fionbio(&listener, true)?;
        let mut keeper = Keeper {
            listener,
            exits,
            logged: 0,
            trimmed: 0,
            init_program: ready.init_program,
            children: ready.children,
            spare: Some(ready.null),
            connections: Vec::new(),
            next_connection: 0,
            container: None,
            building: None,
            processes: Vec::new(),
            looked: Instant::now(),
            past: Past::default(),
            jobs: Vec::new(),
            runtime: Clients::default(),
            mourners: Vec::new(),
            dead: false,
            leaving: false,
            stopping: false,
        };
        if let Some(first) = first {
            rustix::io::ioctl_fionbio(&first, true)?;
            keeper.welcome(first);
        }
        Ok(keeper)
    }

    /// Serves until it is told to stop. Returns the exit status.
    pub(crate) fn serve(&mut self) -> i32 {
        while !self.stopping {
            match self.wait_until_ready() {
                Ok(ready) => ready.into_iter().for_each(|(what, flags)| self.handle(what, flags)),
                // Short of memory: what is held goes on, and is looked after again in a moment.
                Err(_) => pause_starved(),
            }
            self.bound_held_output();
            self.forget_over();
        }
        0
    }

    fn wait_until_ready(&self) -> std::io::Result<Vec<(Ready, PollFlags)>> {
        let mut deadlines = Vec::new();
        let mut what = vec![Ready::Children, Ready::Listener];
        let mut fds =
            vec![PollFd::new(&self.children, PollFlags::IN), PollFd::new(&self.listener, PollFlags::IN)];
        for connection in &self.connections {
            what.push(Ready::Connection(connection.key));
            fds.push(PollFd::new(&connection.socket, PollFlags::IN));
        }
        if let (Some(container), Some(_)) = (&self.container, &self.building) {
            what.push(Ready::Init);
            fds.push(PollFd::new(&container.init, PollFlags::IN));
        }
        for (index, process) in self.processes.iter().enumerate() {
            if let Some(starting) = &process.starting {
                what.push(Ready::Start(index));
                fds.push(PollFd::new(&starting.errors, PollFlags::IN));
            }
            if let Some(source) = process.relay_source() {
                what.push(Ready::RelaySource(index));
                fds.push(PollFd::new(source, PollFlags::IN));
            }
            if let Some(target) = process.relay_target() {
                what.push(Ready::RelayTarget(index));
                fds.push(PollFd::new(target, PollFlags::OUT));
            }
            for (number, output) in process.outputs.iter().enumerate() {
                let Some(output) = output else { continue };
                if let Some(at) = output.deadline() {
                    deadlines.push((Ready::Output(index, number, Side::Source), at));
                }
                for (side, fd, flags) in output.interest() {
                    what.push(Ready::Output(index, number, side));
                    fds.push(PollFd::from_borrowed_fd(fd, flags));
                }
            }
        }
        let first = deadlines.iter().map(|(_, at)| *at).min();
        loop {
            match poll(&mut fds, first.map(until).as_ref()) {
                Err(Errno::INTR) => {}
                Err(errno) => return Err(errno.into()),
                Ok(_) => break,
            }
        }
        let now = Instant::now();
        let due =
            deadlines.into_iter().filter(|(_, at)| *at <= now).map(|(what, _)| (what, PollFlags::empty()));
        let ready = what.into_iter().zip(fds.iter().map(PollFd::revents));
        Ok(ready.filter(|(_, flags)| !flags.is_empty()).chain(due).collect())
    }

    fn handle(&mut self, what: Ready, flags: PollFlags) {
        match what {
            Ready::Children => self.reap(),
            Ready::Listener => self.accept(),
            Ready::Connection(key) => self.hear(key),
            Ready::Init => self.hear_init(),
            Ready::Start(index) => self.finish_start(index),
            Ready::RelaySource(index) | Ready::RelayTarget(index) => self.processes[index].relay_input(),
            Ready::Output(index, number, side) => self.move_output(index, number, side, flags),
        }
    }

    // ---- clients

    fn accept(&mut self) {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        loop {
            let socket = match accept_with(&self.listener, flags) {
                Ok(socket) => socket,
                Err(Errno::MFILE | Errno::NFILE | Errno::NOMEM | Errno::NOBUFS) => return self.turn_away(),
                Err(_) => return,
            };
            self.welcome(socket);
        }
    }

    fn welcome(&mut self, socket: OwnedFd) {
        // Hundreds of processes may end at once, each with a message: the default takes some 250, and a client with a
        // full socket is dropped. Without the larger size (it needs CAP_NET_ADMIN) that is what happens.
        let _ = set_socket_send_buffer_size_force(&socket, SEND_BUFFER);
        self.next_connection += 1;
        self.connections.push(Connection { key: self.next_connection, socket });
        self.processes.iter_mut().for_each(Process::engine_came);
    }

    /// A connection has ended. Where there is one already that is another engine's.
    fn engine_left(&mut self) {
        self.processes.iter_mut().for_each(Process::engine_left);
        if !self.connections.is_empty() {
            self.processes.iter_mut().for_each(Process::engine_came);
        }
    }

    /// Without a descriptor for it, a client that is left waiting would wake the keeper for ever.
    fn turn_away(&mut self) {
        if self.spare.take().is_none() {
            pause_starved();
        }
        drop(accept_with(&self.listener, SocketFlags::CLOEXEC));
        let null = rustix::fs::open("/dev/null", OFlags::RDWR | OFlags::CLOEXEC, rustix::fs::Mode::empty());
        self.spare = null.ok();
    }

    /// One request a turn: what else waits is told by the next poll.
    fn hear(&mut self, key: u64) {
        let Some(connection) = self.connections.iter().find(|connection| connection.key == key) else {
            return;
        };
        match wire::receive_any::<Request>(connection.socket.as_fd()) {
            Ok(Some(Received { message, descriptors, complete: true })) => {
                self.answer(key, message, descriptors);
            }
            Ok(Some(Received { message, .. })) => {
                let exhausted = failure(FailureKind::Exhausted, "the keeper has no descriptor free");
                self.reply(key, message.id, Err(exhausted));
            }
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
            Ok(None) | Err(_) => {
                self.connections.retain(|connection| connection.key != key);
                self.engine_left();
            }
        }
    }

    fn answer(&mut self, key: u64, request: Request, descriptors: Vec<OwnedFd>) {
        let id = request.id;
        let outcome = match request.call {
            Some(Call::Hello(_)) => self.status(),
            Some(Call::Prepare(prepare)) => {
                let prepared = self.prepare(&prepare, descriptors);
                self.reply(key, id, prepared);
                return self.container.iter_mut().for_each(Container::make_devices);
            }
            Some(Call::Create(create)) => return self.create(key, id, create, descriptors),
            Some(Call::Sandbox(sandbox)) => self.make_sandbox(&sandbox, descriptors),
            Some(Call::Assemble(assemble)) => match self.assemble(key, id, &assemble, descriptors) {
                Ok(()) => return,
                Err(failure) => Err(failure),
            },
            Some(Call::Client(client)) => match self.run_client(key, id, &client) {
                Ok(()) => return,
                Err(failure) => Err(failure),
            },
            Some(Call::Run(run)) => match self.run(key, id, &run, descriptors) {
                Ok(()) => return,
                Err(failure) => Err(failure),
            },
            Some(Call::Transfer(transfer)) => match self.transfer(key, id, &transfer, descriptors) {
                Ok(()) => return,
                Err(failure) => Err(failure),
            },
            Some(Call::Kill(kill)) => match self.kill(key, id, kill.leave) {
                Ok(true) => return,
                Ok(false) => Ok(Answer::default()),
                Err(failure) => Err(failure),
            },
            Some(Call::Attach(attach)) => self.attach(&attach).map(Answer::streams),
            Some(Call::Signal(signal)) if signal.process.is_empty() => {
                self.signal_everyone(signal.signal).map(|()| Answer::default())
            }
            Some(Call::Signal(signal)) => self
                .process(&signal.process)
                .and_then(|process| process.signal(signal.signal))
                .map(|()| Answer::default()),
            Some(Call::Resize(resize)) => self
                .process(&resize.process)
                .and_then(|process| process.resize(resize.window.unwrap_or_default()))
                .map(|()| Answer::default()),
            Some(Call::CloseStdin(close)) => {
                self.process(&close.process).map(Process::close_stdin).map(|()| Answer::default())
            }
            Some(Call::Forget(forget)) => {
                if !forget.process.is_empty() {
                    self.log(RELEASED, &forget.process);
                }
                Ok(Answer::default())
            }
            Some(Call::Shutdown(_)) => {
                self.stopping = true;
                Ok(Answer::default())
            }
            Some(Call::Launch(_) | Call::UserNamespace(_)) | None => {
                Err(failure(FailureKind::BadRequest, "a call that keepers do not know"))
            }
        };
        self.reply(key, id, outcome);
    }

    fn reply(&mut self, key: u64, id: u64, outcome: Result<Answer>) {
        let (reply, descriptors) = match outcome {
            Ok(answer) => (Reply { id, ..answer.reply }, answer.descriptors),
            Err(failure) => (Reply { id, failure: Some(failure), ..Reply::default() }, Vec::new()),
        };
        let message = Message { body: Some(Body::Reply(reply)) };
        self.tell(|connection| connection.key == key, &message, &exec::borrow(&descriptors));
    }

    /// Sends a message; a client that is gone, or that does not read, is dropped and may connect again.
    fn tell(
        &mut self,
        whom: impl Fn(&Connection) -> bool,
        message: &Message,
        descriptors: &[BorrowedFd<'_>],
    ) {
        let mut gone = false;
        self.connections.retain(|connection| {
            if !whom(connection) {
                return true;
            }
            let sent = wire::send(connection.socket.as_fd(), message, descriptors);
            gone |= sent.as_ref().is_err_and(|error| error.kind() != std::io::ErrorKind::WouldBlock);
            sent.is_ok()
        });
        if gone {
            self.engine_left();
        }
    }

    // ---- the container

    fn status(&self) -> Result<Answer> {
        let container = self.container.as_ref().filter(|_| !self.dead);
        let built = container.and_then(|container| container.built.as_ref());
        let status = Status {
            version: VERSION,
            init_pid: container.map_or(0, |container| container.pid),
            created: built.is_some(),
            running: self
                .processes
                .iter()
                .filter(|process| !process.ended && process.starting.is_none() && process.client.is_none())
                .map(|process| process.name.clone())
                .collect(),
            runtime: container.is_some_and(|container| container.host_pids.is_some()),
        };
        let descriptors = match built {
            Some(built) => {
                vec![built.root.try_clone().during(FailureKind::Exhausted, || "hand out the root".into())?]
            }
            None => Vec::new(),
        };
        Ok(Answer { reply: Reply { status: Some(status), ..Reply::default() }, descriptors })
    }

    fn prepare(&mut self, prepare: &crate::protocol::Prepare, descriptors: Vec<OwnedFd>) -> Result<Answer> {
        if self.container.is_some() {
            return Err(failure(FailureKind::BadRequest, "the sandbox is made already"));
        }
        let container = Container::prepare(prepare, descriptors, &self.init_program)?;
        // Whatever happens from here on, init is ours to end.
        let container = self.container.insert(container);
        gdn_namespaces::join(container.pidfd.as_fd(), gdn_namespaces::Namespaces::PID)
            .during(FailureKind::Internal, || "join the container's pid namespace".into())?;
        let pidfd =
            container.pidfd.try_clone().during(FailureKind::Exhausted, || "hand out the pidfd".into())?;
        let netns = container.network_namespace()?;
        Ok(Answer {
            reply: Reply { pid: container.pid, ..Reply::default() },
            descriptors: vec![pidfd, netns],
        })
    }

    fn create(&mut self, key: u64, id: u64, create: Create, mounts: Vec<OwnedFd>) {
        let ordered = match &mut self.container {
            Some(container) if !self.dead && container.built.is_none() && self.building.is_none() => {
                container.order(id, &create, mounts)
            }
            _ => Err(failure(FailureKind::NotRunning, "there is no sandbox to be built")),
        };
        match ordered {
            Ok(()) => self.building = Some((key, id, create)),
            Err(failure) => self.reply(key, id, Err(failure)),
        }
    }

    /// Init says how the building went, or has died over it.
    fn hear_init(&mut self) {
        let (Some(container), Some((key, id, create))) = (&mut self.container, self.building.take()) else {
            return;
        };
        let outcome = match wire::receive::<Message>(container.init.as_fd()) {
            Ok(Some((Message { body: Some(Body::Reply(Reply { failure: Some(failure), .. })) }, _))) => {
                Err(failure)
            }
            Ok(Some((_, descriptors))) => <[OwnedFd; 2]>::try_from(descriptors)
                .map_err(|_| failure(FailureKind::Internal, "init did not hand over the container")),
            Ok(None) | Err(_) => {
                Err(failure(FailureKind::Internal, "init ended while it built the container"))
            }
        };
        let outcome = outcome.and_then(|[root, terminals]| {
            let handed = root.try_clone().during(FailureKind::Exhausted, || "hand out the root".into())?;
            let filter = Filter::new(&create.seccomp, create.seccomp_flags)
                .during(FailureKind::BadRequest, || "read the seccomp program".into())?;
            container.built = Some(Built { root, terminals, filter, apparmor: create.apparmor });
            Ok(Answer { reply: Reply { pid: container.pid, ..Reply::default() }, descriptors: vec![handed] })
        });
        self.reply(key, id, outcome);
    }

    fn running(&self) -> Result<&Container> {
        self.container
            .as_ref()
            .filter(|container| !self.dead && container.built.is_some())
            .ok_or_else(|| failure(FailureKind::NotRunning, "the container is not running"))
    }

    /// Kills init. Returns whether the answer has to wait for its end.
    fn kill(&mut self, key: u64, id: u64, leave: bool) -> Result<bool> {
        self.kill_clients();
        match &self.container {
            Some(container) if !self.dead => {
                container.kill()?;
                self.mourners.push((key, id));
                self.leaving |= leave;
                Ok(true)
            }
            _ => {
                self.stopping |= leave;
                Ok(false)
            }
        }
    }

    fn signal_everyone(&mut self, signal: i32) -> Result<()> {
        let container = self.running()?;
        // SAFETY: the keeper is single-threaded.
        #[allow(unsafe_code, reason = "forking is what the keeper is for")]
        let spawned = unsafe { container.spawn_inside(None) }
            .during(FailureKind::Exhausted, || "signal every process".into())?;
        if let gdn_namespaces::Spawned::Child = spawned {
            // Nobody there to be signalled is success.
            let _ = system::kill_everyone(signal);
            system::exit_now(0);
        }
        Ok(())
    }
}

/// A reply with its descriptors, on its way out.
#[derive(Default)]
struct Answer {
    reply: Reply,
    descriptors: Vec<OwnedFd>,
}

impl Answer {
    fn streams((streams, descriptors): (Streams, Vec<OwnedFd>)) -> Self {
        Answer { reply: Reply { streams: Some(streams), ..Reply::default() }, descriptors }
    }
}
