//! Lists the files of `migrations/` for `src/storage/schema.rs`, which compiles them in. The macro of sqlx that does the
//! same would have sqlx, tokio and rustls compiled a second time, for the compiler.

use std::ffi::OsString;
use std::fmt::Write as _;
use std::path::PathBuf;
use std::{env, fs, io};

fn main() -> io::Result<()> {
    println!("cargo:rerun-if-changed=migrations");
    let directory = variable("CARGO_MANIFEST_DIR")?.join("migrations");
    let mut names = fs::read_dir(&directory)?
        .map(|entry| Ok(entry?.file_name()))
        .collect::<io::Result<Vec<OsString>>>()?;
    names.sort();
    let mut list = String::from("&[\n");
    for name in names {
        let name = name.to_string_lossy();
        let Some(stem) = name.strip_suffix(".sql") else {
            continue;
        };
        let (version, description) = stem
            .split_once('_')
            .and_then(|(version, rest)| {
                Some((version.parse::<i64>().ok()?, rest.replace('_', " ")))
            })
            .ok_or_else(|| io::Error::other(format!("{name} is not named like 0001_schema.sql")))?;
        let path = directory.join(&*name);
        let path = path
            .to_str()
            .ok_or_else(|| io::Error::other("the project's path is no text"))?;
        writeln!(
            list,
            "({version}, {description:?}, include_str!({path:?})),"
        )
        .map_err(io::Error::other)?;
    }
    list.push(']');
    fs::write(variable("OUT_DIR")?.join("migrations.rs"), list)
}

fn variable(name: &str) -> io::Result<PathBuf> {
    env::var_os(name)
        .map(PathBuf::from)
        .ok_or_else(|| io::Error::other(format!("cargo did not set {name}")))
}
