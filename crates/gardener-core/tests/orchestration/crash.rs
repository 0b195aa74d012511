//! The engine is killed at every point of every component call.

use gardener_core::{Config, IdPool};
use gdn_testkit::{Action, Point, Site};
use gdn_types::{ErrorKind, HostIds, LifeState, PropertyFilter, keys};

use crate::bed::{Bed, config, engine, handle, spec, until};

const CALLS: usize = 14;

/// What the client had been told when the engine died.
#[derive(Default, Debug)]
struct Told {
    created: bool,
    destroyed: bool,
}

async fn create_and_destroy(bed: &Bed, told: &mut Told) {
    if bed.gardener.create(spec("h")).await.is_ok() {
        told.created = true;
        told.destroyed = bed.gardener.destroy(&handle("h")).await.is_ok();
    }
}

#[tokio::test(start_paused = true)]
async fn what_was_acknowledged_survives_a_kill_and_all_else_is_whole_or_gone() {
    let mut crashes = 0;
    for call in 1..=CALLS {
        for point in Point::ALL {
            let case = format!("kill at call {call} {point:?}");
            let bed = Bed::new().await;
            bed.create("bystander").await;
            bed.world.clock().arm(Site::Nth(call), point, Action::Crash);
            let mut told = Told::default();
            tokio::select! {
                () = create_and_destroy(&bed, &mut told) => (),
                () = bed.world.clock().crashed() => crashes += 1,
            }
            bed.world.clock().disarm();
            let bed = bed.restarted(config()).await;
            check(&bed, &told, &case).await;
            bed.destroy_all(&case).await;
        }
    }
    assert!(crashes >= 10 * 3, "only {crashes} crashes");
}

/// Invariants I1 to I4.
async fn check(bed: &Bed, told: &Told, case: &str) {
    assert!(bed.world.is_whole(&handle("bystander")), "{case}: the bystander was disturbed");
    let name = handle("h");
    let listed = bed.listed().contains(&name);
    if told.destroyed {
        assert!(!listed, "{case}: {told:?} but listed");
        bed.gardener
            .create(spec("h"))
            .await
            .unwrap_or_else(|error| panic!("{case}: handle not free: {error}"));
        return;
    }
    if listed {
        assert!(bed.world.is_whole(&name), "{case}: listed but not whole");
        assert_eq!(bed.gardener.info(&name).await.unwrap().state, LifeState::Active, "{case}");
        return;
    }
    until(case, || {
        let left: Vec<_> = bed.listed_in_all_states().into_iter().filter(|handle| *handle == name).collect();
        if left.is_empty() { Ok(()) } else { Err(format!("{told:?}, left {left:?}")) }
    })
    .await;
    assert_eq!(bed.gardener.destroy(&name).await.unwrap_err().kind(), ErrorKind::ContainerNotFound, "{case}");
}

