//! What containers see as `/etc/hosts` and `/etc/resolv.conf`.
//!
//! The files lie in a directory of the engine's own, one below it for each container, and are bind-mounted into it: nothing
//! of an image is read or written for them. The list of name servers follows the host's, in containers that have not changed
//! theirs.

mod servers;

use std::collections::BTreeMap;
use std::fs::{self, DirBuilder, File};
use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, fchown};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use gdn_types::{BindMode, BindMount, BindOrigin, ContainerId, Error, ErrorKind, Handle, Result};

use crate::config::DnsConfig;
use crate::record::Reservation;
use servers::{Servers, is_search, name_servers, names_a_stub, names_another};

/// The host's own list of name servers.
const HOST_RESOLVER: &str = "/etc/resolv.conf";
/// The servers that a resolver on the host asks, which is the only one that the host's own list names.
const ASKED_BY_STUB: &str = "/run/systemd/resolve/resolv.conf";
/// What containers' lists were made of, in the engine's directory.
const APPLIED: &str = "host-resolv.conf";
/// A longer one is no list of name servers.
const MOST_BYTES: u64 = 64 << 10;

/// The files of all containers.
#[derive(Debug)]
pub(crate) struct Files {
    directory: PathBuf,
    dns: DnsConfig,
    /// The host's list, and the one that counts instead where it names only the host itself.
    resolvers: [PathBuf; 2],
    /// The gateways of the containers that have files.
    known: Mutex<BTreeMap<ContainerId, Ipv4Addr>>,
    /// The host's lists as they were looked at last, to see that they did not change.
    seen: Mutex<Option<[Option<Stamp>; 2]>>,
}

impl Files {
    pub(crate) fn new(directory: PathBuf, dns: DnsConfig) -> Self {
        Files {
            directory,
            dns,
            resolvers: [HOST_RESOLVER, ASKED_BY_STUB].map(PathBuf::from),
            known: Mutex::default(),
            seen: Mutex::default(),
        }
    }

    /// Writes a container's files and tells where they are to be shown. `owner` is who is root inside: user and group.
    pub(crate) fn write(
        &self,
        id: &ContainerId,
        reservation: &Reservation,
        owner: (u32, u32),
    ) -> Result<Vec<BindMount>> {
        let hosts = self.hosts(&reservation.handle, Some(reservation.lease.address), reservation.address6());
        let gateway = reservation.lease.gateway();
        // The next change finds this container's list as the host's is now, and not that of a change that nobody has seen yet.
        self.follow_host()?;
        let resolver = self.servers()?.rendered(Some(gateway));
        let mounts = self.write_texts(id, &hosts, &resolver, owner)?;
        self.adopt(id, gateway);
        Ok(mounts)
    }

    /// As [`Files::write`], of texts that are made already and follow nothing.
    pub(crate) fn write_texts(
        &self,
        id: &ContainerId,
        hosts: &str,
        resolver: &str,
        owner: (u32, u32),
    ) -> Result<Vec<BindMount>> {
        let doing = |error: io::Error| failed(&format!("write the hosts file of container {id}"), error);
        let directory = self.of(id);
        make_directory(&self.directory).map_err(doing)?;
        make_directory(&directory).map_err(doing)?;
        let mut mounts = Vec::new();
        for (name, text, shown) in
            [("hosts", hosts, "/etc/hosts"), ("resolv.conf", resolver, "/etc/resolv.conf")]
        {
            let path = directory.join(name);
            write_file(&path, text, owner).map_err(doing)?;
            mounts.push(BindMount {
                source: path,
                target: shown.into(),
                mode: BindMode::ReadWrite,
                origin: BindOrigin::Host,
            });
        }
        Ok(mounts)
    }

    /// `/etc/hosts` of a container with these addresses.
    pub(crate) fn hosts(
        &self,
        handle: &Handle,
        address: Option<Ipv4Addr>,
        address6: Option<Ipv6Addr>,
    ) -> String {
        hosts(handle, address, address6, &self.dns.host_entries)
    }

