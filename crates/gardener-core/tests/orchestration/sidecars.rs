//! Sidecars: their volumes last as long as they run, whatever happens.

use gdn_testkit::{Action, Point, Site};
use gdn_types::{Error, ErrorKind, ExitStatus, Handle, ImageRef, ProcessSpec};

use crate::bed::{Bed, config, handle, process, run_spec, until};

fn sidecar(name: &str, path: &str) -> ProcessSpec {
    ProcessSpec { image: Some(ImageRef::uri("builtin:hello")), ..run_spec(name, path) }
}

async fn run(bed: &Bed, spec: ProcessSpec) -> Result<gardener_core::RunningProcess, Error> {
    bed.gardener.run(&handle("h"), spec).await
}

/// Volumes of sidecars, as a host without containers' own would show them.
fn volumes(bed: &Bed) -> usize {
    bed.world.leftovers().iter().filter(|left| left.contains("of sidecar")).count()
}

async fn expect_volumes(bed: &Bed, count: usize) {
    until(&format!("{count} volumes"), || match volumes(bed) {
        found if found == count => Ok(()),
        found => Err(format!("{found} volumes")),
    })
    .await;
}

async fn is_measured(bed: &Bed, name: &Handle) -> bool {
    let alone = bed.gardener.metrics(name).await;
    let in_bulk = bed.gardener.bulk_metrics(std::slice::from_ref(name)).await.remove(0).1;
    assert_eq!(alone.is_ok(), in_bulk.is_ok());
    alone.map_err(|error| assert_eq!(error.kind(), ErrorKind::ContainerNotFound)).is_ok()
}

#[tokio::test(start_paused = true)]
async fn a_volume_lasts_as_long_as_its_sidecar() {
    let bed = Bed::new().await;
    let name = bed.create("h").await;
    assert!(!is_measured(&bed, &handle("p")).await);
    let _running = run(&bed, sidecar("p", "/bin/sleep")).await.unwrap();
    assert_eq!(volumes(&bed), 1);
    assert!(is_measured(&bed, &handle("p")).await);
    let taken = run(&bed, sidecar("p", "/bin/sleep")).await.unwrap_err();
    assert_eq!(taken.kind(), ErrorKind::AlreadyExists);
    assert_eq!(run(&bed, run_spec("p", "/bin/sleep")).await.unwrap_err().kind(), ErrorKind::AlreadyExists);
    assert_eq!(volumes(&bed), 1, "the running one keeps its volume");
    bed.world.exit_process(&name, &process("p"), ExitStatus::Code(3));
    expect_volumes(&bed, 0).await;
    assert!(!is_measured(&bed, &handle("p")).await);
    let _quick = run(&bed, sidecar("q", "/bin/true")).await.unwrap();
    expect_volumes(&bed, 0).await;
    bed.destroy_all("after sidecars").await;
}

#[tokio::test(start_paused = true)]
async fn the_name_of_one_that_ended_is_free_when_its_volume_is_gone() {
    let bed = Bed::new().await;
    let name = bed.create("h").await;
    for _ in 0..3 {
        let _running = run(&bed, sidecar("p", "/bin/sleep")).await.unwrap();
        bed.world.exit_process(&name, &process("p"), ExitStatus::Code(3));
        assert_eq!(bed.gardener.wait(&name, &process("p")).await.unwrap(), ExitStatus::Code(3));
    }
    let _running = run(&bed, sidecar("p", "/bin/sleep")).await.unwrap();
    bed.world.clock().arm(Site::Call("volumizer.destroy", 1), Point::Before, Action::Block);
    bed.world.exit_process(&name, &process("p"), ExitStatus::Code(4));
    bed.world.clock().blocked(1).await;
    assert!(!is_measured(&bed, &handle("p")).await, "it has ended");
    let gardener = std::sync::Arc::clone(&bed.gardener);
    let start = tokio::spawn(async move { gardener.run(&handle("h"), sidecar("p", "/bin/sleep")).await });
    tokio::time::sleep(std::time::Duration::from_secs(5)).await;
    assert!(!start.is_finished(), "the other one's volume is in the way");
    bed.world.clock().release();
    let _running = start.await.unwrap().unwrap();
    assert_eq!(volumes(&bed), 1);
    assert!(is_measured(&bed, &handle("p")).await);
    bed.destroy_all("after a name was taken again").await;
}

