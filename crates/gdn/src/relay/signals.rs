//! The signals this command passes on.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};

/// What arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Received {
    /// The signal of this number.
    Signal(i32),
    /// The terminal has another size.
    Resized,
}

/// Listens to TERM, INT, HUP, QUIT, USR1, USR2 and WINCH. From its beginning on they do not end this command any more.
pub(crate) struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
    quit: Signal,
    user1: Signal,
    user2: Signal,
    window: Signal,
}

impl Signals {
    /// Begins to listen.
    pub(crate) fn listen() -> io::Result<Self> {
        Ok(Signals {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
            quit: signal(SignalKind::quit())?,
            user1: signal(SignalKind::user_defined1())?,
            user2: signal(SignalKind::user_defined2())?,
            window: signal(SignalKind::window_change())?,
        })
    }

    /// The next one. Cancel-safe.
    pub(crate) async fn next(&mut self) -> Received {
        let of = |kind: SignalKind| Received::Signal(kind.as_raw_value());
        tokio::select! {
            _ = self.terminate.recv() => of(SignalKind::terminate()),
            _ = self.interrupt.recv() => of(SignalKind::interrupt()),
            _ = self.hangup.recv() => of(SignalKind::hangup()),
            _ = self.quit.recv() => of(SignalKind::quit()),
            _ = self.user1.recv() => of(SignalKind::user_defined1()),
            _ = self.user2.recv() => of(SignalKind::user_defined2()),
            _ = self.window.recv() => Received::Resized,
        }
    }

    /// The next one that asks this command itself to end: TERM, INT, HUP or QUIT. Others are passed over.
    pub(crate) async fn end(&mut self) -> i32 {
        loop {
            if let Received::Signal(number) = self.next().await
                && ![SignalKind::user_defined1(), SignalKind::user_defined2()]
                    .contains(&SignalKind::from_raw(number))
            {
                return number;
            }
        }
    }
}
