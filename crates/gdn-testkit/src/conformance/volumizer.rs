//! What every volumizer promises.

use gdn_traits::{VolumeRequest, Volumizer};
use gdn_types::{ContainerId, DiskLimits, ErrorKind, ImageRef};

/// Runs the suite with an image that exists and one that does not.
pub async fn volumizer(volumizer: &dyn Volumizer, image: ImageRef, missing: ImageRef) {
    volumizer.restore(&[]).await.expect("a restore of nothing succeeds");
    let (one, two) = (ContainerId::from_bits(1), ContainerId::from_bits(2));
    volumizer.destroy(&one).await.expect("destroy of an unknown volume succeeds");
    let request = |image: &ImageRef| VolumeRequest {
        image: image.clone(),
        privileged: false,
        limits: DiskLimits::default(),
    };
    let error = volumizer.create(&one, &request(&missing)).await.expect_err("a missing image is an error");
    assert_eq!(error.kind(), ErrorKind::ImageNotFound);
    volumizer.destroy(&one).await.expect("destroy after a failed create succeeds");

    let first = volumizer.create(&one, &request(&image)).await.expect("a volume is created");
    let second =
        volumizer.create(&two, &request(&image)).await.expect("a second volume of one image is created");
    assert_eq!(first.config, second.config, "one image says one thing");
    drop((first, second));
    volumizer.mount(&one, &request(&image)).await.expect("a volume is mounted again");
    volumizer.metrics(&one).await.expect("a volume is measured");
    let (disk, store) = volumizer.capacity().await.expect("the store has a capacity");
    assert!(disk > 0 && store > 0, "{disk} {store}");

    volumizer.restore(&[one]).await.expect("a restore keeps what is known");
    volumizer.mount(&two, &request(&image)).await.expect_err("a restore removes what is not known");
    volumizer.mount(&one, &request(&image)).await.expect("a known volume is still there");
    for _ in 0..2 {
        volumizer.destroy(&one).await.expect("destroy succeeds, and again");
    }
    volumizer.mount(&one, &request(&image)).await.expect_err("a destroyed volume cannot be mounted");
    volumizer.collect_garbage().await.expect("garbage is collected");
}
