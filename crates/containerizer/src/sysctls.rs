//! Which kernel settings a container may ask for: those of its own namespaces.

use gdn_types::{Error, Result};

/// Prefixes of settings that belong to the network and ipc namespaces.
const PREFIXES: [&str; 5] = ["net.", "kernel.shm", "kernel.msg", "fs.mqueue.", "kernel.sem"];

/// Checks the settings and puts them into the form of the wire: name and value alternating.
pub(crate) fn checked(settings: &[(String, String)]) -> Result<Vec<String>> {
    let mut flat = Vec::with_capacity(settings.len() * 2);
    for (name, value) in settings {
        let known = PREFIXES.iter().any(|prefix| name.starts_with(prefix));
        let clean = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte));
        if !known || !clean || name.split('.').any(str::is_empty) {
            return Err(Error::invalid(format!(
                "kernel setting {name:?} does not belong to the container's own namespaces (net.*, kernel.shm*, kernel.msg*, kernel.sem, fs.mqueue.*)"
            )));
        }
        if value.len() > 4096 || value.contains(['\0', '\n']) {
            return Err(Error::invalid(format!(
                "value of kernel setting {name:?} is too long or not one line"
            )));
        }
        flat.extend([name.clone(), value.clone()]);
    }
    Ok(flat)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_settings_of_the_containers_namespaces_pass() {
        let one = |name: &str| checked(&[(name.to_owned(), "1".to_owned())]);
        assert_eq!(one("net.ipv4.ip_unprivileged_port_start").unwrap().len(), 2);
        for name in [
            "kernel.core_pattern",
            "vm.swappiness",
            "net",
            "net..x",
            "net./../kernel.core_pattern",
            "fs.file-max",
        ] {
            assert!(one(name).is_err(), "{name}");
        }
    }
}
