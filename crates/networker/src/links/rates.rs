//! Limits of what goes through a container's link.
//!
//! Both directions are limited at the host's end, which a container cannot touch. What it receives waits in that end's own
//! queue. What it sends is led to an intermediate link, which hands it back to the host through a queue of its own.

use gdn_links::shaping::Limit;
use gdn_links::{Batch, Connection, LinkChange, LinkIndex, LinkName};
use gdn_types::{BandwidthLimits, ContainerId, Error, ErrorKind, Result};

use super::{ETHERNET_MTU, Links, MOST_LINKS, failed};

/// Of a burst that nobody chose: so much of a second's bytes, and at least as many as a few large packets have.
const USUAL_BURST: (u64, u64) = (100, 64 << 10);
/// Of a packet on the wire.
const ETHERNET_HEADER: u32 = 14;

impl Links {
    /// Limits what goes through a container's link, or changes the limits. What is in order already stays.
    ///
    /// # Errors
    /// `FailedPrecondition` when another's link has the name of the intermediate one; what the kernel answers.
    pub(crate) fn limit(&self, id: &ContainerId, link: LinkIndex, limits: BandwidthLimits) -> Result<()> {
        let doing = |error| failed(&format!("limit the link of container {id}"), error);
        let mark = self.mark();
        self.with(|host| {
            let name = LinkName::new(self.intermediate_name(id))?;
            let found = host.link_named(&name)?;
            if let Some(alias) =
                found.as_ref().and_then(|found| found.alias.as_ref()).filter(|alias| **alias != mark)
            {
                return Ok(Err(anothers(&name, alias)));
            }
            let mtu = host.link(link)?.map_or(ETHERNET_MTU, |link| link.mtu);
            let intermediate = match found {
                Some(found) => found.index,
                None => host.add_intermediate(&name)?,
            };
            host.commit(limited(link, intermediate, limit(limits, mtu), &mark)).map(Ok)
        })
        .map_err(doing)?
    }

    /// Takes the limits of a container's link away.
    pub(crate) fn unlimit(&self, id: &ContainerId, link: LinkIndex) -> Result<()> {
        self.with(|host| {
            let mut batch = Batch::new();
            batch.remove_redirect(link).remove_sending_limit(link);
            host.commit(batch)?;
            self.remove_named(host, id)
        })
        .map_err(|error| failed(&format!("take the limits of container {id} away"), error))
    }

    /// Removes the intermediate link of a container whose own link is gone, if there is one. Takes the kernel some 10 ms.
    pub(crate) fn remove_intermediate(&self, id: &ContainerId) -> Result<()> {
        self.with(|host| self.remove_named(host, id))
            .map_err(|error| failed(&format!("remove the intermediate link of container {id}"), error))
    }

    /// The containers that have an intermediate link of this engine.
    pub(crate) fn limited(&self) -> Result<Vec<ContainerId>> {
        let (prefix, mark) = (self.intermediate_prefix(), self.mark());
        let links = self
            .with(|host| host.links_with_prefix(&prefix, MOST_LINKS))
            .map_err(|error| failed("list the intermediate links of containers", error))?;
        // One without a mark was begun by a life that was killed in the middle.
        let ours = links.into_iter().filter(|link| link.alias.as_ref().is_none_or(|alias| *alias == mark));
        Ok(ours.filter_map(|link| ContainerId::parse(link.name.strip_prefix(&prefix)?).ok()).collect())
    }

    fn remove_named(&self, host: &mut Connection, id: &ContainerId) -> gdn_links::Result<()> {
        let mut batch = Batch::new();
        batch.remove_link_named(&LinkName::new(self.intermediate_name(id))?);
        host.commit(batch)
    }

    /// As long as the name of the host's end, which has no room for one letter more.
    fn intermediate_name(&self, id: &ContainerId) -> String {
        format!("{}{id}", self.intermediate_prefix())
    }

    fn intermediate_prefix(&self) -> String {
        format!("i{}", &self.engine.as_str()[..3])
    }
}

/// The intermediate link is in order before anything is led to it.
fn limited(link: LinkIndex, intermediate: LinkIndex, limit: Limit, mark: &str) -> Batch {
    let mut batch = Batch::new();
    batch
        .set_link(intermediate, &LinkChange::new().alias(mark).without_link_local().up())
        .limit_sending(intermediate, limit)
        .limit_sending(link, limit)
        .redirect_received(link, intermediate);
    batch
}

/// A limit in the words of the kernel. It never sends a packet that is longer than a burst.
fn limit(limits: BandwidthLimits, mtu: u32) -> Limit {
    let BandwidthLimits { rate, burst } = limits;
    let (part, least) = USUAL_BURST;
    let burst = if burst == 0 { (rate / part).max(least) } else { burst };
    let burst_bytes = u32::try_from(burst).unwrap_or(u32::MAX).max(mtu.saturating_add(ETHERNET_HEADER));
    Limit { bytes_per_second: rate, burst_bytes }
}

fn anothers(name: &LinkName, alias: &str) -> Error {
    Error::new(
        ErrorKind::FailedPrecondition,
        format!("the link {name} is needed for a limit and is another's ({alias:?})"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_has_room_for_a_packet_and_is_chosen_where_nobody_does() {
        for (rate, burst, chosen) in [
            (1000, 0, 64 << 10),
            (100 << 20, 0, 1 << 20),
            (1000, 1, 1514),
            (1000, 9000, 9000),
            (u64::MAX, 0, u32::MAX),
            (1000, u64::MAX, u32::MAX),
        ] {
            let expected = Limit { bytes_per_second: rate, burst_bytes: chosen };
            assert_eq!(limit(BandwidthLimits { rate, burst }, 1500), expected);
        }
    }
}
