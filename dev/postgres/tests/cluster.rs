//! What must hold of the server whatever happens to its users, its watchdog and its files.

use std::error::Error as StdError;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use dev_postgres::{Cluster, Error, Stop};
use sqlx::{Connection, PgConnection};

type Outcome = Result<(), Box<dyn StdError + Send + Sync>>;

/// A directory of the test's own, removed after it.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> std::io::Result<Self> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("dev-postgres-{}-{number}", std::process::id());
        let memory = Path::new("/dev/shm");
        let parent = if memory.is_dir() {
            memory.to_owned()
        } else {
            std::env::temp_dir()
        };
        let path = parent.join(name);
        fs::create_dir_all(&path)?;
        Ok(Self(path))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        drop(fs::remove_dir_all(&self.0));
    }
}

/// Another process that holds the server of `directory` open until it is killed.
fn other_user(directory: &Path) -> std::io::Result<Child> {
    Command::new(env!("CARGO_BIN_EXE_dev-postgres"))
        .args(["demo".as_ref(), directory.as_os_str()])
        .stdout(Stdio::piped())
        .spawn()
}

/// The URL that it prints when the server is up.
fn url_of(user: &mut Child) -> std::io::Result<String> {
    let mut line = String::new();
    if let Some(output) = user.stdout.take() {
        BufReader::new(output).read_line(&mut line)?;
    }
    Ok(line.trim().to_owned())
}

async fn answers(url: &str) -> bool {
    async fn ask(url: &str) -> Result<i32, sqlx::Error> {
        let mut session = PgConnection::connect(url).await?;
        sqlx::query_scalar("SELECT 1").fetch_one(&mut session).await
    }
    ask(url).await.is_ok_and(|one| one == 1)
}

fn pid_in(directory: &Path) -> Option<String> {
    let text = fs::read_to_string(directory.join("data/postmaster.pid")).ok()?;
    text.lines().next().map(str::to_owned)
}

fn kill(signal: &str, pid: &str) -> std::io::Result<()> {
    Command::new("kill").args([signal, pid]).status().map(drop)
}

