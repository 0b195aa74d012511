//! Clients at work, a server killed at a random moment, and a ledger of what was acknowledged.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use engine_tests::{Engine, until};
use gdn_client::{Client, ProcessEvent};
use gdn_types::{ContainerSpec, ErrorKind, ExitStatus, Handle, ImageRef, ProcessSpec};

/// Rounds when `GDN_ROUNDS` does not say otherwise: half a minute's worth.
const ROUNDS: u64 = 8;

/// Clients at work at the same time.
const WORKERS: u64 = 6;

/// What a client knows about a container of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Entry {
    /// Asked for, not acknowledged.
    Creating,
    /// Acknowledged.
    Created,
    /// Asked to go, not acknowledged.
    Destroying,
    /// Acknowledged to be gone.
    Destroyed,
}

#[derive(Default)]
struct Ledger {
    entries: Mutex<BTreeMap<String, Entry>>,
    acknowledged: AtomicU64,
}

impl Ledger {
    fn note(&self, handle: &Handle, entry: Entry) {
        self.entries.lock().unwrap().insert(handle.to_string(), entry);
        if matches!(entry, Entry::Created | Entry::Destroyed) {
            self.acknowledged.fetch_add(1, Ordering::SeqCst);
        }
    }

    fn entries(&self) -> BTreeMap<String, Entry> {
        self.entries.lock().unwrap().clone()
    }
}

/// A small generator (xorshift64): the seed it is printed with repeats a run's choices.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound
    }
}

/// Creates, runs and destroys until the server is gone; leaves every other container standing.
async fn work(client: Client, image: String, ledger: Arc<Ledger>, round: u64, worker: u64) {
    for number in 0.. {
        let handle = Handle::parse(&format!("r{round}-w{worker}-{number}")).unwrap();
        ledger.note(&handle, Entry::Creating);
        let spec = ContainerSpec {
            handle: Some(handle.clone()),
            image: ImageRef::uri(&image),
            ..Default::default()
        };
        match client.create(spec).await {
            Ok(_) => ledger.note(&handle, Entry::Created),
            Err(error) => return expect_lost_connection(&error),
        }
        if let Err(error) = run_true(&client, &handle).await {
            return expect_lost_connection(&error);
        }
        if number % 2 == 0 {
            ledger.note(&handle, Entry::Destroying);
            match client.destroy(&handle).await {
                Ok(()) => ledger.note(&handle, Entry::Destroyed),
                Err(error) => return expect_lost_connection(&error),
            }
        }
    }
}

fn expect_lost_connection(error: &gdn_types::Error) {
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{}", error.report());
}

async fn run_true(client: &Client, handle: &Handle) -> gdn_types::Result<()> {
    let mut process = client.run(handle, ProcessSpec { path: "true".into(), ..Default::default() }).await?;
    while let Some(event) = process.next().await? {
        if let ProcessEvent::Exited(status) = event {
            assert_eq!(status, ExitStatus::Code(0));
        }
    }
    Ok(())
}

fn round(engine: &mut Engine, random: &mut Random, round: u64) {
    let ledger = Arc::new(Ledger::default());
    let mut standing = engine.handles();
    let (acks, extra) = (1 + random.below(60), Duration::from_micros(random.below(8000)));
    println!("round {round}: killed {extra:?} after {acks} acknowledgements");
    let image = engine.image().to_owned();
    let workers = engine.with_client(async |client| {
        let start = |worker| tokio::spawn(work(client.clone(), image.clone(), ledger.clone(), round, worker));
        (0..WORKERS).map(start).collect::<Vec<_>>()
    });
    until("acknowledgements", || {
        ledger.acknowledged.load(Ordering::SeqCst) >= acks
            || workers.iter().all(|worker| worker.is_finished())
    });
    // Part of the random moment, not a wait for anything.
    std::thread::park_timeout(extra);
    engine.kill_server();
    engine.start_server(&[]);
    engine.with_client(async |_| {
        for worker in workers {
            worker.await.unwrap();
        }
    });
    standing.extend(
        ledger.entries().iter().filter(|(_, entry)| **entry == Entry::Created).map(|(name, _)| name.clone()),
    );
    check(engine, &standing, &ledger.entries());
}

/// What was acknowledged is there and runs, or is gone; what was not is wholly there or, by and by, wholly gone.
fn check(engine: &Engine, standing: &[String], entries: &BTreeMap<String, Entry>) {
    let listed = engine.gdn(["list", "-q"]).expect_status(0).text();
    let listed: Vec<String> = listed.lines().map(str::to_owned).collect();
    for handle in standing {
        assert!(listed.contains(handle), "{handle} was acknowledged and is not listed: {listed:?}");
    }
    for handle in entries.iter().filter(|(_, entry)| **entry == Entry::Destroyed).map(|(name, _)| name) {
        assert!(!listed.contains(handle), "{handle} was acknowledged to be gone and is listed");
    }
    engine.with_client(async |client| {
        for handle in &listed {
            let ran = run_true(&client, &Handle::parse(handle).unwrap()).await;
            ran.unwrap_or_else(|error| panic!("{handle} ({:?}): {}", entries.get(handle), error.report()));
        }
    });
    until("everything half done to be gone", || {
        let mut all = engine.handles();
        all.retain(|handle| !listed.contains(handle));
        all.is_empty()
    });
}

#[test]
fn what_was_acknowledged_survives_kills_at_random_moments() {
    let number = |name: &str| std::env::var(name).ok().map(|text| text.parse::<u64>().unwrap());
    let clock = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos();
    let seed = number("GDN_SEED").unwrap_or_else(|| u64::try_from(clock).unwrap() | 1);
    println!("GDN_SEED={seed}");
    let mut random = Random(seed);
    let mut engine = Engine::start();
    for n in 0..number("GDN_ROUNDS").unwrap_or(ROUNDS) {
        round(&mut engine, &mut random, n);
        let standing = engine.handles();
        // Some rounds begin with the containers of those before.
        if standing.len() > 40 || random.below(2) == 0 {
            let all = standing.iter().map(String::as_str);
            if !standing.is_empty() {
                engine.gdn(["destroy"].into_iter().chain(all)).expect_status(0);
            }
        }
    }
    engine.finish();
}
