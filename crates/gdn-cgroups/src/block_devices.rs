//! The disks of this host.

use std::fs;
use std::path::{Path, PathBuf};

use rustix::io::Errno;

use crate::error::{Error, Result};

/// Where the kernel lists block devices, without their partitions.
const BLOCK_DEVICES: &str = "/sys/block";

/// The numbers, as `major:minor`, of all block devices with hardware behind them: not those that are made of files, memory or
/// other block devices, whose traffic arrives at these.
pub(crate) fn real() -> Result<Vec<String>> {
    listed_in(Path::new(BLOCK_DEVICES))
}

fn listed_in(directory: &Path) -> Result<Vec<String>> {
    let failed = |op, path: PathBuf, error: &std::io::Error| Error::Path {
        op,
        path,
        errno: Errno::from_io_error(error).unwrap_or(Errno::IO),
    };
    let mut numbers = Vec::new();
    for entry in fs::read_dir(directory).map_err(|error| failed("list", directory.to_owned(), &error))? {
        let device = entry.map_err(|error| failed("list", directory.to_owned(), &error))?.path();
        if !device.join("device").exists() {
            continue;
        }
        match fs::read_to_string(device.join("dev")) {
            Ok(number) => numbers.push(number.trim().to_owned()),
            // Unplugged since it was listed.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => return Err(failed("read", device.join("dev"), &error)),
        }
    }
    numbers.sort_unstable();
    Ok(numbers)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_devices_with_hardware_behind_them_are_listed() {
        let sys = tempfile::tempdir().unwrap();
        for (name, number, real) in
            [("vda", "254:0\n", true), ("loop0", "7:0\n", false), ("sda", "8:0\n", true)]
        {
            let device = sys.path().join(name);
            fs::create_dir(&device).unwrap();
            fs::write(device.join("dev"), number).unwrap();
            if real {
                fs::create_dir(device.join("device")).unwrap();
            }
        }
        fs::create_dir_all(sys.path().join("gone/device")).unwrap();
        assert_eq!(listed_in(sys.path()).unwrap(), ["254:0", "8:0"]);
        assert!(listed_in(&sys.path().join("nowhere")).is_err());
    }
}
