//! `gdn exec`: a command in a container that exists.

use anyhow::Context;
use clap::Args;
use gdn_types::{Handle, ProcessId, ProcessSpec};

use crate::address;
use crate::cli::Global;
use crate::options::{self, OutputOptions, SidecarOptions, StreamOptions, UserOptions};
use crate::relay::{self, Signals};
use crate::terminal;
use crate::values;

/// Run a command in an existing container; the exit status is the command's.
#[derive(Debug, Args)]
pub(crate) struct Exec {
    #[command(flatten)]
    pub(crate) streams: StreamOptions,
    #[command(flatten)]
    output: OutputOptions,
    #[command(flatten)]
    pub(crate) user: UserOptions,
    #[command(flatten)]
    sidecar: SidecarOptions,
    /// Environment variable; without a value, the one of this shell; may be repeated
    #[arg(short, long = "env", value_name = "NAME[=VALUE]", value_parser = values::variable)]
    env: Vec<(String, String)>,
    /// Name of the process [default: generated]
    #[arg(long, value_name = "NAME", value_parser = ProcessId::parse)]
    process: Option<ProcessId>,
    /// Container
    #[arg(value_name = "HANDLE", value_parser = Handle::parse)]
    pub(crate) handle: Handle,
    /// Command and its arguments [default: the image's command]
    #[arg(value_name = "CMD", trailing_var_arg = true, allow_hyphen_values = true)]
    pub(crate) command: Vec<String>,
}

impl Exec {
    pub(crate) async fn perform(self, global: &Global) -> anyhow::Result<u8> {
        let mut signals = Signals::listen().context("cannot listen to signals")?;
        let spec = self.sidecar.of(ProcessSpec {
            id: self.process,
            ..self.output.of(process_spec(&self.command, &self.user, self.streams, &self.env)?)
        })?;
        let client = address::connect(global).await?;
        let process = tokio::select! {
            started = client.run(&self.handle, spec) => started.with_context(|| format!("cannot run in \"{}\"", self.handle))?,
            signal = signals.end() => return Ok(relay::status_of_signal(signal)),
        };
        relay::follow(&client, &self.handle, process, self.streams, &mut signals).await
    }
}

/// The process that the options of `run` and `exec` describe; without a command, the image's.
pub(crate) fn process_spec(
    command: &[String],
    user: &UserOptions,
    streams: StreamOptions,
    env: &[(String, String)],
) -> anyhow::Result<ProcessSpec> {
    let (path, args) = match command.split_first() {
        Some((path, _)) if path.is_empty() => anyhow::bail!("the command is an empty word"),
        Some((path, args)) => (path.clone(), args.to_vec()),
        None => (String::new(), Vec::new()),
    };
    let mut env = options::environment(env)?;
    if streams.tty && env.get("TERM").is_none() {
        env.set("TERM", &std::env::var("TERM").unwrap_or_else(|_| "xterm".to_owned()))?;
    }
    Ok(ProcessSpec {
        path,
        args,
        env,
        dir: user.dir.clone().unwrap_or_default(),
        user: user.user.clone().unwrap_or_default(),
        tty: streams.tty.then(terminal::size),
        ..ProcessSpec::default()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_terminal_brings_its_kind_along_and_pipes_do_not() {
        let user = UserOptions::default();
        let tty = StreamOptions { tty: true, interactive: false };
        let spec = process_spec(&["sh".into()], &user, tty, &[("TERM".into(), "vt100".into())]).unwrap();
        assert_eq!(spec.env.get("TERM"), Some("vt100"));
        assert!(process_spec(&[], &user, tty, &[]).unwrap().env.get("TERM").is_some());
        let plain = process_spec(&["ls".into(), "-l".into()], &user, StreamOptions::default(), &[]).unwrap();
        assert_eq!((plain.path.as_str(), plain.args.as_slice()), ("ls", &["-l".to_owned()][..]));
        assert!(plain.env.is_empty() && plain.tty.is_none());
    }

    #[test]
    fn an_empty_word_is_no_command() {
        assert!(
            process_spec(&[String::new()], &UserOptions::default(), StreamOptions::default(), &[]).is_err()
        );
    }
}