#[tokio::test(start_paused = true)]
async fn one_that_does_not_start_leaves_neither_volume_nor_name() {
    let bed = Bed::new().await;
    bed.create("h").await;
    for _ in 0..2 {
        let error = run(&bed, sidecar("p", "/missing")).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ExecutableNotFound);
        let spec = ProcessSpec { image: Some(ImageRef::uri("missing:")), ..sidecar("p", "/bin/sleep") };
        assert_eq!(run(&bed, spec).await.unwrap_err().kind(), ErrorKind::ImageNotFound);
        assert_eq!(volumes(&bed), 0);
    }
    let _running = run(&bed, sidecar("p", "/bin/sleep")).await.unwrap();
    bed.destroy_all("with a running sidecar").await;
    assert!(!is_measured(&bed, &handle("p")).await);
}

#[tokio::test(start_paused = true)]
async fn namesakes_in_two_containers_do_not_hide_each_other() {
    let bed = Bed::new().await;
    let (first, second) = (bed.create("h").await, bed.create("other").await);
    let _one = run(&bed, sidecar("p", "/bin/sleep")).await.unwrap();
    let _two = bed.gardener.run(&second, sidecar("p", "/bin/sleep")).await.unwrap();
    bed.world.exit_process(&second, &process("p"), ExitStatus::Code(0));
    expect_volumes(&bed, 1).await;
    assert!(is_measured(&bed, &handle("p")).await, "the first still runs");
    bed.world.exit_process(&first, &process("p"), ExitStatus::Code(0));
    expect_volumes(&bed, 0).await;
    assert!(!is_measured(&bed, &handle("p")).await);
}

#[tokio::test(start_paused = true)]
async fn a_destroy_that_overtakes_a_start_is_the_reason_that_is_told() {
    let bed = Bed::new().await;
    let name = bed.create("h").await;
    bed.world.clock().arm(Site::Call("volumizer.create", 1), Point::Before, Action::Block);
    let gardener = std::sync::Arc::clone(&bed.gardener);
    let start = tokio::spawn(async move { gardener.run(&handle("h"), sidecar("p", "/bin/sleep")).await });
    bed.world.clock().blocked(1).await;
    bed.gardener.destroy(&name).await.unwrap();
    bed.world.clock().release();
    let kind = start.await.unwrap().unwrap_err().kind();
    assert!(matches!(kind, ErrorKind::BeingDestroyed | ErrorKind::ContainerNotFound), "{kind:?}");
    bed.nothing_left("after an overtaken start").await;
}

#[tokio::test(start_paused = true)]
async fn what_an_image_says_is_its_sidecars_and_not_the_containers() {
    let bed = Bed::new().await;
    bed.create("h").await;
    let running = run(&bed, sidecar("p", "")).await;
    assert!(running.is_ok(), "the image names a command");
    let binds = vec![gdn_types::BindMount::new("/a", "/b", gdn_types::BindMode::ReadOnly).unwrap()];
    let spec = ProcessSpec { bind_mounts: binds, ..run_spec("q", "/bin/true") };
    assert_eq!(run(&bed, spec).await.unwrap_err().kind(), ErrorKind::InvalidArgument);
}

#[tokio::test(start_paused = true)]
async fn a_kill_of_the_engine_at_any_point_leaves_no_volume_of_an_ended_sidecar() {
    for point in Point::ALL {
        for call in ["volumizer.create", "containerizer.run", "volumizer.destroy"] {
            let case = format!("kill at {call} {point:?}");
            let bed = Bed::new().await;
            let name = bed.create("h").await;
            let _other = run(&bed, sidecar("other", "/bin/sleep")).await.unwrap();
            bed.world.clock().arm(Site::Call(call, 1), point, Action::Crash);
            tokio::select! {
                _ = async {
                    let _running = run(&bed, sidecar("p", "/bin/true")).await;
                    std::future::pending::<()>().await
                } => (),
                () = bed.world.clock().crashed() => (),
            }
            bed.world.clock().disarm();
            let bed = bed.restarted(config()).await;
            expect_volumes(&bed, 1).await;
            assert!(is_measured(&bed, &handle("other")).await, "{case}");
            bed.world.exit_process(&name, &process("other"), ExitStatus::Code(0));
            expect_volumes(&bed, 0).await;
            bed.destroy_all(&case).await;
        }
    }
}
