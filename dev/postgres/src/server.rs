//! One server process and the protocol by which processes share it.
//!
//! Three locks, each on a directory of the cluster:
//!
//! | directory   | held by                              | meaning                                |
//! |-------------|--------------------------------------|----------------------------------------|
//! | the cluster | whoever attaches, exclusively        | one starter at a time                  |
//! | `data`      | the watchdog, exclusively, for life  | a server runs                          |
//! | `data/base` | each user, shared                    | the server is wanted                   |
//! |             | the watchdog, exclusively, stopping  | who comes now waits, then starts anew  |

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::fs::DirBuilderExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::binaries::{self, Binaries};
use crate::error::Error;
use crate::identity::Identity;
use crate::pid_file::{self, PidFile};
use crate::{locks, place, watchdog};

/// The superuser, and the only role.
pub(crate) const USER: &str = "dues";

const PATIENCE: Duration = Duration::from_mins(1);
const LONGEST_LOG: u64 = 4 << 20;

/// What the data is worth.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// It is kept, and survives a power cut.
    Kept,
    /// It may be lost at any time, and costs no disk writes.
    ThrowAway,
}

/// A cluster's directory, and what is known of it without asking.
#[derive(Debug, Clone)]
pub(crate) struct Server {
    directory: PathBuf,
    kind: Kind,
    grace: Duration,
}

/// A use of the running server: it lives at least as long as this does.
#[derive(Debug)]
pub(crate) struct Attached {
    /// Whether it was this call that started the server.
    pub(crate) started: bool,
    /// The directory of its socket.
    pub(crate) socket: PathBuf,
    _user: File,
}

impl Server {
    /// The server of the cluster in `directory`, which is made if it isn't there.
    pub(crate) fn new(directory: &Path, kind: Kind, grace: Duration) -> Result<Self, Error> {
        place::private(directory)?;
        let directory = directory
            .canonicalize()
            .map_err(Error::io("look at", directory))?;
        Ok(Self {
            directory,
            kind,
            grace,
        })
    }

    fn data(&self) -> PathBuf {
        self.directory.join("data")
    }

    fn users(&self) -> PathBuf {
        self.data().join("base")
    }

    fn log(&self) -> PathBuf {
        self.directory.join("postgres.log")
    }

    /// What the server tells of itself, if it was ever started.
    pub(crate) fn pid_file(&self) -> Option<PidFile> {
        PidFile::read(&self.data())
    }

