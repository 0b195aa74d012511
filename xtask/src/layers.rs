//! Checks every dependency edge of the workspace against the table of rings.

mod table;

use std::path::Path;

use anyhow::{Context, Result, bail};
use serde::Deserialize;

use crate::shell::{self, cargo};
use table::{CLOSED, MEMBERS, Member, RESTRICTED, Ring, TOOLS_WITH_WORDS};

#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
}

#[derive(Deserialize)]
struct Package {
    name: String,
    dependencies: Vec<Dependency>,
}

#[derive(Deserialize)]
struct Dependency {
    name: String,
    /// Absent for a normal dependency, else `dev` or `build`.
    kind: Option<String>,
    /// Present when the dependency lies in this workspace.
    path: Option<String>,
}

/// Reads the workspace's manifests and reports every edge that the table does not permit.
pub(crate) fn run(root: &Path) -> Result<()> {
    let json =
        shell::output(&mut cargo(root, &["metadata", "--format-version", "1", "--no-deps", "--locked"]))?;
    let metadata: Metadata = serde_json::from_str(&json).context("read cargo metadata")?;
    let faults = faults(&metadata.packages);
    for fault in &faults {
        eprintln!("layers: {fault}");
    }
    match faults.len() {
        0 => {
            println!("layers: {} crates keep to their rings", metadata.packages.len());
            Ok(())
        }
        count => bail!("{count} edges break the table in xtask/src/layers/table.rs"),
    }
}

fn faults(packages: &[Package]) -> Vec<String> {
    let mut faults = Vec::new();
    for package in packages {
        let Some(member) = find(&package.name) else {
            faults.push(format!("{} is not in the table of rings", package.name));
            continue;
        };
        // A test may look at anything; what ships may not.
        for dependency in package.dependencies.iter().filter(|edge| edge.kind.as_deref() != Some("dev")) {
            let fault = match (&dependency.path, find(&dependency.name)) {
                (Some(_), Some(target)) => member_fault(member, target),
                (Some(_), None) => Some("which is not in the table of rings".into()),
                (None, _) => registry_fault(member, &dependency.name),
            };
            faults.extend(
                fault.map(|fault| format!("{} depends on {}, {fault}", package.name, dependency.name)),
            );
        }
    }
    let unknown = MEMBERS.iter().filter(|member| packages.iter().all(|package| package.name != member.name));
    faults.extend(unknown.map(|member| format!("{} is in the table but not in the workspace", member.name)));
    faults
}

fn find(name: &str) -> Option<&'static Member> {
    MEMBERS.iter().find(|member| member.name == name)
}

fn member_fault(from: &Member, to: &Member) -> Option<String> {
    if to.ring == Ring::Testkit {
        return (from.ring != Ring::Outside).then(|| "which is for tests only".into());
    }
    if from.ring == Ring::Tools && to.ring == Ring::Words && !TOOLS_WITH_WORDS.contains(&from.name) {
        return Some("but tools know no garden words".into());
    }
    if to.ring == from.ring && !from.beside.contains(&to.name) {
        return Some(format!("of the same ring ({:?}), which the table does not list", to.ring));
    }
    (to.ring > from.ring).then(|| format!("which lies further outside ({:?} to {:?})", from.ring, to.ring))
}

fn registry_fault(from: &Member, name: &str) -> Option<String> {
    let restricted = RESTRICTED
        .iter()
        .find(|(restricted, allowed, _)| *restricted == name && !allowed.contains(&from.name));
    if let Some((_, allowed, reason)) = restricted {
        return Some(format!("which only {allowed:?} may: {reason}"));
    }
    let (_, allowed) = CLOSED.iter().find(|(member, _)| *member == from.name)?;
    (!allowed.contains(&name)).then(|| format!("but may have only {allowed:?}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The whole table as packages without dependencies, with one edge added.
    fn with_edge(from: &str, to: &str, kind: Option<&str>, in_workspace: bool) -> Vec<String> {
        let mut packages: Vec<Package> = MEMBERS
            .iter()
            .map(|member| Package { name: member.name.into(), dependencies: Vec::new() })
            .collect();
        let edge = Dependency {
            name: to.into(),
            kind: kind.map(Into::into),
            path: in_workspace.then(|| format!("crates/{to}")),
        };
        match packages.iter_mut().find(|package| package.name == from) {
            Some(package) => package.dependencies.push(edge),
            None => packages.push(Package { name: from.into(), dependencies: vec![edge] }),
        }
        faults(&packages)
    }

    #[test]
    fn inward_and_listed_edges_are_permitted() {
        for (from, to) in
            [("gdn", "containerizer"), ("containerizer", "gdn-mounts"), ("gdn-launcher", "gdn-keeper")]
        {
            assert_eq!(with_edge(from, to, None, true), Vec::<String>::new(), "{from} -> {to}");
        }
        assert_eq!(with_edge("gardener-core", "gdn-testkit", Some("dev"), true), Vec::<String>::new());
        assert_eq!(with_edge("gdn-state", "sled", None, false), Vec::<String>::new());
    }

    #[test]
    fn each_rule_of_the_table_is_enforced() {
        let cases = [
            ("gardener-core", "gdn-grpc", None, true, "further outside"),
            ("containerizer", "volumizer", None, true, "same ring"),
            ("gdn-mounts", "gdn-types", None, true, "no garden words"),
            ("gdn", "gdn-testkit", None, true, "tests only"),
            ("properties", "sled", None, false, "only"),
            ("gdn-mounts", "tokio", Some("build"), false, "only"),
            ("gdn-types", "serde", None, false, "may have only"),
            ("gdn-unheard-of", "libc", None, false, "not in the table"),
        ];
        for (from, to, kind, in_workspace, expected) in cases {
            let faults = with_edge(from, to, kind, in_workspace);
            assert!(faults.len() == 1 && faults[0].contains(expected), "{from} -> {to}: {faults:?}");
        }
    }
}
