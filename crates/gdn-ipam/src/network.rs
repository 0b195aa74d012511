//! What a client asks for: Garden's `network` string.

use std::net::Ipv4Addr;

use crate::{Error, Result, Subnet};

/// Which subnet and which address of it a container wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Network {
    /// A subnet of its own out of the dynamic range.
    Dynamic,
    /// The lowest free address of a subnet, which containers share that ask for the same.
    Subnet(Subnet),
    /// Exactly this address.
    Address(Subnet, Ipv4Addr),
}

impl Network {
    /// Reads `""` or `a.b.c.d[/n]`. Without a length 30 is meant; with bits behind the prefix the address itself is asked for.
    ///
    /// # Errors
    /// [`Error::InvalidNetwork`] naming the text.
    pub fn parse(text: &str) -> Result<Self> {
        if text.is_empty() {
            return Ok(Network::Dynamic);
        }
        let wrong = |reason| Error::InvalidNetwork { text: text.chars().take(64).collect(), reason };
        let (address, length) = match text.split_once('/') {
            Some((address, length)) => {
                (address, length.parse().map_err(|_| wrong("the prefix length is no number"))?)
            }
            None => (text, Subnet::SMALLEST),
        };
        let address: Ipv4Addr = address.parse().map_err(|_| wrong("the address is not IPv4"))?;
        let subnet = Subnet::around(address, length)
            .map_err(|_| wrong("the prefix length must be between 1 and 30"))?;
        if let Some(reason) = subnet.is_special() {
            return Err(wrong(reason));
        }
        Ok(if subnet.base() == address { Network::Subnet(subnet) } else { Network::Address(subnet, address) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_without_a_length_is_one_of_four() {
        let subnet: Subnet = "10.252.0.0/30".parse().unwrap();
        assert_eq!(Network::parse("10.252.0.2"), Ok(Network::Address(subnet, Ipv4Addr::new(10, 252, 0, 2))));
        assert_eq!(Network::parse("10.252.0.0"), Ok(Network::Subnet(subnet)));
        assert_eq!(Network::parse("10.252.0.0/30"), Ok(Network::Subnet(subnet)));
        assert_eq!(Network::parse(""), Ok(Network::Dynamic));
    }

    #[test]
    fn what_is_no_network_is_refused_by_name() {
        for text in [
            "x",
            "10.0.0.256",
            "10.0.0.1/32",
            "10.0.0.1/",
            "fe80::1/64",
            "10.0.0.1/24/2",
            " 10.0.0.1",
            "127.0.0.1",
            "0.0.0.0/8",
            "224.0.0.0/24",
            "169.254.169.254",
            "255.255.255.0/24",
            "126.0.0.0/7",
        ] {
            let error = Network::parse(text).unwrap_err().to_string();
            assert!(error.contains(&format!("{text:?}")), "{text:?}: {error}");
        }
    }
}