    /// Uses the server, starting it if it doesn't run.
    pub(crate) fn attach(&self) -> Result<Attached, Error> {
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            let _one_at_a_time = locks::exclusive(&self.directory)?;
            if !self.data().exists() {
                self.initdb()?;
            }
            let user = locks::shared(&self.users())?;
            let before = self.pid_file();
            let started = match locks::try_exclusive(&self.data())? {
                Some(alive) => {
                    self.launch(&alive)?;
                    true
                }
                None => false,
            };
            let stale = before.filter(|_| started);
            if let Some(socket) = self.wait_until_ready(started, stale.as_ref(), deadline)? {
                return Ok(Attached {
                    started,
                    socket,
                    _user: user,
                });
            }
        }
        Err(self.slow("start"))
    }

    /// Sends the running server a signal and waits until it is gone.
    pub(crate) fn stop(&self, signal: libc::c_int) -> Result<(), Error> {
        let _one_at_a_time = locks::exclusive(&self.directory)?;
        self.signal(signal);
        self.wait_until_stopped()
    }

    /// Waits until the watchdog has stopped the server, unless others still use it.
    pub(crate) fn left(&self) -> Result<(), Error> {
        if locks::is_shared(&self.users())? {
            Ok(())
        } else {
            self.wait_until_stopped()
        }
    }

    /// Deletes the cluster, waiting for a server whose last user has just left.
    pub(crate) fn remove(&self) -> Result<(), Error> {
        let one_at_a_time = locks::exclusive(&self.directory)?;
        if self.users().exists() {
            let deadline = Instant::now() + PATIENCE;
            while locks::is_held(&self.data())? {
                if locks::is_shared(&self.users())? {
                    return Err(Error::InUse {
                        path: self.directory.clone(),
                    });
                }
                if Instant::now() > deadline {
                    return Err(self.slow("stop"));
                }
                pause();
            }
            self.clear_away()?;
        }
        let removed = fs::remove_dir_all(&self.directory);
        drop(one_at_a_time);
        removed.map_err(Error::io("remove", &self.directory))
    }

    fn signal(&self, signal: libc::c_int) {
        if let Some(server) = self.pid_file()
            && pid_file::is_server_of(server.pid, &self.data()) == Some(true)
        {
            pid_file::send(server.pid, signal);
        }
    }

    fn wait_until_stopped(&self) -> Result<(), Error> {
        let deadline = Instant::now() + PATIENCE;
        while locks::is_held(&self.data())? {
            if Instant::now() > deadline {
                return Err(self.slow("stop"));
            }
            pause();
        }
        Ok(())
    }

    /// The socket's directory once the server takes connections; none if it ended meanwhile.
    fn wait_until_ready(
        &self,
        started: bool,
        stale: Option<&PidFile>,
        deadline: Instant,
    ) -> Result<Option<PathBuf>, Error> {
        loop {
            // Looked at first: a server that got ready and ended in between must not count.
            let alive = locks::is_held(&self.data())?;
            let ready = self
                .pid_file()
                .filter(|file| file.ready && Some(file) != stale);
            match ready {
                Some(file) if alive => {
                    let answers = answers(&file.socket.join(place::SOCKET_NAME));
                    // A server whose watchdog has died meanwhile is about to stop.
                    if answers && locks::is_held(&self.data())? {
                        return Ok(Some(file.socket));
                    }
                    // It died just now, or somebody cleared the temporary directory, and with
                    // it the only way in: then it is of no more use to anybody.
                    self.signal(libc::SIGINT);
                    self.wait_until_stopped()?;
                    return Ok(None);
                }
                _ if alive => {}
                _ if started => {
                    return Err(Error::Start {
                        log: self.log(),
                        said: last_lines(&self.log()),
                    });
                }
                _ => return Ok(None),
            }
            if Instant::now() > deadline {
                return Err(self.slow("start"));
            }
            pause();
        }
    }

    fn initdb(&self) -> Result<(), Error> {
        let binaries = binaries::find(None, &self.data())?;
        let identity = self.identity(&binaries)?;
        let new = self.directory.join("data.new");
        if new.exists() {
            // Left by somebody who was interrupted.
            fs::remove_dir_all(&new).map_err(Error::io("remove", &new))?;
        }
        fs::DirBuilder::new()
            .mode(0o700)
            .create(&new)
            .map_err(Error::io("make", &new))?;
        identity.give(&new)?;

        let mut command = postgres_command(&binaries.program("initdb"));
        command.arg("--pgdata").arg(&new).args([
            "--auth=trust",
            "--encoding=UTF8",
            "--locale=C",
            "--no-instructions",
        ]);
        command.arg(format!("--username={USER}"));
        if self.kind == Kind::ThrowAway {
            command.arg("--no-sync");
        }
        identity.apply(&mut command);
        let output = command.output().map_err(Error::io("run initdb in", &new))?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr);
            return Err(Error::Initdb {
                path: new,
                said: tail(&said),
            });
        }
        fs::rename(&new, self.data()).map_err(Error::io("rename", new))
    }

    fn identity(&self, binaries: &Binaries) -> Result<Identity, Error> {
        let identity = Identity::choose(binaries, &self.data())?;
        identity.check(binaries)?;
        identity.give(&self.directory)?;
        Ok(identity)
    }

    fn launch(&self, alive: &File) -> Result<(), Error> {
        let made_by = fs::read_to_string(self.data().join("PG_VERSION"))
            .ok()
            .and_then(|version| version.trim().parse().ok());
        let binaries = binaries::find(made_by, &self.data())?;
        let identity = self.identity(&binaries)?;
        self.clear_away()?;
        let sockets = place::sockets(&self.directory);
        place::private(&sockets)?;
        identity.give(&sockets)?;

        let log = self.open_log()?;
        let copy = log.try_clone().map_err(Error::io("open", self.log()))?;
        let mut command = postgres_command(&binaries.program("postgres"));
        command.arg("-D").arg(self.data()).arg("-k").arg(&sockets);
        for setting in COMMON.iter().chain(match self.kind {
            Kind::Kept => KEPT,
            Kind::ThrowAway => THROW_AWAY,
        }) {
            command.args(["-c", setting]);
        }
        command.stdin(Stdio::null()).stdout(copy).stderr(log);
        let users = self.users();
        watchdog::launch(command, identity, alive, &users, &sockets, self.grace)
            .map_err(Error::io("run", binaries.program("postgres")))
    }

    /// Deals with what a killed watchdog or a power cut left behind.
    fn clear_away(&self) -> Result<(), Error> {
        let Some(file) = self.pid_file() else {
            return Ok(());
        };
        match pid_file::is_server_of(file.pid, &self.data()) {
            // Our server, but nobody watches it.
            Some(true) => {
                let deadline = Instant::now() + PATIENCE;
                pid_file::send(file.pid, libc::SIGINT);
                while pid_file::is_server_of(file.pid, &self.data()) == Some(true) {
                    if Instant::now() > deadline {
                        return Err(self.slow("stop"));
                    }
                    pause();
                }
                Ok(())
            }
            // Its number belongs to another program by now; Postgres would take that for itself.
            Some(false) => PidFile::remove(&self.data()),
            // Postgres sees for itself that nothing has this number.
            None => Ok(()),
        }
    }

    fn open_log(&self) -> Result<File, Error> {
        let path = self.log();
        let long = fs::metadata(&path).is_ok_and(|log| log.len() > LONGEST_LOG);
        OpenOptions::new()
            .create(true)
            .append(!long)
            .write(true)
            .truncate(long)
            .open(&path)
            .map_err(Error::io("open", path))
    }

    fn slow(&self, action: &'static str) -> Error {
        Error::Slow {
            action,
            seconds: PATIENCE.as_secs(),
            log: self.log(),
        }
    }
}

