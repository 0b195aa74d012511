//! Many containers with a network: what the last one costs, how its packets fare, and how all of them go.

use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use gdn_types::Handle;
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

use crate::engine::{Engine, helpers, program};
use crate::figures::Figures;
use crate::samples::Samples;
use crate::view::join_network_of;

/// Creates at either end of the ramp of which the median counts.
const ENDS: usize = 20;

/// Round trips of one byte of which the median counts.
const TRIPS: usize = 3000;

/// For so long bytes are counted.
const STREAM: Duration = Duration::from_secs(2);

/// How long the host may take until nothing of destroyed containers is there.
const CLEAN: Duration = Duration::from_secs(20);

/// Port of the program in the container that sends back what it is sent.
const ECHO: &str = "7";

/// Port of the one that sends without end.
const SOURCE: &str = "19";

/// How large the ramp is.
#[derive(Clone, Copy)]
pub(crate) struct Ramp {
    /// Containers at its end.
    pub(crate) containers: usize,
    /// Of those, so many are destroyed at once.
    pub(crate) at_once: usize,
}

impl Ramp {
    /// Makes the containers, measures, and removes them.
    pub(crate) async fn measure(self, engine: &Engine) -> Result<Figures> {
        let mut figures = Figures::new();
        let path = Path::open(engine).await?;
        let (mut handles, mut creates) = (Vec::new(), Vec::new());
        let alone = path.measure().await?;
        for number in 0..self.containers {
            let start = Instant::now();
            handles.push(engine.create().await.with_context(|| format!("create container {number}"))?);
            creates.push(start.elapsed().as_nanos() as f64 / 1000.0);
        }
        let crowded = path.measure().await?;
        // Their number is in the name, so a smaller crowd has no such figure.
        if self.containers == 1000 {
            figures.insert("ms for a list of 1000", list(engine).await?);
        }
        path.close(engine).await?;
        let ends = ENDS.min(creates.len() / 2);
        figures.insert("us for the first creates", median(&creates[..ends])?);
        figures.insert("us for the last creates of the ramp", median(&creates[creates.len() - ends..])?);
        figures.insert("us round trip alone", alone.trip_us);
        figures.insert("us round trip in the crowd", crowded.trip_us);
        figures.insert("MB/s alone", alone.megabytes);
        figures.insert("MB/s in the crowd", crowded.megabytes);

        let rest = handles.split_off(self.at_once.min(handles.len()));
        let (processes, links) = (helpers()?, engine.links()?);
        let start = Instant::now();
        engine.destroy_at_once(&handles).await?;
        figures.insert("ms to destroy at once", start.elapsed().as_nanos() as f64 / 1e6);
        let (processes, links) = (processes - handles.len() * HELPERS_EACH, links - handles.len());
        while helpers()? > processes || engine.links()? > links {
            ensure!(start.elapsed() < CLEAN, "processes or links of destroyed containers stay");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        figures.insert("ms until the host is clean", start.elapsed().as_nanos() as f64 / 1e6);
        engine.destroy_at_once(&rest).await?;
        Ok(figures)
    }
}

/// Keeper and init.
const HELPERS_EACH: usize = 2;

/// The list of the ramp's containers over HTTP: the median of some calls, in milliseconds.
async fn list(engine: &Engine) -> Result<f64> {
    let (mut garden, mut calls) = (engine.garden().await?, Vec::new());
    for _ in 0..ENDS {
        calls.push(garden.list(1000).await?);
    }
    median(&calls)
}

fn median(values: &[f64]) -> Result<f64> {
    let mut samples = Samples::default();
    values.iter().for_each(|value| samples.add(*value));
    Ok(samples.summary().context("nothing was measured")?.p50)
}

/// A container whose programs answer, and how to reach it: as its host does.
struct Path {
    handle: Handle,
    address: IpAddr,
    server: u32,
}

/// How packets fare.
struct Fare {
    trip_us: f64,
    megabytes: f64,
}

impl Path {
    async fn open(engine: &Engine) -> Result<Self> {
        let handle = engine.create().await?;
        for (port, nc, command) in [(ECHO, "taskset 1 nc", "cat"), (SOURCE, "nc", "cat /dev/zero")] {
            let forever = format!("while :; do {nc} -l -p {port} -e {command}; done");
            engine.start_in(&handle, program("/bin/sh", &["-c", &forever])).await?;
        }
        let (address, server) = (engine.address(&handle).await?, engine.server_pid()?);
        Ok(Path { handle, address, server })
    }

    async fn measure(&self) -> Result<Fare> {
        let (address, server) = (self.address, self.server);
        let measured = thread::spawn(move || -> Result<Fare> {
            join_network_of(server)?;
            Ok(Fare { trip_us: round_trip(address)?, megabytes: throughput(address)? })
        });
        measured.join().map_err(|_| anyhow::anyhow!("the measuring thread panicked"))?
    }

    async fn close(self, engine: &Engine) -> Result<()> {
        engine.destroy_at_once(&[self.handle]).await
    }
}

/// The median of many round trips of one byte, in microseconds.
///
/// Both ends are on one processor. Whether the other end is on another one that has to be woken first (50 us and more in a
/// virtual machine) is the scheduler's choice, differs from run to run, and says nothing of the packets' path.
fn round_trip(address: IpAddr) -> Result<f64> {
    let all = sched_getaffinity(None)?;
    let mut first = CpuSet::new();
    first.set(0);
    sched_setaffinity(None, &first)?;
    let trips = trips(address);
    sched_setaffinity(None, &all)?;
    median(&trips?)
}

fn trips(address: IpAddr) -> Result<Vec<f64>> {
    let mut stream = connect(address, ECHO)?;
    stream.set_nodelay(true)?;
    let mut trips = Vec::new();
    for _ in 0..TRIPS {
        let start = Instant::now();
        stream.write_all(b"x")?;
        stream.read_exact(&mut [0])?;
        trips.push(start.elapsed().as_nanos() as f64 / 1000.0);
    }
    Ok(trips)
}

/// Megabytes a second that arrive.
fn throughput(address: IpAddr) -> Result<f64> {
    let mut stream = connect(address, SOURCE)?;
    let (mut buffer, mut count, start) = (vec![0; 256 * 1024], 0, Instant::now());
    while start.elapsed() < STREAM {
        let read = stream.read(&mut buffer)?;
        ensure!(read > 0, "the stream ended");
        count += read;
    }
    Ok(count as f64 / 1e6 / start.elapsed().as_secs_f64())
}

/// Connects as soon as somebody listens there.
fn connect(address: IpAddr, port: &str) -> Result<TcpStream> {
    let (target, end) = (SocketAddr::new(address, port.parse()?), Instant::now() + Duration::from_secs(10));
    loop {
        match TcpStream::connect_timeout(&target, Duration::from_secs(1)) {
            Ok(stream) => return Ok(stream),
            Err(error) if Instant::now() > end => {
                return Err(error).with_context(|| format!("reach {target}"));
            }
            Err(_) => thread::park_timeout(Duration::from_millis(10)),
        }
    }
}
