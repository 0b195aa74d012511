//! The root file system that floor, engine and peers share: busybox, and a `/bin/true` that does nothing else.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// Where busybox is, statically linked, in the distribution's package.
const BUSYBOX: [&str; 2] = ["/bin/busybox", "/usr/bin/busybox"];

/// Makes the root file system in `directory/rootfs`, and `directory/rootfs.tar` of it.
pub(crate) fn make(directory: &Path) -> Result<(PathBuf, PathBuf)> {
    let root = directory.join("rootfs");
    for name in ["bin", "dev", "etc", "proc", "root", "sys", "tmp", "run"] {
        fs::create_dir_all(root.join(name))?;
    }
    let busybox = BUSYBOX.iter().find(|path| Path::new(path).exists()).context("busybox is not installed")?;
    fs::copy(busybox, root.join("bin/busybox"))?;
    for name in ["sh", "cat", "sleep", "dd", "nc"] {
        symlink("busybox", root.join("bin").join(name))?;
    }
    fs::write(root.join("bin/true"), true_program())?;
    fs::set_permissions(root.join("bin/true"), fs::Permissions::from_mode(0o755))?;
    fs::write(root.join("etc/passwd"), "root:x:0:0:root:/root:/bin/sh\n")?;
    fs::write(root.join("etc/group"), "root:x:0:\n")?;

    let tar = directory.join("rootfs.tar");
    let mut archive = tar::Builder::new(fs::File::create(&tar)?);
    archive.follow_symlinks(false);
    archive.append_dir_all(".", &root)?;
    archive.finish()?;
    Ok((root, tar))
}

/// A whole x86_64 program: an ELF header, one segment, and `exit(0)`.
///
/// Starting busybox takes longer than the rest of an exec (0.5 ms), and would hide what is to be measured.
fn true_program() -> Vec<u8> {
    const ADDRESS: u64 = 0x40_0000;
    const HEADERS: u64 = 64 + 56;
    // mov edi, 0; mov eax, 60 (exit); syscall
    let code = [0xbf, 0, 0, 0, 0, 0xb8, 60, 0, 0, 0, 0x0f, 0x05];
    let size = HEADERS + code.len() as u64;
    let mut program = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0".to_vec();
    // Type: executable, machine: x86_64, version.
    program.extend([2u8, 0, 62, 0, 1, 0, 0, 0]);
    for offset in [ADDRESS + HEADERS, 64, 0] {
        program.extend(offset.to_le_bytes());
    }
    // Flags; sizes and counts of the header, the program headers, and no section headers.
    program.extend([0u8; 4]);
    for number in [64u16, 56, 1, 64, 0, 0] {
        program.extend(number.to_le_bytes());
    }
    // One loadable segment, readable and executable: the whole file.
    program.extend([1u8, 0, 0, 0, 5, 0, 0, 0]);
    for number in [0, ADDRESS, ADDRESS, size, size, 0x1000] {
        program.extend(number.to_le_bytes());
    }
    program.extend(code);
    program
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_program_runs_and_exits_with_zero() {
        let directory = tempfile::tempdir().unwrap();
        let program = directory.path().join("true");
        fs::write(&program, true_program()).unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
        assert!(std::process::Command::new(&program).status().unwrap().success());
    }
}
