//! nftables over netlink: typed rules, sets and maps, committed as one atomic batch.
