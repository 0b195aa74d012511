//! The server's log, on standard error.

use clap::ValueEnum;
use gdn_debug::LogLevels;
use tracing::Level;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Registry, fmt, reload};

/// How a line of the log looks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormat {
    /// For people
    #[default]
    Text,
    /// For programs: one JSON object a line
    Json,
}

/// How much is logged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
#[allow(missing_docs, reason = "the members are their own names")]
pub(crate) enum LogLevel {
    #[value(alias = "fatal")]
    Error,
    Warn,
    #[default]
    Info,
    Debug,
    Trace,
}

impl LogLevel {
    fn level(self) -> Level {
        match self {
            LogLevel::Error => Level::ERROR,
            LogLevel::Warn => Level::WARN,
            LogLevel::Info => Level::INFO,
            LogLevel::Debug => Level::DEBUG,
            LogLevel::Trace => Level::TRACE,
        }
    }
}

/// By which the level of the log that was begun is changed.
#[derive(Clone, Debug)]
pub(crate) struct LogSwitch(reload::Handle<LevelFilter, Registry>);

impl LogLevels for LogSwitch {
    fn level(&self) -> Level {
        let filter = self.0.with_current(|filter| filter.into_level()).ok().flatten();
        filter.unwrap_or(Level::ERROR)
    }

    fn set_level(&self, level: Level) {
        // It fails only when there is no log any more.
        let _ = self.0.reload(LevelFilter::from_level(level));
    }
}

/// Begins the log of a server.
pub(crate) fn begin(level: LogLevel, format: LogFormat) -> LogSwitch {
    let (filter, switch) = reload::Layer::new(LevelFilter::from_level(level.level()));
    let log = tracing_subscriber::registry().with(filter);
    let lines = fmt::layer().with_writer(std::io::stderr);
    // A second subscriber is refused; the first then goes on, which is what is wanted.
    let _ = match format {
        LogFormat::Text => log.with(lines.with_ansi(false)).try_init(),
        LogFormat::Json => log.with(lines.json().flatten_event(true)).try_init(),
    };
    LogSwitch(switch)
}

/// Begins the log of an engine that nobody asked for: only what is wrong.
pub(crate) fn begin_quietly() -> LogSwitch {
    begin(LogLevel::Warn, LogFormat::Text)
}
