//! The environment of a process: the container's, the process's own, and what nobody may go without.

use gdn_types::Environment;

use crate::users::User;

/// Root's search path when nobody gave one.
const ROOT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// Everyone else's.
const USER_PATH: &str = "/usr/local/bin:/usr/bin:/bin";

/// Lays the process's variables over the container's and fills in PATH, USER and HOME where neither has them.
pub(crate) fn of_process(
    container: &Environment,
    process: &Environment,
    asked_user: &str,
    user: &User,
) -> Vec<Vec<u8>> {
    let merged = container.clone().overlaid(process);
    let mut entries: Vec<Vec<u8>> = merged.entries().map(String::into_bytes).collect();
    let mut default = |name: &str, value: &str| {
        if merged.get(name).is_none() {
            entries.push(format!("{name}={value}").into_bytes());
        }
    };
    default("PATH", if user.uid == 0 { ROOT_PATH } else { USER_PATH });
    default("USER", if asked_user.is_empty() { "root" } else { asked_user });
    default("HOME", &user.home);
    entries
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entries(container: &[&str], process: &[&str], asked: &str, uid: u32) -> Vec<String> {
        let user = User { uid, gid: uid, groups: vec![], home: "/home/u".into() };
        let parse = |list: &[&str]| Environment::parse(list.iter().copied()).unwrap();
        of_process(&parse(container), &parse(process), asked, &user)
            .into_iter()
            .map(|entry| String::from_utf8(entry).unwrap())
            .collect()
    }

    /// Conformance G161, Q370 to Q378.
    #[test]
    fn later_values_win_and_only_what_is_missing_is_filled_in() {
        assert_eq!(
            entries(&["CONTAINER_ENV=1", "TEST=a"], &["TEST=hello", "FRUIT=banana"], "", 0),
            [
                "CONTAINER_ENV=1",
                "TEST=hello",
                "FRUIT=banana",
                &format!("PATH={ROOT_PATH}"),
                "USER=root",
                "HOME=/home/u"
            ]
        );
        let user = entries(&["MYPATH=x", "MYUSER=y"], &["HOME=/elsewhere"], "alice", 7);
        assert!(user.contains(&format!("PATH={USER_PATH}")) && user.contains(&"USER=alice".to_owned()));
        assert!(user.contains(&"HOME=/elsewhere".to_owned()) && !user.contains(&"HOME=/home/u".to_owned()));
    }
}
