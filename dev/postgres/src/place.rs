//! Where a cluster's files and its socket live.

use std::ffi::CString;
use std::fs::{self, DirBuilder};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

use crate::error::Error;
use crate::identity::{is_root, our_uid};

/// A socket's path must fit into `sockaddr_un`: 104 bytes on macOS, of which some stay spare.
const LONGEST_SOCKET: usize = 100;

/// What Postgres names its socket within the directory that it is given.
pub(crate) const SOCKET_NAME: &str = ".s.PGSQL.5432";

/// Below this, memory isn't the place for a test run's databases.
const ENOUGH_MEMORY: u64 = 2 << 30;

/// Where the throw-away cluster of this user, project and major version lives: in memory if it can.
pub(crate) fn throw_away(major: u32) -> PathBuf {
    let project = fingerprint(Path::new(env!("CARGO_MANIFEST_DIR")));
    let name = format!("dues-pg{major}-{}-{project}", our_uid());
    let memory = Path::new("/dev/shm");
    let in_memory = memory.join(&name);
    // One that is there is used on, however full it has become: all processes must agree.
    if in_memory.join("data").exists() || free_space(memory) > ENOUGH_MEMORY {
        in_memory
    } else {
        std::env::temp_dir().join(name)
    }
}

/// A short path for the sockets of the cluster in `directory`, which may be a long one, or on a
/// file system without sockets.
pub(crate) fn sockets(directory: &Path) -> PathBuf {
    let name = format!("dues-pg-{}-{}", our_uid(), fingerprint(directory));
    let short = std::env::temp_dir().join(&name);
    if short.join(SOCKET_NAME).as_os_str().len() < LONGEST_SOCKET {
        short
    } else {
        Path::new("/tmp").join(name)
    }
}

/// Makes a directory for this user alone, or checks that nobody else may write in the one there.
///
/// Root may come upon one that it gave to the user as which the server runs.
pub(crate) fn private(directory: &Path) -> Result<(), Error> {
    if let Some(parent) = directory.parent() {
        fs::create_dir_all(parent).map_err(Error::io("make", parent))?;
    }
    match DirBuilder::new().mode(0o700).create(directory) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
            return Err(Error::io("make", directory)(error));
        }
        _ => {}
    }
    // Not following links: the parent may be /tmp, where anybody can put one.
    let found = fs::symlink_metadata(directory).map_err(Error::io("look at", directory))?;
    let ours = found.uid() == our_uid() || is_root();
    if found.is_dir() && ours && found.mode() & 0o022 == 0 {
        Ok(())
    } else {
        Err(Error::NotOurs {
            path: directory.to_owned(),
        })
    }
}

fn fingerprint(path: &Path) -> String {
    let mut hasher = DefaultHasher::new();
    path.hash(&mut hasher);
    format!("{:08x}", hasher.finish() >> 32)
}

/// Bytes that this user may still write on the file system of `path`; none if it isn't there.
fn free_space(path: &Path) -> u64 {
    let Ok(path) = CString::new(path.as_os_str().as_bytes()) else {
        return 0;
    };
    // SAFETY: all zeros is a value of this plain struct.
    let mut found: libc::statvfs = unsafe { std::mem::zeroed() };
    // SAFETY: the path ends in a null byte, and the struct is ours to fill.
    if unsafe { libc::statvfs(path.as_ptr(), &raw mut found) } != 0 {
        return 0;
    }
    // The fields' widths differ between platforms.
    #[allow(clippy::useless_conversion, clippy::unnecessary_cast)]
    let (blocks, size) = (found.f_bavail as u64, found.f_frsize as u64);
    blocks.saturating_mul(size)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn socket_path_is_short_however_deep_the_project() {
        let deep = PathBuf::from("/a-rather-long-name".repeat(20));
        let socket = sockets(&deep).join(SOCKET_NAME);
        assert!(socket.as_os_str().len() < LONGEST_SOCKET);
        assert_ne!(sockets(&deep), sockets(Path::new("/elsewhere")));
    }
}
