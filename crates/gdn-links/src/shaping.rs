//! Limits on how much a link carries.
//!
//! What a link sends is limited by a token bucket in its sending queue. What a link receives cannot wait anywhere on the
//! link itself: it is led to an intermediate device ([`Connection::add_intermediate`]) which sends it on, through a token
//! bucket of its own. For a container's pair both are set on the host's end, out of the container's reach.
//!
//! ```no_run
//! use gdn_links::shaping::Limit;
//! use gdn_links::{Batch, Connection, LinkChange, LinkIndex, LinkName};
//!
//! # fn shape(host: &mut Connection, host_end: LinkIndex) -> gdn_links::Result<()> {
//! let limit = Limit { bytes_per_second: 1 << 20, burst_bytes: 64 << 10 };
//! let intermediate = host.add_intermediate(&LinkName::new("w-1-in")?)?;
//! let mut batch = Batch::new();
//! batch
//!     .set_link(intermediate, &LinkChange::new().up())
//!     .limit_sending(host_end, limit) // to the container
//!     .limit_sending(intermediate, limit) // from the container
//!     .redirect_received(host_end, intermediate);
//! host.commit(batch)
//! # }
//! ```

use netlink_packet_core::{DefaultNla, NLM_F_CREATE, NLM_F_REPLACE};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::link::{InfoKind, LinkAttribute, LinkInfo, LinkMessage};
use netlink_packet_route::tc::{
    TcAction, TcActionAttribute, TcActionGeneric, TcActionMirror, TcActionMirrorOption, TcActionOption,
    TcActionType, TcAttribute, TcFilterU32, TcFilterU32Option, TcHandle, TcHeader, TcMessage, TcMirror,
    TcMirrorActionType, TcOption, TcU32Key, TcU32Selector, TcU32SelectorFlags,
};
use rustix::io::Errno;

use crate::operations::Operation;
use crate::{Batch, Connection, LinkIndex, LinkName, Result};

/// How long a packet may wait for its turn; the queue is long enough for this and a burst.
const PATIENCE_MS: u64 = 25;
/// The handles of the sending queue, the receiving queue and the only filter of the latter.
const SENDING: TcHandle = TcHandle { major: 1, minor: 0 };
const RECEIVING: TcHandle = TcHandle { major: 0xffff, minor: 0 };
const FILTER: TcHandle = TcHandle { major: 0x8000, minor: 0x0800 };
/// The filter's place in the order of filters, and all protocols (`ETH_P_ALL`) in network byte order.
const FILTER_INFO: u32 = 1 << 16 | 3_u16.to_be() as u32;
/// Attributes of the token bucket (`TCA_TBF_*`) and ethernet's framing (`TC_LINKLAYER_ETHERNET`).
const PARAMETERS: u16 = 1;
const RATE64: u16 = 4;
const BURST: u16 = 6;
const ETHERNET: u8 = 1;

/// How much may be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limit {
    /// Bytes per second over time, with ethernet headers; not zero.
    pub bytes_per_second: u64,
    /// Bytes that may be sent at once after a silence. Packets longer than this are never sent, so it must be at least the
    /// link's MTU and 14.
    pub burst_bytes: u32,
}

impl Batch {
    /// Limits what a link sends, or changes the limit.
    pub fn limit_sending(&mut self, index: LinkIndex, limit: Limit) -> &mut Self {
        let options = limit.attributes().into_iter().map(TcOption::Other).collect();
        let attributes = vec![TcAttribute::Kind("tbf".to_owned()), TcAttribute::Options(options)];
        let message = message(index, SENDING, TcHandle::ROOT, 0, attributes);
        let message = RouteNetlinkMessage::NewQueueDiscipline(message);
        self.push(Operation::LimitSending(index), message, NLM_F_CREATE | NLM_F_REPLACE, &[])
    }

    /// Lets a link send as much as it can again.
    pub fn remove_sending_limit(&mut self, index: LinkIndex) -> &mut Self {
        let message = message(index, TcHandle::UNSPEC, TcHandle::ROOT, 0, Vec::new());
        let message = RouteNetlinkMessage::DelQueueDiscipline(message);
        self.push(Operation::RemoveSendingLimit(index), message, 0, &[Errno::NOENT, Errno::NODEV])
    }

    /// Leads all that a link receives through an intermediate device of the same namespace.
    pub fn redirect_received(&mut self, index: LinkIndex, intermediate: LinkIndex) -> &mut Self {
        let flags = NLM_F_CREATE | NLM_F_REPLACE;
        let queue = vec![TcAttribute::Kind("ingress".to_owned())];
        let queue = message(index, RECEIVING, TcHandle::INGRESS, 0, queue);
        self.push(
            Operation::Redirect(index, intermediate),
            RouteNetlinkMessage::NewQueueDiscipline(queue),
            flags,
            &[],
        );
        let filter = message(index, FILTER, RECEIVING, FILTER_INFO, redirect(intermediate));
        self.push(
            Operation::Redirect(index, intermediate),
            RouteNetlinkMessage::NewTrafficFilter(filter),
            flags,
            &[],
        )
    }

