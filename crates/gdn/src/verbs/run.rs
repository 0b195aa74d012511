//! `gdn run`: a command in a container of its own.

use std::time::Duration;

use anyhow::Context;
use clap::Args;
use gdn_client::Client;
use gdn_types::{ContainerSpec, ErrorKind, Handle, ProcessSpec};

use super::exec::process_spec;
use crate::cli::Global;
use crate::embedded;
use crate::options::{ContainerOptions, OutputOptions, StreamOptions, UserOptions};
use crate::output::note;
use crate::relay::{self, Signals};
use crate::values;

/// How long the container of a `gdn run` that was killed, and so could not remove it, stays. A client that follows its
/// process keeps the container however long that takes.
const ABANDONED_AFTER: Duration = Duration::from_secs(5 * 60);

/// How often to look for another engine when the one that was found stops at that very moment.
const TRIES: u32 = 5;

/// Run a command in a new container; the exit status is the command's.
///
/// One word without -- is an image: `gdn run hello`. What follows the image, or --, is the command; without one, the image's
/// own runs. The container is removed at the end, unless it was given a name or --keep.
///
/// When no server runs, this command is one for as long as it, or another client of it, lives.
#[derive(Debug, Args)]
#[command(override_usage = "gdn run [OPTIONS] [IMAGE] [--] [CMD]...")]
pub(crate) struct Run {
    #[command(flatten)]
    pub(crate) streams: StreamOptions,
    #[command(flatten)]
    output: OutputOptions,
    /// Remove the container at the end, also one with a name
    #[arg(long, conflicts_with = "keep")]
    rm: bool,
    /// Leave the container at the end
    #[arg(long)]
    keep: bool,
    #[command(flatten)]
    pub(crate) container: ContainerOptions,
    #[command(flatten)]
    pub(crate) user: UserOptions,
    /// Image, then command and its arguments; behind --, only the latter
    #[arg(value_name = "CMD", trailing_var_arg = true, allow_hyphen_values = true)]
    pub(crate) words: Vec<String>,
    /// Whether the words stand behind `--`.
    #[arg(skip)]
    pub(crate) escaped: bool,
}

impl Run {
    /// The image, if one was named, and the command.
    pub(crate) fn image_and_command(&self) -> (Option<&str>, &[String]) {
        if let Some(image) = &self.container.image {
            return (Some(image), &self.words);
        }
        match self.words.split_first() {
            Some((image, rest)) if !self.escaped => {
                let command = rest.strip_prefix(&["--".to_owned()]).unwrap_or(rest);
                (Some(image), command)
            }
            _ => (None, &self.words),
        }
    }

    /// Whether the container goes away at the end.
    pub(crate) fn removes(&self) -> bool {
        self.rm || !(self.keep || self.container.handle.is_some())
    }

    fn specs(&self) -> anyhow::Result<(ContainerSpec, ProcessSpec)> {
        let (image, command) = self.image_and_command();
        let mut spec = self.container.spec()?;
        if let Some(image) = image {
            spec.image.uri = values::image(image)?;
        }
        if self.removes() && spec.grace_time.is_none() {
            spec.grace_time = Some(ABANDONED_AFTER);
        }
        Ok((spec, self.output.of(process_spec(command, &self.user, self.streams, &[])?)))
    }

    pub(crate) async fn perform(self, global: &Global) -> anyhow::Result<u8> {
        let mut signals = Signals::listen().context("cannot listen to signals")?;
        let (spec, process) = self.specs()?;
        let mut tries = 0;
        loop {
            let (client, engine) = tokio::select! {
                connected = embedded::connect_or_start(global) => connected?,
                signal = signals.end() => return Ok(relay::status_of_signal(signal)),
            };
            tries += 1;
            let created = tokio::select! {
                created = client.create(spec.clone()) => Ok(created),
                signal = signals.end() => Err(signal),
            };
            let status = match created {
                Err(signal) => Ok(relay::status_of_signal(signal)),
                // The last one out of another command's engine stopped it just now: then this command is the next engine.
                Ok(Err(error))
                    if error.kind() == ErrorKind::Unavailable && engine.is_none() && tries < TRIES =>
                {
                    continue;
                }
                Ok(Err(error)) => Err(error).context("cannot create the container"),
                Ok(Ok(handle)) => self.in_container(&client, &handle, process, &mut signals).await,
            };
            drop(client);
            if let Some(engine) = engine {
                engine.last_one_out(&mut signals).await;
            }
            return status;
        }
    }

    /// Runs the command in the container and removes that, if it is to be removed, however the command ended.
    async fn in_container(
        &self,
        client: &Client,
        handle: &Handle,
        process: ProcessSpec,
        signals: &mut Signals,
    ) -> anyhow::Result<u8> {
        let status = self.process(client, handle, process, signals).await;
        if self.removes()
            && let Err(error) = client.destroy(handle).await
        {
            note(&format!("cannot remove container \"{handle}\": {}", error.report()));
        }
        status
    }

    async fn process(
        &self,
        client: &Client,
        handle: &Handle,
        process: ProcessSpec,
        signals: &mut Signals,
    ) -> anyhow::Result<u8> {
        let started = tokio::select! {
            started = client.run(handle, process) => started.context("cannot run the command")?,
            signal = signals.end() => return Ok(relay::status_of_signal(signal)),
        };
        relay::follow(client, handle, started, self.streams, signals).await
    }
}
