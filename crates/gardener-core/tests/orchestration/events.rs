//! Events, in order.

use gdn_types::{EventKind, ExitStatus, WantOfMemory};

use crate::bed::{Bed, process, run_spec};

#[tokio::test(start_paused = true)]
async fn events_come_in_the_order_in_which_things_happened() {
    let bed = Bed::new().await;
    let mut events = bed.gardener.subscribe();
    let name = bed.create("h").await;
    let _running = bed.gardener.run(&name, run_spec("p", "/bin/sleep")).await.unwrap();
    let _quick = bed.gardener.run(&name, run_spec("q", "/bin/true")).await.unwrap();
    bed.world.out_of_memory(&name, &process("p"));
    bed.gardener.stop(&name, true).await.unwrap();
    bed.gardener.destroy(&name).await.unwrap();
    let mut seen = Vec::new();
    while let Ok(event) = events.try_recv() {
        assert_eq!(event.handle, name);
        seen.push(event.kind);
    }
    let expected = [
        EventKind::Created,
        EventKind::ProcessStarted(process("p")),
        EventKind::ProcessStarted(process("q")),
        EventKind::ProcessExited(process("q"), ExitStatus::Code(0)),
        EventKind::OutOfMemory(WantOfMemory { sidecar: None, ended: Some(process("p")) }),
        EventKind::ProcessExited(process("p"), ExitStatus::Signal(9)),
        EventKind::Stopped,
        EventKind::Destroyed,
    ];
    assert_eq!(seen, expected);
}

#[tokio::test(start_paused = true)]
async fn out_of_memory_is_on_record_before_anyone_learns_of_the_exit() {
    let bed = Bed::new().await;
    let name = bed.create("h").await;
    let running = bed.gardener.run(&name, run_spec("p", "/bin/sleep")).await.unwrap();
    let (events, ()) = tokio::join!(
        async {
            bed.gardener.wait(&name, &running.id).await.unwrap();
            bed.gardener.info(&name).await.unwrap().events
        },
        async { bed.world.out_of_memory(&name, &running.id) }
    );
    assert_eq!(events, ["Out of memory"]);
    for _ in 0..1000 {
        bed.world.out_of_memory(&name, &running.id);
    }
    assert_eq!(bed.gardener.info(&name).await.unwrap().events.len(), 100);
}

/// Whoever was told of an exit finds what caused it also at the engine that comes after a kill.
#[tokio::test(start_paused = true)]
async fn what_was_on_record_when_an_exit_was_told_outlives_the_engine_and_is_told_once() {
    let bed = Bed::new().await;
    let name = bed.create("h").await;
    let running = bed.gardener.run(&name, run_spec("p", "/bin/sleep")).await.unwrap();
    let (waited, ()) = tokio::join!(bed.gardener.wait(&name, &running.id), async {
        bed.world.out_of_memory(&name, &running.id);
    });
    waited.unwrap();
    drop(running);
    let bed = bed.restarted(crate::bed::config()).await;
    assert_eq!(bed.gardener.info(&name).await.unwrap().events, ["Out of memory"]);
    // Nobody waits, and the engine is stopped in order.
    let _quiet = bed.gardener.run(&name, run_spec("q", "/bin/sleep")).await.unwrap();
    bed.world.out_of_memory(&name, &process("q"));
    bed.gardener.shutdown(std::time::Duration::from_secs(1)).await;
    let bed = bed.restarted(crate::bed::config()).await;
    assert_eq!(bed.gardener.info(&name).await.unwrap().events.len(), 2);
}
