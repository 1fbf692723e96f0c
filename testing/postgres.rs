//! A real PostgreSQL of one's own, for as long as a test runs. Shared by the tests of all packages.

use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// A server on a socket in a directory of its own. It is stopped, and what it has written is removed, when this is dropped.
pub(crate) struct Server {
    programs: PathBuf,
    directory: PathBuf,
    user: Option<(u32, u32)>,
    process: Option<Child>,
}

impl Server {
    /// Starts one where PostgreSQL is installed. Where it is not, this is said on a line of its own.
    pub(crate) fn start(name: &str) -> Option<Self> {
        let Some(programs) = programs() else {
            println!("skipped: no PostgreSQL");
            return None;
        };
        let directory = std::env::temp_dir().join(format!("postgres-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&directory);
        std::fs::create_dir_all(&directory).expect("a directory");
        let user = somebody_else();
        if let Some((uid, gid)) = user {
            std::os::unix::fs::chown(&directory, Some(uid), Some(gid)).expect("root gives away what is root's");
        }
        let mut server = Self {
            programs,
            directory,
            user,
            process: None,
        };
        let made = server
            .command("initdb")
            .args([
                "--auth=trust",
                "--username=multicast",
                "--encoding=UTF8",
                "--no-locale",
                "--no-sync",
            ])
            .output()
            .expect("initdb runs");
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        server.run();
        Some(server)
    }

    /// Its address, for tables in a schema of that name.
    pub(crate) fn address(&self, schema: &str) -> String {
        let socket = self.directory.display().to_string().replace('/', "%2F");
        format!("postgres://multicast@{socket}/postgres?options=-csearch_path%3D{schema}")
    }

    /// Does something with SQL, as its owner would.
    pub(crate) fn sql(&self, sql: &str) -> String {
        let mut psql = Command::new(self.programs.join("psql"));
        psql.args([
            "--quiet",
            "--tuples-only",
            "--no-align",
            "--username=multicast",
            "--dbname=postgres",
        ]);
        let done = psql
            .arg("--host")
            .arg(&self.directory)
            .args(["--command", sql])
            .output();
        let done = done.expect("psql runs");
        assert!(
            done.status.success(),
            "{sql}: {}",
            String::from_utf8_lossy(&done.stderr)
        );
        String::from_utf8_lossy(&done.stdout).trim().to_owned()
    }

    /// Ends it at once, as a crash does, and starts it anew.
    pub(crate) fn crash(&mut self) {
        self.stop();
        self.run();
    }

    /// Starts it, and waits until it says that it is ready.
    fn run(&mut self) {
        let mut process = self
            .command("postgres")
            .args(["-h", "", "-c", "log_min_messages=warning", "-k"])
            .arg(&self.directory)
            .stderr(Stdio::piped())
            .spawn()
            .expect("postgres runs");
        let mut log = BufReader::new(process.stderr.take().expect("a pipe"))
            .lines()
            .map_while(Result::ok);
        let ready = log.find(|line| line.contains("ready to accept connections"));
        ready.expect("it starts");
        // What it says later is read, so that it does not wait for a reader.
        std::thread::spawn(move || log.for_each(drop));
        self.process = Some(process);
    }

    fn stop(&mut self) {
        let Some(mut process) = self.process.take() else { return };
        let _ = self
            .command("pg_ctl")
            .args(["stop", "-m", "immediate", "-s", "-w"])
            .status();
        let _ = process.kill();
        let _ = process.wait();
    }

    /// One of its programs, which refuse to be root.
    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(self.programs.join(program));
        command
            .env("PGDATA", self.directory.join("data"))
            .current_dir(&self.directory);
        command.stdin(Stdio::null()).stdout(Stdio::null());
        if let Some((uid, gid)) = self.user {
            command.uid(uid).gid(gid);
        }
        command
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop();
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}

/// Where the programs are: in the path, or where Debian puts them.
fn programs() -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut places: Vec<PathBuf> = std::env::split_paths(&path).collect();
    let versions = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten();
    places.extend(
        versions
            .filter_map(Result::ok)
            .map(|version| version.path().join("bin")),
    );
    let complete = |place: &Path| {
        ["initdb", "postgres", "pg_ctl", "psql"]
            .iter()
            .all(|program| place.join(program).exists())
    };
    places.into_iter().find(|place| complete(place))
}

/// Whoever it is to run as, if this is root.
fn somebody_else() -> Option<(u32, u32)> {
    use std::os::unix::fs::MetadataExt;
    let own = std::fs::metadata("/proc/self").ok()?.uid();
    if own != 0 {
        return None;
    }
    let accounts = std::fs::read_to_string("/etc/passwd").ok()?;
    let account = |name: &str| {
        let line = accounts.lines().find(|line| line.starts_with(&format!("{name}:")))?;
        let mut numbers = line.split(':').skip(2).map_while(|field| field.parse().ok());
        Some((numbers.next()?, numbers.next()?))
    };
    account("postgres").or_else(|| account("nobody"))
}
