//! The values of options: sizes, durations, pairs, mounts and ports.
//!
//! Each parser takes the text after the option and refuses with the text, what is wrong with it and what is right.

mod network;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context;
use gdn_types::{
    BindMode, BindMount, Error, HostIds, NetIn, OutputPolicy, ProcessSpec, Result, SeccompProfile, Transport,
};

pub(crate) use network::{ip_range, net_out_rule, net_out_text};

/// Units of sizes, all powers of 1024: a limit is a limit of pages.
const SIZE_UNITS: [(&str, u64); 5] =
    [("", 1), ("K", 1 << 10), ("M", 1 << 20), ("G", 1 << 30), ("T", 1 << 40)];

/// Units of durations, in nanoseconds: those of Go, and days.
const TIME_UNITS: [(&str, u64); 9] = [
    ("ns", 1),
    ("us", 1000),
    ("\u{b5}s", 1000),
    ("\u{3bc}s", 1000),
    ("ms", 1_000_000),
    ("s", 1_000_000_000),
    ("m", 60_000_000_000),
    ("h", 3_600_000_000_000),
    ("d", 86_400_000_000_000),
];

/// `unconfined`, or a file with a profile.
pub(crate) fn seccomp(text: &str) -> anyhow::Result<SeccompProfile> {
    if text == "unconfined" {
        return Ok(SeccompProfile::Unconfined);
    }
    let content =
        std::fs::read_to_string(text).with_context(|| format!("cannot read the seccomp profile {text}"))?;
    anyhow::ensure!(!content.trim().is_empty(), "the seccomp profile {text} is empty");
    Ok(SeccompProfile::parse(&content)?)
}

/// A number of bytes: `512`, `64M`, `1G`, `64MiB`.
pub(crate) fn size(text: &str) -> Result<u64> {
    let bad = || Error::invalid(format!("size {text:?} is not a number with K, M, G or T, such as 64M"));
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit = text[digits.len()..].to_ascii_uppercase();
    let unit = unit.strip_suffix("IB").or_else(|| unit.strip_suffix('B')).unwrap_or(&unit);
    let (_, factor) = SIZE_UNITS.iter().find(|(name, _)| *name == unit).ok_or_else(bad)?;
    let number: u64 = decimal(digits).ok_or_else(bad)?;
    number.checked_mul(*factor).ok_or_else(|| Error::invalid(format!("size {text:?} is larger than 16 EiB")))
}

/// A duration: `30s`, `5m`, `1h30m`, `1.5h`, `250ms`, or `0`.
pub(crate) fn duration(text: &str) -> Result<Duration> {
    let bad = || {
        Error::invalid(format!(
            "duration {text:?} is not a number with ns, us, ms, s, m, h or d, such as 30s or 1h30m"
        ))
    };
    if text == "0" {
        return Ok(Duration::ZERO);
    }
    let mut rest = text;
    let mut total = Duration::ZERO;
    while !rest.is_empty() {
        let unit_at = rest.find(|c: char| !(c.is_ascii_digit() || c == '.')).ok_or_else(bad)?;
        let (number, tail) = rest.split_at(unit_at);
        let unit_len = tail.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(unit_len);
        let (_, factor) = TIME_UNITS.iter().find(|(name, _)| *name == unit).ok_or_else(bad)?;
        let part = times(number, *factor).ok_or_else(bad)?;
        total = total.checked_add(Duration::from_nanos(part)).ok_or_else(bad)?;
        rest = tail;
    }
    if text.is_empty() { Err(bad()) } else { Ok(total) }
}

/// A number with or without a fraction, so many times: whole, what is less than one is dropped.
fn times(number: &str, factor: u64) -> Option<u64> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if whole.is_empty() && fraction.is_empty() {
        return None;
    }
    // More digits than that say nothing of any unit.
    let fraction = &fraction[..fraction.len().min(18)];
    let whole = if whole.is_empty() { 0 } else { decimal(whole)? };
    let of_one = match fraction {
        "" => 0,
        digits => {
            let scale = 10_u128.pow(u32::try_from(digits.len()).ok()?);
            u128::from(decimal(digits)?) * u128::from(factor) / scale
        }
    };
    whole.checked_mul(factor)?.checked_add(u64::try_from(of_one).ok()?)
}

/// `discard`, `block`, `hold`, `keep=SIZE` or `block,keep=SIZE`: what happens to unread output, and how much of it is kept.
pub(crate) fn output_policy(text: &str) -> Result<(OutputPolicy, u64)> {
    let (policy, kept) = match text.split_once("keep=") {
        Some((policy, kept)) => (policy.strip_suffix(',').unwrap_or(policy), size(kept)?),
        None => (text, 0),
    };
    if kept > ProcessSpec::MAX_KEPT_OUTPUT {
        return Err(Error::invalid(format!("{text:?} keeps more than the 4M that are possible")));
    }
    match policy {
        "discard" => Ok((OutputPolicy::Discard, kept)),
        "" if !text.is_empty() => Ok((OutputPolicy::Discard, kept)),
        "block" => Ok((OutputPolicy::Block, kept)),
        "hold" => Ok((OutputPolicy::Hold, kept)),
        _ => Err(Error::invalid(format!(
            "output policy {text:?} is none of discard, block, hold, keep=SIZE and block,keep=SIZE"
        ))),
    }
}

