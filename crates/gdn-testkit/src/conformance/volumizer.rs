//! What every volumizer promises.

use gdn_traits::{VolumeId, VolumeRequest, Volumizer};
use gdn_types::{ContainerId, DiskLimits, ErrorKind, ImageRef, ProcessId};

/// Runs the suite with an image that exists and one that does not.
pub async fn volumizer(volumizer: &dyn Volumizer, image: ImageRef, missing: ImageRef) {
    volumizer.restore(&[]).await.expect("a restore of nothing succeeds");
    let (first, second) = (ContainerId::from_bits(1), ContainerId::from_bits(2));
    let (one, two) = (VolumeId::from(first), VolumeId::from(second));
    volumizer.destroy(&one).await.expect("destroy of an unknown volume succeeds");
    let request = |image: &ImageRef| VolumeRequest {
        image: image.clone(),
        privileged: false,
        ids: None,
        limits: DiskLimits::default(),
    };
    let error = volumizer.create(&one, &request(&missing)).await.expect_err("a missing image is an error");
    assert_eq!(error.kind(), ErrorKind::ImageNotFound);
    volumizer.destroy(&one).await.expect("destroy after a failed create succeeds");

    let volume = volumizer.create(&one, &request(&image)).await.expect("a volume is created");
    let another =
        volumizer.create(&two, &request(&image)).await.expect("a second volume of one image is created");
    assert_eq!(volume.config, another.config, "one image says one thing");
    drop((volume, another));
    volumizer.mount(&one, &request(&image)).await.expect("a volume is mounted again");
    volumizer.metrics(&one).await.expect("a volume is measured");
    let (disk, store) = volumizer.capacity().await.expect("the store has a capacity");
    assert!(disk > 0 && store > 0, "{disk} {store}");

    sidecars(volumizer, first, &request(&image)).await;

    volumizer.restore(&[first]).await.expect("a restore keeps what is known");
    let gone = volumizer.mount(&two, &request(&image)).await;
    assert_eq!(gone.expect_err("a restore removes what is not known").kind(), ErrorKind::Lost);
    volumizer.mount(&one, &request(&image)).await.expect("a known volume is still there");
    for _ in 0..2 {
        volumizer.destroy(&one).await.expect("destroy succeeds, and again");
    }
    volumizer.mount(&one, &request(&image)).await.expect_err("a destroyed volume cannot be mounted");
    assert_eq!(
        volumizer.sidecars(&first).await.expect("sidecars are listed"),
        [],
        "they went with the container"
    );
    volumizer.collect_garbage().await.expect("garbage is collected");
}

/// A sidecar's volume belongs to its container's.
async fn sidecars(volumizer: &dyn Volumizer, container: ContainerId, request: &VolumeRequest) {
    let process = |name: &str| ProcessId::parse(name).expect("a process id");
    let of = |name: &str| VolumeId::sidecar(container, process(name));
    let known = async || {
        let known = volumizer.sidecars(&container).await.expect("sidecars are listed");
        let mut known: Vec<ProcessId> = known.into_iter().map(|(process, _)| process).collect();
        known.sort();
        known
    };
    assert_eq!(known().await, []);
    volumizer.destroy(&of("none")).await.expect("destroy of an unknown sidecar's volume succeeds");
    for name in ["envoy", "proxy", "last"] {
        drop(volumizer.create(&of(name), request).await.expect("a sidecar's volume is created"));
    }
    volumizer.metrics(&of("envoy")).await.expect("a sidecar's volume is measured");
    volumizer.destroy(&of("envoy")).await.expect("a sidecar's volume is destroyed");
    volumizer.restore(&[container, ContainerId::from_bits(2)]).await.expect("a restore keeps what is known");
    assert_eq!(known().await, [process("last"), process("proxy")]);
    drop(
        volumizer.mount(&container.into(), request).await.expect("the container's own volume is still there"),
    );

    let stranger = ContainerId::from_bits(77);
    let orphan = VolumeId::sidecar(stranger, process("orphan"));
    let error =
        volumizer.create(&orphan, request).await.expect_err("a sidecar needs a container with a volume");
    assert_eq!(error.kind(), ErrorKind::FailedPrecondition);
    volumizer.destroy(&orphan).await.expect("destroy after a failed create succeeds");
    assert_eq!(volumizer.sidecars(&stranger).await.expect("nobody has no sidecars"), []);
}
