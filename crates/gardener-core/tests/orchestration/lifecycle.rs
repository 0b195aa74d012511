//! Create, run, change, destroy.

use std::io::Read;

use gardener_core::Config;
use gdn_testkit::{Action, Point, Site};
use gdn_types::{
    ContainerSpec, ErrorKind, ExitStatus, ImageRef, LifeState, NetIn, ProcessSpec, Signal, keys,
};

use crate::bed::{Bed, config, handle, process, run_spec, spec};

#[tokio::test(start_paused = true)]
async fn the_checks_come_in_their_order() {
    let bed = Bed::with(Config { max_containers: 1, allow_privileged: false, ..config() }).await;
    bed.create("h").await;
    let privileged = ContainerSpec { privileged: true, ..spec("h") };
    assert_eq!(bed.gardener.create(privileged).await.unwrap_err().kind(), ErrorKind::PermissionDenied);
    assert_eq!(bed.gardener.create(spec("h")).await.unwrap_err().kind(), ErrorKind::AlreadyExists);
    let error = bed.gardener.create(spec("other")).await.unwrap_err();
    assert_eq!(
        (error.kind(), error.message()),
        (ErrorKind::ResourceExhausted, "there are as many containers as there may be (--max-containers): 1")
    );
    assert!(bed.world.is_whole(&handle("h")));
    bed.destroy_all("checks").await;
}

#[tokio::test(start_paused = true)]
async fn a_container_without_a_handle_gets_one_and_every_state_is_told() {
    let bed = Bed::new().await;
    let name = bed.gardener.create(ContainerSpec::default()).await.unwrap();
    assert_eq!(name.as_str().len(), 36);
    let info = bed.gardener.info(&name).await.unwrap();
    assert_eq!((info.state, info.properties.get(keys::STATE)), (LifeState::Active, Some("created")));
    assert_eq!(info.properties.get(keys::GRACE_TIME), None);
    bed.gardener.stop(&name, false).await.unwrap();
    assert_eq!(bed.gardener.info(&name).await.unwrap().state, LifeState::Stopped);
    bed.destroy_all("states").await;
}

#[tokio::test(start_paused = true)]
async fn a_missing_image_is_named_and_leaves_nothing() {
    let bed = Bed::new().await;
    let error = bed
        .gardener
        .create(ContainerSpec { image: ImageRef::uri("missing:"), ..spec("h") })
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ImageNotFound);
    assert!(bed.world.leftovers().is_empty(), "{:?}", bed.world.leftovers());
}

