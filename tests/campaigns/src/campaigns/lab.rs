//! What rows about file systems share.

use std::fs;
use std::io::Cursor;
use std::path::Path;

use gdn_types::{
    BindMode, BindMount, BindOrigin, ContainerSpec, ErrorKind, Handle, ImageRef, Result, StreamInSpec,
    StreamOutSpec,
};
use rustix::mount::{MountPropagationFlags, mount_change};
use rustix::thread::UnshareFlags;

use crate::{Bed, Inside, Verdict};

/// A container of this image.
pub(super) fn of(uri: &str) -> ContainerSpec {
    ContainerSpec { image: ImageRef::uri(uri), ..ContainerSpec::default() }
}

/// The same without a user namespace.
pub(super) fn privileged(spec: &ContainerSpec) -> ContainerSpec {
    ContainerSpec { privileged: true, ..spec.clone() }
}

/// The same with bind mounts.
pub(super) fn with_binds(spec: ContainerSpec, bind_mounts: Vec<BindMount>) -> ContainerSpec {
    ContainerSpec { bind_mounts, ..spec }
}

/// A writable bind mount, unchecked: what a client sends is not always what ours would.
pub(super) fn bind(source: &Path, target: &str) -> BindMount {
    BindMount {
        source: source.to_owned(),
        target: target.into(),
        mode: BindMode::ReadWrite,
        origin: BindOrigin::Host,
    }
}

/// Creates a container that the engine may refuse, looks at it if there is one, and removes it.
pub(super) fn attempt(bed: &Bed, spec: ContainerSpec, look: impl FnOnce(&Inside<'_>) -> Verdict) -> Verdict {
    match bed.engine().try_create(spec) {
        Ok(handle) => {
            let seen = look(&bed.inside(&handle));
            destroy(bed, &handle);
            Verdict::all([seen, untouched(bed)])
        }
        // Nobody answered: nothing was tried.
        Err(error) if matches!(error.kind(), ErrorKind::Unavailable) => Verdict::Broken(error.report()),
        Err(_) => untouched(bed),
    }
}

/// The same as an unprivileged and as a privileged container: only the second is the host's root should it get out.
pub(super) fn attempt_both(
    bed: &Bed,
    spec: &ContainerSpec,
    look: impl Fn(&Inside<'_>) -> Verdict,
) -> Verdict {
    Verdict::all([
        attempt(bed, spec.clone(), &look).at("unprivileged"),
        attempt(bed, privileged(spec), &look).at("privileged"),
    ])
}

/// A container is made, or not, and looked at; the host is looked at by the caller, after many.
pub(super) fn create_and_look(
    bed: &Bed,
    spec: ContainerSpec,
    look: impl FnOnce(&Bed, &Handle) -> Verdict,
) -> Verdict {
    let Ok(handle) = bed.engine().try_create(spec) else { return Verdict::Held };
    let verdict = look(bed, &handle);
    destroy(bed, &handle);
    verdict
}

/// All mounts of this source that were asked for are in the container's tree: one that went elsewhere is missing there.
pub(super) fn all_inside(bed: &Bed, handle: &Handle, source: &Path, count: usize) -> Verdict {
    let info = bed.engine().with_client(async |client| client.info(handle).await.unwrap());
    let table = fs::read_to_string(format!("/proc/{}/mountinfo", info.init_pid)).unwrap();
    let name = format!("/{}", source.file_name().unwrap().to_str().unwrap());
    // proc_pid_mountinfo(5): the fourth field is what of its file system a mount shows.
    let mounted =
        table.lines().filter(|line| line.split(' ').nth(3).is_some_and(|root| root.contains(&name)));
    Verdict::equal(mounted.count(), count).at("mounts inside")
}

/// Removes a container.
pub(super) fn destroy(bed: &Bed, handle: &Handle) {
    bed.engine().with_client(async |client| client.destroy(handle).await.unwrap());
}

/// Escaped when the canary was touched, or when a mount of a container shows among the host's.
pub(super) fn untouched(bed: &Bed) -> Verdict {
    let mut evidence = bed.canary().changes();
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
    let scratch = bed.engine().scratch().to_str().unwrap();
    evidence.extend(mounts.lines().filter(|line| line.contains(scratch)).map(|line| format!("mount {line}")));
    Verdict::held_unless(!evidence.is_empty(), || evidence.join("; "))
}

/// A new directory of the host with a file that tells it from others.
pub(super) fn marked(bed: &Bed, name: &str) -> std::path::PathBuf {
    let place = bed.engine().scratch().join(name);
    fs::create_dir(&place).unwrap();
    fs::write(place.join("marker"), name).unwrap();
    place
}

/// Does something in a mount namespace of its own, where what a naive runtime mounts harms nobody.
pub(super) fn in_own_mounts<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            own_mounts();
            mount_change("/", MountPropagationFlags::REC | MountPropagationFlags::PRIVATE).unwrap();
            work()
        });
        thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

#[allow(
    unsafe_code,
    reason = "unshare(2) is unsafe for what it can do to descriptors, which are left alone here"
)]
fn own_mounts() {
    // SAFETY: only the mount namespace and the working directory become this thread's own.
    unsafe { rustix::thread::unshare_unsafe(UnshareFlags::NEWNS | UnshareFlags::FS) }.unwrap();
}

/// Extracts a tar in a container.
pub(super) fn stream_in(bed: &Bed, handle: &Handle, user: &str, path: &str, tar: Vec<u8>) -> Result<()> {
    let spec = StreamInSpec { path: path.into(), user: user.into() };
    bed.engine().with_client(async |client| client.stream_in(handle, spec, Cursor::new(tar)).await)
}

/// What comes out of a container, of which more than [`MOST`] bytes are not waited for.
pub(super) fn stream_out(bed: &Bed, handle: &Handle, user: &str, path: &str) -> Result<Vec<u8>> {
    let spec = StreamOutSpec { path: path.into(), user: user.into() };
    bed.engine().with_client(async |client| {
        let mut stream = client.stream_out(handle, spec).await?;
        let mut bytes = Vec::new();
        while let Some(chunk) = stream.next().await? {
            bytes.extend_from_slice(&chunk);
            if bytes.len() > MOST {
                break;
            }
        }
        Ok(bytes)
    })
}

/// More than any honest case has, and little enough to be held.
pub(super) const MOST: usize = 32 * 1024 * 1024;
