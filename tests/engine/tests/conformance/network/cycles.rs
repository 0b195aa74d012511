//! Many containers at once and one after the other: nobody gets an address or a port that another one has, and afterwards the
//! pools are whole.
//!
//! By default few; `GDN_NETWORK_CYCLES=10000` makes so many one after the other, and 250 at once.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use gdn_client::Client;
use gdn_types::{ContainerInfo, ContainerSpec, Handle, ImageRef, NetIn};
use tokio::task::JoinSet;

use super::*;

/// How much is done.
struct Size {
    at_once: usize,
    cycles: u64,
    /// A pool, and how many subnets it has.
    pool: &'static str,
    subnets: usize,
}

const SMALL: Size = Size { at_once: 24, cycles: 40, pool: "10.254.0.0/25", subnets: 32 };
/// How many clients make containers one after the other.
const CLIENTS: usize = 8;

fn size() -> Size {
    match std::env::var("GDN_NETWORK_CYCLES").ok().and_then(|text| text.parse().ok()) {
        None => SMALL,
        Some(cycles) => Size { at_once: 250, cycles, pool: "10.254.0.0/22", subnets: 256 },
    }
}

/// Addresses and host ports of containers that have been acknowledged and not been destroyed.
#[derive(Clone, Default)]
struct Held(Arc<Mutex<BTreeSet<String>>>);

impl Held {
    fn take(&self, info: &ContainerInfo) {
        for name in names(info) {
            assert!(self.0.lock().unwrap().insert(name.clone()), "{name} has been handed out twice");
        }
    }

    fn give_back(&self, info: &ContainerInfo) {
        for name in names(info) {
            assert!(self.0.lock().unwrap().remove(&name), "{name} was nobody's");
        }
    }
}

fn names(info: &ContainerInfo) -> [String; 3] {
    let port = info.mapped_ports[0].host_port;
    [info.container_ip.clone(), info.container_ipv6.clone(), format!("port {port}")]
}

async fn create(client: &Client, image: &str, held: &Held) -> (Handle, ContainerInfo) {
    let netin = vec![NetIn { container_port: 80, ..NetIn::default() }];
    let spec = ContainerSpec { image: ImageRef::uri(image), netin, ..ContainerSpec::default() };
    let handle = client.create(spec).await.unwrap();
    let info = client.info(&handle).await.unwrap();
    held.take(&info);
    (handle, info)
}

async fn destroy(client: &Client, held: &Held, (handle, info): (Handle, ContainerInfo)) {
    // From here on somebody else may get them.
    held.give_back(&info);
    client.destroy(&handle).await.unwrap();
}

/// So many at the same moment, all of which are there in the end.
async fn create_many(
    client: &Client,
    image: &str,
    held: &Held,
    count: usize,
) -> Vec<(Handle, ContainerInfo)> {
    let mut creates = JoinSet::new();
    for _ in 0..count {
        let (client, image, held) = (client.clone(), image.to_owned(), held.clone());
        creates.spawn(async move { create(&client, &image, &held).await });
    }
    creates.join_all().await
}

async fn at_once(client: &Client, image: &str, count: usize) {
    let held = Held::default();
    let mut destroys = JoinSet::new();
    for one in create_many(client, image, &held, count).await {
        let (client, held) = (client.clone(), held.clone());
        destroys.spawn(async move { destroy(&client, &held, one).await });
    }
    destroys.join_all().await;
}

/// As many as there are subnets, and then one more.
async fn all_and_no_more(client: &Client, image: &str, subnets: usize) {
    create_many(client, image, &Held::default(), subnets).await;
    let spec = ContainerSpec { image: ImageRef::uri(image), ..ContainerSpec::default() };
    let full = client.create(spec).await.unwrap_err();
    assert!(full.report().contains("insufficient subnets"), "{}", full.report());
}

/// Some clients that each make one after the other, until there have been so many.
async fn in_turn(client: &Client, image: &str, cycles: u64) {
    let (held, begun) = (Held::default(), Arc::new(AtomicU64::new(0)));
    let mut clients = JoinSet::new();
    for _ in 0..CLIENTS {
        let (client, image) = (client.clone(), image.to_owned());
        let (held, begun) = (held.clone(), begun.clone());
        clients.spawn(async move {
            while begun.fetch_add(1, Ordering::Relaxed) < cycles {
                let one = create(&client, &image, &held).await;
                destroy(&client, &held, one).await;
            }
        });
    }
    clients.join_all().await;
}

/// Descriptors of the server.
fn descriptors(bed: &Bed) -> usize {
    std::fs::read_dir(format!("/proc/{}/fd", bed.engine.server_pid())).unwrap().count()
}

#[test]
fn of_many_containers_each_has_addresses_and_a_port_of_its_own() {
    let Size { at_once: count, cycles, pool, subnets } = size();
    let ports = subnets.to_string();
    let fixed = ["--network-pool", pool, "--network-pool6", POOL6];
    let ports = ["--port-pool-start", "7001", "--port-pool-size", &ports];
    let mut bed = Bed::start_with(&[fixed, ports].concat());
    let image = bed.engine.image().to_owned();
    bed.engine.with_client(async |client| at_once(&client, &image, count).await);
    bed.restart();
    bed.engine.with_client(async |client| at_once(&client, &image, count).await);
    let before = descriptors(&bed);
    bed.engine.with_client(async |client| in_turn(&client, &image, cycles).await);
    // What is kept for the next is a few.
    until("the server to have let go of descriptors", || descriptors(&bed) <= before + 16);
    // Every subnet and every port is there again, and no more.
    bed.engine.with_client(async |client| all_and_no_more(&client, &image, subnets).await);
    bed.finish();
}