#[tokio::test(start_paused = true)]
async fn a_kill_during_the_start_costs_nothing() {
    for call in 1..=CALLS {
        for point in Point::ALL {
            let case = format!("kill at call {call} of the start {point:?}");
            let bed = Bed::new().await;
            bed.create("kept").await;
            bed.create("leaving").await;
            let leaving = handle("leaving");
            bed.world.clock().arm(Site::Call("volumizer.destroy", 1), Point::Before, Action::Crash);
            tokio::select! {
                _ = bed.gardener.destroy(&leaving) => panic!("{case}: a destroy survived its crash"),
                () = bed.world.clock().crashed() => (),
            }
            bed.world.crash();
            let second = engine(&bed.world, config());
            let everything = PropertyFilter::new([(keys::STATE, "all")]);
            bed.world.clock().arm(Site::Nth(call), point, Action::Crash);
            let started = async {
                second.start().await.unwrap();
                until(&case, || match second.list(&everything).unwrap().as_slice() {
                    [kept] if *kept == handle("kept") => Ok(()),
                    others => Err(format!("{others:?}")),
                })
                .await;
            };
            tokio::select! {
                () = started => (),
                () = bed.world.clock().crashed() => (),
            }
            bed.world.clock().disarm();
            let bed = bed.restarted(config()).await;
            assert!(bed.world.is_whole(&handle("kept")), "{case}");
            assert_eq!(bed.listed(), [handle("kept")], "{case}");
            bed.destroy_all(&case).await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn everything_a_client_was_told_is_the_same_after_a_kill() {
    let bed = Bed::new().await;
    let name = bed.create("h").await;
    bed.gardener.set_property(&name, "a:b", "1").await.unwrap();
    bed.gardener
        .net_in(&name, gdn_types::NetIn { container_port: 8080, ..Default::default() })
        .await
        .unwrap();
    bed.gardener.stop(&name, true).await.unwrap();
    bed.gardener.set_grace_time(&name, std::time::Duration::from_secs(7)).await.unwrap();
    let running = bed.gardener.run(&name, crate::bed::run_spec("p", "/bin/sleep")).await.unwrap();
    let (info, limits) = (bed.gardener.info(&name).await.unwrap(), bed.gardener.limits(&name).await.unwrap());
    assert_eq!((info.mapped_ports.len(), info.process_ids.as_slice()), (1, &["p".to_owned()][..]));
    let bed = bed.restarted(config()).await;
    assert_eq!(bed.gardener.info(&name).await.unwrap(), info);
    assert_eq!(bed.gardener.limits(&name).await.unwrap(), limits);
    assert_eq!(info.state, LifeState::Stopped);
    drop(running);
}

/// No port leads into a container that its description does not have, whenever the engine is killed over mapping one.
#[tokio::test(start_paused = true)]
async fn the_ports_that_lead_in_are_told_after_a_kill_at_any_point() {
    for call in ["networker.net_in", "properties.set"] {
        for point in Point::ALL {
            let case = format!("kill at {call} {point:?}");
            let bed = Bed::new().await;
            let name = bed.create("h").await;
            let port = |container_port| gdn_types::NetIn { container_port, ..Default::default() };
            bed.gardener.net_in(&name, port(80)).await.unwrap();
            bed.world.clock().arm(Site::Call(call, 1), point, Action::Crash);
            tokio::select! {
                _ = bed.gardener.net_in(&name, port(81)) => panic!("{case}: it was answered"),
                () = bed.world.clock().crashed() => (),
            }
            bed.world.clock().disarm();
            let bed = bed.restarted(config()).await;
            let id = bed.world.id(&name).unwrap();
            for _ in 0..2 {
                let info = bed.gardener.info(&name).await.unwrap();
                let leading_in = bed.world.networker().mapped_ports(&id).unwrap();
                assert_eq!(info.mapped_ports, leading_in, "{case}");
                assert!((1..=2).contains(&leading_in.len()), "{case}: {leading_in:?}");
                let written = info.properties.get(keys::MAPPED_PORTS).unwrap();
                assert_eq!(written.matches("HostPort").count(), leading_in.len(), "{case}: {written}");
            }
            bed.destroy_all(&case).await;
        }
    }
}

/// The claim is on its way to the disk while the parts are made: a kill then leaves traces without a record.
#[tokio::test(start_paused = true)]
async fn traces_without_a_record_are_gone_after_the_start() {
    for call in ["containerizer.prepare", "volumizer.create", "networker.reserve"] {
        for point in Point::ALL {
            let case = format!("kill at {call} {point:?}");
            let bed = Bed::new().await;
            bed.create("bystander").await;
            bed.world.clock().arm(Site::Call("properties.claim", 1), Point::Before, Action::Block);
            bed.world.clock().arm(Site::Call(call, 1), point, Action::Crash);
            tokio::select! {
                _ = bed.gardener.create(spec("h")) => panic!("{case}: a create survived its crash"),
                () = bed.world.clock().crashed() => (),
            }
            bed.world.clock().disarm();
            let bed = bed.restarted(config()).await;
            assert!(bed.world.is_whole(&handle("bystander")), "{case}: the bystander was disturbed");
            assert_eq!(bed.listed_in_all_states(), [handle("bystander")], "{case}");
            bed.destroy_all(&case).await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn host_ids_are_neither_lost_nor_handed_out_twice_by_a_kill() {
    let all = HostIds::new(100_000, 2000).unwrap();
    let pool = || Config { id_pool: Some(IdPool::new(all, 1000).unwrap()), ..config() };
    let first = |bed: &Bed, name: &str| {
        let (gardener, name) = (bed.gardener.clone(), handle(name));
        async move { gardener.info(&name).await.unwrap().host_ids.unwrap().first() }
    };
    for call in 1..=CALLS {
        for point in Point::ALL {
            let case = format!("kill at call {call} {point:?}");
            let bed = Bed::with(pool()).await;
            bed.create("bystander").await;
            bed.world.clock().arm(Site::Nth(call), point, Action::Crash);
            let mut told = Told::default();
            tokio::select! {
                () = create_and_destroy(&bed, &mut told) => (),
                () = bed.world.clock().crashed() => (),
            }
            bed.world.clock().disarm();
            let bed = bed.restarted(pool()).await;
            assert_eq!(first(&bed, "bystander").await, 100_000, "{case}");
            until(&case, || match bed.listed_in_all_states().len() - bed.listed().len() {
                0 => Ok(()),
                going => Err(format!("{going} containers are still going")),
            })
            .await;
            if bed.listed().contains(&handle("h")) {
                assert_eq!(first(&bed, "h").await, 101_000, "{case}");
                bed.gardener.destroy(&handle("h")).await.unwrap();
            }
            bed.create("again").await;
            assert_eq!(first(&bed, "again").await, 101_000, "{case}");
            let error = bed.gardener.create(spec("more")).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::ResourceExhausted, "{case}");
            assert!(error.message().contains("100000-101999"), "{case}: {}", error.message());
            bed.destroy_all(&case).await;
        }
    }
}
