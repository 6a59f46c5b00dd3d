//! Holds a private server open for a command, such as `psql`, or until Ctrl-C.

use std::env;
use std::path::Path;
use std::process::ExitCode;

use dev_postgres::{Cluster, Error};

const USAGE: &str = "\
usage: dev-postgres test [COMMAND…]           the server that the tests share
       dev-postgres demo DIRECTORY [COMMAND…] the one whose data is kept there

Runs COMMAND while the server is up, with DATABASE_URL and psql's variables set; without one,
prints the URL and waits for Ctrl-C.";

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    match run().await {
        Ok(code) => code,
        Err(error) => {
            eprintln!("dev-postgres: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run() -> Result<ExitCode, Error> {
    let words: Vec<String> = env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let (cluster, command) = match words.as_slice() {
        ["test", command @ ..] => (Cluster::test().await?, command),
        ["demo", directory, command @ ..] => (Cluster::demo(Path::new(directory)).await?, command),
        _ => {
            eprintln!("{USAGE}");
            return Ok(ExitCode::from(2));
        }
    };
    let url = cluster.url("postgres");
    let Some((program, arguments)) = command.split_first() else {
        println!("{url}");
        // Whether it is Ctrl-C or no way to wait for it: there is nothing more to do.
        drop(tokio::signal::ctrl_c().await);
        cluster.close().await?;
        return Ok(ExitCode::SUCCESS);
    };
    let status = tokio::process::Command::new(program)
        .args(arguments)
        .env("DATABASE_URL", url)
        .envs(cluster.variables())
        .status()
        .await;
    match status {
        Ok(status) if status.success() => Ok(ExitCode::SUCCESS),
        Ok(_) => Ok(ExitCode::FAILURE),
        Err(source) => Err(Error::Io {
            action: "run",
            path: program.into(),
            source,
        }),
    }
}
