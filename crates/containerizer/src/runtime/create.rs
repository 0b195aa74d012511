//! A container: its bundle, and the runtime's `run`.

use std::os::fd::AsFd;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use gdn_cgroups::Mode;
use gdn_launcher::protocol::{Assemble, Call, Client};
use gdn_mounts::Root;
use gdn_namespaces::{CapabilitySet, IdMap};
use gdn_traits::{ContainerPlan, SandboxSpec};
use gdn_types::{CapabilityProfile, Error, Result};

use super::RuntimeContainerizer;
use super::bundle::Bundle;
use super::mounts::Mounts;
use super::{config, failure, filter};
use crate::component::KernelContainerizer;
use crate::container::Container;
use crate::{binds, failures, ids, limits, sysctls};

/// Has the runtime make the container out of its sandbox.
pub(super) async fn create(
    containerizer: &RuntimeContainerizer,
    container: &Arc<Container>,
    spec: &SandboxSpec,
    plan: ContainerPlan,
) -> Result<()> {
    let kernel = &containerizer.kernel;
    let sysctls = sysctls::checked(&plan.sysctls)?;
    let detached = binds::all(&plan.bind_mounts, None).await?;
    let described = Described {
        hostname: spec.hostname.clone(),
        privileged: spec.privileged,
        ids: ids::map(spec.privileged, spec.ids),
        sandbox: container.init_pid.load(Ordering::Relaxed),
        cgroup: kernel.cgroups.path(spec.id.as_str()),
        mode: kernel.cgroups.mode(),
        resources: limits::resources(&spec.limits, &kernel.policy),
        counts_swap: container.cgroup.counts_swap(),
        sysctls,
        capabilities: plan.capabilities,
        apparmor: kernel.apparmor.of(&plan.apparmor, spec.privileged).await?,
        seccomp: filter::of(&plan.seccomp, &containerizer.seccomp, spec.privileged)?,
    };
    let path = container.directory.join("bundle");
    let stage = containerizer.stage.clone();
    let (bundle, mounts) = tokio::task::spawn_blocking(move || {
        let bundle = Bundle::make(path)?;
        let binds = (&plan.bind_mounts[..], detached);
        let mounts = Mounts::new(&stage, plan.rootfs, plan.image_mounts, binds)?;
        described.write(&bundle, &mounts)?;
        Ok::<_, Error>((bundle, mounts))
    })
    .await
    .map_err(|error| failures::joined(&error))??;
    let client = Client {
        stage: containerizer.stage.clone(),
        mounts: mounts.names.clone(),
        ..in_cgroups(kernel, containerizer.runtime.run(&state(container), &bundle, spec.id.as_str(), false))
    };
    let tasks = container.take_for_init().tasks;
    let descriptors: Vec<_> = mounts.descriptors.iter().chain(&tasks).map(AsFd::as_fd).collect();
    let assembled =
        container.keeper.call(Call::Assemble(Assemble { client: Some(client) }), &descriptors).await;
    let (reply, handed) = match assembled {
        Ok(assembled) => assembled,
        Err(error) if container.cgroup.oom_kills().is_ok_and(|kills| kills > 0) => {
            return Err(container.build_failure(error));
        }
        Err(error) => return Err(failure::of(container, &bundle, "make the container", error).await),
    };
    let root = handed.into_iter().next();
    let root = root.ok_or_else(|| Error::internal("the keeper did not hand over the root"))?;
    container.init_pid.store(reply.pid, Ordering::Relaxed);
    let _first = container.root.set(Root::from_fd(root));
    Ok(())
}

/// What the configuration tells, apart from the mounts.
struct Described {
    hostname: String,
    privileged: bool,
    ids: IdMap,
    sandbox: u32,
    cgroup: String,
    mode: Mode,
    resources: gdn_cgroups::Resources,
    counts_swap: bool,
    sysctls: Vec<String>,
    capabilities: CapabilityProfile,
    apparmor: String,
    seccomp: Option<serde_json::Value>,
}

impl Described {
    fn write(self, bundle: &Bundle, mounts: &Mounts) -> Result<()> {
        let document = config::document(config::Container {
            hostname: &self.hostname,
            privileged: self.privileged,
            ids: &self.ids,
            sandbox: self.sandbox,
            cgroup: self.cgroup,
            mode: self.mode,
            resources: &self.resources,
            counts_swap: self.counts_swap,
            sysctls: &self.sysctls,
            seccomp: self.seccomp,
            mounts,
            capabilities: self.capabilities,
            apparmor: &self.apparmor,
            available: available()?,
        })?;
        bundle.write("config.json", &document)
    }
}

/// Where the runtime keeps what it knows of a container and its sidecars.
pub(super) fn state(container: &Container) -> PathBuf {
    container.directory.join("runtime")
}

/// How the runtime's processes get into the container's cgroups: by the runtime where it knows them. On a hybrid host it is
/// told of the v1 hierarchies only (crun refuses more), and is born in the node of the other one, which has no limits.
pub(super) fn in_cgroups(kernel: &KernelContainerizer, client: Client) -> Client {
    let layout = kernel.cgroups.layout();
    match (kernel.cgroups.mode(), &layout.unified) {
        (Mode::Hybrid, Some(mount)) => {
            Client { inside: true, hidden: vec![mount.display().to_string()], ..client }
        }
        _ => client,
    }
}

/// The capabilities in this engine's own bounding set: nobody can hand out more.
pub(super) fn available() -> Result<CapabilitySet> {
    let status =
        std::fs::read_to_string("/proc/self/status").map_err(failures::os("read /proc/self/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("CapBnd:"));
    let bits = line.and_then(|bits| u64::from_str_radix(bits.trim(), 16).ok());
    bits.map(CapabilitySet).ok_or_else(|| Error::internal("/proc/self/status does not tell the bounding set"))
}
