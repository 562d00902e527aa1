//! How a node of the lab stops and starts its server: two small scripts in the server's folder, in place of a service manager.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::tools::Daemon;

/// The script that stops the server whose folder this is.
#[must_use]
pub fn stop_script(folder: &Path) -> PathBuf {
    folder.join("stop.sh")
}

/// The script that starts it.
#[must_use]
pub fn start_script(folder: &Path) -> PathBuf {
    folder.join("start.sh")
}

/// Writes both. What they start ends with the lab: somebody watches it.
pub(super) fn write(folder: &Path, daemon: &Daemon, options: &[String]) -> io::Result<()> {
    let here = folder.display();
    let stop = format!(
        "pid=$(cat {here}/pid) || exit 0\nkill -TERM \"$pid\" 2>/dev/null\n\
         while [ -e \"/proc/$pid\" ] && ! grep -q '^State:.Z' \"/proc/$pid/status\" 2>/dev/null; do sleep 0.05; done\nexit 0\n"
    );
    fs::write(stop_script(folder), stop)?;
    let words: Vec<String> = options.iter().map(|option| format!("'{option}'")).collect();
    let (program, lab, words) = (daemon.path.display(), std::process::id(), words.join(" "));
    let start = format!(
        "cd {here} || exit 1\nsetsid {program} {words} >>server-script.log 2>&1 </dev/null &\npid=$!\n\
         (while kill -0 {lab} && kill -0 $pid; do sleep 1; done; kill -9 $pid) >/dev/null 2>&1 </dev/null &\n"
    );
    fs::write(start_script(folder), start)
}

/// Ends what the script started, if it still runs.
pub(super) fn end(folder: &Path) {
    let pid = fs::read_to_string(folder.join("pid")).ok().and_then(|pid| pid.trim().parse::<i32>().ok());
    let Some(pid) = pid.and_then(rustix::process::Pid::from_raw) else { return };
    let words = fs::read(format!("/proc/{}/cmdline", pid.as_raw_nonzero())).unwrap_or_default();
    if String::from_utf8_lossy(&words).contains(&folder.display().to_string()) {
        // One that ended meanwhile is what is wanted.
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
    }
}
