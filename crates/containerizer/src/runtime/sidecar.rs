//! A sidecar: a second container of the runtime's that shares the first one's namespaces but the mounts.

use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use gdn_cgroups::Resources;
use gdn_launcher::protocol::{Call, Client, Reply, Run, Sidecar};
use gdn_mounts::Root;
use gdn_traits::{RunContext, SidecarPlan};
use gdn_types::{Error, ProcessId, ProcessSpec, ProcessState, Result};
use rustix::fs::OFlags;
use serde_json::{Value, json};

use super::RuntimeContainerizer;
use super::bundle::Bundle;
use super::create::{in_cgroups, state};
use super::mounts::Mounts;
use super::run::limit_to_available;
use super::{config, delete, failure, process};
use crate::container::Container;
use crate::sidecars::{self, SHARED_FILES};
use crate::{arguments, binds, failures};

/// Starts a sidecar whose name is taken. What a failure leaves is removed in the background.
pub(super) async fn run(
    containerizer: &RuntimeContainerizer,
    container: &Arc<Container>,
    context: &RunContext,
    (id, spec): (&ProcessId, &ProcessSpec),
    plan: SidecarPlan,
) -> Result<(Reply, Vec<OwnedFd>)> {
    let kernel = &containerizer.kernel;
    let (root, user) = sidecars::user(container, Root::from_fd(plan.rootfs), &spec.user).await?;
    let dir = if spec.dir.is_empty() { "/".to_owned() } else { spec.dir.clone() };
    let mut run = arguments::run(id, &ProcessSpec { dir, ..spec.clone() }, context, &kernel.policy, &user)?;
    limit_to_available(&mut run, context.privileged)?;
    let detached = binds::all(&spec.bind_mounts, None).await?;
    let cgroup = sidecars::make_group(container, &kernel.policy, id, spec).await?;
    let started = async {
        let name = cgroup.name().rsplit('/').next().unwrap_or_default().to_owned();
        let asked = Asked {
            run: run.clone(),
            cgroup: kernel.cgroups.path(cgroup.name()),
            resources: sidecars::resources(spec, &kernel.policy)
                // In a group within the container's, which the runtime is told to restrict as that is.
                .unwrap_or_else(|| Resources { devices: kernel.policy.devices(), ..Resources::default() }),
            counts_swap: cgroup.counts_swap(),
            bind_mounts: spec.bind_mounts.clone(),
        };
        let stage = containerizer.stage.clone();
        let (path, of) = (container.directory.join(format!("sidecar-{name}")), Arc::clone(container));
        let (bundle, mounts, shared) = tokio::task::spawn_blocking(move || {
            let bundle = Bundle::make(path)?;
            let rootfs = root.as_fd().try_clone_to_owned().map_err(failures::os("keep a root"))?;
            let binds = (&asked.bind_mounts[..], detached);
            let mut mounts = Mounts::new(&stage, rootfs, plan.image_mounts, binds)?;
            let shared = share_files(&of, &mut mounts)?;
            asked.write(&of, &bundle, &mounts)?;
            Ok::<_, Error>((bundle, mounts, shared))
        })
        .await
        .map_err(|error| failures::joined(&error))??;
        let client = Client {
            stage: containerizer.stage.clone(),
            mounts: mounts.names.clone(),
            shared,
            ..in_cgroups(
                kernel,
                containerizer.runtime.run(&state(container), &bundle, &name, run.tty.is_some()),
            )
        };
        let unified = cgroup.unified_dir();
        let sidecar = Sidecar { unified: unified.is_some(), ..Sidecar::default() };
        let descriptors: Vec<_> =
            unified.into_iter().chain(mounts.descriptors.iter().map(AsFd::as_fd)).collect();
        let call =
            Run { runtime: Some(client), sidecar: Some(sidecar), args: Vec::new(), env: Vec::new(), ..run };
        match container.keeper.call(Call::Run(call), &descriptors).await {
            Ok(started) => {
                forget_at_its_end(containerizer, container, id, (name, bundle));
                Ok(started)
            }
            Err(error) => Err(failure::of(container, &bundle, &format!("start sidecar {id}"), error).await),
        }
    };
    let started = started.await;
    if started.is_err() {
        container.shared.sidecars.ended(id);
    }
    started
}

