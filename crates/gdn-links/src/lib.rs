//! Network links, addresses, routes and neighbours of network namespaces over netlink.
