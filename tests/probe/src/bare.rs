//! A container runtime with every mistake that is cheap to make: the target that attempts must escape from.

use std::ffi::CString;
use std::fs;
use std::ptr;

use crate::system::{checked, text};

/// Runs a command in a changed root directory as a user that is looked up as carelessly as can be, and tells its status.
pub(crate) fn run(root: &str, namespaces: &str, user: &str, command: &[&str]) -> Result<u8, String> {
    let (uid, gid) = look_up(root, user);
    let wanted = |name: &str| namespaces.split(',').any(|wanted| wanted == name);
    let flags = [
        ("mount", libc::CLONE_NEWNS),
        ("pid", libc::CLONE_NEWPID),
        ("ipc", libc::CLONE_NEWIPC),
        ("uts", libc::CLONE_NEWUTS),
        ("net", libc::CLONE_NEWNET),
    ];
    let flags = flags.iter().filter(|(name, _)| wanted(name)).fold(0, |all, (_, flag)| all | flag);
    // SAFETY: unshare takes a number only.
    checked("unshare", unsafe { libc::unshare(flags) })?;
    // SAFETY: this program has one thread, so the child may do anything.
    let child = checked("fork", unsafe { libc::fork() })?;
    if child == 0 {
        return enter(root, wanted("mount"), uid, gid, command).map(|()| 0);
    }
    let mut status = 0;
    // SAFETY: status is a place for one int.
    checked("waitpid", unsafe { libc::waitpid(child as libc::pid_t, &raw mut status, 0) })?;
    if libc::WIFEXITED(status) {
        Ok(libc::WEXITSTATUS(status) as u8)
    } else {
        Ok((128 + libc::WTERMSIG(status)) as u8)
    }
}

fn enter(root: &str, mounts: bool, uid: u32, gid: u32, command: &[&str]) -> Result<(), String> {
    // SAFETY: prctl with a signal's number.
    checked("prctl", unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) })?;
    if mounts {
        mount("none", "/", "", libc::MS_REC | libc::MS_PRIVATE)?;
        if root != "/" {
            mount("proc", &format!("{root}/proc"), "proc", 0)?;
            mount("/dev", &format!("{root}/dev"), "", libc::MS_BIND | libc::MS_REC)?;
            mount("/sys", &format!("{root}/sys"), "", libc::MS_BIND | libc::MS_REC)?;
        } else {
            mount("proc", "/proc", "proc", 0)?;
        }
    }
    let root = text(root)?;
    // SAFETY: root is text that ends with a zero byte.
    checked("chroot", unsafe { libc::chroot(root.as_ptr()) })?;
    // SAFETY: a literal that ends with a zero byte.
    checked("chdir", unsafe { libc::chdir(c"/".as_ptr()) })?;
    // The supplementary groups of whoever started this are kept: one of the mistakes.
    // SAFETY: these take numbers only.
    checked("setgid", unsafe { libc::setgid(gid) })?;
    // SAFETY: as before.
    checked("setuid", unsafe { libc::setuid(uid) })?;
    let words = command.iter().map(|word| text(word)).collect::<Result<Vec<CString>, _>>()?;
    let mut pointers: Vec<_> = words.iter().map(|word| word.as_ptr()).collect();
    pointers.push(ptr::null());
    // SAFETY: words live and the list ends with a null pointer.
    checked("exec", unsafe { libc::execvp(pointers[0], pointers.as_ptr()) })?;
    Ok(())
}

fn mount(source: &str, target: &str, kind: &str, flags: libc::c_ulong) -> Result<(), String> {
    let (from, to, of) = (text(source)?, text(target)?, text(kind)?);
    // SAFETY: three texts that end with a zero byte, and no data.
    let mounted = unsafe { libc::mount(from.as_ptr(), to.as_ptr(), of.as_ptr(), flags, ptr::null()) };
    checked(&format!("mount {source} on {target}"), mounted).map(|_| ())
}

/// Names are whatever the file says, numbers are whatever C's atoi makes of them, and links are followed on the host.
fn look_up(root: &str, asked: &str) -> (u32, u32) {
    let (user, group) = asked.split_once(':').unwrap_or((asked, "0"));
    (id(&format!("{root}/etc/passwd"), user), id(&format!("{root}/etc/group"), group))
}

fn id(file: &str, asked: &str) -> u32 {
    let entries = fs::read_to_string(file).unwrap_or_default();
    let mut lines = entries.lines();
    let field = lines.find_map(|line| line.strip_prefix(asked)?.strip_prefix(":")?.split(':').nth(1));
    let number = field.unwrap_or(asked).trim();
    let digits = number.strip_prefix('-').unwrap_or(number);
    let value = digits.bytes().take_while(u8::is_ascii_digit);
    let value = value.fold(0_u32, |sum, digit| sum.wrapping_mul(10).wrapping_add(u32::from(digit - b'0')));
    if number.starts_with('-') { value.wrapping_neg() } else { value }
}
