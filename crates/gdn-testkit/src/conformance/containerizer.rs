//! What every containerizer promises, as far as no particular image is needed.

use std::sync::Arc;

use gdn_traits::{ContainerPlan, Containerizer, Restored, RunContext, SandboxSpec};
use gdn_types::{
    AttachFrom, ContainerId, ErrorKind, ExitStatus, Limits, ProcessId, ProcessSpec, ProcessState, Signal,
};

/// What the suite needs to know of the containerizer's surroundings.
pub struct ContainerizerCase<P> {
    /// Under test; nothing was called on it yet.
    pub containerizer: Arc<dyn Containerizer>,
    /// Makes the root file system and the rest of a plan for a container.
    pub plan: P,
    /// A process that exits with status 0 by itself.
    pub quick: ProcessSpec,
    /// A process that goes on until it is sent TERM, and then ends by it.
    pub endless: ProcessSpec,
    /// Whether the sandbox's process becomes init; an external runtime starts an init of its own.
    pub init_is_the_sandbox: bool,
}

/// Runs the suite.
pub async fn containerizer<P: AsyncFn(&ContainerId) -> ContainerPlan>(case: ContainerizerCase<P>) {
    let containerizer = &*case.containerizer;
    let restored = containerizer.restore(&[]).await.expect("a restore of nothing succeeds");
    assert!(restored.is_empty());
    let id = ContainerId::from_bits(0x1234_5678);
    containerizer.destroy(&id).await.expect("destroy of an unknown container succeeds");

    let spec = SandboxSpec {
        id,
        hostname: "suite".to_owned(),
        privileged: false,
        ids: None,
        limits: Limits::default(),
    };
    let sandbox = containerizer.prepare(&spec).await.expect("a sandbox is prepared");
    let created = containerizer.create(&id, (case.plan)(&id).await).await.expect("a container is created");
    assert_eq!(created.init_pid == sandbox.pid, case.init_is_the_sandbox, "{created:?} of {sandbox:?}");
    processes(&case, &id).await;

    let known = containerizer.restore(&[id]).await.expect("a known container is restored");
    assert_eq!(known, [Restored::Running(created)], "a restore tells what create told");
    ends_with_its_container(&case, &id).await;
    containerizer.destroy(&id).await.expect("destroy succeeds again");

    // A sandbox that never became a container goes the same way.
    let half = ContainerId::from_bits(0x8765_4321);
    containerizer.prepare(&SandboxSpec { id: half, ..spec }).await.expect("a second sandbox is prepared");
    containerizer.destroy(&half).await.expect("a mere sandbox is destroyed");
}

fn named(spec: &ProcessSpec, name: &str) -> ProcessSpec {
    ProcessSpec { id: Some(process(name)), ..spec.clone() }
}

fn process(name: &str) -> ProcessId {
    ProcessId::parse(name).expect("the suite's names are process ids")
}

async fn processes<P>(case: &ContainerizerCase<P>, id: &ContainerId) {
    let (containerizer, context) = (&*case.containerizer, RunContext::default());
    let (quick, _quick) =
        containerizer.run(id, &context, &named(&case.quick, "quick"), None).await.expect("a process runs");
    for _ in 0..2 {
        let status = containerizer.wait(id, &quick).await.expect("a wait answers as often as it is asked");
        assert_eq!(status, ExitStatus::Code(0));
    }
    let (endless, _endless) = containerizer
        .run(id, &context, &named(&case.endless, "endless"), None)
        .await
        .expect("a second process runs");
    let taken = containerizer.run(id, &context, &named(&case.endless, "endless"), None).await;
    assert_eq!(taken.expect_err("a name is taken once").kind(), ErrorKind::AlreadyExists);
    let listed = containerizer.processes(id).await.expect("processes are listed");
    assert!(listed.contains(&(endless.clone(), ProcessState::Running)), "{listed:?}");
    containerizer.attach(id, &endless, AttachFrom::default()).await.expect("a second client attaches");
    containerizer.signal(id, &endless, Signal::TERM).await.expect("a signal is sent");
    let status = containerizer.wait(id, &endless).await.expect("an ended process has a status");
    assert_eq!(status, ExitStatus::Signal(15));
    containerizer.signal(id, &endless, Signal::TERM).await.expect("a signal to an ended process is nothing");
    let taken = containerizer.run(id, &context, &named(&case.quick, "quick"), None).await;
    assert_eq!(taken.expect_err("an ended process keeps its name").kind(), ErrorKind::AlreadyExists);
    for name in ["quick", "endless", "unknown"] {
        containerizer.release_name(id, &process(name)).await.expect("a name is released, also of nobody");
    }
    let status = containerizer.wait(id, &quick).await.expect("a wait answers until the name is taken again");
    assert_eq!(status, ExitStatus::Code(0));
    let (again, _again) = containerizer
        .run(id, &context, &named(&case.endless, "quick"), None)
        .await
        .expect("a name that was released is free");
    containerizer.release_name(id, &again).await.expect("of one that runs nothing changes");
    let taken = containerizer.run(id, &context, &named(&case.quick, "quick"), None).await;
    assert_eq!(taken.expect_err("who runs keeps the name").kind(), ErrorKind::AlreadyExists);
    containerizer.signal(id, &again, Signal::TERM).await.expect("a signal reaches who has the name now");
    let status = containerizer.wait(id, &again).await.expect("an ended process has a status");
    assert_eq!(status, ExitStatus::Signal(15), "that of the second, not of the first");
    let unknown = process("unknown");
    let error = containerizer.wait(id, &unknown).await.expect_err("an unknown process has no status");
    assert_eq!(error.kind(), ErrorKind::ProcessNotFound);
}

async fn ends_with_its_container<P>(case: &ContainerizerCase<P>, id: &ContainerId) {
    let (containerizer, context) = (Arc::clone(&case.containerizer), RunContext::default());
    let (victim, _victim) = containerizer
        .run(id, &context, &named(&case.endless, "victim"), None)
        .await
        .expect("a third process runs");
    let waiter = {
        let (containerizer, id, victim) = (Arc::clone(&containerizer), *id, victim.clone());
        tokio::spawn(async move { containerizer.wait(&id, &victim).await })
    };
    // On a single thread this lets the waiter begin; elsewhere it may begin late and then find no container.
    tokio::task::yield_now().await;
    containerizer.destroy(id).await.expect("a container is destroyed");
    match waiter.await.expect("a wait does not panic") {
        Ok(status) => assert_eq!(status, ExitStatus::Signal(9), "a destroy kills"),
        Err(error) => assert!(
            matches!(
                error.kind(),
                ErrorKind::ProcessNotFound | ErrorKind::ContainerNotFound | ErrorKind::Lost
            ),
            "{error:?}"
        ),
    }
}
