//! The probe rounds: facts several times a second, settings less often, one process watch for each run of the server.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use mysql_async::{Conn, Opts};
use tasuki_config::{Reach, ServerConfig};
use tasuki_node_core::statements::Dialect;
use tasuki_node_core::{Input, Reader, ServerReport, ServerRun};
use tasuki_schemas::gtid::Flavour;
use tasuki_schemas::observation::{Connection, Facts, FailingGate, Identity, SemiSync, WriteProbe};
use tokio::net::UnixStream;
use tokio::sync::mpsc::Sender;
use tokio::sync::watch;

use crate::binlog::was_closed;
use crate::disk::{self, Trouble};
use crate::facts;
use crate::process::Watch;
use crate::server::{ServerError, Session, Table, options};
use crate::serving::Writes;
use crate::support;

/// Between two rounds while the server answers.
const EVERY: Duration = Duration::from_millis(150);
/// Between two rounds while it does not.
const SOON: Duration = Duration::from_millis(50);
/// A statement of a round must be answered within this.
const DEADLINE: Duration = Duration::from_millis(300);
/// Settings and counters are read this often.
const SETTINGS_EVERY: Duration = Duration::from_secs(2);
/// Connections of other managers are looked for this often: the list of all connections is long.
const MANAGERS_EVERY: Duration = Duration::from_secs(10);

/// How many acknowledge, by flavour.
const CLIENTS: [&str; 2] = ["rpl_semi_sync_master_clients", "rpl_semi_sync_source_clients"];

/// What the effects and the tail reader must know of the server; learned while it answers, used when it does not.
#[derive(Debug, Default)]
pub struct Known {
    /// The watch over the present run.
    pub watch: Option<Watch>,
    /// The binlog's index file.
    pub binlog_index: Option<PathBuf>,
    /// The relay files' index file.
    pub relay_index: Option<PathBuf>,
}

/// Shared between the probe and the effects.
pub type Shared = Arc<Mutex<Known>>;

/// MySQL remembers the hash of an account's password after its first login: without it the replicas' login after a
/// promotion costs a full exchange. An account that may not log in from here stays cold.
async fn cache_password(replication: Opts) {
    let login = tokio::time::timeout(Duration::from_secs(2), Conn::new(replication)).await;
    if let Ok(Ok(conn)) = login {
        let _ = conn.disconnect().await;
    }
}

/// The probing task of one server.
pub struct Prober {
    config: ServerConfig,
    flavour: Flavour,
    dialect: Dialect,
    session: Session,
    replication: Opts,
    shared: Shared,
    inputs: Sender<Input>,
    notes: PathBuf,
    run: Option<ServerRun>,
    identity: Option<Identity>,
    variables: BTreeMap<String, String>,
    counters: BTreeMap<String, String>,
    settings_at: Option<Instant>,
    answered_at: Instant,
    mark: String,
    mark_at: Instant,
    managers: Vec<Table>,
    managers_at: Option<Instant>,
    /// Who reads the binlog, until it is told.
    readers: Option<Vec<Reader>>,
    disk: Option<Trouble>,
    write: watch::Receiver<Writes>,
}

impl Prober {
    /// A prober that has seen nothing yet. `notes` is a file in the state directory for what must be known of a server
    /// that is down when the node starts.
    #[must_use]
    pub fn new(
        config: ServerConfig,
        flavour: Flavour,
        replication: Opts,
        shared: Shared,
        inputs: Sender<Input>,
        notes: PathBuf,
        write: watch::Receiver<Writes>,
    ) -> Self {
        if let Ok(text) = fs::read_to_string(&notes) {
            let mut lines = text.lines().map(|line| PathBuf::from(line.trim()));
            let mut known = lock(&shared);
            (known.binlog_index, known.relay_index) = (lines.next(), lines.next());
        }
        Self {
            session: Session::new(options(&config)),
            config,
            flavour,
            replication,
            dialect: Dialect(flavour),
            shared,
            inputs,
            notes,
            run: None,
            identity: None,
            variables: BTreeMap::new(),
            counters: BTreeMap::new(),
            settings_at: None,
            answered_at: Instant::now(),
            mark: String::new(),
            mark_at: Instant::now(),
            managers: Vec::new(),
            managers_at: None,
            readers: None,
            disk: None,
            write,
        }
    }

    /// Probes for ever. `asked` makes it begin a round at once.
    pub async fn run(mut self, mut asked: tokio::sync::mpsc::Receiver<()>) {
        loop {
            let (connection, facts) = self.round().await;
            let answering = connection == Connection::Answering;
            let (identity, readers) = (self.identity.clone(), self.readers.take());
            let report = ServerReport { run: self.run, connection, identity, facts, readers };
            if self.inputs.send(Input::Probed(Box::new(report))).await.is_err() {
                return;
            }
            let pause = if answering { EVERY } else { SOON };
            tokio::select! {
                next = asked.recv() => {
                    if next.is_none() {
                        return;
                    }
                    // Something was done to the server: its settings are no longer what they were.
                    self.settings_at = None;
                }
                () = tokio::time::sleep(pause) => {}
            }
        }
    }