/// `FIRST:COUNT`: the first host id and how many there are.
pub(crate) fn host_ids(text: &str) -> Result<HostIds> {
    let (first, count) = text
        .split_once(':')
        .and_then(|(first, count)| Some((decimal(first)?, decimal(count)?)))
        .ok_or_else(|| {
            Error::invalid(format!(
                "host ids {text:?} are not of the form FIRST:COUNT, such as 1000000:6553600"
            ))
        })?;
    let fit = |number: u64| u32::try_from(number).unwrap_or(u32::MAX);
    HostIds::new(fit(first), fit(count))
}

/// `KEY=VALUE`; the value may hold further `=` and may be empty.
pub(crate) fn pair(text: &str) -> Result<(String, String)> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err(Error::invalid(format!("{text:?} is not of the form KEY=VALUE"))),
    }
}

/// `NAME=VALUE`, or `NAME` alone for the value it has in the environment of `gdn` itself.
pub(crate) fn variable(text: &str) -> Result<(String, String)> {
    if text.contains('=') {
        return pair(text);
    }
    std::env::var(text).map(|value| (text.to_owned(), value)).map_err(|_| {
        Error::invalid(format!(
            "environment variable {text:?} has no =VALUE and is not set in this environment either"
        ))
    })
}

/// `SOURCE:TARGET[:ro|rw]`; read-only unless asked otherwise. A relative source is one of the current directory.
pub(crate) fn bind_mount(text: &str) -> Result<BindMount> {
    let bad = || Error::invalid(format!("bind mount {text:?} is not of the form SOURCE:TARGET[:ro|rw]"));
    let mut parts = text.split(':');
    let (source, target) = (parts.next().ok_or_else(bad)?, parts.next().ok_or_else(bad)?);
    let mode = match (parts.next(), parts.next()) {
        (None | Some("ro"), None) => BindMode::ReadOnly,
        (Some("rw"), None) => BindMode::ReadWrite,
        _ => return Err(bad()),
    };
    if source.is_empty() || target.is_empty() {
        return Err(bad());
    }
    BindMount::new(absolute(source)?, target, mode)
}

/// `[HOST:]CONTAINER[/tcp|udp]`; without a host port the server picks one.
pub(crate) fn port_mapping(text: &str) -> Result<NetIn> {
    let bad = || {
        Error::invalid(format!("port mapping {text:?} is not of the form [HOST:]CONTAINER, such as 8080:80"))
    };
    let (ports, transport) = match text.split_once('/') {
        None => (text, Transport::Tcp),
        Some((ports, "tcp")) => (ports, Transport::Tcp),
        Some((ports, "udp")) => (ports, Transport::Udp),
        Some((_, protocol)) => {
            return Err(Error::invalid(format!(
                "port mapping {text:?} asks for {protocol:?}: only tcp and udp have ports that can be mapped"
            )));
        }
    };
    let port = |digits: &str| decimal(digits).and_then(|number| u16::try_from(number).ok()).ok_or_else(bad);
    let (host_port, container_port) = match ports.split_once(':') {
        None => (0, port(ports)?),
        Some((host, container)) => (port(host)?, port(container)?),
    };
    if container_port == 0 {
        return Err(bad());
    }
    Ok(NetIn { host_port, container_port, transport })
}

/// An image as people write it: `hello`, a URI, or a path, which is made absolute.
///
/// # Errors
/// `InvalidArgument` for a word that is none of them.
pub(crate) fn image(text: &str) -> Result<String> {
    if text == "hello" {
        return Ok("builtin:hello".to_owned());
    }
    if text.contains("://") || text.starts_with("builtin:") || text.starts_with('/') {
        return Ok(text.to_owned());
    }
    let path = absolute(text)?;
    if text.is_empty() || !path.exists() {
        return Err(Error::invalid(format!(
            "image {text:?} is neither hello, nor a file or directory that exists here, nor a URI such as \
             oci:///layout:tag (images of registries are not available yet)"
        )));
    }
    path.to_str()
        .map(str::to_owned)
        .ok_or_else(|| Error::invalid(format!("image path {path:?} is not UTF-8")))
}

fn absolute(path: &str) -> Result<PathBuf> {
    std::path::absolute(path).map_err(|error| {
        Error::caused(gdn_types::ErrorKind::InvalidArgument, format!("make path {path:?} absolute"), error)
    })
}

