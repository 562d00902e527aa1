//! `node.toml` and `coordinator.toml`, with the files that they name.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "helpers of tests are tests")]

#[path = "findings/world.rs"]
mod world;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use ed25519_dalek::pkcs8::EncodePrivateKey as _;
use ed25519_dalek::pkcs8::spki::der::pem::LineEnding;
use tasuki_config::{
    Clusters, CoordinatorConfig, Cut, FeedConfig, Grant, Limits, NodeConfig, Plain, Reach, Role, token_line,
};

use world::{KEYS, cluster_text, line_of, signing_key};

fn grant() -> Grant {
    Grant { name: "wall".parse().unwrap(), role: Role::Viewer, clusters: Clusters::All }
}

/// A folder with lawful files: `NAME.toml` and `NAME.key` of every program, and `clusters.d/main.toml`.
struct Folder(PathBuf);

impl Folder {
    fn new(test: &str) -> Self {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("local").join(test);
        drop(fs::remove_dir_all(&folder));
        fs::create_dir_all(folder.join("clusters.d")).unwrap();
        let this = Self(folder);
        for (name, text) in [
            ("feed.crt", "PEM\n"),
            ("feed.key", "PEM\n"),
            ("feed.token", &token_line(&grant(), "one")),
            ("password", "p w\n"),
        ] {
            fs::write(this.path(name), text).unwrap();
        }
        let password = this.path("password").display().to_string();
        let mut text = cluster_text().replace("/usr/local/bin/power", "/bin/true");
        for there in ["replication.password", "fence.key", "known_hosts"] {
            text = text.replace(&format!("/etc/tasuki/{there}"), &password);
        }
        fs::write(this.path("clusters.d/main.toml"), text).unwrap();
        for name in KEYS {
            fs::write(this.path(&format!("{name}.toml")), this.local(name)).unwrap();
            let key = this.path(&format!("{name}.key"));
            fs::write(&key, signing_key(name).to_pkcs8_pem(LineEnding::LF).unwrap()).unwrap();
            fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).unwrap();
        }
        this
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    fn local(&self, name: &str) -> String {
        let folder = self.0.display();
        let head = format!("name = \"{name}\"\nkey_file = \"{folder}/{name}.key\"\nstate_dir = \"{folder}/state\"\n");
        let server = "health = \"127.0.0.1:7301\"\n[server]\nsocket = \"/run/mysqld.sock\"\nuser = \"root\"\n";
        match name {
            "w1" => format!("{head}cluster = \"{folder}/clusters.d/main.toml\"\n"),
            _ if name.starts_with("co") => format!(
                "{head}clusters = \"{folder}/clusters.d\"\n[feed]\nlisten = \"127.0.0.1:3000\"\ncertificate = \
                 \"{folder}/feed.crt\"\nprivate_key = \"{folder}/feed.key\"\ntoken_file = \"{folder}/feed.token\"\n"
            ),
            _ => format!(
                "{head}cluster = \"{folder}/clusters.d/main.toml\"\n{server}password_file = \"{folder}/password\"\ncut = \
                 \"kernel\"\n"
            ),
        }
    }

    fn node(&self, name: &str) -> Result<NodeConfig, String> {
        NodeConfig::load(&self.path(&format!("{name}.toml"))).map_err(|findings| findings.to_string())
    }

    fn coordinator(&self, name: &str) -> Result<CoordinatorConfig, String> {
        CoordinatorConfig::load(&self.path(&format!("{name}.toml"))).map_err(|findings| findings.to_string())
    }

    /// Changes a file; returns its path and the line of the change.
    fn change(&self, name: &str, from: &str, to: &str) -> String {
        let path = self.path(name);
        let text = fs::read_to_string(&path).unwrap();
        assert!(text.contains(from), "{from:?} is not in\n{text}");
        let text = text.replacen(from, to, 1);
        fs::write(&path, &text).unwrap();
        format!("{}:{}", path.display(), line_of(&text, to))
    }
}

