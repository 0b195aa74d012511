//! Files of the host that nothing may touch.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use engine_tests::images::sha256;
use rustix::fs::{CWD, FileType, Mode, mknodat};

/// A tree of files of the host, each kind of file among them, and what it looked like when it was planted.
#[derive(Debug)]
pub struct Canary {
    path: PathBuf,
    secret: String,
    planted: BTreeMap<PathBuf, String>,
}

impl Canary {
    /// Plants one in a directory that does not exist yet.
    pub fn plant(path: &Path) -> Self {
        let secret = format!("secret-of-the-host-{}", &sha256(path.as_os_str().as_encoded_bytes())[..16]);
        fs::create_dir_all(path.join("directory/below")).unwrap();
        fs::write(path.join("file"), &secret).unwrap();
        fs::write(path.join("directory/file"), &secret).unwrap();
        fs::write(path.join("directory/below/readable"), &secret).unwrap();
        for (name, mode) in [("file", 0o600), ("directory/file", 0o640), ("directory/below", 0o755)] {
            fs::set_permissions(path.join(name), fs::Permissions::from_mode(mode)).unwrap();
        }
        symlink("file", path.join("link")).unwrap();
        mknodat(CWD, path.join("fifo"), FileType::Fifo, Mode::from_raw_mode(0o600), 0).unwrap();
        let mut canary = Canary { path: path.to_owned(), secret, planted: BTreeMap::new() };
        canary.planted = canary.looks();
        canary
    }

    /// Its directory.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// A file of it, readable by the host's root only, that holds the [`Canary::secret`].
    pub fn file(&self) -> PathBuf {
        self.path.join("file")
    }

    /// What must not be seen in a container.
    pub fn secret(&self) -> &str {
        &self.secret
    }

    /// What is not as it was planted: contents, owners, modes, times of change, names.
    pub fn changes(&self) -> Vec<String> {
        let now = self.looks();
        let gone = self.planted.iter().filter(|(path, look)| now.get(*path) != Some(look));
        let gone = gone.map(|(path, look)| match now.get(path) {
            Some(now) => format!("{}: {now} and not {look}", path.display()),
            None => format!("{} is gone", path.display()),
        });
        let new = now.keys().filter(|path| !self.planted.contains_key(*path));
        gone.chain(new.map(|path| format!("{} is new", path.display()))).collect()
    }

    fn looks(&self) -> BTreeMap<PathBuf, String> {
        let mut looks = BTreeMap::new();
        let mut open = vec![self.path.clone()];
        while let Some(path) = open.pop() {
            let Ok(stat) = fs::symlink_metadata(&path) else { continue };
            let content = if stat.is_dir() {
                open.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
                String::new()
            } else if stat.is_file() {
                sha256(&fs::read(&path).unwrap())
            } else {
                fs::read_link(&path).map(|target| target.display().to_string()).unwrap_or_default()
            };
            let look = format!(
                "mode {:o} owner {}:{} links {} changed {}.{:09} {content}",
                stat.mode(),
                stat.uid(),
                stat.gid(),
                stat.nlink(),
                stat.ctime(),
                stat.ctime_nsec()
            );
            looks.insert(path, look);
        }
        looks
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_change_of_the_tree_is_seen() {
        let place = tempfile::tempdir().unwrap();
        let changes: [fn(&Path); 6] = [
            |path| fs::write(path.join("file"), "other").unwrap(),
            |path| fs::set_permissions(path.join("directory"), fs::Permissions::from_mode(0o777)).unwrap(),
            |path| fs::write(path.join("directory/new"), "").unwrap(),
            |path| fs::remove_file(path.join("fifo")).unwrap(),
            |path| fs::hard_link(path.join("file"), path.join("directory/again")).unwrap(),
            |path| std::os::unix::fs::lchown(path.join("link"), Some(1), None).unwrap(),
        ];
        for (index, change) in changes.into_iter().enumerate() {
            let canary = Canary::plant(&place.path().join(index.to_string()));
            assert_eq!(canary.changes(), Vec::<String>::new());
            change(canary.path());
            assert!(!canary.changes().is_empty(), "change {index}");
        }
    }
}