    /// `/etc/resolv.conf` of a container whose plug-in named these servers and domains. Without servers of its own the
    /// operator's count, and without those the host's.
    pub(crate) fn resolv_conf_of_plugin(
        &self,
        gateway: Option<Ipv4Addr>,
        servers: &[IpAddr],
        search: &[String],
    ) -> Result<String> {
        let mut text = match servers {
            [] => self.servers()?.rendered(gateway),
            servers => name_servers(servers.iter()),
        };
        if !search.is_empty() {
            text = text.lines().filter(|line| !is_search(line)).map(|line| format!("{line}\n")).collect();
            text.push_str(&format!("search {}\n", search.join(" ")));
        }
        Ok(text)
    }

    /// Knows a container whose files an earlier life wrote.
    pub(crate) fn adopt(&self, id: &ContainerId, gateway: Ipv4Addr) {
        self.known().insert(*id, gateway);
    }

    /// Brings the lists of name servers up to the host's and the operator's, if those have changed since. A container whose
    /// list is not as it was written has changed it, and keeps it.
    pub(crate) fn follow_host(&self) -> Result<()> {
        let doing = |error| failed(&format!("follow {}", self.resolvers[0].display()), error);
        let stamps = [Stamp::of(&self.resolvers[0]), Stamp::of(&self.resolvers[1])];
        let [first, second] = stamps.map(|stamp| stamp.map_err(doing));
        let stamps = Some([first?, second?]);
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if *seen == stamps {
            return Ok(());
        }
        let applied = self.directory.join(APPLIED);
        let (text, now) = (read_if_there(&applied).map_err(doing)?, self.servers()?);
        // Without an earlier list nothing was written by it.
        let before = text.as_ref().map(|text| Servers::parse(text, &now.given));
        if before.as_ref() != Some(&now) {
            make_directory(&self.directory).map_err(doing)?;
            let known = self.known().clone();
            let before = before.unwrap_or_default();
            for (id, gateway) in known {
                let path = self.of(&id).join("resolv.conf");
                let (old, new) = (before.rendered(Some(gateway)), now.rendered(Some(gateway)));
                if read_if_there(&path).map_err(doing)? == Some(old) {
                    fs::write(&path, new).map_err(doing)?;
                }
            }
        }
        if text.is_none_or(|text| text != now.text()) {
            make_directory(&self.directory).map_err(doing)?;
            fs::write(&applied, now.text()).map_err(doing)?;
        }
        *seen = stamps;
        Ok(())
    }

    fn known(&self) -> MutexGuard<'_, BTreeMap<ContainerId, Ipv4Addr>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Removes a container's files, if any.
    pub(crate) fn remove(&self, id: &ContainerId) -> Result<()> {
        self.known().remove(id);
        match fs::remove_dir_all(self.of(id)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(failed(&format!("remove the hosts file of container {id}"), error))
            }
            _ => Ok(()),
        }
    }

    /// The containers that have files.
    pub(crate) fn present(&self) -> Result<Vec<ContainerId>> {
        let entries = match fs::read_dir(&self.directory) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(failed("list the hosts files", error)),
        };
        let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
        Ok(names.filter_map(|name| ContainerId::parse(&name).ok()).collect())
    }

    fn of(&self, id: &ContainerId) -> PathBuf {
        self.directory.join(id.as_str())
    }

    /// What lists are made of now.
    fn servers(&self) -> Result<Servers> {
        let DnsConfig { servers, additional, .. } = &self.dns;
        let host = if servers.is_empty() { self.host_list()? } else { String::new() };
        Ok(Servers { host, given: name_servers(servers.iter().chain(additional)) })
    }

    fn host_list(&self) -> Result<String> {
        let read = |path: &Path| {
            let text = read_if_there(path).map(Option::unwrap_or_default);
            text.map_err(|error| failed(&format!("read {}", path.display()), error))
        };
        let [own, asked_by_stub] = &self.resolvers;
        let text = read(own)?;
        if names_a_stub(&text) {
            let asked = read(asked_by_stub)?;
            if names_another(&asked) {
                return Ok(asked);
            }
        }
        Ok(text)
    }
}