#[test]
fn lawful_files_are_read_whole() {
    let folder = Folder::new("lawful");
    let db1 = folder.node("db1").unwrap();
    let server = db1.server.unwrap();
    assert_eq!(server.reach, Reach::Socket("/run/mysqld.sock".into()));
    assert_eq!((server.password.expose(), server.cut, server.boots_closed), ("p w", Cut::Kernel, false));
    assert_eq!(db1.health, Some("127.0.0.1:7301".parse().unwrap()));
    assert_eq!(db1.key.verifying_key(), signing_key("db1").verifying_key());
    let w1 = folder.node("w1").unwrap();
    assert!(w1.server.is_none() && w1.health.is_none());
    let co1 = folder.coordinator("co1").unwrap();
    assert_eq!(co1.feed.tokens.admit("one"), Some(&grant()));
    assert_eq!((&co1.feed.plain, co1.feed.limits), (&None, Limits { whole: 20_000, per_address: 1000 }));
    assert!(co1.feed.query_tokens && co1.feed.allowed_origins.is_empty());
    assert_eq!(FeedConfig::token_file_of(&folder.path("co1.toml")), Ok(folder.path("feed.token")));
    assert_eq!(co1.clusters[0].as_ref().unwrap().name.as_str(), "main");
    assert!(!format!("{db1:?} {co1:?}", db1 = folder.node("db1")).contains("p w"));
}

#[test]
fn a_server_is_stopped_and_started_by_programs_and_no_shell() {
    let folder = Folder::new("commands");
    assert_eq!(folder.node("db1").unwrap().server.unwrap().commands, None);
    let both = "stop_command = [\"/bin/systemctl\", \"stop\", \"mariadb\"]\nstart_command = [\"/bin/start\"]\n";
    folder.change("db1.toml", "user = \"root\"\n", &format!("user = \"root\"\n{both}start_within_s = 7\n"));
    let commands = folder.node("db1").unwrap().server.unwrap().commands.unwrap();
    assert_eq!(commands.stop, ["/bin/systemctl", "stop", "mariadb"]);
    assert_eq!((commands.stop_within.as_secs(), commands.start_within.as_secs()), (60, 7));
    folder.change("db1.toml", "\"/bin/start\"", "\"start\"");
    assert!(folder.node("db1").unwrap_err().contains("`start_command` is a list: a program by its whole path"));
    folder.change("db1.toml", "start_within_s = 7", "start_within_s = 0");
    assert!(folder.node("db1").unwrap_err().contains("`start_within_s` must lie between 1 and 3600"));
    folder.change("db1.toml", "start_command = [\"start\"]\n", "");
    assert!(folder.node("db1").unwrap_err().contains("`stop_command` and `start_command` belong together"));
}

#[test]
fn a_server_is_reached_by_one_way() {
    let folder = Folder::new("reach");
    folder.change("db1.toml", "socket = \"/run/mysqld.sock\"", "address = \"127.0.0.1:3306\"\npid_file = \"/run/pid\"");
    let reach = folder.node("db1").unwrap().server.unwrap().reach;
    assert_eq!(reach, Reach::Tcp("127.0.0.1:3306".parse().unwrap(), "/run/pid".into()));
    let place = folder.change("db1.toml", "pid_file = \"/run/pid\"\n", "");
    let place = place.replace(&place[place.rfind(':').unwrap()..], ":7");
    let what = "over TCP the process is told by a pid file; add `pid_file`, or use `socket`";
    assert_eq!(folder.node("db1").unwrap_err(), format!("{place}: {what}"));
    folder.change("db1.toml", "address = \"127.0.0.1:3306\"\n", "");
    let said = folder.node("db1").unwrap_err();
    assert_eq!(said, format!("{}: [server] needs either `socket` or `address`", place.replace(":7", ":6")));
}

#[test]
fn a_node_and_its_cluster_file_agree() {
    let folder = Folder::new("agree");
    let place = folder.change("db1.toml", "name = \"db1\"", "name = \"db2\"");
    let said = folder.node("db1").unwrap_err();
    assert_eq!(
        said,
        format!("{place}: the cluster file has another key for db2; that of key_file is {}", world::public("db1"))
    );
    folder.change("db1.toml", "name = \"db2\"", "name = \"db9\"");
    let said = folder.node("db1").unwrap_err();
    assert_eq!(said, format!("{place}: db9 is no [[server]] or [[witness]]; add it there, or correct the name"));
    fs::write(folder.path("db2.toml"), folder.local("db2").split("[server]").next().unwrap()).unwrap();
    let said = folder.node("db2").unwrap_err();
    assert!(said.ends_with("db2.toml:1: db2 is a [[server]] of the cluster file; add its [server] here"), "{said}");
    let witness = folder.local("w1") + "[server]\nsocket = \"/s\"\nuser = \"root\"\ncut = \"none\"\n";
    fs::write(folder.path("w1.toml"), witness).unwrap();
    let said = folder.node("w1").unwrap_err();
    assert!(said.ends_with("w1.toml:1: w1 is a [[witness]] of the cluster file; remove [server] here"), "{said}");
}

