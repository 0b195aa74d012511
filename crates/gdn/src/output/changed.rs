//! Verbs that do one thing to several containers.

use std::future::Future;

use futures::StreamExt;
use futures::stream;
use gdn_types::{Error, Handle};
use serde::Serialize;

use super::{Format, Show, note};

/// The containers that a verb did its work on: nothing to say to people, a list for programs.
#[derive(Debug, Serialize)]
pub(crate) struct Changed {
    handles: Vec<String>,
}

impl Changed {
    /// Prints them.
    pub(crate) fn show(&self, format: Format) -> anyhow::Result<()> {
        super::show(format, self)
    }
}

impl Show for Changed {
    fn text(&self) -> String {
        String::new()
    }
}

/// At how many containers work goes on at a time: enough to keep an engine busy, few enough for its limits of calls.
const AT_ONCE: usize = 64;

/// Does one thing to each container, also after one of them failed; to many at a time, and told of in the order of the
/// handles.
///
/// # Errors
/// The last failure; those before it are printed at once.
pub(crate) async fn each<F>(
    verb: &str,
    handles: &[Handle],
    work: impl Fn(Handle) -> F,
) -> anyhow::Result<Changed>
where
    F: Future<Output = Result<(), Error>>,
{
    let mut changed = Changed { handles: Vec::new() };
    let mut failed: Option<anyhow::Error> = None;
    let works = stream::iter(handles).map(|handle| {
        let work = work(handle.clone());
        async move { (handle, work.await) }
    });
    let mut works = std::pin::pin!(works.buffered(AT_ONCE));
    while let Some((handle, outcome)) = works.next().await {
        match outcome {
            Ok(()) => changed.handles.push(handle.to_string()),
            Err(error) => {
                let error = anyhow::Error::new(error).context(format!("cannot {verb} \"{handle}\""));
                if let Some(earlier) = failed.replace(error) {
                    note(&format!("{earlier:#}"));
                }
            }
        }
    }
    failed.map_or(Ok(changed), Err)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_failure_does_not_keep_the_others_from_being_done() {
        let handles: Vec<_> = ["a", "b", "c"].iter().map(|handle| Handle::parse(handle).unwrap()).collect();
        let done = std::cell::RefCell::new(Vec::new());
        let outcome = each("stop", &handles, |handle| {
            done.borrow_mut().push(handle.to_string());
            async move { if handle.as_str() == "b" { Err(Error::internal("no")) } else { Ok(()) } }
        });
        let error = outcome.await.unwrap_err();
        assert_eq!(format!("{error:#}"), "cannot stop \"b\": no");
        assert_eq!(*done.borrow(), ["a", "b", "c"]);
    }
}
