//! AppArmor profiles, as far as a kernel without AppArmor can show: what is asked for and cannot be had is refused.

use engine_tests::Engine;
use gdn_types::{ApparmorProfile, ContainerSpec, ErrorKind};

fn with(apparmor: ApparmorProfile, privileged: bool) -> ContainerSpec {
    ContainerSpec { apparmor, privileged, ..ContainerSpec::default() }
}

fn named(name: &str) -> ApparmorProfile {
    ApparmorProfile::Named(name.to_owned())
}

/// Conformance: Q424, Q426
#[test]
fn a_profile_that_the_kernel_does_not_have_fails_the_create_of_unprivileged_containers_only() {
    let mut engine = Engine::new();
    engine.start_server(&["--apparmor", "gdn-operators"]);
    for (choice, name) in [(ApparmorProfile::Engine, "gdn-operators"), (named("gdn-clients"), "gdn-clients")]
    {
        let error = engine.try_create(with(choice, false)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::FailedPrecondition, "{}", error.report());
        assert!(error.message().contains(&format!("AppArmor profile \"{name}\"")), "{}", error.message());
    }
    assert!(engine.log().contains("AppArmor profile"), "the operator is told at the start: {}", engine.log());
    engine.create_from(with(ApparmorProfile::Engine, true));
    let error = engine.try_create(with(named("gdn-clients"), true)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidArgument, "{}", error.report());
    engine.create_from(with(ApparmorProfile::Unconfined, false));
    let refused = engine.gdn(["create", "--image", engine.image(), "--apparmor", "gdn-clients"]);
    refused.expect_status(1).expect_error("AppArmor profile \"gdn-clients\"");
    engine.stop_server();

    engine.start_server(&["--apparmor", "gdn-operators", "--disable-privileged-containers"]);
    let error = engine.try_create(with(ApparmorProfile::Unconfined, false)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::PermissionDenied, "{}", error.report());
    engine.finish();
}
