//! What a program of a container can do that busybox cannot try: the host's perl, with its libraries, is lent to it.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use engine_tests::Engine;
use engine_tests::session::{as_user, program};
use gdn_types::{BindMode, BindMount, ContainerSpec, Handle, ImageRef};

/// Numbers of ptrace(2) and settimeofday(2).
const CALLS: (u32, u32) = if cfg!(target_arch = "aarch64") { (117, 170) } else { (101, 164) };

/// An image with room for the host's perl, and a copy of it that becomes root.
pub(super) fn image(engine: &Engine) -> ImageRef {
    ImageRef::uri(engine.image_with("perl", |rootfs| {
        fs::copy("/usr/bin/perl", rootfs.join("bin/becomes-root")).expect("perl is part of the host");
        fs::set_permissions(rootfs.join("bin/becomes-root"), fs::Permissions::from_mode(0o4755)).unwrap();
        fs::create_dir_all(rootfs.join("usr")).unwrap();
    }))
}

/// A container to which the host's perl and libraries are lent.
pub(super) fn create(engine: &Engine, image: &ImageRef, privileged: bool) -> Handle {
    create_from(engine, image, ContainerSpec { privileged, ..ContainerSpec::default() })
}

/// The same with more wishes.
pub(super) fn create_from(engine: &Engine, image: &ImageRef, spec: ContainerSpec) -> Handle {
    let lent = ["/usr", "/lib", "/lib64"].into_iter().filter(|path| fs::metadata(path).is_ok());
    let lend = |path: &str| BindMount::new(path, path, BindMode::ReadOnly).unwrap();
    engine.create_from(ContainerSpec { image: image.clone(), bind_mounts: lent.map(lend).collect(), ..spec })
}

/// Conformance: Q431
#[test]
fn a_process_may_trace_its_child() {
    let engine = Engine::start();
    let handle = create(&engine, &image(&engine), false);
    // PTRACE_TRACEME is 0, PTRACE_CONT is 7. The child stops itself and is seen to have: perl tells that as 0, with which it
    // never ends. Only one that is traced and stopped can be let go on.
    let trace = format!(
        "my $p = fork; if (!$p) {{ syscall({0}, 0, 0, 0, 0) == 0 or exit 9; kill 19, $$; exit 7 }} \
         waitpid($p, 0) == $p && $? == 0 or exit 8; syscall({0}, 7, $p, 0, 0) == 0 or exit 10; \
         waitpid($p, 0); exit $? >> 8",
        CALLS.0
    );
    for user in ["", "alice"] {
        engine.run(&handle, as_user(user, program(&["/usr/bin/perl", "-e", &trace]))).expect(7);
    }
    engine.finish();
}

/// Conformance: G222-223
#[test]
fn a_program_that_becomes_root_may_change_owners_and_not_the_clock() {
    let engine = Engine::start();
    // Without a time to set, the clock stays as it is whatever the kernel says.
    let clock = format!("syscall({}, 0, 0) == 0 and exit 8; ", CALLS.1);
    let owner = "open my $f, '>', '/tmp/new'; chown 0, 0, '/tmp/new' or exit 9; (stat '/tmp/new')[4] == 0 or exit 10; ";
    let text = format!("$> == 0 or exit 11; $< == 1000 or exit 12; {clock}{owner}exit 5");
    let image = image(&engine);
    for privileged in [false, true] {
        let handle = create(&engine, &image, privileged);
        engine.run(&handle, as_user("alice", program(&["becomes-root", "-e", &text]))).expect(5);
    }
    engine.finish();
}

/// The engine's own profile in a container: families of sockets that have led out of containers, input put into a terminal,
/// namespaces by the newer call, and calls that are newer than the profile.
#[test]
fn the_engines_own_profile_refuses_what_has_led_out_of_containers() {
    let engine = Engine::start();
    let handle = create(&engine, &image(&engine), false);
    let [socket, ioctl] = if cfg!(target_arch = "aarch64") { [198, 29] } else { [41, 16] };
    let answer = |call: &str| {
        let text = format!("print syscall({call}) >= 0 ? 0 : $! + 0");
        engine.run(&handle, program(&["/usr/bin/perl", "-e", &text])).expect(0).text()
    };
    let (refused, absent) = ("1", "38");
    assert_eq!(answer(&format!("{socket}, 38, 5, 0")), refused, "AF_ALG");
    assert_eq!(answer(&format!("{socket}, 40, 1, 0")), refused, "AF_VSOCK");
    assert_eq!(answer(&format!("{socket}, 1, 1, 0")), "0", "AF_UNIX");
    assert_eq!(answer(&format!("{ioctl}, 0, 0x5412, my $key = 'x'")), refused, "TIOCSTI");
    // Numbers of the newer calls are the same everywhere.
    assert_eq!(answer("435, 0, 0"), absent, "clone3");
    assert_eq!(answer("425, 1, 0"), refused, "io_uring_setup");
    assert_eq!(answer("1000, 0, 0"), absent, "a call that nobody knows");
    engine.finish();
}
