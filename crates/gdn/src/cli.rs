//! The grammar of the command line.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use clap::parser::ValueSource;
use clap::{ArgAction, Args, CommandFactory, FromArgMatches, Parser, Subcommand};

pub(crate) use config_file::ConfigFile;

use crate::output::Format;
use crate::verbs;

pub(crate) mod config_file;

/// Where a server listens, and clients look for it, unless told otherwise.
pub(crate) const DEFAULT_SOCKET: &str = "/run/gdn/grpc.sock";

/// Where a server keeps everything unless told otherwise.
pub(crate) const DEFAULT_ROOT: &str = "/var/lib/gdn";

/// The name of the socket below a root given by `--root`.
pub(crate) const SOCKET_NAME: &str = "grpc.sock";

/// Where a server listens to Garden's clients unless told otherwise.
const DEFAULT_GARDEN_SOCKET: &str = "/run/gdn/garden.sock";

/// The name of that socket below a root given by `--root`.
const GARDEN_SOCKET_NAME: &str = "garden.sock";

/// Creates and runs containers.
#[derive(Debug, Parser)]
#[command(name = "gdn", version, disable_version_flag = true, max_term_width = 110)]
pub(crate) struct Cli {
    /// Print version
    #[arg(short = 'v', long, visible_short_alias = 'V', action = ArgAction::Version)]
    version: Option<bool>,
    /// Where options of the server are besides.
    #[command(flatten)]
    file: ConfigFile,
    /// Options of every command.
    #[command(flatten)]
    pub(crate) global: Global,
    /// What to do.
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Options of every command.
#[derive(Clone, Debug, Args)]
pub(crate) struct Global {
    /// Server to talk to: a socket's path, unix:PATH or https://HOST:PORT [default: the socket of --root]
    #[arg(long, global = true, env = "GDN_ADDRESS", value_name = "ADDRESS", help_heading = "Server")]
    pub(crate) address: Option<String>,
    /// Directory that holds everything an engine keeps [default: /var/lib/gdn, with the socket /run/gdn/grpc.sock]
    #[arg(long, global = true, env = "GDN_ROOT", value_name = "DIR", help_heading = "Server")]
    pub(crate) root: Option<PathBuf>,
    /// Certificates, as PEM, that a server's certificate must come from
    #[arg(long, global = true, env = "GDN_SERVER_CA", value_name = "FILE", help_heading = "Server")]
    pub(crate) server_ca: Option<PathBuf>,
    /// Certificate, as PEM, to show to a server
    #[arg(long, global = true, env = "GDN_CLIENT_CERT", value_name = "FILE", help_heading = "Server")]
    pub(crate) client_cert: Option<PathBuf>,
    /// Private key, as PEM, of --client-cert
    #[arg(long, global = true, env = "GDN_CLIENT_KEY", value_name = "FILE", help_heading = "Server")]
    pub(crate) client_key: Option<PathBuf>,
    /// Form of the output
    #[arg(long, global = true, value_enum, default_value_t = Format::Table, help_heading = "Output")]
    pub(crate) format: Format,
}

impl Global {
    /// The engine's root directory.
    pub(crate) fn root(&self) -> &Path {
        self.root.as_deref().unwrap_or(Path::new(DEFAULT_ROOT))
    }

    /// The socket that belongs to the root: below it when it was given, else the well-known one.
    pub(crate) fn socket(&self) -> PathBuf {
        match &self.root {
            Some(root) => root.join(SOCKET_NAME),
            None => PathBuf::from(DEFAULT_SOCKET),
        }
    }

    /// The socket for Garden's clients that belongs to the root.
    pub(crate) fn garden_socket(&self) -> PathBuf {
        match &self.root {
            Some(root) => root.join(GARDEN_SOCKET_NAME),
            None => PathBuf::from(DEFAULT_GARDEN_SOCKET),
        }
    }
}

/// The verbs; each says itself what it is.
#[derive(Debug, Subcommand)]
#[allow(clippy::large_enum_variant, reason = "made once, at the start of the program")]
pub(crate) enum Command {
    Server(verbs::server::Server),
    Create(verbs::create::Create),
    Run(verbs::run::Run),
    Exec(verbs::exec::Exec),
    Attach(verbs::attach::Attach),
    #[command(visible_alias = "ls")]
    List(verbs::list::List),
    Inspect(verbs::inspect::Inspect),
    Stats(verbs::stats::Stats),
    Update(verbs::update::Update),
    Stop(verbs::stop::Stop),
    Kill(verbs::kill::Kill),
    #[command(visible_alias = "rm")]
    Destroy(verbs::destroy::Destroy),
    Cp(verbs::cp::Cp),
    Net(verbs::net::Net),
    Property(verbs::property::Property),
    Capacity(verbs::capacity::Capacity),
    Ping(verbs::ping::Ping),
    Events(verbs::events::Events),
    Doctor(verbs::doctor::Doctor),
    Setup(verbs::setup::Setup),
    Cleanup(verbs::cleanup::Cleanup),
    Completion(verbs::completion::Completion),
}

/// Parses a command line.
///
/// # Errors
/// What clap prints and exits with, help and version included.
pub(crate) fn parse(arguments: Vec<OsString>) -> Result<Cli, clap::Error> {
    let matches = Cli::command().try_get_matches_from(&arguments)?;
    let mut cli = Cli::from_arg_matches(&matches)?;
    match &mut cli.command {
        Command::Run(run) => {
            run.escaped = stands_behind_separator(&run.words, &arguments);
            refuse_option(&run.words, run.escaped)?;
        }
        Command::Exec(exec) => {
            refuse_option(&exec.command, stands_behind_separator(&exec.command, &arguments))?;
        }
        Command::Server(_) if matches.value_source("address") == Some(ValueSource::CommandLine) => {
            return Err(Cli::command().error(
                clap::error::ErrorKind::ArgumentConflict,
                "--address says which server to talk to; where a server listens is said by --grpc-socket and --grpc-listen",
            ));
        }
        _ => {}
    }
    Ok(cli)
}

/// Whether words that take the rest of a command line stand behind `--`, which the parser does not tell.
fn stands_behind_separator(words: &[String], arguments: &[OsString]) -> bool {
    let before = arguments.len().checked_sub(words.len() + 1);
    !words.is_empty() && before.is_some_and(|before| arguments[before] == "--")
}

/// Refuses an option that does not exist, where the parser took it for the first of such words.
fn refuse_option(words: &[String], escaped: bool) -> Result<(), clap::Error> {
    match words.first() {
        Some(option) if option.starts_with('-') && !escaped => Err(Cli::command().error(
            clap::error::ErrorKind::UnknownArgument,
            format!("unexpected argument {option:?}; if it is the command, write -- before it"),
        )),
        _ => Ok(()),
    }
}

/// Whether this command line, which could not be parsed, was meant to run a process: then its errors exit with 125.
pub(crate) fn runs_a_process(arguments: &[OsString]) -> bool {
    let mut verbs = arguments.iter().skip(1).filter_map(|argument| argument.to_str());
    let known = |word: &&str| Cli::command().find_subcommand(word).is_some();
    matches!(verbs.find(known), Some("run" | "exec"))
}

#[cfg(test)]
mod tests;
