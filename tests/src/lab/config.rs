//! Every configuration file of a cluster, written by one function for the lab and the demo.

use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;
use std::net::{IpAddr, SocketAddr};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use tasuki_bus::key;
use tasuki_config::{Clusters, Grant, Role, add_token};
use tasuki_schemas::gtid::Flavour;

use super::hands;
use super::outside::Outside;
use super::sshd::Keys;
use super::template::{REPLICATION_PASSWORD, REPLICATION_USER};

/// What a viewer shows to a feed of the lab.
pub const VIEWER_TOKEN: &str = "a-viewer-of-the-lab";

/// What a token opens for all clusters.
///
/// # Errors
/// When the name is none.
pub fn grant(name: &str, role: Role) -> Result<Grant> {
    Ok(Grant { name: name.parse()?, role, clusters: Clusters::All })
}

/// A cluster as its file tells it, and what is local to its nodes.
#[derive(Clone, Debug)]
pub struct ClusterPlan {
    /// Its name.
    pub name: String,
    /// Its servers' dialect.
    pub flavour: Flavour,
    /// Its nodes, the witnesses included, in configuration order.
    pub nodes: Vec<NodePlan>,
    /// The virtual address, as `10.0.0.9/24`, and the interface.
    pub vip: Option<(String, String)>,
    /// `armed` or `observe`.
    pub mode: String,
    /// The lease of a primary without acknowledgements.
    pub lease_ms: Option<u64>,
    /// The replicas acknowledge nothing.
    pub asynchronous: bool,
    /// How its servers may be fenced from outside.
    pub outside: Outside,
    /// The server that must never be promoted.
    pub never: Option<&'static str>,
    /// Failovers of one server by one cause, then people decide.
    pub flap_limit: u32,
    /// `degraded`.
    pub degraded: Option<&'static str>,
    /// Who is ahead is re-cloned.
    pub recloning: bool,
}

impl ClusterPlan {
    /// Where an sshd runs.
    pub fn sshds(&self) -> impl Iterator<Item = (&str, SocketAddr)> {
        let listens = |node: &NodePlan| node.server.as_ref().and_then(|server| server.ssh);
        self.nodes.iter().filter_map(move |node| Some((node.name.as_str(), listens(node)?)))
    }
}

/// A node.
#[derive(Clone, Debug)]
pub struct NodePlan {
    /// Its name.
    pub name: String,
    /// Where it listens for the mesh.
    pub mesh: SocketAddr,
    /// Its health port.
    pub health: SocketAddr,
    /// Its server; `None` on a witness.
    pub server: Option<ServerPlan>,
}

/// A node's server.
#[derive(Clone, Debug)]
pub struct ServerPlan {
    /// Where replicas reach it.
    pub address: SocketAddr,
    /// Its Unix socket.
    pub socket: PathBuf,
    /// Whether the node may use kernel rules.
    pub kernel: bool,
    /// Where its host's sshd listens, if it has one.
    pub ssh: Option<SocketAddr>,
    /// Its data directory.
    pub data_dir: PathBuf,
}

/// A coordinator.
#[derive(Clone, Debug)]
pub struct CoordinatorPlan {
    /// Its name.
    pub name: String,
    /// Where its feed listens.
    pub feed: SocketAddr,
}

/// Where the files are.
#[derive(Clone, Debug)]
pub struct Files {
    folder: PathBuf,
}

impl Files {
    /// The files below `folder`.
    #[must_use]
    pub fn new(folder: &Path) -> Self {
        Self { folder: folder.to_owned() }
    }

    /// The local file of a program.
    #[must_use]
    pub fn local(&self, program: &str) -> PathBuf {
        self.folder.join(format!("{program}.toml"))
    }

    /// The file of a cluster.
    #[must_use]
    pub fn cluster(&self, name: &str) -> PathBuf {
        self.folder.join("clusters.d").join(format!("{name}.toml"))
    }

    /// The certificate of the feeds, which signs itself.
    #[must_use]
    pub fn certificate(&self) -> PathBuf {
        self.folder.join("feed.crt")
    }

    /// Where a coordinator's feed listens, as its file says.
    ///
    /// # Errors
    /// When the file does not say so.
    pub fn feed(&self, coordinator: &str) -> Result<SocketAddr> {
        let text = fs::read_to_string(self.local(coordinator))?;
        let listen = text.lines().find_map(|line| line.strip_prefix("listen = ")).context("no feed")?;
        Ok(listen.trim_matches('"').parse()?)
    }

    /// The key of that certificate.
    #[must_use]
    pub fn private_key(&self) -> PathBuf {
        self.other("feed.key")
    }

    /// The token file of the feeds.
    #[must_use]
    pub fn tokens(&self) -> PathBuf {
        self.folder.join("feed.tokens")
    }

    fn key(&self, program: &str) -> PathBuf {
        self.folder.join(format!("{program}.key"))
    }

    pub(super) fn state(&self, program: &str) -> PathBuf {
        self.folder.join("state").join(program)
    }

    fn other(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }
}