#[tokio::test(start_paused = true)]
async fn a_panic_of_a_component_is_an_internal_error_and_is_counted() {
    let bed = Bed::new().await;
    bed.world.clock().arm(Site::Call("networker.attach", 1), Point::Halfway, Action::Panic);
    assert_eq!(bed.gardener.create(spec("h")).await.unwrap_err().kind(), ErrorKind::Internal);
    assert_eq!(bed.gardener.panics(), 1);
    assert!(bed.world.leftovers().is_empty(), "{:?}", bed.world.leftovers());
    bed.gardener.ping().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_process_without_a_path_runs_the_images_command() {
    let bed = Bed::new().await;
    let name = bed.create("h").await;
    let running = bed.gardener.run(&name, ProcessSpec::default()).await.unwrap();
    assert_eq!(bed.gardener.wait(&name, &running.id).await.unwrap(), ExitStatus::Code(0));
    let mut output = String::new();
    std::fs::File::from(running.attachment.stdout).read_to_string(&mut output).unwrap();
    assert_eq!(output, "hello\n");
}

#[tokio::test(start_paused = true)]
async fn processes_are_listed_while_they_run_and_names_are_taken_once() {
    let bed = Bed::new().await;
    let name = bed.create("h").await;
    let running = bed.gardener.run(&name, run_spec("p", "/bin/sleep")).await.unwrap();
    let again = bed.gardener.run(&name, run_spec("p", "/bin/sleep")).await.unwrap_err();
    assert_eq!(again.kind(), ErrorKind::AlreadyExists);
    let missing = bed.gardener.run(&name, run_spec("q", "/missing")).await.unwrap_err();
    assert_eq!(missing.kind(), ErrorKind::ExecutableNotFound);
    assert_eq!(bed.gardener.info(&name).await.unwrap().process_ids, ["p"]);
    bed.gardener.signal(&name, &running.id, Signal::TERM).await.unwrap();
    assert_eq!(bed.gardener.wait(&name, &running.id).await.unwrap().code(), 143);
    assert!(bed.gardener.info(&name).await.unwrap().process_ids.is_empty());
    let unknown =
        bed.gardener.attach(&name, &process("nope"), gdn_types::AttachFrom::default()).await.unwrap_err();
    assert_eq!(unknown.kind(), ErrorKind::ProcessNotFound);
}

#[tokio::test(start_paused = true)]
async fn a_waiter_learns_that_its_process_was_killed_by_the_destroy() {
    let bed = Bed::new().await;
    let name = bed.create("h").await;
    let running = bed.gardener.run(&name, run_spec("p", "/bin/sleep")).await.unwrap();
    let (status, destroyed) =
        tokio::join!(bed.gardener.wait(&name, &running.id), async { bed.gardener.destroy(&name).await });
    destroyed.unwrap();
    assert_eq!(status.unwrap().code(), 137);
}

#[tokio::test(start_paused = true)]
async fn mapped_ports_are_told_and_freed() {
    let bed = Bed::new().await;
    let netin = vec![NetIn { container_port: 80, ..NetIn::default() }];
    let name = bed.gardener.create(ContainerSpec { netin, ..spec("h") }).await.unwrap();
    let seven = NetIn { host_port: 7000, container_port: 70, ..NetIn::default() };
    let (one, two) =
        tokio::join!(bed.gardener.net_in(&name, NetIn::default()), bed.gardener.net_in(&name, seven),);
    assert_eq!(one.unwrap().container_port, 61002);
    assert_eq!(two.unwrap(), seven);
    let info = bed.gardener.info(&name).await.unwrap();
    assert_eq!(info.mapped_ports.len(), 3);
    let text = r#"[{"HostPort":61001,"ContainerPort":80},{"HostPort":61002,"ContainerPort":61002},{"HostPort":7000,"ContainerPort":70}]"#;
    assert_eq!(info.properties.get(keys::MAPPED_PORTS), Some(text));
    bed.destroy_all("ports").await;
}

#[tokio::test(start_paused = true)]
async fn a_client_does_not_say_which_ports_are_mapped() {
    let bed = Bed::new().await;
    let mut properties = gdn_types::Properties::default();
    properties.set(keys::MAPPED_PORTS, r#"[{"HostPort":1,"ContainerPort":1}]"#).unwrap();
    let name = bed.gardener.create(ContainerSpec { properties, ..spec("h") }).await.unwrap();
    assert_eq!(bed.gardener.info(&name).await.unwrap().properties.get(keys::MAPPED_PORTS), None);
    bed.destroy_all("ports").await;
}

#[tokio::test(start_paused = true)]
async fn a_port_that_cannot_be_told_is_not_mapped() {
    let bed = Bed::new().await;
    let name = bed.gardener.create(spec("h")).await.unwrap();
    bed.world.clock().arm(Site::Every("properties.set"), Point::Before, Action::Fail(ErrorKind::Unavailable));
    let eighty = NetIn { host_port: 80, container_port: 80, ..NetIn::default() };
    let error = bed.gardener.net_in(&name, eighty).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    bed.world.clock().disarm();
    assert!(bed.gardener.info(&name).await.unwrap().mapped_ports.is_empty());
    assert_eq!(bed.gardener.net_in(&name, eighty).await.unwrap(), eighty);
    bed.destroy_all("ports").await;
}

#[tokio::test(start_paused = true)]
async fn an_unknown_handle_is_a_typed_error_everywhere_and_leaves_no_record() {
    let bed = Bed::new().await;
    let name = handle("unknown");
    let gardener = &bed.gardener;
    let errors = [
        gardener.info(&name).await.unwrap_err(),
        gardener.destroy(&name).await.unwrap_err(),
        gardener.metrics(&name).await.unwrap_err(),
        gardener.limits(&name).await.unwrap_err(),
        gardener.stop(&name, false).await.unwrap_err(),
        gardener.run(&name, run_spec("p", "/bin/true")).await.unwrap_err(),
        gardener.properties(&name).unwrap_err(),
        gardener.set_property(&name, "k", "v").await.unwrap_err(),
        gardener.set_grace_time(&name, std::time::Duration::ZERO).await.unwrap_err(),
        gardener.net_in(&name, NetIn::default()).await.unwrap_err(),
        gardener.net_out(&name, Vec::new()).await.unwrap_err(),
    ];
    for error in errors {
        assert_eq!(
            (error.kind(), error.message()),
            (ErrorKind::ContainerNotFound, "unknown handle: unknown")
        );
    }
    assert!(bed.world.leftovers().is_empty());
}

#[tokio::test(start_paused = true)]
async fn clients_change_their_own_properties_and_not_the_engines() {
    let bed = Bed::new().await;
    let name = bed.create("h").await;
    bed.gardener.set_property(&name, "concourse:x", "1").await.unwrap();
    assert_eq!(bed.gardener.property(&name, "concourse:x").unwrap(), "1");
    bed.gardener.remove_property(&name, "concourse:x").await.unwrap();
    let gone = bed.gardener.property(&name, "concourse:x").unwrap_err();
    assert_eq!(gone.message(), "property does not exist: concourse:x");
    let refused = bed.gardener.set_property(&name, keys::STATE, "hidden").await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::InvalidArgument);
}
