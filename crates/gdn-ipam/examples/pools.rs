//! Three containers ask for a network, and one gives it back.

use gdn_ipam::{Network, PortPool, PrefixPool, SubnetPool};

fn main() -> Result<(), gdn_ipam::Error> {
    let mut subnets = SubnetPool::new("10.254.0.0/22".parse()?);
    let mut prefixes = PrefixPool::new("fd00:9a7d::/48".parse()?, 64)?;
    let mut ports = PortPool::new(61001, 4534, None)?;
    for wanted in ["", "10.9.0.0/24", "10.9.0.7/24"] {
        let lease = subnets.acquire(&Network::parse(wanted)?)?;
        let (prefix, port) = (prefixes.acquire()?, ports.acquire()?);
        println!("{wanted:12} {} of {}, {} and port {port}", lease.address, lease.subnet, prefix.address());
        if wanted.is_empty() {
            subnets.release(&lease);
        }
    }
    println!("{} of {} subnets of {} are free", subnets.capacity(), subnets.capacity(), subnets.range());
    Ok(())
}
