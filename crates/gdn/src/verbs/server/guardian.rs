//! Options of Guardian that mean nothing to this engine.
//!
//! An operator's start line goes on working: what means nothing is taken with one warning. docs/migration.md tells them all; a
//! test holds it to this table.

use clap::{Arg, ArgAction, ArgMatches, Args, Command, FromArgMatches};

use crate::output;

/// The socket that Guardian makes when it is told nothing else.
pub(super) const SOCKET: &str = "/tmp/garden.sock";
/// The range that its containers get addresses out of.
pub(crate) const NETWORK_POOL: &str = "10.254.0.0/22";

/// One option of Guardian.
#[derive(Debug)]
pub(crate) struct Foreign {
    pub(crate) name: &'static str,
    /// Whether a value follows.
    takes_value: bool,
    /// What it means here, for the warning.
    why: &'static str,
}

const fn taken(name: &'static str, why: &'static str) -> Foreign {
    Foreign { name, takes_value: true, why }
}

const fn switch(name: &'static str, why: &'static str) -> Foreign {
    Foreign { name, takes_value: false, why }
}

const NO_PROGRAMS: &str = "the engine does its work itself and runs no such program";
const OWN_STATE: &str = "the engine keeps everything below --root";
const OWN_IMAGES: &str = "the engine keeps images itself, below --root";
const NO_CONTAINERD: &str = "the engine makes containers itself";
const OWN_IDS: &str = "root of a container is the host's highest id and all others are mapped to themselves, or to ranges of \
                       their own with --uid-range-pool";
const SCRAPED: &str = "nothing is sent: figures are fetched, see --debug-bind-ip";

/// All of them, in the order in which Guardian tells them.
pub(crate) const FOREIGN: &[Foreign] = &[
    taken("tag", "each engine has an id of its own, which all its kernel objects carry"),
    switch("skip-setup", "a start makes what is missing, and nothing else"),
    taken("depot", OWN_STATE),
    taken("properties-path", OWN_STATE),
    taken("console-sockets-path", "terminals need no sockets in the file system"),
    taken("uid-map-start", OWN_IDS),
    taken("uid-map-length", OWN_IDS),
    taken("gid-map-start", OWN_IDS),
    taken("gid-map-length", OWN_IDS),
    taken("assets-dir", NO_PROGRAMS),
    taken("dadoo-bin", NO_PROGRAMS),
    taken("nstar-bin", NO_PROGRAMS),
    taken("tar-bin", NO_PROGRAMS),
    taken("iptables-bin", NO_PROGRAMS),
    taken("iptables-restore-bin", NO_PROGRAMS),
    taken("init-bin", NO_PROGRAMS),
    switch("no-image-plugin", OWN_IMAGES),
    taken("image-plugin", OWN_IMAGES),
    taken("image-plugin-extra-arg", OWN_IMAGES),
    taken("privileged-image-plugin", OWN_IMAGES),
    taken("privileged-image-plugin-extra-arg", OWN_IMAGES),
    taken("docker-registry", "images of registries are not available yet"),
    taken("insecure-docker-registry", "images of registries are not available yet"),
    taken("port-pool-properties-path", OWN_STATE),
    switch("enable-container-network-metrics", "they are counted for every container that has a network"),
    taken("metrics-emission-interval", SCRAPED),
    taken("dropsonde-origin", SCRAPED),
    taken("dropsonde-destination", SCRAPED),
    taken("containerd-socket", NO_CONTAINERD),
    switch("use-containerd-for-processes", NO_CONTAINERD),
    taken("time-format", "times in the log are those of RFC 3339"),
];

/// Those of them that were given. With any, the start line is Guardian's, and what it does not say is as Guardian has it.
#[derive(Debug, Default)]
pub(crate) struct GuardianOptions {
    given: Vec<&'static Foreign>,
}

impl GuardianOptions {
    /// Whether the start line is Guardian's.
    pub(super) fn any(&self) -> bool {
        !self.given.is_empty()
    }

