//! How the servers of a cluster may be fenced from outside.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use anyhow::{Context as _, Result};

use super::sshd::Keys;

/// What the cluster file says about fences and losses.
#[derive(Clone, Debug, Default)]
pub struct Outside {
    /// Through ssh; every server's host runs an sshd.
    pub ssh: bool,
    /// By a hook that kills the server of a port, and one that looks for it.
    pub hook: bool,
    /// `max_loss`.
    pub max_loss: Option<&'static str>,
}

/// Both hooks: whoever listens to such a port by its own options is killed, or looked for.
const HOOK: &str = r#"#!/bin/sh
for word; do
    case $word in --port=*) port=$word ;; --command=*) act=${word#*=} ;; esac
done
found=
for proc in /proc/[0-9]*; do
    case " $(tr '\0' ' ' 2>/dev/null <"$proc/cmdline")" in
    *mariadbd\ *" $port "* | *mysqld\ *" $port "*) found="$found ${proc#/proc/}" ;;
    esac
done
echo "$act $port:$found"
case $act in
stop) [ -z "$found" ] || kill -KILL $found ;;
status) [ -z "$found" ] ;;
esac
"#;

impl Outside {
    /// The sections of the cluster file; what they name is written to `folder`.
    ///
    /// # Errors
    /// When a file cannot be written, or there are no keys.
    pub(super) fn toml(&self, folder: &Path, keys: Option<&Keys>) -> Result<String> {
        let mut text = String::new();
        if self.ssh {
            let keys = keys.context("ssh needs keys")?;
            let (client, known) = (keys.client(), keys.known_hosts());
            text += &format!("\n[ssh]\nkey_file = {client:?}\nknown_hosts_file = {known:?}\n");
        }
        if self.hook {
            let hook = folder.join("hook.sh");
            fs::write(&hook, HOOK)?;
            fs::set_permissions(&hook, fs::Permissions::from_mode(0o755))?;
            text += &format!("\n[shutdown]\ncommand = [{hook:?}]\nread_back = [{hook:?}]\nlimit_s = 10\n");
        }
        Ok(text)
    }
}
