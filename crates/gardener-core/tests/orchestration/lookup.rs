//! Lists, bulk calls, capacity.

use gardener_core::Config;
use gdn_types::{ContainerSpec, ErrorKind, Properties, PropertyFilter, keys};

use crate::bed::{Bed, config, engine, handle, spec};

#[tokio::test(start_paused = true)]
async fn a_list_shows_the_containers_that_have_every_pair() {
    let bed = Bed::new().await;
    for (name, owner) in [("a", "x"), ("b", "y"), ("c", "x")] {
        let properties = Properties::from_pairs([("owner", owner), ("executor:tag", name)]).unwrap();
        bed.gardener.create(ContainerSpec { properties, ..spec(name) }).await.unwrap();
    }
    let list =
        |pairs: &[(&str, &str)]| bed.gardener.list(&PropertyFilter::new(pairs.iter().copied())).unwrap();
    assert_eq!(list(&[]).len(), 3);
    assert_eq!(list(&[("owner", "x")]), [handle("a"), handle("c")]);
    assert_eq!(list(&[("owner", "x"), ("executor:tag", "c")]), [handle("c")]);
    assert_eq!(list(&[("owner", "x"), (keys::STATE, "all")]), [handle("a"), handle("c")]);
    assert_eq!(list(&[("owner", "x"), (keys::STATE, "created")]), [handle("a"), handle("c")]);
    assert!(list(&[("owner", "z")]).is_empty());
}

#[tokio::test(start_paused = true)]
async fn bulk_calls_answer_for_each_handle_and_never_fail_as_a_whole() {
    let bed = Bed::new().await;
    bed.create("a").await;
    let asked = [handle("unknown"), handle("a")];
    let infos = bed.gardener.bulk_info(&asked).await;
    assert_eq!(infos[0].1.as_ref().unwrap_err().kind(), ErrorKind::ContainerNotFound);
    assert_eq!((&infos[1].0, infos[1].1.as_ref().unwrap().init_pid), (&handle("a"), 1));
    let metrics = bed.gardener.bulk_metrics(&asked).await;
    assert_eq!(metrics[0].1.as_ref().unwrap_err().kind(), ErrorKind::ContainerNotFound);
    assert_eq!(metrics[1].1.as_ref().unwrap().disk.total_bytes, 4096);
}

#[tokio::test(start_paused = true)]
async fn capacity_is_the_smaller_of_the_configured_and_the_pools() {
    let bed = Bed::with(Config { max_containers: 2, ..config() }).await;
    assert_eq!(bed.gardener.capacity().await.unwrap().max_containers, 2);
    bed.world.set_max_addresses(1);
    assert_eq!(bed.gardener.capacity().await.unwrap().max_containers, 1);
}

#[tokio::test(start_paused = true)]
async fn an_engine_that_has_not_started_answers_unavailable() {
    let bed = Bed::new().await;
    let gardener = engine(&bed.world, config());
    assert_eq!(gardener.ping().await.unwrap_err().kind(), ErrorKind::Unavailable);
    assert_eq!(gardener.list(&PropertyFilter::default()).unwrap_err().kind(), ErrorKind::Unavailable);
    assert_eq!(gardener.create(spec("h")).await.unwrap_err().kind(), ErrorKind::Unavailable);
    assert_eq!(gardener.destroy(&handle("h")).await.unwrap_err().kind(), ErrorKind::Unavailable);
    assert!(bed.world.leftovers().is_empty());
}
