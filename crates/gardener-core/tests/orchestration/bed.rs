//! One engine over one world.

use std::sync::Arc;
use std::time::Duration;

use gardener_core::{AfterReboot, Components, Config, EventHub, Gardener};
use gdn_testkit::World;
use gdn_types::{ContainerSpec, Handle, ImageRef, ProcessId, ProcessSpec, PropertyFilter, keys};

/// How long, on the paused clock, anything in the background may take: several of the reclaim queue's longest pauses.
const DEADLINE: Duration = Duration::from_secs(300);

/// An engine and its world.
pub(crate) struct Bed {
    pub(crate) world: World,
    pub(crate) gardener: Arc<Gardener>,
}

pub(crate) fn config() -> Config {
    Config {
        allow_privileged: true,
        default_image: "builtin:hello".to_owned(),
        after_reboot: AfterReboot::Keep,
        boot_id: "boot-1".to_owned(),
        memory_bytes: 1 << 34,
        ..Config::default()
    }
}

/// An engine over a world that may hold what an earlier one left; not started.
pub(crate) fn engine(world: &World, config: Config) -> Arc<Gardener> {
    let events = EventHub::new();
    let components = Components {
        containerizer: world.containerizer(events.clone()),
        networker: world.networker(),
        volumizer: world.volumizer(),
        properties: world.properties(),
    };
    Gardener::new(config, components, events)
}

impl Bed {
    pub(crate) async fn new() -> Bed {
        Bed::with(config()).await
    }

    pub(crate) async fn with(config: Config) -> Bed {
        let world = World::new();
        let gardener = engine(&world, config);
        gardener.start().await.unwrap();
        Bed { world, gardener }
    }

    /// The engine is killed, and another one started.
    pub(crate) async fn restarted(self, config: Config) -> Bed {
        self.world.crash();
        self.again(config).await
    }

    /// The host is restarted, and the engine with it.
    pub(crate) async fn rebooted(self, config: Config) -> Bed {
        self.world.reboot();
        self.again(Config { boot_id: "boot-2".to_owned(), ..config }).await
    }

    async fn again(self, config: Config) -> Bed {
        let gardener = engine(&self.world, config);
        gardener.start().await.unwrap();
        Bed { world: self.world, gardener }
    }

    pub(crate) async fn create(&self, name: &str) -> Handle {
        self.gardener.create(spec(name)).await.unwrap()
    }

    pub(crate) fn listed(&self) -> Vec<Handle> {
        self.gardener.list(&PropertyFilter::default()).unwrap()
    }

    pub(crate) fn listed_in_all_states(&self) -> Vec<Handle> {
        self.gardener.list(&PropertyFilter::new([(keys::STATE, "all")])).unwrap()
    }

    pub(crate) async fn destroy_all(&self, case: &str) {
        for handle in self.listed() {
            self.gardener
                .destroy(&handle)
                .await
                .unwrap_or_else(|error| panic!("{case}: destroy {handle}: {error}"));
        }
        self.nothing_left(case).await;
    }

    /// Nothing remains, now or after the background's passes.
    pub(crate) async fn nothing_left(&self, case: &str) {
        until(case, || {
            let mut left = self.world.leftovers();
            left.extend(self.listed_in_all_states().iter().map(|handle| format!("listed {handle}")));
            if left.is_empty() {
                Ok(())
            } else {
                Err(format!("{left:?} after {:?}", self.world.clock().log()))
            }
        })
        .await;
    }
}

/// Waits for a condition, on the paused clock.
pub(crate) async fn until(case: &str, mut condition: impl FnMut() -> Result<(), String>) {
    let deadline = tokio::time::Instant::now() + DEADLINE;
    loop {
        match condition() {
            Ok(()) => return,
            Err(text) if tokio::time::Instant::now() > deadline => panic!("{case}: {text}"),
            Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
        }
    }
}

pub(crate) fn handle(name: &str) -> Handle {
    Handle::parse(name).unwrap()
}

pub(crate) fn process(name: &str) -> ProcessId {
    ProcessId::parse(name).unwrap()
}

pub(crate) fn spec(name: &str) -> ContainerSpec {
    let image = ImageRef { password: "secret".to_owned(), ..ImageRef::uri("builtin:hello") };
    ContainerSpec { handle: Some(handle(name)), image, ..ContainerSpec::default() }
}

pub(crate) fn run_spec(name: &str, path: &str) -> ProcessSpec {
    ProcessSpec { id: Some(process(name)), path: path.to_owned(), ..ProcessSpec::default() }
}