/// What changes when a file is written or replaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp {
    inode: u64,
    changed: (i64, i64),
    bytes: u64,
}

impl Stamp {
    /// Absent for a file that is not there.
    fn of(path: &Path) -> io::Result<Option<Self>> {
        match fs::metadata(path) {
            Ok(found) => Ok(Some(Stamp {
                inode: found.ino(),
                changed: (found.ctime(), found.ctime_nsec()),
                bytes: found.len(),
            })),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }
}

fn failed(doing: &str, error: io::Error) -> Error {
    let kind = match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => ErrorKind::ResourceExhausted,
        _ => ErrorKind::Internal,
    };
    Error::caused(kind, doing, error)
}

fn make_directory(directory: &Path) -> io::Result<()> {
    // Others may pass through: a bind mount of a file is reached without its directory, but a user reads it by path.
    match DirBuilder::new().mode(0o711).create(directory) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        other => other,
    }
}

fn write_file(path: &Path, text: &str, (user, group): (u32, u32)) -> io::Result<()> {
    let mut file = File::options().write(true).create(true).truncate(true).mode(0o644).open(path)?;
    file.write_all(text.as_bytes())?;
    fchown(&file, Some(user), Some(group))
}

fn read_if_there(path: &Path) -> io::Result<Option<String>> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let mut bytes = Vec::new();
    file.take(MOST_BYTES).read_to_end(&mut bytes)?;
    if bytes.len() as u64 == MOST_BYTES {
        // A line that is cut may name another server.
        let whole = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |last| last + 1);
        bytes.truncate(whole);
    }
    Ok(Some(String::from_utf8_lossy(&bytes).into_owned()))
}