    async fn round(&mut self) -> (Connection, Option<Facts>) {
        let answered = match self.connect().await {
            Ok(()) => self.read().await,
            Err(error) => Err(error),
        };
        match answered {
            Ok(facts) => {
                self.answered_at = Instant::now();
                (Connection::Answering, Some(facts))
            }
            Err(error) => {
                if !matches!(error, ServerError::Refused { .. }) {
                    self.session.close();
                }
                (self.judge(error), None)
            }
        }
    }

    fn judge(&self, error: ServerError) -> Connection {
        match error {
            ServerError::Refused { code, text } => Connection::Refused { code, text },
            ServerError::Silent(_) => Connection::Silent { for_ms: millis(self.answered_at.elapsed()) },
            ServerError::Closed(_) | ServerError::Broken(_) => Connection::Closed,
        }
    }

    /// Connects, and watches the process if it is another than before.
    async fn connect(&mut self) -> Result<(), ServerError> {
        if self.session.is_open() {
            return Ok(());
        }
        let pid = self.pid().await?;
        if self.run.is_none_or(|run| run.pid != pid) || lock(&self.shared).watch.is_none() {
            self.watch(pid)?;
        }
        self.session.open(DEADLINE).await?;
        let row = self.session.row(&self.dialect.identity(), DEADLINE).await?;
        self.identity = Some(facts::identity(self.flavour, &row).map_err(misread)?);
        (self.settings_at, self.managers_at) = (None, None);
        if self.flavour == Flavour::Mysql {
            tokio::spawn(cache_password(self.replication.clone()));
        }
        Ok(())
    }

    /// The server's process: by the peer of its socket, or by its pid file over TCP.
    async fn pid(&self) -> Result<u32, ServerError> {
        let closed = |error: std::io::Error| ServerError::Closed(error.to_string());
        match &self.config.reach {
            Reach::Socket(path) => {
                let stream = tokio::time::timeout(DEADLINE, UnixStream::connect(path))
                    .await
                    .map_err(|_| ServerError::Silent(DEADLINE))?
                    .map_err(closed)?;
                let peer = stream.peer_cred().map_err(closed)?;
                peer.pid()
                    .and_then(|pid| u32::try_from(pid).ok())
                    .ok_or_else(|| ServerError::Closed("no peer".to_owned()))
            }
            Reach::Tcp(_, pid_file) => {
                let text = fs::read_to_string(pid_file).map_err(closed)?;
                text.trim().parse().map_err(|_| ServerError::Closed(format!("{} holds no pid", pid_file.display())))
            }
        }
    }

    fn watch(&mut self, pid: u32) -> Result<(), ServerError> {
        let (inputs, shared) = (self.inputs.clone(), Arc::clone(&self.shared));
        let (tell, told) = std::sync::mpsc::channel::<ServerRun>();
        let watch = Watch::start(pid, move || {
            if let Ok(run) = told.recv() {
                let index = lock(&shared).binlog_index.clone();
                let clean = index.is_some_and(|index| was_closed(&index));
                // A full queue must not lose the one input that everything waits for; this thread may wait.
                let _ = inputs.blocking_send(if clean { Input::Stopped(run) } else { Input::Exited(run) });
            }
        })
        .map_err(|error| ServerError::Closed(error.to_string()))?;
        let run = ServerRun { pid, started: watch.start_time() };
        let _ = tell.send(run);
        self.run = Some(run);
        lock(&self.shared).watch = Some(watch);
        Ok(())
    }

    async fn read(&mut self) -> Result<Facts, ServerError> {
        if let Some(reason) = self.identity.as_ref().and_then(support::too_old) {
            return self.read_little(reason).await;
        }
        if self.settings_at.is_none_or(|at| at.elapsed() >= SETTINGS_EVERY) {
            let sql = format!("{}; {}", self.dialect.variables(), self.dialect.counters());
            let tables = self.session.tables(&sql, DEADLINE).await?;
            let settings = |at: usize| tables.get(at).map(facts::settings).unwrap_or_default();
            (self.variables, self.counters) = (settings(0), settings(1));
            self.settings_at = Some(Instant::now());
            self.keep_index();
            self.look_for_readers().await;
            self.disk = disk::trouble(self.folders()).await;
        }
        self.look_for_managers().await;
        let tables = self.session.tables(&self.dialect.probe(), DEADLINE).await?;
        let empty = BTreeMap::new();
        let fast = tables.first().and_then(|table| table.first()).unwrap_or(&empty);
        let channels = tables.get(1).map(Vec::as_slice).unwrap_or_default();
        let heartbeats = tables.get(2).and_then(|table| table.first());
        let channel = channels.first();
        let mark = channel.map(|channel| facts::arrival_mark(channel, heartbeats)).unwrap_or_default();
        if mark != self.mark {
            (self.mark, self.mark_at) = (mark, Instant::now());
        }
        let quiet_ms = millis(self.mark_at.elapsed());
        let written = self.write.borrow().clone();
        Ok(Facts {
            writable: facts::writable(fast).map_err(misread)?,
            replication: channel.and_then(|channel| facts::replication(channel, quiet_ms)),
            semi_sync: facts::semi_sync(self.flavour, fast, &self.variables, &self.counters),
            write_probe: match &self.disk {
                Some(Trouble { text, writes_fail: true }) => {
                    written.probe.map(|_| WriteProbe::Failed { text: text.clone() })
                }
                Some(Trouble { writes_fail: false, .. }) | None => written.probe,
            },
            failing_gates: self.failing_gates(),
            unsupported: self.identity.as_ref().and_then(|identity| {
                support::unsupported(identity, &self.variables, channels.len(), &self.managers, &self.config.user)
            }),
            disk: written.disk.or_else(|| self.disk.as_ref().map(|trouble| trouble.text.clone())),
        })
    }

