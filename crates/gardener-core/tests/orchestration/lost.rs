//! Containers whose kernel objects are gone.

use gardener_core::{AfterReboot, Config};
use gdn_types::{ErrorKind, LifeState};

use crate::bed::{Bed, config, process, run_spec};

#[tokio::test(start_paused = true)]
async fn after_a_reboot_a_container_is_listed_as_lost_and_runs_nothing() {
    let bed = Bed::new().await;
    let name = bed.create("h").await;
    bed.gardener.set_property(&name, "k", "v").await.unwrap();
    let before = bed.gardener.info(&name).await.unwrap();
    let bed = bed.rebooted(config()).await;
    let info = bed.gardener.info(&name).await.unwrap();
    assert_eq!((info.state, info.reason.as_str()), (LifeState::Lost, "host restarted"));
    assert_eq!(
        (info.properties.clone(), info.container_ip.clone()),
        (before.properties, before.container_ip)
    );
    let errors = [
        bed.gardener.run(&name, run_spec("p", "/bin/true")).await.unwrap_err(),
        bed.gardener.attach(&name, &process("p"), gdn_types::AttachFrom::default()).await.unwrap_err(),
        bed.gardener.wait(&name, &process("p")).await.unwrap_err(),
        bed.gardener.metrics(&name).await.unwrap_err(),
        bed.gardener.stop(&name, false).await.unwrap_err(),
    ];
    for error in errors {
        assert_eq!(
            (error.kind(), error.message()),
            (ErrorKind::Lost, "container h was lost: host restarted")
        );
    }
    assert_eq!(bed.gardener.property(&name, "k").unwrap(), "v");
    let other = bed.create("other").await;
    let other = bed.gardener.info(&other).await.unwrap();
    assert_ne!(other.container_ip, info.container_ip, "the address is held until the destroy");
    bed.destroy_all("lost").await;
}

#[tokio::test(start_paused = true)]
async fn after_a_reboot_lost_containers_go_where_the_operator_says_so() {
    let bed = Bed::new().await;
    bed.create("h").await;
    let bed = bed.rebooted(Config { after_reboot: AfterReboot::Destroy, ..config() }).await;
    bed.nothing_left("destroy after reboot").await;
}

#[tokio::test(start_paused = true)]
async fn a_container_whose_keeper_dies_is_lost_at_once_and_after_a_restart() {
    let bed = Bed::new().await;
    let name = bed.create("h").await;
    bed.world.lose(&name, "its keeper was killed");
    assert_eq!(bed.gardener.info(&name).await.unwrap().reason, "its keeper was killed");
    let bed = bed.restarted(config()).await;
    assert_eq!(bed.gardener.info(&name).await.unwrap().state, LifeState::Lost);
    bed.destroy_all("keeper").await;
}

#[tokio::test(start_paused = true)]
async fn a_start_that_destroys_everything_ends_with_nothing() {
    let bed = Bed::new().await;
    bed.create("a").await;
    bed.create("b").await;
    let bed = bed.restarted(Config { destroy_on_start: true, ..config() }).await;
    assert!(bed.world.leftovers().is_empty(), "{:?}", bed.world.leftovers());
    assert!(bed.listed_in_all_states().is_empty());
}
