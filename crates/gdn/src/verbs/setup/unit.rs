//! The unit of systemd.

use std::fs;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use anyhow::{Context, bail};

use super::{Outcome, Step};
use crate::failure::Advised;

/// Where administrators' units are.
pub(super) const USUAL: &str = "/etc/systemd/system/gdn.service";

/// The unit as the repository has it.
const TEMPLATE: &str = include_str!("../../../../../dist/gdn.service");

/// The program in the template.
const PROGRAM: &str = "ExecStart=/usr/local/bin/gdn server";

/// What paths may be made of: everything else means something to systemd, or might.
const PLAIN: &str = "/._-+@,";

/// Writes the unit, unless the file says the same.
pub(super) fn install(file: &Path, root: Option<&Path>, replace: bool) -> anyhow::Result<Step> {
    let program = std::env::current_exe().context("cannot find this program's own path")?;
    let unit = unit(&program, root)?;
    let outcome = match fs::read_to_string(file) {
        Ok(there) if there == unit => Outcome::There,
        Ok(_) if replace => Outcome::Replaced,
        Ok(_) => {
            return Err(Advised::error(
                format!("{} says something else than this would", file.display()),
                "remove it, or say --replace; what differs from a host to another belongs into /etc/default/gdn",
            ));
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Outcome::Made,
        Err(error) => return Err(error).with_context(|| format!("cannot read {}", file.display())),
    };
    if outcome != Outcome::There {
        write(file, &unit).with_context(|| format!("cannot write {}", file.display()))?;
    }
    let name = file.file_name().unwrap_or_default().to_string_lossy();
    let remark = format!("systemctl daemon-reload && systemctl enable --now {name} starts it");
    Ok(Step { what: format!("unit {}", file.display()), outcome, remark })
}

/// The unit for this program and this root.
fn unit(program: &Path, root: Option<&Path>) -> anyhow::Result<String> {
    let mut line = format!("ExecStart={}", plain(program)?);
    if let Some(root) = root {
        let root = std::path::absolute(root).context("cannot make the root absolute")?;
        line.push_str(&format!(" --root {}", plain(&root)?));
    }
    line.push_str(" server");
    anyhow::ensure!(TEMPLATE.contains(PROGRAM), "the template has no line for the program");
    Ok(TEMPLATE.replace(PROGRAM, &line))
}

fn plain(path: &Path) -> anyhow::Result<&str> {
    match path.to_str() {
        Some(text) if text.chars().all(|c| c.is_ascii_alphanumeric() || PLAIN.contains(c)) => Ok(text),
        _ => bail!("path {} cannot stand in a unit: only letters, digits and {PLAIN:?} can", path.display()),
    }
}

/// Writes beside it first: a reader finds the old file or the new one. What lies beside it already is never written to,
/// whoever put it there.
fn write(file: &Path, text: &str) -> std::io::Result<()> {
    let mut name = file.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}.new", std::process::id()));
    let beside = file.with_file_name(name);
    let mut new = fs::File::options().write(true).create_new(true).mode(0o644).open(&beside)?;
    let written = new.write_all(text.as_bytes()).and_then(|()| new.sync_all());
    let renamed = written.and_then(|()| fs::rename(&beside, file));
    if renamed.is_err() {
        // The reason is told, not what became of the half that was written.
        let _ = fs::remove_file(&beside);
    }
    renamed
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_unit_names_this_program_and_its_root() {
        let usual = unit(Path::new("/usr/local/bin/gdn"), None).unwrap();
        assert_eq!(usual, TEMPLATE);
        let other = unit(Path::new("/opt/gdn"), Some(Path::new("/r"))).unwrap();
        assert!(other.contains("\nExecStart=/opt/gdn --root /r server $GDN_OPTIONS\n"), "{other}");
        for wrong in ["/opt/a b/gdn", "/opt/%h/gdn", "/opt/$x", "/opt/a\"b"] {
            assert!(unit(Path::new(wrong), None).is_err(), "{wrong}");
        }
    }

    #[test]
    fn containers_outlive_what_the_unit_does() {
        let lines: Vec<&str> = TEMPLATE.lines().collect();
        for line in
            ["Type=notify", "Delegate=yes", "KillMode=process", "OOMScoreAdjust=-999", "LimitNOFILE=1048576"]
        {
            assert!(lines.contains(&line), "{line}");
        }
        // systemd removes such a directory, with the sockets in it, when the service stops.
        assert!(!TEMPLATE.contains("RuntimeDirectory"));
        for line in lines.iter().filter(|line| !line.is_empty() && !line.starts_with(['#', '['])) {
            assert!(line.split_once('=').is_some(), "{line}");
        }
    }

    #[test]
    fn a_unit_is_written_once_and_another_one_is_not_replaced_unasked() {
        let place = tempfile::tempdir().unwrap();
        let file = place.path().join("gdn.service");
        assert_eq!(install(&file, None, false).unwrap().outcome, Outcome::Made);
        assert_eq!(install(&file, None, false).unwrap().outcome, Outcome::There);
        assert!(install(&file, Some(Path::new("/r")), false).is_err());
        assert_eq!(install(&file, Some(Path::new("/r")), true).unwrap().outcome, Outcome::Replaced);
        assert_eq!(fs::read_dir(place.path()).unwrap().count(), 1);
        assert!(install(&place.path().join("none/gdn.service"), None, false).is_err());
    }
}
