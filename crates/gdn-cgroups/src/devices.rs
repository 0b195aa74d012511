//! Device rules: which device files a group may make (`m`), read (`r`) and write (`w`).

use std::fmt;
use std::str::FromStr;

use rustix::fd::AsFd;

use crate::error::{Error, Result};
use crate::files::Directory;

pub(crate) mod program;

/// Kind of a device file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DeviceKind {
    /// Block device.
    Block,
    /// Character device.
    Character,
}

/// What a rule allows to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct DeviceAccess {
    /// Open for reading.
    pub read: bool,
    /// Open for writing.
    pub write: bool,
    /// Make the device file.
    pub mknod: bool,
}

impl DeviceAccess {
    /// Read, write and mknod.
    pub const ALL: DeviceAccess = DeviceAccess { read: true, write: true, mknod: true };
    /// Mknod only.
    pub const MKNOD: DeviceAccess = DeviceAccess { read: false, write: false, mknod: true };

    const NONE: DeviceAccess = DeviceAccess { read: false, write: false, mknod: false };

    /// What either allows.
    const fn or(self, other: DeviceAccess) -> DeviceAccess {
        DeviceAccess {
            read: self.read || other.read,
            write: self.write || other.write,
            mknod: self.mknod || other.mknod,
        }
    }
}

/// One rule: these device files may be used so.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct DeviceRule {
    /// Kind of device file.
    pub kind: DeviceKind,
    /// Major number; `None` = any.
    pub major: Option<u32>,
    /// Minor number; `None` = any.
    pub minor: Option<u32>,
    /// What may be done.
    pub access: DeviceAccess,
}

impl DeviceRule {
    /// A rule for one kind, `None` meaning any number.
    pub const fn new(kind: DeviceKind, major: Option<u32>, minor: Option<u32>, access: DeviceAccess) -> Self {
        DeviceRule { kind, major, minor, access }
    }

    /// The devices a container may use: any node may be made; null, zero, full, random, urandom, tty, the terminals of devpts,
    /// tun and fuse may be opened.
    pub fn container_defaults() -> Vec<DeviceRule> {
        use DeviceKind::{Block, Character};
        let open = |major, minor| DeviceRule::new(Character, Some(major), minor, DeviceAccess::ALL);
        vec![
            DeviceRule::new(Character, None, None, DeviceAccess::MKNOD),
            DeviceRule::new(Block, None, None, DeviceAccess::MKNOD),
            open(1, Some(3)),    // null
            open(1, Some(5)),    // zero
            open(1, Some(7)),    // full
            open(1, Some(8)),    // random
            open(1, Some(9)),    // urandom
            open(5, Some(0)),    // tty
            open(5, Some(2)),    // ptmx
            open(136, None),     // devpts terminals
            open(10, Some(200)), // tun
            open(10, Some(229)), // fuse
        ]
    }

    /// The devices a container may use by the operator's rules and [`DeviceRule::container_defaults`], in this order.
    ///
    /// A rule takes the place of the default for the same devices, and one for all of a kind that of all defaults of that kind.
    /// Rules for the same devices are one that allows what each of them does.
    pub fn container_devices(rules: &[DeviceRule]) -> Vec<DeviceRule> {
        let mut devices: Vec<DeviceRule> = Vec::new();
        for rule in rules {
            match devices.iter_mut().find(|known| known.is_for_what(rule)) {
                Some(known) => known.access = known.access.or(rule.access),
                None => devices.push(*rule),
            }
        }
        let all_of_a_kind = |rule: &DeviceRule| rule.major.is_none() && rule.minor.is_none();
        let mut defaults = DeviceRule::container_defaults();
        defaults.retain(|default| {
            let replaces = |rule: &DeviceRule| {
                rule.is_for_what(default) || (rule.kind == default.kind && all_of_a_kind(rule))
            };
            !devices.iter().any(replaces)
        });
        devices.extend(defaults);
        devices
    }

    /// Whether both are for the same devices.
    fn is_for_what(&self, other: &DeviceRule) -> bool {
        (self.kind, self.major, self.minor) == (other.kind, other.major, other.minor)
    }
}

/// Highest major and minor number that the kernel has: 12 and 20 bits (`linux/kdev_t.h`).
const MAX_MAJOR: u32 = (1 << 12) - 1;
const MAX_MINOR: u32 = (1 << 20) - 1;

/// As it is displayed: kind, numbers and access, for example `c 10:229 rwm` or `b 8:* r`.
impl FromStr for DeviceRule {
    type Err = Error;

    /// # Errors
    /// [`Error::DeviceRule`] with the text and what is wrong with it.
    fn from_str(text: &str) -> Result<Self> {
        let wrong = |reason| Error::DeviceRule { rule: text.to_owned(), reason };
        let [kind, numbers, letters] = text
            .split_ascii_whitespace()
            .collect::<Vec<_>>()
            .try_into()
            .map_err(|_| wrong("it is not a kind, numbers and an access, such as c 10:229 rwm"))?;
        let kind = match kind {
            "b" => DeviceKind::Block,
            "c" => DeviceKind::Character,
            _ => return Err(wrong("its kind is neither b nor c")),
        };
        let (major, minor) =
            numbers.split_once(':').ok_or_else(|| wrong("its numbers are not MAJOR:MINOR"))?;
        let major =
            number(major, MAX_MAJOR).ok_or_else(|| wrong("its major number is neither * nor 0 to 4095"))?;
        let minor = number(minor, MAX_MINOR)
            .ok_or_else(|| wrong("its minor number is neither * nor 0 to 1048575"))?;
        let mut access = DeviceAccess::NONE;
        for letter in letters.chars() {
            let allowed = match letter {
                'r' => &mut access.read,
                'w' => &mut access.write,
                'm' => &mut access.mknod,
                _ => return Err(wrong("its access has other letters than r, w and m")),
            };
            if std::mem::replace(allowed, true) {
                return Err(wrong("its access has a letter twice"));
            }
        }
        Ok(DeviceRule { kind, major, minor, access })
    }
}

