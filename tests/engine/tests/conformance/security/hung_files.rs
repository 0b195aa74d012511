//! Files of a container whose reading never ends.

use engine_tests::Engine;
use engine_tests::session::{as_user, program, read_until, script};
use gdn_types::{ContainerSpec, ErrorKind};

use super::probes::{self, image};

/// Number of mount(2).
const MOUNT: u32 = if cfg!(target_arch = "aarch64") { 40 } else { 165 };

/// A privileged container shows a file of its own making as `/etc/passwd`, and answers nobody who reads it. Its own clients are
/// told so, others notice nothing, and it can be destroyed.
#[test]
fn a_user_file_that_never_answers_holds_nobody_for_long() {
    let engine = Engine::start();
    let image = image(&engine);
    let handle = probes::create(&engine, &image, true);
    let other = engine.create_from(ContainerSpec::default());
    // A FUSE file system whose root is a regular file, and whose program does not even begin to talk.
    let text = format!(
        "$| = 1; open(my $fuse, '+<', '/dev/fuse') or die $!; \
         my $how = 'fd=' . fileno($fuse) . ',rootmode=100644,user_id=0,group_id=0'; \
         syscall({MOUNT}, my $what = 'hung', my $where = '/etc/passwd', my $kind = 'fuse', 0, $how) == 0 or die $!; \
         print 'mounted.'; sleep 1000"
    );
    engine.with_client(async |client| {
        let mut server = client.run(&handle, program(&["/usr/bin/perl", "-e", &text])).await.unwrap();
        read_until(&mut server, "mounted.").await;
        // More than may wait at once.
        let asked = (0..5).map(|_| client.run(&handle, as_user("alice", script("true"))));
        for outcome in futures::future::join_all(asked).await {
            let Err(error) = outcome else { panic!("the file was read") };
            assert_eq!(error.kind(), ErrorKind::DeadlineExceeded, "{}", error.report());
            assert!(error.message().contains("/etc/passwd"), "{}", error.report());
        }
    });
    engine.run(&other, as_user("alice", script("true"))).expect(0);
    engine.gdn(["destroy", handle.as_str()]).expect_status(0);
    engine.finish();
}