    /// Lets a link receive directly again.
    pub fn remove_redirect(&mut self, index: LinkIndex) -> &mut Self {
        let message = message(index, TcHandle::UNSPEC, TcHandle::INGRESS, 0, Vec::new());
        let message = RouteNetlinkMessage::DelQueueDiscipline(message);
        self.push(Operation::RemoveRedirect(index), message, 0, &[Errno::NOENT, Errno::NODEV])
    }
}

impl Connection {
    /// Makes an intermediate device (`ifb`) in this namespace; it has to be raised before anything is led to it. Unlike a
    /// pair it does not vanish by itself: [`Batch::remove_link`] takes it away.
    ///
    /// # Errors
    /// [`Error::Refused`](crate::Error::Refused) with `EEXIST` when the name is taken, with `EOPNOTSUPP` when the kernel has no
    /// such devices.
    pub fn add_intermediate(&mut self, name: &LinkName) -> Result<LinkIndex> {
        let mut message = LinkMessage::default();
        message.attributes = vec![
            LinkAttribute::IfName(name.to_string()),
            LinkAttribute::NumTxQueues(1),
            LinkAttribute::NumRxQueues(1),
            LinkAttribute::LinkInfo(vec![LinkInfo::Kind(InfoKind::Ifb)]),
        ];
        Ok(self.create_link(message, name, &|| format!("add intermediate link {name}"))?.index)
    }
}

impl Limit {
    /// `struct tc_tbf_qopt` and its newer additions.
    fn attributes(self) -> [DefaultNla; 3] {
        let waiting = self.bytes_per_second.saturating_mul(PATIENCE_MS) / 1000;
        let queue = u32::try_from(waiting).unwrap_or(u32::MAX).saturating_add(self.burst_bytes);
        // The old field of 32 bits; the kernel takes the greater one of the two rates.
        let rate = u32::try_from(self.bytes_per_second).unwrap_or(u32::MAX);
        let mut parameters = Vec::with_capacity(36);
        // struct tc_ratespec: cell_log, linklayer, overhead, cell_align, mpu, rate.
        parameters.extend([0, ETHERNET, 0, 0, 0, 0, 0, 0]);
        parameters.extend(rate.to_ne_bytes());
        // No peak rate.
        parameters.extend([0; 12]);
        parameters.extend(queue.to_ne_bytes());
        // The burst in time and the peak's burst; the attribute below holds the former in bytes.
        parameters.extend([0; 8]);
        [
            DefaultNla::new(PARAMETERS, parameters),
            DefaultNla::new(RATE64, self.bytes_per_second.to_ne_bytes().to_vec()),
            DefaultNla::new(BURST, self.burst_bytes.to_ne_bytes().to_vec()),
        ]
    }
}

/// A filter that every packet matches, and what it does. `matchall` would say the same, but fewer kernels have it.
fn redirect(intermediate: LinkIndex) -> Vec<TcAttribute> {
    let mut selector = TcU32Selector::default();
    selector.flags = TcU32SelectorFlags::Terminal;
    selector.nkeys = 1;
    selector.keys = vec![TcU32Key::default()];
    let mut generic = TcActionGeneric::default();
    generic.action = TcActionType::Stolen;
    let mut mirror = TcMirror::default();
    mirror.generic = generic;
    mirror.eaction = TcMirrorActionType::EgressRedir;
    mirror.ifindex = intermediate.get();
    let mut action = TcAction::default();
    action.attributes = vec![
        TcActionAttribute::Kind(TcActionMirror::KIND.to_owned()),
        TcActionAttribute::Options(vec![TcActionOption::Mirror(TcActionMirrorOption::Parms(mirror))]),
    ];
    let options = [TcFilterU32Option::Selector(selector), TcFilterU32Option::Action(vec![action])];
    vec![
        TcAttribute::Kind(TcFilterU32::KIND.to_owned()),
        TcAttribute::Options(options.into_iter().map(TcOption::U32).collect()),
    ]
}

fn message(
    index: LinkIndex,
    handle: TcHandle,
    parent: TcHandle,
    info: u32,
    attributes: Vec<TcAttribute>,
) -> TcMessage {
    let header = TcHeader { index: index.get().cast_signed(), handle, parent, info, ..TcHeader::default() };
    TcMessage::from_parts(header, attributes)
}
