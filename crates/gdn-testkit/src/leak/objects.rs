//! Things that the kernel shows as directory entries: links, named network namespaces, shared memory, loop devices.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::Path;

/// The names in a directory; none when it does not exist.
pub(super) fn entries(directory: &str) -> io::Result<BTreeMap<String, String>> {
    let mut found = BTreeMap::new();
    let Some(entries) = unless_gone(fs::read_dir(Path::new(directory)))? else { return Ok(found) };
    for entry in entries {
        found.insert(entry?.file_name().to_string_lossy().into_owned(), String::new());
    }
    Ok(found)
}

/// Loop devices that have a backing file.
pub(super) fn loop_devices() -> io::Result<BTreeMap<String, String>> {
    let mut found = BTreeMap::new();
    for device in entries("/sys/block")?.into_keys().filter(|name| name.starts_with("loop")) {
        // The file is absent for a device without a backing file, and goes away with it.
        if let Some(file) = unless_gone(fs::read_to_string(format!("/sys/block/{device}/loop/backing_file")))?
        {
            found.insert(device, file.trim_end().to_owned());
        }
    }
    Ok(found)
}

/// What a look found, or `None` when the thing has gone meanwhile, which is no failure of the look.
pub(super) fn unless_gone<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    const ESRCH: i32 = 3;
    const ENXIO: i32 = 6;
    const ENODEV: i32 = 19;
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) if matches!(error.raw_os_error(), Some(ESRCH | ENXIO | ENODEV)) => Ok(None),
        Err(error) => Err(error),
    }
}