#[test]
fn a_key_file_is_there_and_nobody_elses() {
    let folder = Folder::new("key");
    let key = folder.path("db1.key");
    fs::set_permissions(&key, fs::Permissions::from_mode(0o640)).unwrap();
    let (file, shown) = (folder.path("db1.toml"), key.display().to_string());
    let place = format!("{}:2: ", file.display());
    let said = folder.node("db1").unwrap_err();
    assert_eq!(
        said,
        format!("{place}the key file {shown} has mode 0640, only its owner may read it: chmod 0600 {shown}")
    );
    fs::remove_file(&key).unwrap();
    let said = folder.node("db1").unwrap_err();
    assert!(said.starts_with(&format!("{place}the key file {shown} cannot be read: No such file")), "{said}");
}

#[test]
fn passwords_are_read_where_they_are_needed() {
    let folder = Folder::new("passwords");
    fs::remove_file(folder.path("password")).unwrap();
    let said = folder.node("db1").unwrap_err();
    let missing = format!("{}: cannot be read: No such file", folder.path("password").display());
    assert_eq!(said.matches(&missing).count(), 2, "its own account and the replicas' are both told\n{said}");
    assert!(folder.node("w1").is_ok() && folder.coordinator("co1").is_ok());
}

#[test]
fn a_cluster_files_findings_are_those_of_the_node() {
    let folder = Folder::new("both");
    let own = folder.change("db1.toml", "cut = \"kernel\"", "cut = \"knife\"");
    let other = folder.change("clusters.d/main.toml", "[redis]\n", "[redis]\npool = 3\n");
    let other = format!(
        "{}:{}",
        &other[..other.rfind(':').unwrap()],
        other[other.rfind(':').unwrap() + 1..].parse::<usize>().unwrap() + 1
    );
    let said = folder.node("db1").unwrap_err();
    let lines: Vec<&str> = said.lines().collect();
    assert_eq!(lines.len(), 2, "{said}");
    assert!(lines[0].starts_with(&format!("{own}: `cut`: unknown variant `knife`")), "{said}");
    assert!(lines[1].starts_with(&format!("{other}: unknown key `pool`")), "{said}");
}

#[test]
fn the_authority_of_redis_is_looked_for() {
    let folder = Folder::new("authority");
    folder.change("clusters.d/main.toml", "[redis]\n", "[redis]\nca_file = \"/nowhere/ca.crt\"\n");
    let what =
        "/nowhere/ca.crt: cannot be read: No such file or directory (os error 2); it is redis.ca_file of cluster main";
    assert_eq!(folder.node("db1").unwrap_err(), what);
    assert_eq!(folder.coordinator("co1").unwrap().clusters[0].as_ref().unwrap_err().to_string(), what);
}

#[test]
fn a_broken_cluster_does_not_stop_the_others() {
    let folder = Folder::new("several");
    fs::write(folder.path("clusters.d/broken.toml"), "flavour = 3\n").unwrap();
    fs::write(folder.path("clusters.d/notes.txt"), "not a cluster\n").unwrap();
    let clusters = folder.coordinator("co1").unwrap().clusters;
    assert_eq!(clusters.iter().map(Result::is_ok).collect::<Vec<_>>(), [false, true]);
    // Who is refused anyway hears of all files.
    let place = folder.change("co1.toml", "name =", "nam =");
    let said = folder.coordinator("co1").unwrap_err();
    let broken = format!("{}:1: `flavour`: wanted string", folder.path("clusters.d/broken.toml").display());
    assert!(
        said.contains(&format!("{place}: unknown key `nam`; is `name` meant?")) && said.contains(&broken),
        "{said}"
    );
}

#[test]
fn a_coordinator_is_named_by_each_of_its_clusters() {
    let folder = Folder::new("named");
    let text = fs::read_to_string(folder.path("clusters.d/main.toml")).unwrap();
    fs::write(folder.path("clusters.d/other.toml"), text.replace("name = \"co1\"", "name = \"co7\"")).unwrap();
    let said = folder.coordinator("co1").unwrap_err();
    let file = folder.path("co1.toml");
    let what = "co1 is no [[coordinator]] of other; add it there, or correct the name";
    assert_eq!(said, format!("{}:1: {what}", file.display()));
}

