//! `gdn cp`: files into and out of a container.

use std::ffi::OsString;
use std::path::Path;

use anyhow::Context;
use clap::Args;
use gdn_client::{Client, TarStream};
use gdn_types::{Handle, StreamInSpec, StreamOutSpec};
use tokio::io::AsyncWriteExt;
use tokio::net::unix::pipe;
use tokio::task::spawn_blocking;

use super::DONE;
use crate::address;
use crate::archive;
use crate::cli::Global;
use crate::failure::Advised;
use crate::output::note;

mod place;

use place::{Place, split_last};

/// Copy a file or directory into or out of a container, like cp -r.
///
/// One side is HANDLE:PATH. A target that is a directory, or ends with /, receives the source under its own name; any other
/// target is the copy's new name. As the side that is not in the container, - means a tar on standard input or output.
#[derive(Debug, Args)]
pub(crate) struct Cp {
    /// User in the container to read or write as [default: root]
    #[arg(short, long, value_name = "USER", default_value = "")]
    user: String,
    /// PATH, HANDLE:PATH or -
    source: String,
    /// PATH, HANDLE:PATH or -
    target: String,
}

/// A path in a container, and as whom to use it.
struct Inside<'a> {
    client: &'a Client,
    handle: Handle,
    path: String,
    user: String,
}

impl Cp {
    pub(crate) async fn perform(self, global: &Global) -> anyhow::Result<u8> {
        let sides = (place::parse(&self.source)?, place::parse(&self.target)?);
        let client = &address::connect(global).await?;
        let inside = |handle, path| Inside { client, handle, path, user: self.user.clone() };
        let copied = match sides {
            (Place::Here(source), Place::Inside(handle, path)) => inside(handle, path).copy_in(&source).await,
            (Place::Stream, Place::Inside(handle, path)) => inside(handle, path).stream_in().await,
            (Place::Inside(handle, path), Place::Here(target)) => {
                inside(handle, path).copy_out(&target).await
            }
            (Place::Inside(handle, path), Place::Stream) => inside(handle, path).stream_out().await,
            (Place::Inside(..), Place::Inside(..)) => Err(Advised::error(
                "both sides are in containers",
                "copy by way of a file, or of a tar: gdn cp A:X - | gdn cp - B:Y",
            )),
            _ => Err(Advised::error("neither side is in a container", "write that side as HANDLE:PATH")),
        };
        copied.with_context(|| format!("cannot copy {:?} to {:?}", self.source, self.target))?;
        Ok(DONE)
    }
}

impl Inside<'_> {
    /// Makes a tar of a file or directory here and extracts it in the container.
    async fn copy_in(self, source: &Path) -> anyhow::Result<()> {
        let source = std::path::absolute(source)?;
        let own_name = source.file_name().map_or_else(|| OsString::from("."), ToOwned::to_owned);
        std::fs::symlink_metadata(&source).with_context(|| format!("cannot read {}", source.display()))?;
        let (directory, name) = match split_last(&self.path) {
            Some((parent, name)) if !self.is_directory().await => (parent.to_owned(), OsString::from(name)),
            _ => (self.path.clone(), own_name),
        };
        let (sender, receiver) = pipe::pipe()?;
        let sender = std::fs::File::from(sender.into_blocking_fd()?);
        let packed = spawn_blocking(move || archive::pack(&source, &name, sender));
        let spec = StreamInSpec { path: directory, user: self.user };
        let streamed = self.client.stream_in(&self.handle, spec, receiver).await;
        match packed.await.context("packing was interrupted")? {
            // The server stopped reading: its own error says why.
            Err(error) if is_broken_pipe(&error) => Ok(streamed?),
            Err(error) => Err(error),
            Ok(()) => Ok(streamed?),
        }
    }

    /// Extracts the tar on standard input in the container.
    async fn stream_in(self) -> anyhow::Result<()> {
        let spec = StreamInSpec { path: self.path, user: self.user };
        Ok(self.client.stream_in(&self.handle, spec, tokio::io::stdin()).await?)
    }

    /// Writes a tar to standard output.
    async fn stream_out(self) -> anyhow::Result<()> {
        let tar = self.tar(&self.path).await?;
        Ok(tar.copy_to(&mut tokio::io::stdout()).await?)
    }

    /// Extracts a tar of the container's file or directory here.
    async fn copy_out(self, target: &Path) -> anyhow::Result<()> {
        let path = self.path.trim_end_matches('/');
        let (directory, name) = if place::is_directory_here(target) {
            std::fs::create_dir_all(target).with_context(|| format!("cannot make {}", target.display()))?;
            (target.to_owned(), None)
        } else {
            let target = std::path::absolute(target)?;
            let name = target.file_name().context("the target has no name")?.to_owned();
            (target.parent().unwrap_or(Path::new("/")).to_owned(), Some(name))
        };
        // Without a name of its own, as for /, the contents themselves are what is copied.
        let mut tar = self.tar(if path.is_empty() { "/" } else { path }).await?;
        let (mut sender, receiver) = pipe::pipe()?;
        let receiver = std::fs::File::from(receiver.into_blocking_fd()?);
        let extracted = spawn_blocking(move || archive::extract(receiver, &directory, name.as_deref()));
        let mut broken = false;
        while let Some(chunk) = tar.next().await? {
            // Extracting ended early: its own error says why. The rest is read for the server's verdict.
            broken = broken || sender.write_all(&chunk).await.is_err();
        }
        drop(sender);
        let extracted = extracted.await.context("extracting was interrupted")??;
        for path in extracted.skipped {
            note(&format!("left out {}: it is no file, directory or link", path.display()));
        }
        Ok(())
    }

    /// Whether the path is a directory in the container: the first entry of its tar tells.
    async fn is_directory(&self) -> bool {
        /// More than a name and the attributes of one entry have, in bytes.
        const MOST: usize = 4 << 20;
        let Ok(mut tar) = self.tar(&self.path).await else {
            return false;
        };
        let mut head = Vec::new();
        while head.len() < MOST {
            if let Some(kind) = archive::first_kind(&head) {
                return kind.is_dir();
            }
            match tar.next().await {
                Ok(Some(chunk)) => head.extend_from_slice(&chunk),
                // It does not exist, or cannot be read: then it is written as it was named, and the server has its say.
                Ok(None) | Err(_) => return false,
            }
        }
        false
    }

    async fn tar(&self, path: &str) -> anyhow::Result<TarStream> {
        let spec = StreamOutSpec { path: path.to_owned(), user: self.user.clone() };
        Ok(self.client.stream_out(&self.handle, spec).await?)
    }
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    let of = |cause: &std::io::Error| cause.kind() == std::io::ErrorKind::BrokenPipe;
    error.chain().filter_map(|cause| cause.downcast_ref()).any(of)
}
