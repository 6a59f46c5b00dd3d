//! Locks between processes, taken on directories that the server needs anyway.
//!
//! A lock file could be removed while it is held, and the next process would lock another one
//! of the same name. A directory with something in it can't. The kernel releases the lock of a
//! process that is gone, even after `kill -9`.

use std::fs::{self, File, TryLockError};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::Duration;

use crate::error::Error;

/// Waits for the directory's exclusive lock, held until the file is dropped.
pub(crate) fn exclusive(directory: &Path) -> Result<File, Error> {
    wait(directory, File::lock)
}

/// Waits for a shared lock of the directory, held until the file is dropped.
pub(crate) fn shared(directory: &Path) -> Result<File, Error> {
    wait(directory, File::lock_shared)
}

/// The exclusive lock, if nobody holds any at this moment.
pub(crate) fn try_exclusive(directory: &Path) -> Result<Option<File>, Error> {
    taken(directory, File::try_lock)
}

/// Whether some process holds the directory's exclusive lock at this moment.
pub(crate) fn is_held(directory: &Path) -> Result<bool, Error> {
    Ok(taken(directory, File::try_lock_shared)?.is_none())
}

/// Whether some process holds the directory's lock without excluding others.
///
/// Looks more than once, as a watchdog excludes others for an instant each time that it looks.
pub(crate) fn is_shared(directory: &Path) -> Result<bool, Error> {
    for _ in 0..3 {
        if try_exclusive(directory)?.is_some() || is_held(directory)? {
            return Ok(false);
        }
        std::thread::sleep(Duration::from_millis(3));
    }
    Ok(true)
}

fn wait(directory: &Path, lock: fn(&File) -> std::io::Result<()>) -> Result<File, Error> {
    loop {
        let file = File::open(directory).map_err(Error::io("open", directory))?;
        lock(&file).map_err(Error::io("lock", directory))?;
        if is_still(&file, directory)? {
            return Ok(file);
        }
    }
}

fn taken(
    directory: &Path,
    lock: fn(&File) -> Result<(), TryLockError>,
) -> Result<Option<File>, Error> {
    let file = File::open(directory).map_err(Error::io("open", directory))?;
    match lock(&file) {
        Ok(()) => Ok(Some(file)),
        Err(TryLockError::WouldBlock) => Ok(None),
        Err(TryLockError::Error(error)) => Err(Error::io("lock", directory)(error)),
    }
}

/// Whether the path still names what was opened: it may have been removed and made again.
fn is_still(file: &File, directory: &Path) -> Result<bool, Error> {
    let locked = file.metadata().map_err(Error::io("look at", directory))?;
    Ok(fs::metadata(directory)
        .is_ok_and(|named| (named.dev(), named.ino()) == (locked.dev(), locked.ino())))
}