const COMMON: &[&str] = &[
    "listen_addresses=",
    "port=5432",
    "timezone=UTC",
    "jit=off",
    "unix_socket_permissions=0700",
];

const KEPT: &[&str] = &["max_connections=100", "shared_buffers=64MB"];

const THROW_AWAY: &[&str] = &[
    // Many tests at once, each with a pool of its own.
    "max_connections=500",
    "shared_buffers=128MB",
    // Nothing here outlives the machine, so nothing waits for a disk.
    "fsync=off",
    "synchronous_commit=off",
    "full_page_writes=off",
    "wal_level=minimal",
    "max_wal_senders=0",
    "max_wal_size=512MB",
    "checkpoint_timeout=1h",
    // It would hold connections to databases that tests are about to drop or to copy.
    "autovacuum=off",
    // Tests provoke errors on purpose; the log is for the server's own troubles.
    "log_min_messages=log",
];

/// A command that nothing in our environment leads astray.
fn postgres_command(program: &Path) -> Command {
    let mut command = Command::new(program);
    for (name, _) in std::env::vars_os() {
        if name.as_encoded_bytes().starts_with(b"PG") {
            command.env_remove(name);
        }
    }
    command.env("LC_ALL", "C").stdin(Stdio::null());
    command.current_dir("/");
    command
}

/// Whether a server takes the connection and answers the first message of the protocol, which
/// asks for TLS. That a connection is made proves nothing: the kernel makes it.
fn answers(socket: &Path) -> bool {
    const TLS_PLEASE: [u8; 8] = [0, 0, 0, 8, 4, 210, 22, 47];
    let ask = || {
        let mut stream = UnixStream::connect(socket)?;
        stream.set_read_timeout(Some(Duration::from_secs(5)))?;
        stream.write_all(&TLS_PLEASE)?;
        stream.read_exact(&mut [0])
    };
    ask().is_ok()
}

fn pause() {
    std::thread::sleep(Duration::from_millis(10));
}

fn last_lines(log: &Path) -> String {
    let read = || {
        let mut file = File::open(log)?;
        let length = file.metadata()?.len();
        file.seek(SeekFrom::Start(length.saturating_sub(2048)))?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        Ok::<_, std::io::Error>(bytes)
    };
    tail(&String::from_utf8_lossy(&read().unwrap_or_default()))
}

/// The last lines that say something, in one.
fn tail(text: &str) -> String {
    let lines: Vec<&str> = text.lines().filter(|line| !line.is_empty()).collect();
    let end = &lines[lines.len().saturating_sub(3)..];
    if end.is_empty() {
        "it printed nothing".to_owned()
    } else {
        end.join(" / ")
    }
}
