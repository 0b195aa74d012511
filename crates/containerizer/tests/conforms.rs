//! The suite of what every containerizer promises, played against the kernel's own containers and those of external
//! runtimes. Needs root, a static busybox, runc and crun.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use containerizer::{ContainerizerConfig, KernelContainerizer, Policy, Runtime, RuntimeContainerizer};
use gdn_mounts::Detached;
use gdn_testkit::conformance::{self, ContainerizerCase};
use gdn_testkit::leak::{self, Scope, Snapshot};
use gdn_traits::{ContainerPlan, Containerizer, EventSink};
use gdn_types::{
    ApparmorProfile, CapabilityProfile, ContainerId, EngineId, ExitStatus, ProcessId, ProcessSpec,
    SeccompProfile, WantOfMemory,
};

/// Nobody is told of anything.
struct Deaf;

impl EventSink for Deaf {
    fn process_exited(&self, _: &ContainerId, _: &ProcessId, _: ExitStatus) {}
    fn out_of_memory(&self, _: &ContainerId, _: &WantOfMemory, _: u64) {}
    fn container_lost(&self, _: &ContainerId, _: &str) {}
}

#[tokio::test(flavor = "multi_thread")]
async fn containers_of_the_kernel_conform() {
    conforms(0x00c0_0001, None).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn containers_of_runc_conform() {
    conforms(0x00c0_0002, Some("runc")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn containers_of_crun_conform() {
    conforms(0x00c0_0003, Some("crun")).await;
}

/// Plays the suite in an engine of its own, and looks what is left on the host when that is closed.
async fn conforms(engine: u64, runtime: Option<&str>) {
    let (engine, place) = (EngineId::from_bits(engine), tempfile::tempdir().unwrap());
    let rootfs = rootfs(place.path());
    let scope = Scope::engine(engine.as_str());
    let before = Snapshot::take(&scope).unwrap();
    let kernel = Arc::new(start(engine, &place.path().join("run"), runtime.is_some()).await);
    let mapped = kernel.user_namespace(None).await.unwrap();
    let containerizer: Arc<dyn Containerizer> = match runtime {
        None => kernel.clone(),
        Some(name) => {
            let runtime = Runtime::find(name, Vec::new()).unwrap();
            Arc::new(RuntimeContainerizer::new(kernel.clone(), runtime, SeccompProfile::Engine).unwrap())
        }
    };
    conformance::containerizer(ContainerizerCase {
        containerizer,
        plan: async |_: &ContainerId| plan(&rootfs, &mapped),
        quick: process("/bin/true", &[]),
        endless: process("/bin/sleep", &["600"]),
        init_is_the_sandbox: runtime.is_none(),
    })
    .await;
    kernel.close().await.unwrap();
    drop(mapped);
    leak::wait_until_equal(&before, &scope, leak::DEADLINE).unwrap();
}

async fn start(engine: EngineId, run_dir: &Path, every_hierarchy: bool) -> KernelContainerizer {
    let boot_id = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap();
    KernelContainerizer::start(ContainerizerConfig {
        engine,
        run_dir: run_dir.to_owned(),
        boot_id: boot_id.trim().to_owned(),
        events: Arc::new(Deaf),
        policy: Policy::default(),
        seccomp: SeccompProfile::Engine,
        apparmor: ApparmorProfile::Engine,
        every_hierarchy,
    })
    .await
    .unwrap()
}

/// A root file system with a few programs of busybox.
fn rootfs(place: &Path) -> PathBuf {
    let root = place.join("rootfs");
    for directory in ["bin", "dev", "etc", "proc", "sys", "tmp"] {
        fs::create_dir_all(root.join(directory)).unwrap();
    }
    fs::copy("/bin/busybox", root.join("bin/busybox")).expect("a static busybox is in /bin");
    for applet in ["sh", "true", "sleep"] {
        symlink("busybox", root.join("bin").join(applet)).unwrap();
    }
    root
}

/// The directory as an unprivileged container sees it.
fn plan(rootfs: &Path, mapped: &OwnedFd) -> ContainerPlan {
    let directory = fs::File::open(rootfs).unwrap();
    let mount = Detached::copy_of(directory.as_fd()).unwrap();
    mount.map_ids(mapped.as_fd()).unwrap();
    ContainerPlan {
        rootfs: mount.into_fd(),
        image_mounts: Vec::new(),
        places: None,
        bind_mounts: Vec::new(),
        sysctls: Vec::new(),
        seccomp: SeccompProfile::Engine,
        capabilities: CapabilityProfile::Strict,
        apparmor: ApparmorProfile::Engine,
    }
}

fn process(path: &str, args: &[&str]) -> ProcessSpec {
    let args = args.iter().map(|&arg| arg.to_owned()).collect();
    ProcessSpec { path: path.to_owned(), args, ..ProcessSpec::default() }
}