/// `/etc/hosts`. A container's name is the end of its handle that fits into a host name.
fn hosts(
    handle: &Handle,
    address: Option<Ipv4Addr>,
    address6: Option<Ipv6Addr>,
    entries: &[String],
) -> String {
    let mut text = String::from("127.0.0.1 localhost\n");
    let name = handle.hostname();
    if address6.is_some() {
        text.push_str("::1 localhost\n");
    }
    let addresses = address.map(IpAddr::from).into_iter().chain(address6.map(IpAddr::from));
    addresses.for_each(|address| text.push_str(&format!("{address} {name}\n")));
    for entry in entries {
        text.push_str(entry);
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use gdn_ipam::Lease;
    use gdn_types::Egress;

    use super::*;

    const GATEWAY: Ipv4Addr = Ipv4Addr::new(10, 254, 0, 1);

    fn reservation(prefix: Option<&str>) -> Reservation {
        Reservation {
            handle: Handle::parse(&format!("{}end", "x".repeat(60))).unwrap(),
            lease: Lease { subnet: "10.254.0.0/30".parse().unwrap(), address: Ipv4Addr::new(10, 254, 0, 2) },
            prefix: prefix.map(|text| text.parse().unwrap()),
            ports: Vec::new(),
            egress: Egress::Allow,
            generation: 0,
            bandwidth: gdn_types::BandwidthLimits::default(),
        }
    }

    /// Q215, Q247, Q248.
    #[test]
    fn the_hosts_file_names_the_container_and_what_the_operator_adds() {
        let name = format!("{}end", "x".repeat(46));
        let entries = ["10.0.0.7 seven".to_owned(), "10.0.0.8 eight".to_owned()];
        let text = |reservation: &Reservation| {
            let Reservation { handle, lease, .. } = reservation;
            hosts(handle, Some(lease.address), reservation.address6(), &entries)
        };
        assert_eq!(
            text(&reservation(None)),
            format!("127.0.0.1 localhost\n10.254.0.2 {name}\n10.0.0.7 seven\n10.0.0.8 eight\n")
        );
        assert_eq!(
            text(&reservation(Some("fd00::/64"))),
            format!(
                "127.0.0.1 localhost\n::1 localhost\n10.254.0.2 {name}\nfd00::2 {name}\n10.0.0.7 seven\n10.0.0.8 eight\n"
            )
        );
    }

    /// Q249 to Q254: the operator's servers replace the host's, additional ones come behind either.
    #[test]
    fn the_operators_name_servers_come_before_the_hosts() {
        let place = tempfile::tempdir().unwrap();
        let resolver = place.path().join("resolv.conf");
        fs::write(&resolver, "nameserver 10.0.0.2\n").unwrap();
        let files = |servers: &[&str], additional: &[&str]| {
            let addresses = |texts: &[&str]| texts.iter().map(|text| text.parse().unwrap()).collect();
            let dns = DnsConfig {
                servers: addresses(servers),
                additional: addresses(additional),
                host_entries: Vec::new(),
            };
            let mut files = Files::new(place.path().to_owned(), dns);
            files.resolvers[0].clone_from(&resolver);
            files.servers().unwrap().rendered(Some(GATEWAY))
        };
        assert_eq!(files(&["1.1.1.1"], &[]), "nameserver 1.1.1.1\n");
        assert_eq!(files(&["1.1.1.1"], &["2.2.2.2"]), "nameserver 1.1.1.1\nnameserver 2.2.2.2\n");
        assert_eq!(files(&[], &["2.2.2.2"]), "nameserver 10.0.0.2\nnameserver 2.2.2.2\n");
    }

    /// DNS settings follow the host's, except where a container has its own.
    #[test]
    fn lists_of_name_servers_follow_the_hosts() {
        let place = tempfile::tempdir().unwrap();
        let resolver = place.path().join("resolv.conf");
        fs::write(&resolver, "nameserver 10.0.0.2\n").unwrap();
        let open = || {
            let mut files = Files::new(place.path().join("network"), DnsConfig::default());
            files.resolvers = [resolver.clone(), place.path().join("asked-by-stub")];
            files
        };
        let (one, two) = (ContainerId::from_bits(1), ContainerId::from_bits(2));
        let files = open();
        files.follow_host().unwrap();
        let path = |id| files.write(id, &reservation(None), (0, 0)).unwrap()[1].source.clone();
        let (of_one, of_two) = (path(&one), path(&two));
        fs::write(&of_two, "nameserver 1.1.1.1\n").unwrap();
        fs::write(&resolver, "nameserver 10.0.0.3\n").unwrap();
        files.follow_host().unwrap();
        assert_eq!(fs::read_to_string(&of_one).unwrap(), "nameserver 10.0.0.3\n");
        assert_eq!(fs::read_to_string(&of_two).unwrap(), "nameserver 1.1.1.1\n");

        // It changed while nobody looked.
        fs::write(&resolver, "nameserver 127.0.0.53\n").unwrap();
        let later = open();
        later.adopt(&one, GATEWAY);
        later.follow_host().unwrap();
        assert_eq!(fs::read_to_string(&of_one).unwrap(), "nameserver 10.254.0.1\n");
        // It changed, a container was made, and it changed again before anybody looked.
        fs::write(&resolver, "nameserver 10.0.0.4\n").unwrap();
        let three = ContainerId::from_bits(3);
        let of_three = later.write(&three, &reservation(None), (0, 0)).unwrap()[1].source.clone();
        fs::write(&resolver, "nameserver 10.0.0.5\nsearch a.example\n").unwrap();
        later.follow_host().unwrap();
        for path in [&of_one, &of_three] {
            assert_eq!(fs::read_to_string(path).unwrap(), "nameserver 10.0.0.5\nsearch a.example\n");
        }
        fs::remove_file(&resolver).unwrap();
        later.follow_host().unwrap();
        assert_eq!(fs::read_to_string(&of_one).unwrap(), "");
    }

    #[test]
    fn lists_of_name_servers_follow_what_the_operator_gives_from_one_life_to_the_next() {
        let place = tempfile::tempdir().unwrap();
        let resolvers = [place.path().join("resolv.conf"), place.path().join("asked-by-stub")];
        fs::write(&resolvers[0], "nameserver 10.0.0.2\n").unwrap();
        let id = ContainerId::from_bits(1);
        let mut list = None;
        for (servers, additional, expected) in [
            (&[][..], &["2.2.2.2"][..], "nameserver 10.0.0.2\nnameserver 2.2.2.2\n"),
            (&[], &["3.3.3.3"], "nameserver 10.0.0.2\nnameserver 3.3.3.3\n"),
            (&["1.1.1.1"], &["3.3.3.3"], "nameserver 1.1.1.1\nnameserver 3.3.3.3\n"),
            (&[], &[], "nameserver 10.0.0.2\n"),
        ] {
            let addresses = |texts: &[&str]| texts.iter().map(|text| text.parse().unwrap()).collect();
            let dns = DnsConfig {
                servers: addresses(servers),
                additional: addresses(additional),
                host_entries: Vec::new(),
            };
            let mut files = Files::new(place.path().join("network"), dns);
            files.resolvers.clone_from(&resolvers);
            files.adopt(&id, GATEWAY);
            files.follow_host().unwrap();
            let list = list.get_or_insert_with(|| {
                files.write(&id, &reservation(None), (0, 0)).unwrap()[1].source.clone()
            });
            assert_eq!(fs::read_to_string(list).unwrap(), expected);
        }
    }

    #[test]
    fn behind_a_resolver_of_the_host_containers_ask_whom_it_asks() {
        let place = tempfile::tempdir().unwrap();
        let mut files = Files::new(place.path().join("network"), DnsConfig::default());
        files.resolvers = [place.path().join("resolv.conf"), place.path().join("asked-by-stub")];
        let [own, asked] = files.resolvers.clone();
        let stub = "# made by a resolver\nnameserver 127.0.0.53\noptions edns0\nsearch a.example\n";
        fs::write(&own, stub).unwrap();
        let id = ContainerId::from_bits(1);
        let list = files.write(&id, &reservation(None), (0, 0)).unwrap()[1].source.clone();
        let read = || fs::read_to_string(&list).unwrap();
        assert_eq!(
            read(),
            "# made by a resolver\noptions edns0\nsearch a.example\n",
            "nobody tells whom it asks"
        );
        for (text, expected) in [
            ("nameserver 10.0.0.2\nsearch b.example\n", "nameserver 10.0.0.2\nsearch b.example\n"),
            ("nameserver 10.0.0.3\n", "nameserver 10.0.0.3\n"),
            ("nameserver 127.0.0.1\n", "# made by a resolver\noptions edns0\nsearch a.example\n"),
        ] {
            fs::write(&asked, text).unwrap();
            files.follow_host().unwrap();
            assert_eq!(read(), expected);
        }
        fs::write(&own, "nameserver 10.0.0.9\n").unwrap();
        files.follow_host().unwrap();
        assert_eq!(read(), "nameserver 10.0.0.9\n", "a list of the host's own counts");
    }

    #[test]
    fn files_belong_to_the_containers_root_and_go_with_it() {
        let place = tempfile::tempdir().unwrap();
        let files = Files::new(place.path().join("network"), DnsConfig::default());
        let id = ContainerId::from_bits(7);
        let mounts = files.write(&id, &reservation(None), (4242, 4243)).unwrap();
        assert_eq!(mounts.len(), 2);
        let metadata = fs::metadata(&mounts[0].source).unwrap();
        assert_eq!((metadata.uid(), metadata.gid(), metadata.mode() & 0o777), (4242, 4243, 0o644));
        assert_eq!(files.present().unwrap(), [id]);
        files.remove(&id).unwrap();
        files.remove(&id).unwrap();
        assert!(files.present().unwrap().is_empty());
    }

    /// S6.10.
    #[test]
    fn a_list_that_is_too_long_ends_with_a_whole_line() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("resolv.conf");
        let server = "nameserver 10.0.0.77\n";
        let comment = "#".repeat(MOST_BYTES as usize - server.len()) + "\n";
        fs::write(&path, comment.clone() + server).unwrap();
        assert_eq!(read_if_there(&path).unwrap(), Some(comment));
        fs::write(&path, "#".repeat(MOST_BYTES as usize + 1)).unwrap();
        assert_eq!(read_if_there(&path).unwrap().as_deref(), Some(""));
    }
}