#[test]
fn the_files_of_the_feed_are_looked_for() {
    let folder = Folder::new("feed");
    for name in ["feed.crt", "feed.key"] {
        fs::remove_file(folder.path(name)).unwrap();
    }
    fs::write(folder.path("feed.token"), "\n").unwrap();
    let said = folder.coordinator("co1").unwrap_err();
    let lines: Vec<&str> = said.lines().collect();
    let file = folder.path("co1.toml").display().to_string();
    assert_eq!(lines.len(), 3, "{said}");
    for (line, (number, name)) in lines.iter().zip([(7, "feed.crt"), (8, "feed.key")]) {
        let begin = format!("{file}:{number}: {} cannot be read: No such file", folder.path(name).display());
        assert!(line.starts_with(&begin) && line.ends_with("; check path and permissions"), "{said}");
    }
    assert!(
        lines[2].starts_with(&format!("{file}:9: the token file is empty; make a token: `tasuki-coordinator token"))
    );
    fs::remove_file(folder.path("feed.token")).unwrap();
    let said = folder.coordinator("co1").unwrap_err();
    assert!(said.contains("feed.token does not exist; make a token: `tasuki-coordinator token NAME"), "{said}");
}

#[test]
fn a_wrong_line_of_the_token_file_and_a_wrong_origin_are_found() {
    let folder = Folder::new("tokens");
    fs::write(folder.path("feed.token"), "# people\na-plain-token-of-old\n").unwrap();
    let text = fs::read_to_string(folder.path("co1.toml")).unwrap();
    let more =
        "allowed_origins = [\"https://a.example.org:8443\", \"https://b.example.org/\", \"*\"]\nquery_tokens = false\n";
    fs::write(folder.path("co1.toml"), text + more).unwrap();
    let said = folder.coordinator("co1").unwrap_err();
    let lines: Vec<&str> = said.lines().collect();
    assert_eq!(lines.len(), 3, "{said}");
    for (line, wrong) in lines.iter().zip(["https://b.example.org/", "*"]) {
        assert!(line.contains(&format!("co1.toml:10: {wrong:?} is no origin; write e.g.")), "{said}");
    }
    assert!(
        lines[2].contains("feed.token:2: this is no token's line; write `NAME ROLE CLUSTERS sha256:HEX`"),
        "{said}"
    );
}

#[test]
fn without_tls_only_this_host_is_listened_to() {
    let folder = Folder::new("plain");
    let text = fs::read_to_string(folder.path("co1.toml")).unwrap();
    let with = |plain: &str| {
        fs::write(folder.path("co1.toml"), format!("{text}plain = {plain:?}\nmax_connections = 7\n")).unwrap();
        folder.coordinator("co1").map(|config| (config.feed.plain, config.feed.limits.whole))
    };
    assert_eq!(with("[::1]:3001"), Ok((Some(Plain::Tcp("[::1]:3001".parse().unwrap())), 7)));
    assert_eq!(with("/run/feed.sock"), Ok((Some(Plain::Unix("/run/feed.sock".into())), 7)));
    for wrong in ["0.0.0.0:3001", "10.0.0.1:3001", "feed.sock", "localhost:3001"] {
        let said = with(wrong).unwrap_err();
        assert!(said.contains("co1.toml:10: `plain` is for a proxy on this host alone; write e.g."), "{said}");
    }
}

#[test]
fn a_folder_without_clusters_is_refused() {
    let folder = Folder::new("empty");
    fs::remove_file(folder.path("clusters.d/main.toml")).unwrap();
    let said = folder.coordinator("co1").unwrap_err();
    assert!(said.ends_with("co1.toml:4: there is no NAME.toml in it; put the cluster's file there"), "{said}");
    let gone = NodeConfig::load(&folder.path("db7.toml")).unwrap_err().to_string();
    assert!(
        gone.ends_with("db7.toml: cannot be read: No such file or directory (os error 2); check the path"),
        "{gone}"
    );
}

/// Nodes need nothing of it; a coordinator could not fence, and says so before it has to.
#[test]
fn what_fences_need_is_looked_for_on_the_coordinators_host_alone() {
    let folder = Folder::new("fences");
    let path = folder.path("clusters.d/main.toml");
    let text = fs::read_to_string(&path).unwrap();
    let missing = text
        .replacen("/bin/true", "/nowhere/power", 1)
        .replace("key_file = \"", "key_file = \"/nowhere")
        .replace("known_hosts_file = \"", "known_hosts_file = \"/nowhere");
    fs::write(&path, missing).unwrap();
    assert!(folder.node("db1").is_ok());
    let config = folder.coordinator("co1").unwrap();
    let findings = config.clusters[0].as_ref().unwrap_err().to_string();
    let lines: Vec<&str> = findings.lines().collect();
    assert_eq!(lines.len(), 3, "{findings}");
    assert!(lines[0].contains("ssh.key_file") && lines[1].contains("ssh.known_hosts_file"), "{findings}");
    assert!(lines[2].starts_with("/nowhere/power: is no program"), "{findings}");
}
