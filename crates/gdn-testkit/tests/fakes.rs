//! The in-memory components keep what every component promises.

#![allow(clippy::unwrap_used, reason = "a test panics at the first surprise")]

use std::sync::Arc;

use gdn_testkit::{Action, Point, Site, World, conformance};
use gdn_traits::{ContainerPlan, EventSink};
use gdn_types::{ContainerId, ErrorKind, ExitStatus, ImageRef, ProcessId, ProcessSpec, WantOfMemory};

struct Deaf;

impl EventSink for Deaf {
    fn process_exited(&self, _: &ContainerId, _: &ProcessId, _: ExitStatus) {}
    fn out_of_memory(&self, _: &ContainerId, _: &WantOfMemory, _: u64) {}
    fn container_lost(&self, _: &ContainerId, _: &str) {}
}

fn process(path: &str) -> ProcessSpec {
    ProcessSpec { path: path.to_owned(), ..ProcessSpec::default() }
}

#[tokio::test]
async fn the_fake_property_manager_conforms_through_kills() {
    let world = World::new();
    conformance::property_manager(async || {
        world.crash();
        world.properties()
    })
    .await;
    assert!(world.leftovers().is_empty(), "{:?}", world.leftovers());
}

#[tokio::test]
async fn the_fake_containerizer_conforms() {
    let world = World::new();
    let case = conformance::ContainerizerCase {
        containerizer: world.containerizer(Arc::new(Deaf)),
        plan: async |_: &ContainerId| ContainerPlan {
            rootfs: std::fs::File::open("/dev/null").unwrap().into(),
            image_mounts: Vec::new(),
            places: None,
            bind_mounts: Vec::new(),
            sysctls: Vec::new(),
            seccomp: gdn_types::SeccompProfile::Engine,
            capabilities: gdn_types::CapabilityProfile::Strict,
            apparmor: gdn_types::ApparmorProfile::Engine,
        },
        quick: process("/bin/true"),
        endless: process("/bin/sleep"),
        init_is_the_sandbox: true,
    };
    conformance::containerizer(case).await;
    assert!(world.leftovers().is_empty(), "{:?}", world.leftovers());
}

#[tokio::test]
async fn the_fake_volumizer_and_networker_conform() {
    let world = World::new();
    let (image, missing) = (ImageRef::uri("builtin:hello"), ImageRef::uri("missing:"));
    conformance::volumizer(&*world.volumizer(), image, missing).await;
    conformance::networker(&*world.networker()).await;
    assert!(world.leftovers().is_empty(), "{:?}", world.leftovers());
}

#[tokio::test]
async fn a_change_that_was_cut_off_halfway_is_forgotten_by_a_kill() {
    let world = World::new();
    let store = world.properties();
    world.clock().arm(Site::Call("properties.claim", 1), Point::Halfway, Action::Crash);
    tokio::select! {
        _ = store.claim(conformance::record("a", 1), 0) => panic!("a claim survived its crash"),
        () = world.clock().crashed() => (),
    }
    assert_eq!(world.leftovers(), ["memory of a"]);
    world.crash();
    assert!(world.leftovers().is_empty() && world.properties().records().is_empty());
}

#[tokio::test]
async fn a_fault_strikes_once_at_its_point_and_leaves_what_was_done_so_far() {
    let world = World::new();
    let id = ContainerId::from_bits(1);
    world.clock().arm(
        Site::Call("networker.destroy", 2),
        Point::Halfway,
        Action::Fail(ErrorKind::Unavailable),
    );
    let networker = world.networker();
    networker.destroy(&id).await.unwrap();
    assert_eq!(networker.destroy(&id).await.unwrap_err().kind(), ErrorKind::Unavailable);
    networker.destroy(&id).await.unwrap();
    assert_eq!((world.clock().struck(), world.clock().log().len()), (1, 3));
}
