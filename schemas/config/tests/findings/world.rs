//! A lawful configuration to be spoilt.

use tasuki_bus::key;

/// The programs of the lawful cluster, in file order.
pub(crate) const KEYS: [&str; 5] = ["db1", "db2", "w1", "co1", "co2"];

/// The key of a program: always the same.
pub(crate) fn signing_key(program: &str) -> ed25519_dalek::SigningKey {
    let number = KEYS.iter().position(|name| *name == program).unwrap();
    ed25519_dalek::SigningKey::from_bytes(&[u8::try_from(number + 1).unwrap(); 32])
}

pub(crate) fn public(program: &str) -> String {
    key::public_base64(&signing_key(program).verifying_key())
}

/// A lawful cluster file in which everything is said.
pub(crate) fn cluster_text() -> String {
    let [db1, db2, w1, co1, co2] = KEYS.map(public);
    format!(
        r#"flavour = "mariadb"

[[server]]
name = "db1"
address = "10.77.0.1:3306"
mesh = "10.77.0.1:7300"
key = "{db1}"
promotion = "prefer"
site = "east"
ssh = "10.99.0.1:2222"
data_dir = "/var/lib/mysql"
binlog_index = "/var/log/mysql/bin.index"

[[server]]
name = "db2"
address = "[fd00::2]:3306"
mesh = "[fd00::2]:7300"
key = "{db2}"
data_dir = "/srv/db2"

[[witness]]
name = "w1"
mesh = "10.77.0.9:7300"
key = "{w1}"

[[coordinator]]
name = "co1"
key = "{co1}"

[[coordinator]]
name = "co2"
key = "{co2}"

[redis]
urls = ["redis://127.0.0.1:6379", "rediss://user:hidden@10.77.0.8:6380"]

[replication]
user = "repl"
password_file = "/etc/tasuki/replication.password"

[vip]
address = "10.77.0.100/24"
interface = "eth0"

[policy]
mode = "observe"
heartbeat_ms = 250
silence_ms = 900
tail_patience_ms = 50
stable_window_ms = 45000
flap_limit = 3
max_loss = "unreceived_tail"

[ssh]
user = "fencer"
key_file = "/etc/tasuki/fence.key"
known_hosts_file = "/etc/tasuki/known_hosts"
limit_ms = 4000
read_limit_s = 300

[shutdown]
command = ["/usr/local/bin/power", "off"]
read_back = ["/usr/local/bin/power", "is-off"]
limit_s = 20
"#
    )
}

/// The line, from 1 on, of the last place of a text.
pub(crate) fn line_of(text: &str, place: &str) -> usize {
    text[..text.rfind(place).unwrap()].matches('\n').count() + 1
}
