//! What every networker promises before a sandbox is attached.

use gdn_traits::{NetworkRequest, Networker};
use gdn_types::{BandwidthLimits, ContainerId, Handle, NetworkMode, Properties};

/// Runs the suite.
pub async fn networker(networker: &dyn Networker) {
    networker.restore(&[]).await.expect("a restore of nothing succeeds");
    let (one, two) = (ContainerId::from_bits(1), ContainerId::from_bits(2));
    networker.destroy(&one).await.expect("destroy of an unknown container succeeds");
    let request = NetworkRequest {
        handle: Handle::parse("suite").expect("the suite's name is a handle"),
        privileged: false,
        ids: None,
        mode: NetworkMode::Default,
        netin: Vec::new(),
        netout: Vec::new(),
        egress: None,
        bandwidth: BandwidthLimits::default(),
        properties: Properties::default(),
    };
    let first = networker.reserve(&one, &request).await.expect("a network is reserved");
    let second = networker.reserve(&two, &request).await.expect("a second network is reserved");
    let networked = !first.container_ip.is_empty();
    assert!(!networked || first.container_ip != second.container_ip, "two containers have two addresses");
    assert_eq!(networker.bandwidth(&one).await.expect("limits are told"), BandwidthLimits::default());
    assert!(networker.capacity() > 0, "a networker has room");

    networker.restore(&[(one, first.properties.clone())]).await.expect("a restore keeps what is known");
    let third = networker.reserve(&two, &request).await.expect("a restore frees what is not known");
    assert!(!networked || third.container_ip != first.container_ip, "a known address is held");
    for id in [one, two, one] {
        networker.destroy(&id).await.expect("destroy succeeds, and again");
    }
}
