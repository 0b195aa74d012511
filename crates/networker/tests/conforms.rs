//! The suite of what every networker promises, played against both. Needs root; the kernel's network is that of a namespace
//! of the test's own.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
#![allow(unsafe_code, reason = "unshare(2) is safe only when it leaves the table of descriptors alone")]

use std::sync::Arc;

use gdn_state::Store;
use gdn_testkit::conformance;
use gdn_types::EngineId;
use networker::{KernelNetworker, LoopbackNetworker, NetworkerConfig};
use rustix::thread::{UnshareFlags, unshare_unsafe};

#[tokio::test]
async fn the_one_without_a_network_conforms() {
    conformance::networker(&LoopbackNetworker::new()).await;
}

#[test]
fn the_one_of_the_kernel_conforms() {
    let thread = std::thread::spawn(|| {
        // SAFETY: a network namespace is the thread's; the table of descriptors is not unshared.
        unsafe { unshare_unsafe(UnshareFlags::NEWNET) }.expect("tests of the kernel are run as root");
        // Its threads are made by this one, and so have its network.
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
            let place = tempfile::tempdir().unwrap();
            let store = Arc::new(Store::open(&place.path().join("state")).unwrap());
            let pool = "10.254.0.0/24".parse().unwrap();
            let config = NetworkerConfig::new(EngineId::from_bits(9), place.path().join("network"), pool);
            let networker = KernelNetworker::open(config, store).unwrap();
            conformance::networker(&networker).await;
            networker.close().await.unwrap();
        });
    });
    thread.join().unwrap();
}
