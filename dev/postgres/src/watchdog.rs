//! Starts the server under a watchdog: a process that stops it when its last user is gone.
//!
//! The watchdog is a fork of the process that starts the server, in a session of its own and
//! with all else closed. It holds the exclusive lock of the data directory for as long as it
//! lives: that lock is how others know that a server runs. A user of the server holds a shared
//! lock of another directory; when the watchdog can get that one exclusively, nobody is left.

use std::ffi::{CStr, CString};
use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use crate::identity::Identity;

/// How often the watchdog looks.
const TICK: Duration = Duration::from_millis(100);

/// How many ticks each way of stopping may take until a harsher one is tried.
const PATIENCE: u32 = 200;

/// Runs `command` (a `postgres`) as `identity` under a watchdog, and does not wait for it.
///
/// `alive` is the exclusive lock that the watchdog keeps; `users` the directory whose lock its
/// users hold; `sockets` the directory to remove in the end; `grace` how long the server
/// outlives its last user.
pub(crate) fn launch(
    mut command: Command,
    identity: Identity,
    alive: &File,
    users: &Path,
    sockets: &Path,
    grace: Duration,
) -> io::Result<()> {
    let users = CString::new(users.as_os_str().as_bytes())?;
    let sockets = CString::new(sockets.as_os_str().as_bytes())?;
    let alive = alive.as_raw_fd();
    let ticks = grace.as_millis() / TICK.as_millis();
    let grace = u32::try_from(ticks).unwrap_or(u32::MAX).max(1);
    // SAFETY: runs in the child between fork and exec. Everything it calls is async-signal-safe
    // (fork, setsid, system calls on prepared values): nothing allocates or takes locks.
    unsafe {
        command.pre_exec(move || {
            // Away from the terminal: Ctrl-C is for our users, and they tell by leaving.
            libc::setsid();
            // The process that `spawn` knows ends here, so that its parent can reap it at once.
            if fork()? != 0 {
                libc::_exit(0);
            }
            let server = fork()?;
            if server != 0 {
                watch(server, alive, &users, grace);
                // Still under the lock: a server that is started now makes it anew.
                libc::rmdir(sockets.as_ptr());
                libc::_exit(0);
            }
            identity.assume()?;
            die_with_parent();
            Ok(())
        });
    }
    command.spawn()?.wait()?;
    Ok(())
}

fn fork() -> io::Result<libc::pid_t> {
    // SAFETY: called where only async-signal-safe calls follow.
    match unsafe { libc::fork() } {
        -1 => Err(io::Error::last_os_error()),
        pid => Ok(pid),
    }
}

/// A watchdog that is itself killed takes the server with it (elsewhere the next user does).
fn die_with_parent() {
    #[cfg(target_os = "linux")]
    // SAFETY: plain numbers.
    unsafe {
        libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGINT);
    }
}

/// The watchdog's life: until the server ends or nobody uses it.
fn watch(server: libc::pid_t, alive: RawFd, users: &CStr, grace: u32) {
    // SAFETY: this process has one thread, and the calls take numbers and C strings only.
    unsafe {
        // The lock goes with the description that both descriptors share.
        libc::dup2(alive, 3);
        close_from(4);
        #[cfg(target_os = "linux")]
        libc::prctl(libc::PR_SET_NAME, c"pg-watchdog".as_ptr());
        let users = libc::open(users.as_ptr(), libc::O_RDONLY | libc::O_CLOEXEC);
        let mut idle = 0;
        while users >= 0 && idle < grace {
            pause();
            if has_ended(server) {
                return;
            }
            if libc::flock(users, libc::LOCK_EX | libc::LOCK_NB) == 0 {
                idle += 1;
                if idle < grace {
                    libc::flock(users, libc::LOCK_UN);
                }
            } else {
                idle = 0;
            }
        }
        // Whoever comes now waits for our exclusive lock, and starts the server anew.
        for signal in [libc::SIGINT, libc::SIGQUIT, libc::SIGKILL] {
            libc::kill(server, signal);
            for _ in 0..PATIENCE {
                pause();
                if has_ended(server) {
                    return;
                }
            }
        }
    }
}

fn pause() {
    std::thread::sleep(TICK);
}

fn has_ended(child: libc::pid_t) -> bool {
    // SAFETY: the status may be null; the child is ours, so that its number is not reused.
    unsafe { libc::waitpid(child, std::ptr::null_mut(), libc::WNOHANG) == child }
}

/// Closes every descriptor from `first` on: pipes of the test runner, our users' own locks.
///
/// # Safety
///
/// Nothing may use those descriptors afterwards.
unsafe fn close_from(first: RawFd) {
    #[cfg(target_os = "linux")]
    // SAFETY: plain numbers; an older kernel answers with an error and changes nothing.
    if unsafe { libc::syscall(libc::SYS_close_range, first, libc::c_uint::MAX, 0) } == 0 {
        return;
    }
    // SAFETY: closing a descriptor that isn't open is an error without effect.
    unsafe {
        let most = libc::getdtablesize().min(65_536);
        for descriptor in first..most {
            libc::close(descriptor);
        }
    }
}