/// A number up to `most`, or any, which is `Some(None)`.
fn number(text: &str, most: u32) -> Option<Option<u32>> {
    if text == "*" {
        return Some(None);
    }
    // A sign is not parsed away.
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| text.parse().ok()).flatten().filter(|number| *number <= most).map(Some)
}

/// As `devices.allow` takes it, for example `c 1:3 rwm`.
impl fmt::Display for DeviceRule {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.kind {
            DeviceKind::Block => 'b',
            DeviceKind::Character => 'c',
        };
        let number = |number: Option<u32>| number.map_or_else(|| "*".to_owned(), |number| number.to_string());
        write!(formatter, "{kind} {}:{} ", number(self.major), number(self.minor))?;
        for (set, letter) in [(self.access.read, 'r'), (self.access.write, 'w'), (self.access.mknod, 'm')] {
            if set {
                write!(formatter, "{letter}")?;
            }
        }
        Ok(())
    }
}

/// Writes rules to a v1 group; the file takes one rule a write.
pub(crate) fn restrict_v1(directory: &Directory, group: &str, rules: &[DeviceRule]) -> Result<()> {
    directory.write(&format!("{group}/devices.deny"), "a")?;
    let allow = format!("{group}/devices.allow");
    let fd = directory.open_for_writing(&allow)?;
    for rule in rules {
        directory.write_to(fd.as_fd(), &allow, &rule.to_string())?;
    }
    Ok(())
}

/// Allows a v1 group all that its parent may.
pub(crate) fn allow_all_v1(directory: &Directory, group: &str) -> Result<()> {
    directory.write(&format!("{group}/devices.allow"), "a")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(text: &str) -> DeviceRule {
        text.parse().unwrap_or_else(|error| panic!("{error}"))
    }

    #[test]
    fn rules_are_read_as_they_are_written() {
        for text in ["c 10:229 rwm", "b 8:* r", "c *:* m", "b *:7 rw", "c 4095:1048575 wm", "c 0:0 r"] {
            assert_eq!(rule(text).to_string(), text);
        }
        assert_eq!(rule(" c  1:3\tmwr ").to_string(), "c 1:3 rwm");
        for default in DeviceRule::container_defaults() {
            assert_eq!(rule(&default.to_string()), default);
        }
    }

    #[test]
    fn what_is_no_rule_is_refused_with_what_is_wrong() {
        for (text, reason) in [
            ("", "not a kind"),
            ("c", "not a kind"),
            ("c 1:3", "not a kind"),
            ("c 1:3 r w", "not a kind"),
            ("a 1:3 rwm", "its kind"),
            ("C 1:3 rwm", "its kind"),
            ("c 13 rwm", "MAJOR:MINOR"),
            ("c :3 rwm", "major number"),
            ("c +1:3 rwm", "major number"),
            ("c 4096:3 rwm", "major number"),
            ("c 1: rwm", "minor number"),
            ("c 1:3:5 rwm", "minor number"),
            ("c 1:1048576 rwm", "minor number"),
            ("c 1:99999999999 rwm", "minor number"),
            ("c 1:3 rx", "other letters"),
            ("c 1:3 RWM", "other letters"),
            ("c 1:3 rr", "twice"),
        ] {
            let error = text.parse::<DeviceRule>().unwrap_err();
            let told = error.to_string();
            assert!(matches!(error, Error::DeviceRule { .. }), "{text}");
            assert!(told.starts_with(&format!("device rule {text:?}: ")) && told.contains(reason), "{told}");
        }
    }

    /// The operator's rules come first, and each takes the place of the default for the same devices.
    #[test]
    fn the_operators_rules_stand_before_the_defaults_and_take_their_places() {
        let told = |rules: &[&str]| {
            let rules: Vec<_> = rules.iter().map(|text| rule(text)).collect();
            DeviceRule::container_devices(&rules).iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        let defaults: Vec<_> = DeviceRule::container_defaults().iter().map(ToString::to_string).collect();
        assert_eq!(told(&[]), defaults);
        assert_eq!(told(&["c 1:11 r"]), [&["c 1:11 r".to_owned()], &defaults[..]].concat());
        let others = defaults.iter().filter(|text| *text != "c 1:3 rwm").cloned();
        assert_eq!(told(&["c 1:3 r"]), ["c 1:3 r".to_owned()].into_iter().chain(others).collect::<Vec<_>>());
        assert_eq!(told(&["c *:* rwm"]), ["c *:* rwm", "b *:* m"]);
        assert_eq!(told(&["b 8:0 r", "b 8:0 w", "c *:* rwm", "b 8:1 r"])[..2], ["b 8:0 rw", "c *:* rwm"]);
    }
}