    /// Where the server writes: its data, and its binlog.
    fn folders(&self) -> Vec<PathBuf> {
        let data = self.variables.get("datadir").map(PathBuf::from);
        let binlog = lock(&self.shared).binlog_index.as_ref().and_then(|index| index.parent().map(PathBuf::from));
        data.into_iter().chain(binlog).collect()
    }

    /// All that is asked of a server whose dialect is not spoken here.
    async fn read_little(&mut self, unsupported: String) -> Result<Facts, ServerError> {
        let row = self.session.row(&self.dialect.closed(), DEADLINE).await?;
        Ok(Facts {
            writable: facts::writable(&row).map_err(misread)?,
            replication: None,
            semi_sync: SemiSync::default(),
            write_probe: None,
            failing_gates: Vec::new(),
            unsupported: Some(unsupported),
            disk: None,
        })
    }

    /// Only a server whose commits wait has readers that count. As with managers, what cannot be seen is not told.
    async fn look_for_readers(&mut self) {
        if self.counters.get(CLIENTS[0]).or_else(|| self.counters.get(CLIENTS[1])).is_none_or(|clients| clients == "0")
        {
            return;
        }
        match self.session.tables(&self.dialect.readers(), DEADLINE).await {
            Ok(tables) => self.readers = Some(facts::readers(self.flavour, &tables)),
            Err(error) => tracing::debug!(%error, "who reads the binlog was not told"),
        }
    }

    /// An account that may not see who else is connected sees less, and nothing worse; nor does a list of connections that
    /// takes too long mean that the server hangs.
    async fn look_for_managers(&mut self) {
        if self.managers_at.is_some_and(|at| at.elapsed() < MANAGERS_EVERY) {
            return;
        }
        self.managers_at = Some(Instant::now());
        match self.session.tables(&self.dialect.managers(), DEADLINE).await {
            Ok(tables) => self.managers = tables,
            Err(ServerError::Refused { code, text }) => {
                tracing::debug!(code, text, "who else manages the server cannot be seen");
                self.managers.clear();
            }
            Err(error) => tracing::debug!(%error, "who else manages the server was not told"),
        }
    }

    /// Gates by the server's settings, and the one that no running server shows: how it starts.
    fn failing_gates(&self) -> Vec<FailingGate> {
        let mut gates = facts::failing_gates(self.flavour, &self.variables);
        if !self.config.boots_closed {
            gates.push(FailingGate {
                setting: "boots_closed".to_owned(),
                found: "not stated in node.toml".to_owned(),
                fix: "the server's options so that it starts read-only and not replicating, then boots_closed = true"
                    .to_owned(),
            });
        }
        gates
    }

    /// Remembers where the lists of the binlog's and the relay files lie, also for a later run of this node.
    fn keep_index(&mut self) {
        let Some(index) = self.variables.get("log_bin_index").filter(|index| !index.is_empty()) else { return };
        let datadir = self.variables.get("datadir").map(PathBuf::from).unwrap_or_default();
        let path = datadir.join(index);
        if let Some(identity) = &mut self.identity {
            identity.binlog_index = path.to_str().filter(|path| path.starts_with('/')).map(str::to_owned);
        }
        let told = |name: &str| self.variables.get(name).map_or("", String::as_str);
        let relay = facts::relay_index(told("relay_log_basename"), told("relay_log_index"));
        let mut known = lock(&self.shared);
        if known.binlog_index.as_ref() != Some(&path) || known.relay_index != relay {
            let lines = [Some(&path), relay.as_ref()].into_iter().flatten();
            let text: String = lines.map(|line| format!("{}\n", line.display())).collect();
            if let Err(error) = fs::write(&self.notes, text) {
                tracing::warn!(file = %self.notes.display(), %error, "the binlog's place cannot be noted");
            }
            (known.binlog_index, known.relay_index) = (Some(path), relay);
        }
    }
}

fn misread(error: facts::Misread) -> ServerError {
    ServerError::Broken(error.to_string())
}

fn millis(length: Duration) -> u64 {
    u64::try_from(length.as_millis()).unwrap_or(u64::MAX)
}

/// The lock is held for moments only; a holder that panicked has left it consistent.
pub fn lock(shared: &Shared) -> std::sync::MutexGuard<'_, Known> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}