/// Waits until the server has removed its file, as it does when it ends in good order.
async fn has_stopped(directory: &Path) -> bool {
    let deadline = Instant::now() + Duration::from_secs(20);
    while directory.join("data/postmaster.pid").exists() {
        if Instant::now() > deadline {
            return false;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    true
}

#[tokio::test]
async fn data_is_kept_from_one_start_to_the_next() -> Outcome {
    let scratch = Scratch::new()?;
    let cluster = Cluster::demo(&scratch.0).await?;
    cluster.ensure_database("club").await?;
    cluster.ensure_database("club").await?;
    let mut session = PgConnection::connect(&cluster.url("club")).await?;
    sqlx::query("CREATE TABLE member (id int)")
        .execute(&mut session)
        .await?;
    drop(session);
    cluster.close().await?;
    assert!(!scratch.0.join("data/postmaster.pid").exists());

    let cluster = Cluster::demo(&scratch.0).await?;
    let mut session = PgConnection::connect(&cluster.url("club")).await?;
    sqlx::query("SELECT id FROM member")
        .execute(&mut session)
        .await?;
    let fsync: String = sqlx::query_scalar("SHOW fsync")
        .fetch_one(&mut session)
        .await?;
    assert_eq!(fsync, "on");
    drop(session);
    cluster.close().await?;
    Ok(())
}

#[tokio::test]
async fn two_starters_at_once_share_one_server() -> Outcome {
    let scratch = Scratch::new()?;
    let mut others = Vec::new();
    for _ in 0..3 {
        others.push(other_user(&scratch.0)?);
    }
    let cluster = Cluster::demo(&scratch.0).await?;
    for other in &mut others {
        let url = url_of(other)?;
        assert_eq!(url, cluster.url("postgres"));
        assert!(answers(&url).await);
    }
    // One of them leaving does not take the server from the others.
    for mut other in others {
        other.kill()?;
        other.wait()?;
    }
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(answers(&cluster.url("postgres")).await);
    cluster.close().await?;
    Ok(())
}

#[tokio::test]
async fn server_stops_when_its_last_user_is_killed() -> Outcome {
    let scratch = Scratch::new()?;
    let mut user = other_user(&scratch.0)?;
    let url = url_of(&mut user)?;
    assert!(answers(&url).await);
    user.kill()?;
    user.wait()?;
    assert!(has_stopped(&scratch.0).await);
    assert!(!answers(&url).await);
    Ok(())
}

#[tokio::test]
async fn server_outlives_the_user_that_started_it_while_another_holds_it() -> Outcome {
    let scratch = Scratch::new()?;
    let mut starter = other_user(&scratch.0)?;
    url_of(&mut starter)?;
    let cluster = Cluster::demo(&scratch.0).await?;
    let server = cluster.server_pid();
    starter.kill()?;
    starter.wait()?;
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(answers(&cluster.url("postgres")).await);
    assert_eq!(cluster.server_pid(), server);
    cluster.close().await?;
    Ok(())
}

#[tokio::test]
async fn killed_server_is_started_again_by_the_next_user() -> Outcome {
    let scratch = Scratch::new()?;
    let cluster = Cluster::throw_away(&scratch.0).await?;
    let server = cluster.server_pid();
    kill("-9", &server.to_string())?;
    let again = Cluster::throw_away(&scratch.0).await?;
    assert_ne!(again.server_pid(), server);
    // The first handle leads to the new server.
    assert!(answers(&cluster.url("postgres")).await);
    drop(again);
    cluster.close().await?;
    Ok(())
}

#[tokio::test]
async fn stop_and_start_leave_the_data_and_the_url_as_they_were() -> Outcome {
    let scratch = Scratch::new()?;
    let cluster = Cluster::throw_away(&scratch.0).await?;
    cluster.ensure_database("club").await?;
    let url = cluster.url("club");
    for how in [Stop::Fast, Stop::Immediate] {
        cluster.stop(how).await?;
        assert!(!answers(&url).await);
        cluster.start().await?;
        assert!(answers(&url).await);
    }
    let before = cluster.server_pid();
    cluster.restart().await?;
    assert_ne!(cluster.server_pid(), before);
    assert!(answers(&url).await);
    cluster.close().await?;
    Ok(())
}

#[tokio::test]
async fn cluster_in_use_is_not_removed_and_one_just_left_is() -> Outcome {
    let scratch = Scratch::new()?;
    let directory = scratch.0.join("cluster");
    Cluster::remove(&directory).await?;
    let cluster = Cluster::throw_away(&directory).await?;
    match Cluster::remove(&directory).await {
        Err(Error::InUse { .. }) => {}
        other => return Err(format!("{other:?}").into()),
    }
    assert!(answers(&cluster.url("postgres")).await);
    drop(cluster);
    Cluster::remove(&directory).await?;
    assert!(!directory.exists());
    Ok(())
}

#[tokio::test]
async fn interrupted_initdb_is_begun_anew() -> Outcome {
    let scratch = Scratch::new()?;
    fs::create_dir_all(scratch.0.join("data.new/half"))?;
    let cluster = Cluster::throw_away(&scratch.0).await?;
    assert!(answers(&cluster.url("postgres")).await);
    assert!(!scratch.0.join("data.new").exists());
    cluster.close().await?;
    Ok(())
}

#[tokio::test]
async fn cleared_temporary_directory_costs_a_restart_and_no_more() -> Outcome {
    let scratch = Scratch::new()?;
    let first = Cluster::throw_away(&scratch.0).await?;
    let text = fs::read_to_string(scratch.0.join("data/postmaster.pid"))?;
    let socket = text.lines().nth(4).unwrap_or_default();
    assert!(socket.len() > 4, "{text}");
    fs::remove_dir_all(socket)?;
    let second = Cluster::throw_away(&scratch.0).await?;
    assert!(answers(&first.url("postgres")).await);
    drop(second);
    first.close().await?;
    Ok(())
}

#[tokio::test]
async fn pid_file_of_another_program_is_no_obstacle() -> Outcome {
    let scratch = Scratch::new()?;
    Cluster::throw_away(&scratch.0).await?.close().await?;
    // As after a power cut, when the number has since gone to somebody else: to us.
    let pid = std::process::id();
    let data = scratch.0.join("data");
    let text = format!(
        "{pid}\n{}\n1700000000\n5432\n/tmp/gone\n\n 1 2\nready\n",
        data.display()
    );
    fs::write(data.join("postmaster.pid"), text)?;
    let cluster = Cluster::throw_away(&scratch.0).await?;
    assert_ne!(cluster.server_pid(), pid);
    cluster.close().await?;
    Ok(())
}

#[tokio::test]
async fn server_without_its_watchdog_is_replaced() -> Outcome {
    let scratch = Scratch::new()?;
    let cluster = Cluster::throw_away(&scratch.0).await?;
    let server = pid_in(&scratch.0).unwrap_or_default();
    let parent = Command::new("ps")
        .args(["-o", "ppid=", "-p", &server])
        .output()?;
    let watchdog = String::from_utf8(parent.stdout)?.trim().to_owned();
    assert_ne!(watchdog, "1");
    kill("-9", &watchdog)?;
    while Command::new("kill")
        .args(["-0", &watchdog])
        .stderr(Stdio::null())
        .status()?
        .success()
    {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let again = Cluster::throw_away(&scratch.0).await?;
    assert_ne!(again.server_pid().to_string(), server);
    assert!(answers(&cluster.url("postgres")).await);
    drop(again);
    cluster.close().await?;
    Ok(())
}

#[tokio::test]
async fn data_of_an_unknown_version_is_refused_with_a_way_out() -> Outcome {
    let scratch = Scratch::new()?;
    Cluster::throw_away(&scratch.0).await?.close().await?;
    fs::write(scratch.0.join("data/PG_VERSION"), "9\n")?;
    match Cluster::throw_away(&scratch.0).await {
        Err(error @ Error::DataVersion { made_by: 9, .. }) => {
            assert!(error.to_string().contains("install Postgres 9, or delete"));
            Ok(())
        }
        other => Err(format!("{other:?}").into()),
    }
}

#[tokio::test]
async fn broken_configuration_is_reported_with_what_the_server_said() -> Outcome {
    let scratch = Scratch::new()?;
    Cluster::throw_away(&scratch.0).await?.close().await?;
    fs::write(scratch.0.join("data/postgresql.conf"), "no_such_key = 1\n")?;
    match Cluster::throw_away(&scratch.0).await {
        Err(error @ Error::Start { .. }) => {
            assert!(error.to_string().contains("no_such_key"), "{error}");
            Ok(())
        }
        other => Err(format!("{other:?}").into()),
    }
}

#[tokio::test]
async fn directory_that_others_may_write_in_is_refused() -> Outcome {
    let scratch = Scratch::new()?;
    Command::new("chmod").arg("777").arg(&scratch.0).status()?;
    match Cluster::throw_away(&scratch.0).await {
        Err(Error::NotOurs { path }) => assert_eq!(path, scratch.0),
        other => return Err(format!("{other:?}").into()),
    }
    Ok(())
}