/// Digits only: no sign, no blank, not empty.
fn decimal(digits: &str) -> Option<u64> {
    digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_powers_of_1024() {
        for (text, bytes) in [
            ("0", 0),
            ("512", 512),
            ("1k", 1024),
            ("64M", 64 << 20),
            ("64MiB", 64 << 20),
            ("2GB", 2 << 30),
            ("1T", 1 << 40),
        ] {
            assert_eq!(size(text).unwrap(), bytes, "{text}");
        }
        for bad in ["", "M", "-1", "+1", "1.5G", "64Q", "64 M", "99999999999T", "1Kx"] {
            let error = size(bad).unwrap_err();
            assert!(error.message().contains(&format!("{bad:?}")), "{}", error.message());
        }
    }

    #[test]
    fn durations_may_have_several_parts() {
        for (text, ms) in [
            ("0", 0),
            ("250ms", 250),
            ("30s", 30_000),
            ("5m", 300_000),
            ("1h30m", 5_400_000),
            ("1d", 86_400_000),
            ("1.5h", 5_400_000),
            (".25s", 250),
            ("2.s", 2000),
            ("1h.5m", 3_630_000),
            ("1.0000000000000000000000001m", 60_000),
            ("5000000ns", 5),
            ("1h1000\u{b5}s", 3_600_001),
        ] {
            assert_eq!(duration(text).unwrap(), Duration::from_millis(ms), "{text}");
        }
        for bad in [
            "",
            "5",
            "s",
            "5x",
            "-5s",
            ".",
            ".s",
            "1.5",
            "1..5s",
            "1.5.5s",
            "1.x5s",
            "99999999999999999999s",
            "5s ",
        ] {
            assert!(duration(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn host_ids_are_a_first_one_and_a_number() {
        assert_eq!(host_ids("100000:65536").unwrap(), HostIds::new(100_000, 65_536).unwrap());
        for bad in ["", "100000", "100000:", ":5", "100000-165535", "0:65536", "100000:0", "99999999999:1"] {
            assert!(host_ids(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn pairs_split_at_the_first_equals_sign() {
        assert_eq!(pair("a=b=c").unwrap(), ("a".into(), "b=c".into()));
        assert_eq!(pair("a=").unwrap(), ("a".into(), String::new()));
        assert!(pair("a").is_err() && pair("=b").is_err());
    }

    #[test]
    fn a_variable_without_a_value_takes_the_one_of_this_environment() {
        assert_eq!(variable("PATH").unwrap().1, std::env::var("PATH").unwrap());
        assert!(variable("SURELY_NOT_SET_ANYWHERE").is_err());
    }

    #[test]
    fn bind_mounts_are_read_only_unless_asked_otherwise() {
        assert_eq!(bind_mount("/a:/b").unwrap().mode, BindMode::ReadOnly);
        assert_eq!(bind_mount("/a:/b:ro").unwrap().mode, BindMode::ReadOnly);
        assert_eq!(bind_mount("/a:/b:rw").unwrap().mode, BindMode::ReadWrite);
        assert_eq!(bind_mount("a:/b").unwrap().source, std::env::current_dir().unwrap().join("a"));
        for bad in ["/a", "/a:", ":/b", "/a:/b:rx", "/a:/b:rw:x", "/a:b", "/a:/"] {
            assert!(bind_mount(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn ports_map_from_the_host_into_the_container() {
        let netin = |host_port, container_port, transport| NetIn { host_port, container_port, transport };
        assert_eq!(port_mapping("8080:80").unwrap(), netin(8080, 80, Transport::Tcp));
        assert_eq!(port_mapping("80/tcp").unwrap(), netin(0, 80, Transport::Tcp));
        assert_eq!(port_mapping("5353:53/udp").unwrap(), netin(5353, 53, Transport::Udp));
        for bad in ["", "x", "80:", ":80", "1:2:3", "65536", "8080:0", "80/sctp", "80/"] {
            assert!(port_mapping(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn images_are_hello_uris_or_existing_paths() {
        assert_eq!(image("hello").unwrap(), "builtin:hello");
        assert_eq!(image("oci:///x:latest").unwrap(), "oci:///x:latest");
        assert_eq!(image("/no/such.tar").unwrap(), "/no/such.tar");
        assert_eq!(
            image("Cargo.toml").unwrap(),
            std::env::current_dir().unwrap().join("Cargo.toml").to_str().unwrap()
        );
        let error = image("alpine").unwrap_err();
        assert!(error.message().contains("\"alpine\""), "{}", error.message());
    }

    #[test]
    fn output_policies_say_who_waits_and_how_much_is_kept() {
        assert_eq!(output_policy("discard").unwrap(), (OutputPolicy::Discard, 0));
        assert_eq!(output_policy("keep=64K").unwrap(), (OutputPolicy::Discard, 65_536));
        assert_eq!(output_policy("block").unwrap(), (OutputPolicy::Block, 0));
        assert_eq!(output_policy("hold").unwrap(), (OutputPolicy::Hold, 0));
        assert_eq!(output_policy("block,keep=4M").unwrap(), (OutputPolicy::Block, 4 << 20));
        for bad in ["", "keep", "keep=", "keep=5M", "block;keep=1", "drop", ",keep=1x"] {
            assert!(output_policy(bad).is_err(), "{bad:?}");
        }
    }
}
