//! Finds the Postgres that is installed, wherever this platform's packagers put it.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

use crate::error::Error;
use crate::fetch;

/// The first with `CREATE DATABASE … STRATEGY`; older ones are out of support.
pub(crate) const OLDEST: u32 = 15;

/// Set to anything, it hides installed servers, so that the fetched one can be tried.
const IGNORE_INSTALLED: &str = "DEV_POSTGRES_IGNORE_INSTALLED";

/// A directory with a working `postgres` and `initdb` of one version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Binaries {
    directory: PathBuf,
    /// The major version, such as 17.
    pub(crate) major: u32,
}

impl Binaries {
    /// Asks the `postgres` in `directory` for its version: none if it won't do.
    pub(crate) fn in_directory(directory: &Path) -> Option<Self> {
        if !directory.join("initdb").is_file() {
            return None;
        }
        // Through its real path, so that a symlinked `postgres` finds the files it came with.
        let postgres = directory.join("postgres").canonicalize().ok()?;
        let output = Command::new(&postgres).arg("--version").output().ok()?;
        let major = parse_major(&String::from_utf8(output.stdout).ok()?)?;
        (output.status.success() && major >= OLDEST).then(|| Self {
            directory: directory.to_owned(),
            major,
        })
    }

    /// The path of one of the programs.
    pub(crate) fn program(&self, name: &str) -> PathBuf {
        let path = self.directory.join(name);
        path.canonicalize().unwrap_or(path)
    }
}

/// The first that will do, of the given major version where kept data asks for one.
pub(crate) fn find(wanted: Option<u32>, data: &Path) -> Result<Binaries, Error> {
    if let Some(directory) = env::var_os("PG_BIN").map(PathBuf::from) {
        let found = Binaries::in_directory(&directory).ok_or(Error::PgBin {
            path: directory,
            oldest: OLDEST,
        })?;
        return fits(found, wanted, data);
    }
    let installed = if env::var_os(IGNORE_INSTALLED).is_some() {
        Vec::new()
    } else {
        candidates()
    };
    let mut first = None;
    for directory in installed {
        if let Some(found) = Binaries::in_directory(&directory) {
            if wanted.is_none_or(|major| major == found.major) {
                return Ok(found);
            }
            first.get_or_insert(found);
        }
    }
    match first {
        // Data of another major version may have been made by the fetched one.
        Some(found) if wanted != Some(fetch::MAJOR) => fits(found, wanted, data),
        _ => fits(fetch::binaries()?, wanted, data),
    }
}

fn fits(found: Binaries, wanted: Option<u32>, data: &Path) -> Result<Binaries, Error> {
    match wanted {
        Some(made_by) if made_by != found.major => Err(Error::DataVersion {
            path: data.to_owned(),
            made_by,
            found: found.major,
        }),
        _ => Ok(found),
    }
}

/// The one-line command that installs Postgres on this platform.
pub(crate) fn install_command() -> &'static str {
    if cfg!(target_os = "macos") {
        return "brew install postgresql";
    }
    let release = fs::read_to_string("/etc/os-release").unwrap_or_default();
    let says = |family: &str| {
        release
            .lines()
            .filter(|line| line.starts_with("ID=") || line.starts_with("ID_LIKE="))
            .any(|line| line.contains(family))
    };
    if says("alpine") {
        "apk add postgresql"
    } else if says("fedora") || says("rhel") {
        "sudo dnf install postgresql-server"
    } else if says("arch") {
        "sudo pacman -S postgresql"
    } else if says("suse") {
        "sudo zypper install postgresql-server"
    } else {
        "sudo apt-get install postgresql"
    }
}

/// Every directory that may hold a server, the best first.
fn candidates() -> Vec<PathBuf> {
    let mut found = Vec::new();
    // Debian and Ubuntu; Red Hat's and the project's own packages; Alpine; openSUSE.
    found.extend(versioned(Path::new("/usr/lib/postgresql"), "", "bin"));
    found.extend(versioned(Path::new("/usr"), "pgsql-", "bin"));
    found.extend(versioned(Path::new("/usr/libexec"), "postgresql", ""));
    found.extend(versioned(Path::new("/usr/lib"), "postgresql", "bin"));
    // Homebrew on Apple silicon, on Intel and on Linux; Postgres.app.
    for homebrew in ["/opt/homebrew", "/usr/local", "/home/linuxbrew/.linuxbrew"] {
        let kegs = Path::new(homebrew).join("opt");
        found.extend(versioned(&kegs, "postgresql@", "bin"));
        found.push(kegs.join("postgresql/bin"));
    }
    let app = Path::new("/Applications/Postgres.app/Contents/Versions");
    found.extend(versioned(app, "", "bin"));
    found.extend(env::split_paths(&env::var_os("PATH").unwrap_or_default()));
    found.extend(asked_of_pg_config());
    found.retain(|directory| directory.join("postgres").exists());
    found
}

/// `parent/{prefix}{version}/{tail}` for every version there is, newest first.
fn versioned(parent: &Path, prefix: &str, tail: &str) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(parent) else {
        return Vec::new();
    };
    let mut found: Vec<(u32, PathBuf)> = entries
        .filter_map(Result::ok)
        .filter_map(|entry| {
            let version = version_of(&entry.file_name(), prefix)?;
            Some((version, entry.path().join(tail)))
        })
        .collect();
    found.sort_by_key(|(version, _)| std::cmp::Reverse(*version));
    found.into_iter().map(|(_, directory)| directory).collect()
}

fn version_of(name: &OsStr, prefix: &str) -> Option<u32> {
    name.to_str()?
        .strip_prefix(prefix)?
        .split('.')
        .next()?
        .parse()
        .ok()
}

fn asked_of_pg_config() -> Option<PathBuf> {
    let output = Command::new("pg_config").arg("--bindir").output().ok()?;
    let said = String::from_utf8(output.stdout).ok()?;
    output.status.success().then(|| PathBuf::from(said.trim()))
}

/// `postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)` is 15; `18beta1` is 18.
fn parse_major(said: &str) -> Option<u32> {
    let version = said.split_once("(PostgreSQL) ")?.1;
    let end = version
        .find(|letter: char| !letter.is_ascii_digit())
        .unwrap_or(version.len());
    version[..end].parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn major_version_is_read_from_what_packagers_print() {
        let debian = "postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)\n";
        assert_eq!(parse_major(debian), Some(15));
        assert_eq!(parse_major("postgres (PostgreSQL) 18beta1\n"), Some(18));
        assert_eq!(parse_major("postgres (PostgreSQL) 17\n"), Some(17));
        assert_eq!(parse_major("mysqld 8.0"), None);
    }

    #[test]
    fn directory_names_tell_their_version() {
        assert_eq!(
            version_of(OsStr::new("postgresql@16"), "postgresql@"),
            Some(16)
        );
        assert_eq!(version_of(OsStr::new("9.6"), ""), Some(9));
        assert_eq!(version_of(OsStr::new("latest"), ""), None);
    }

    #[test]
    fn data_of_another_major_version_is_refused_by_name() {
        let found = Binaries {
            directory: PathBuf::from("/bin"),
            major: 17,
        };
        let error = fits(found, Some(15), Path::new("/project/data")).map(|_| ());
        let said = error.map_or_else(|error| error.to_string(), |()| String::new());
        assert!(said.contains("/project/data was made by Postgres 15, but only 17 is here"));
    }
}
