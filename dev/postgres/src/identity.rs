//! As whom Postgres runs: it refuses to be root, and in a container we often are.
//!
//! The child enters a user namespace in which it is user 1 but, to the rest of the system, still
//! root: it can use root's files, and nothing has to change its owner. Where namespaces are
//! forbidden, it becomes `postgres` or `nobody`, and the data is given to that user.

use std::ffi::CStr;
use std::fs;
use std::io;
use std::os::unix::fs::{MetadataExt, chown};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::binaries::Binaries;
use crate::error::Error;

/// Set to anything, it forbids the user namespace, so that the other way can be tried.
const NO_NAMESPACE: &str = "DEV_POSTGRES_NO_USER_NAMESPACE";

/// As whom a child process runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Identity {
    /// As we do: we are not root.
    Ourselves,
    /// As root that looks like user 1 to itself.
    Namespace,
    /// As an unprivileged user, which only root can become.
    Other { uid: u32, gid: u32 },
}

/// Whether this process has root's user id.
pub(crate) fn is_root() -> bool {
    our_uid() == 0
}

/// The user id of this process.
pub(crate) fn our_uid() -> u32 {
    // SAFETY: takes nothing, touches no memory, can't fail.
    unsafe { libc::geteuid() }
}

impl Identity {
    /// The way that works here, and that existing data, if any, was made in.
    pub(crate) fn choose(binaries: &Binaries, data: &Path) -> Result<Self, Error> {
        let owner = fs::metadata(data).ok();
        if !is_root() {
            return match owner {
                Some(owner) if owner.uid() != our_uid() => Err(Error::NotOurs {
                    path: data.to_owned(),
                }),
                _ => Ok(Self::Ourselves),
            };
        }
        if let Some(owner) = owner.filter(|owner| owner.uid() != 0) {
            return Ok(Self::Other {
                uid: owner.uid(),
                gid: owner.gid(),
            });
        }
        let forbidden = std::env::var_os(NO_NAMESPACE).is_some();
        if !forbidden && Self::Namespace.can_run(&binaries.program("postgres"), "--version") {
            return Ok(Self::Namespace);
        }
        Ok(unprivileged())
    }

    /// Makes `path` usable for this identity, and checks that it is.
    pub(crate) fn give(self, path: &Path) -> Result<(), Error> {
        let Self::Other { uid, gid } = self else {
            return Ok(());
        };
        chown(path, Some(uid), Some(gid)).map_err(Error::io("change the owner of", path))?;
        // `cd` fails where a directory on the way is closed, such as root's home.
        let mut command = Command::new("/bin/sh");
        command.args(["-c", "cd \"$0\""]).arg(path);
        if self.succeeds(&mut command) {
            Ok(())
        } else {
            Err(Error::Unreachable {
                uid,
                path: path.to_owned(),
            })
        }
    }

    /// Checks that this identity may run the programs.
    pub(crate) fn check(self, binaries: &Binaries) -> Result<(), Error> {
        let path = binaries.program("postgres");
        match self {
            Self::Other { uid, .. } if !self.can_run(&path, "--version") => {
                Err(Error::Unreachable { uid, path })
            }
            _ => Ok(()),
        }
    }

    fn can_run(self, program: &Path, argument: &str) -> bool {
        self.succeeds(Command::new(program).arg(argument))
    }

    fn succeeds(self, command: &mut Command) -> bool {
        command.stdin(Stdio::null());
        command.stdout(Stdio::null()).stderr(Stdio::null());
        self.apply(command);
        command.status().is_ok_and(|status| status.success())
    }

    /// Has `command` become this identity before its program starts.
    pub(crate) fn apply(self, command: &mut Command) {
        // SAFETY: runs in the child between fork and exec; `assume` makes only system calls,
        // on constants, and neither allocates nor takes locks.
        unsafe {
            command.pre_exec(move || self.assume());
        }
    }

    /// Becomes this identity; only for a child that has one thread and is about to exec.
    pub(crate) fn assume(self) -> io::Result<()> {
        match self {
            Self::Ourselves => Ok(()),
            Self::Namespace => enter_namespace(),
            Self::Other { uid, gid } => become_user(uid, gid),
        }
    }
}

/// `postgres` where the machine has it, else `nobody`.
fn unprivileged() -> Identity {
    let users = fs::read_to_string("/etc/passwd").unwrap_or_default();
    ["postgres", "nobody"]
        .iter()
        .find_map(|name| ids_of(&users, name))
        .map_or(
            Identity::Other {
                uid: 65534,
                gid: 65534,
            },
            |(uid, gid)| Identity::Other { uid, gid },
        )
}

fn ids_of(users: &str, name: &str) -> Option<(u32, u32)> {
    let line = users
        .lines()
        .find(|line| line.split(':').next() == Some(name))?;
    let mut fields = line.split(':').skip(2);
    // macOS writes nobody's id as -2.
    let mut id = || fields.next()?.parse::<i64>().ok()?.try_into().ok();
    Some((id()?, id()?))
}

fn become_user(uid: u32, gid: u32) -> io::Result<()> {
    // SAFETY: no groups, so the pointer is not read; the other calls take plain numbers.
    unsafe {
        checked(libc::setgroups(0, std::ptr::null()))?;
        checked(libc::setgid(gid))?;
        checked(libc::setuid(uid))
    }
}

#[cfg(target_os = "linux")]
fn enter_namespace() -> io::Result<()> {
    // SAFETY: takes a number; the process has one thread, as the call demands.
    checked(unsafe { libc::unshare(libc::CLONE_NEWUSER) })?;
    write_once(c"/proc/self/setgroups", b"deny")?;
    write_once(c"/proc/self/uid_map", b"1 0 1")?;
    write_once(c"/proc/self/gid_map", b"1 0 1")
}

#[cfg(not(target_os = "linux"))]
fn enter_namespace() -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

/// The kernel takes each of these files in a single write.
#[cfg(target_os = "linux")]
fn write_once(path: &CStr, text: &[u8]) -> io::Result<()> {
    // SAFETY: the path ends in a null byte; pointer and length are those of one slice; the
    // descriptor is the one that was just opened.
    unsafe {
        let file = libc::open(path.as_ptr(), libc::O_WRONLY | libc::O_CLOEXEC);
        checked(file)?;
        let written = libc::write(file, text.as_ptr().cast(), text.len());
        let result = if written < 0 {
            Err(io::Error::last_os_error())
        } else {
            Ok(())
        };
        libc::close(file);
        result
    }
}

fn checked(returned: libc::c_int) -> io::Result<()> {
    if returned < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_read_from_the_password_file() {
        let users = "root:x:0:0::/root:/bin/sh\nnobody:x:65534:65533::/:/bin/false\n";
        assert_eq!(ids_of(users, "nobody"), Some((65534, 65533)));
        assert_eq!(ids_of(users, "postgres"), None);
        assert_eq!(ids_of("nobody:*:-2:-2::/:/bin/false", "nobody"), None);
    }
}