    /// Notes for a person each that means nothing to a command that is no server.
    pub(in crate::verbs) fn ignored(&self) {
        for option in &self.given {
            output::note(&format!("--{} means nothing here", option.name));
        }
    }

    /// Tells each of them once in the log.
    pub(super) fn told(&self) {
        for option in &self.given {
            tracing::warn!(option = format!("--{}", option.name), "{}", option.why);
        }
        if self.any() {
            tracing::info!("this is a start line of Guardian: what it does not say is as Guardian has it");
        }
    }
}

impl FromArgMatches for GuardianOptions {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let given = |option: &&Foreign| match option.takes_value {
            true => matches.contains_id(option.name),
            false => matches.get_flag(option.name),
        };
        Ok(GuardianOptions { given: FOREIGN.iter().filter(given).collect() })
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

impl Args for GuardianOptions {
    fn augment_args(command: Command) -> Command {
        command.args(FOREIGN.iter().map(|option| {
            let arg = Arg::new(option.name).long(option.name).hide(true);
            match option.takes_value {
                true => arg.action(ArgAction::Append).num_args(1).allow_hyphen_values(true),
                false => arg.action(ArgAction::SetTrue),
            }
        }))
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;
    use crate::cli::{self, Cli};

    /// Guardian's options of `gdn server`, all of them.
    const GUARDIAN: &str = "bind-ip bind-port bind-socket debug-bind-ip debug-bind-port tag skip-setup read-header-timeout depot \
         properties-path console-sockets-path cleanup-process-dirs-on-wait disable-privileged-containers device-cgroup-rule \
         uid-map-start uid-map-length gid-map-start gid-map-length default-rootfs default-grace-time \
         destroy-containers-on-startup apparmor no-new-privileges assets-dir dadoo-bin nstar-bin tar-bin iptables-bin \
         iptables-restore-bin init-bin runtime-plugin runtime-plugin-extra-arg no-image-plugin image-plugin \
         image-plugin-extra-arg privileged-image-plugin privileged-image-plugin-extra-arg docker-registry \
         insecure-docker-registry network-pool allow-host-access deny-network dns-server additional-dns-server \
         additional-host-entry external-ip port-pool-start port-pool-size port-pool-properties-path mtu network-plugin \
         network-plugin-extra-arg enable-container-network-metrics cpu-quota-per-share default-container-blockio-weight \
         container-io-max-read-bps container-io-max-write-bps container-io-max-read-iops container-io-max-write-iops \
         max-containers disable-swap-limit metrics-emission-interval dropsonde-origin dropsonde-destination \
         cpu-entitlement-per-share containerd-socket use-containerd-for-processes enable-cpu-throttling \
         cpu-throttling-check-interval tcp-keepalive-time tcp-keepalive-interval tcp-keepalive-probes tcp-retries1 \
         tcp-retries2 log-level";

    #[test]
    fn every_option_of_guardian_is_known_and_told_in_the_guide() {
        let guide = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/migration.md");
        let guide = std::fs::read_to_string(guide).unwrap();
        let mut command = Cli::command();
        command.build();
        let server = command.find_subcommand("server").unwrap();
        let ours: Vec<&str> = server
            .get_arguments()
            .flat_map(|arg| arg.get_long().into_iter().chain(arg.get_all_aliases().into_iter().flatten()))
            .collect();
        for name in GUARDIAN.split_whitespace().chain(FOREIGN.iter().map(|option| option.name)) {
            assert!(ours.contains(&name), "gdn server does not know --{name}");
            assert!(guide.contains(&format!("`--{name}`")), "docs/migration.md does not tell --{name}");
        }
    }

    #[test]
    fn they_are_taken_but_not_shown() {
        let help = cli::parse(vec!["gdn".into(), "server".into(), "--help".into()]).unwrap_err().to_string();
        for option in FOREIGN {
            assert!(!help.contains(&format!("--{} ", option.name)), "{}", option.name);
        }
    }
}