/// What the configuration tells beside the container's own.
struct Asked {
    run: Run,
    cgroup: String,
    resources: Resources,
    counts_swap: bool,
    bind_mounts: Vec<gdn_types::BindMount>,
}

impl Asked {
    /// The container's configuration, changed: so a sidecar has its filter, masks and id maps, also after a restart.
    fn write(&self, container: &Container, bundle: &Bundle, mounts: &Mounts) -> Result<()> {
        let mut config = Bundle::at(container.directory.join("bundle")).read("config.json")?;
        let init = container.init_pid.load(Ordering::Relaxed);
        config["root"] = json!({ "path": mounts.rootfs() });
        let confined = config["process"]["apparmorProfile"].take();
        config["process"] = process::document(&self.run)?;
        if !confined.is_null() {
            config["process"]["apparmorProfile"] = confined;
        }
        let own = config["mounts"].as_array().map(Vec::as_slice).unwrap_or_default();
        let of_the_kernel = own.iter().filter(|mount| mount["type"] != "bind").cloned();
        config["mounts"] = of_the_kernel.chain(mounts.entries.iter().cloned()).collect();
        let linux = &mut config["linux"];
        linux["namespaces"] = namespaces(&linux["namespaces"], init);
        linux["cgroupsPath"] = self.cgroup.clone().into();
        linux["resources"] = config::resources(&self.resources, self.counts_swap);
        linux["sysctl"] = json!({});
        if let Some(config) = config.as_object_mut() {
            config.remove("hostname");
        }
        bundle.write("config.json", &config)
    }
}

/// The container's namespaces by path; the mounts and the view of control groups are its own.
fn namespaces(of_container: &Value, init: u32) -> Value {
    let kinds = of_container.as_array().map(Vec::as_slice).unwrap_or_default().iter();
    kinds
        .filter_map(|namespace| namespace["type"].as_str())
        .map(|kind| match kind {
            "mount" | "cgroup" => json!({ "type": kind }),
            "network" => json!({ "type": kind, "path": format!("/proc/{init}/ns/net") }),
            other => json!({ "type": other, "path": format!("/proc/{init}/ns/{other}") }),
        })
        .collect()
}

/// The container's files that its sidecars see too, where they are regular files; below the sidecar's own mounts, which may
/// show something else there. Answers with their paths in the container and their names on the stage, alternating.
fn share_files(container: &Container, mounts: &mut Mounts) -> Result<Vec<String>> {
    let root = container.root()?;
    let mut shared = Vec::new();
    for (number, path) in SHARED_FILES.into_iter().enumerate() {
        let Ok(file) = root.open_at(path, OFlags::PATH | OFlags::NOFOLLOW) else { continue };
        let stat = rustix::fs::fstat(&file).map_err(|errno| failures::os("look at a file")(errno.into()))?;
        if rustix::fs::FileType::from_raw_mode(stat.st_mode) != rustix::fs::FileType::RegularFile {
            continue;
        }
        let name = format!("shared-{number}");
        let entry = mounts.bind(&name, path, file.as_fd())?;
        mounts.entries.insert(0, entry);
        shared.extend([path.to_owned(), name]);
    }
    Ok(shared)
}

/// Has the runtime forget the sidecar when it has ended.
fn forget_at_its_end(
    containerizer: &RuntimeContainerizer,
    container: &Arc<Container>,
    id: &ProcessId,
    (name, bundle): (String, Bundle),
) {
    let Ok(mut watch) = container.shared.processes().watch(id) else { return };
    let (container, containerizer) = (Arc::clone(container), containerizer.clone());
    tokio::spawn(async move {
        // An error means that its record is gone, as it is itself.
        let _recorded = watch.wait_for(|state| *state != ProcessState::Running).await.is_ok();
        if !container.shared.has_ended() {
            delete::forget(&containerizer, &container.keeper, &container.directory, &name).await;
            tokio::task::spawn_blocking(move || bundle.remove());
        }
    });
}
