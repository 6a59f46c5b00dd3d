//! What a running server writes into `postmaster.pid`, and the process that it names.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::error::Error;

const NAME: &str = "postmaster.pid";

/// The lines of the file that matter to us; the text differs from start to start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PidFile {
    /// The server's process id.
    pub(crate) pid: u32,
    /// The directory of its socket.
    pub(crate) socket: PathBuf,
    /// Whether it takes connections.
    pub(crate) ready: bool,
    started: String,
}

impl PidFile {
    /// Reads the file of the cluster in `data`, if it is there and complete.
    pub(crate) fn read(data: &Path) -> Option<Self> {
        Self::parse(&fs::read_to_string(data.join(NAME)).ok()?)
    }

    /// Process id, data directory, start time, port, socket directory, address, memory, status.
    fn parse(text: &str) -> Option<Self> {
        let lines: Vec<&str> = text.lines().collect();
        Some(Self {
            pid: lines.first()?.trim().parse().ok()?,
            started: (*lines.get(2)?).to_owned(),
            socket: PathBuf::from(lines.get(4)?),
            ready: lines.get(7).is_some_and(|status| status.trim() == "ready"),
        })
    }

    /// Removes the file of the cluster in `data`.
    pub(crate) fn remove(data: &Path) -> Result<(), Error> {
        let path = data.join(NAME);
        fs::remove_file(&path).map_err(Error::io("remove", path))
    }
}

/// Whether `pid` is the server of the cluster in `data`; none if there is no such process.
pub(crate) fn is_server_of(pid: u32, data: &Path) -> Option<bool> {
    let line = command_line(pid)?;
    Some(line.contains("postgres") && line.contains(data.to_string_lossy().as_ref()))
}

/// Sends a signal, and does not mind if the process is gone.
pub(crate) fn send(pid: u32, signal: libc::c_int) {
    if let Ok(pid) = libc::pid_t::try_from(pid) {
        // SAFETY: takes two numbers.
        unsafe {
            libc::kill(pid, signal);
        }
    }
}

/// Whether some process has this id.
pub(crate) fn is_alive(pid: u32) -> bool {
    let Ok(pid) = libc::pid_t::try_from(pid) else {
        return false;
    };
    // SAFETY: takes two numbers; signal 0 only asks.
    let answer = unsafe { libc::kill(pid, 0) };
    answer == 0 || io::Error::last_os_error().raw_os_error() == Some(libc::EPERM)
}

/// From /proc, or from `ps` where there is none.
fn command_line(pid: u32) -> Option<String> {
    if !is_alive(pid) {
        return None;
    }
    if let Ok(words) = fs::read(format!("/proc/{pid}/cmdline")) {
        // A process that has ended but was not waited for has no words left.
        return (!words.is_empty()).then(|| String::from_utf8_lossy(&words).replace('\0', " "));
    }
    let output = Command::new("ps")
        .args(["-ww", "-o", "args=", "-p", &pid.to_string()])
        .output()
        .ok()?;
    String::from_utf8(output.stdout).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn server_counts_as_ready_only_when_it_says_so() {
        let starting = "71\n/data\n1700000000\n5432\n/tmp/s\n\n  1 2\nstarting\n";
        let ready = starting.replace("starting", "ready   ");
        assert_eq!(PidFile::parse(starting).map(|file| file.ready), Some(false));
        let file = PidFile::parse(&ready);
        assert_eq!(file.as_ref().map(|file| file.ready), Some(true));
        assert_eq!(file.map(|file| file.pid), Some(71));
        assert_eq!(PidFile::parse("71\n/data\n"), None);
    }

    #[test]
    fn our_own_process_is_no_server() {
        let own = std::process::id();
        assert!(is_alive(own));
        assert_eq!(is_server_of(own, Path::new("/nowhere")), Some(false));
    }
}