/// Writes all files of these clusters under these coordinators, keys and secrets included.
///
/// # Errors
/// When a file cannot be written.
pub fn write(
    folder: &Path,
    clusters: &[ClusterPlan],
    coordinators: &[CoordinatorPlan],
    redis: &[String],
    ssh: Option<&Keys>,
) -> Result<Files> {
    let files = Files::new(folder);
    fs::create_dir_all(folder.join("clusters.d"))?;
    write_secret(&files.other("replication.password"), REPLICATION_PASSWORD)?;
    add_token(&files.tokens(), &grant("viewer", Role::Viewer)?, VIEWER_TOKEN)?;
    write_certificate(&files, coordinators)?;
    let mut coordinating = String::new();
    for coordinator in coordinators {
        let public = make_key(&files, &coordinator.name)?;
        write!(coordinating, "\n[[coordinator]]\nname = \"{}\"\nkey = \"{public}\"\n", coordinator.name)?;
        fs::write(files.local(&coordinator.name), coordinator_toml(&files, coordinator))?;
    }
    for cluster in clusters {
        let text = cluster_toml(&files, cluster, &coordinating, redis)? + &cluster.outside.toml(folder, ssh)?;
        fs::write(files.cluster(&cluster.name), text)?;
        for node in &cluster.nodes {
            fs::write(files.local(&node.name), node_toml(&files, &cluster.name, node)?)?;
        }
    }
    Ok(files)
}

fn cluster_toml(files: &Files, cluster: &ClusterPlan, coordinators: &str, redis: &[String]) -> Result<String> {
    let mut text = format!("flavour = \"{}\"\n", cluster.flavour);
    for node in &cluster.nodes {
        let public = make_key(files, &node.name)?;
        let (kind, address) = match &node.server {
            Some(server) => {
                let ssh = server.ssh.map(|ssh| format!("ssh = \"{ssh}\"\n")).unwrap_or_default();
                let never = if cluster.never == Some(node.name.as_str()) { "promotion = \"never\"\n" } else { "" };
                ("server", format!("address = \"{}\"\n{ssh}{never}data_dir = {:?}\n", server.address, server.data_dir))
            }
            None => ("witness", String::new()),
        };
        write!(
            text,
            "\n[[{kind}]]\nname = \"{}\"\n{address}mesh = \"{}\"\nkey = \"{public}\"\n",
            node.name, node.mesh
        )?;
    }
    text += coordinators;
    write!(text, "\n[redis]\nurls = {redis:?}\n")?;
    let password = files.other("replication.password");
    write!(text, "\n[replication]\nuser = \"{REPLICATION_USER}\"\npassword_file = {password:?}\n")?;
    if let Some((address, interface)) = &cluster.vip {
        write!(text, "\n[vip]\naddress = \"{address}\"\ninterface = \"{interface}\"\n")?;
    }
    write!(text, "\n[policy]\nmode = \"{}\"\n", cluster.mode)?;
    if let Some(lease_ms) = cluster.lease_ms {
        write!(text, "lease_ms = {lease_ms}\npausable = false\n")?;
    }
    if let Some(max_loss) = cluster.outside.max_loss {
        writeln!(text, "max_loss = \"{max_loss}\"")?;
    }
    if let Some(degraded) = cluster.degraded {
        writeln!(text, "degraded = \"{degraded}\"")?;
    }
    if cluster.recloning {
        text += "rejoin = \"clone\"\n";
    }
    // A small, busy machine reads the dead server's tail slower than a real one. Without it that server would be ahead
    // and quarantined, and could not be seen coming back.
    text += "tail_patience_ms = 400\n";
    writeln!(text, "flap_limit = {}", cluster.flap_limit)?;
    Ok(text)
}

fn node_toml(files: &Files, cluster: &str, node: &NodePlan) -> Result<String> {
    let name = &node.name;
    let mut text = format!("name = \"{name}\"\ncluster = {:?}\n", files.cluster(cluster));
    write!(text, "key_file = {:?}\nstate_dir = {:?}\n", files.key(name), files.state(name))?;
    writeln!(text, "health = \"{}\"", node.health)?;
    if let Some(ServerPlan { socket, kernel, .. }) = &node.server {
        let cut = if *kernel { "kernel" } else { "none" };
        write!(text, "\n[server]\nsocket = {socket:?}\nuser = \"root\"\ncut = \"{cut}\"\nboots_closed = true\n")?;
        let folder = socket.parent().context("a socket without a folder")?;
        let (stop, start) = (hands::stop_script(folder), hands::start_script(folder));
        write!(text, "stop_command = [\"/bin/sh\", {stop:?}]\nstart_command = [\"/bin/sh\", {start:?}]\n")?;
    }
    fs::create_dir_all(files.state(name))?;
    Ok(text)
}

fn coordinator_toml(files: &Files, coordinator: &CoordinatorPlan) -> String {
    let name = &coordinator.name;
    let state = files.state(name);
    drop(fs::create_dir_all(&state));
    format!(
        "name = \"{name}\"\nclusters = {:?}\nkey_file = {:?}\nstate_dir = {state:?}\n\n[feed]\nlisten = \"{}\"\n\
         certificate = {:?}\nprivate_key = {:?}\ntoken_file = {:?}\n",
        files.other("clusters.d"),
        files.key(name),
        coordinator.feed,
        files.certificate(),
        files.private_key(),
        files.tokens(),
    )
}

/// Makes a program's key and returns its public half in base64.
fn make_key(files: &Files, program: &str) -> Result<String> {
    let path = files.key(program);
    let key = key::create(&path).with_context(|| format!("no key for {program}"))?;
    Ok(key::public_base64(&key.verifying_key()))
}

fn write_certificate(files: &Files, coordinators: &[CoordinatorPlan]) -> Result<()> {
    let addresses = coordinators.iter().map(|coordinator| IpAddr::to_string(&coordinator.feed.ip()));
    let names: Vec<String> = addresses.chain(["localhost".to_owned()]).collect();
    let made = rcgen::generate_simple_self_signed(names)?;
    fs::write(files.certificate(), made.cert.pem())?;
    write_secret(&files.private_key(), &made.signing_key.serialize_pem())
}

fn write_secret(path: &Path, text: &str) -> Result<()> {
    let mut file = fs::File::options().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(text.as_bytes())?;
    Ok(())
}
