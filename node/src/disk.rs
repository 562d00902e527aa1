//! Whether a server's disk takes writes, as far as that shows without writing: a replica is closed, so nobody probes it by a
//! commit as the primary is probed.

use std::path::PathBuf;
use std::time::Duration;

use rustix::fs::{StatVfsMountFlags, statvfs};

/// With less than this a server cannot extend a file any more.
const LEAST: u64 = 1 << 20;
/// A filesystem that does not answer by then is not waited for: the other probes tell that it hangs.
const PATIENCE: Duration = Duration::from_millis(200);

/// Errors of a server that cannot write: the number, or what the system said to it.
const NUMBERS: [u16; 2] = [1021, 1114];
const WORDS: [&str; 8] = [
    "No space left on device",
    "Read-only file system",
    "Disk quota exceeded",
    "errno: 28",
    "Errcode: 28",
    "error 28 ",
    "errno: 30",
    "Errcode: 30",
];

/// Whether a refused write means that the disk is full or read-only.
#[must_use]
pub fn is_full(code: u16, text: &str) -> bool {
    NUMBERS.contains(&code) || WORDS.iter().any(|word| text.contains(word))
}

/// With less than this nothing is written any more: whoever writes more than is left takes what is left, and waits for the rest.
const NOTHING: u64 = 1 << 16;

/// What is wrong with a filesystem.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trouble {
    /// In words.
    pub text: String,
    /// Clients' writes fail or hang, whatever the write probe finds: its table needs no new space, the binlog does.
    pub writes_fail: bool,
}

/// Why the filesystem of one of these folders takes no more writes, if it says so.
pub async fn trouble(folders: Vec<PathBuf>) -> Option<Trouble> {
    let mut worst = None;
    for folder in folders {
        let found = look(folder).await;
        if found.as_ref().is_some_and(|trouble| worst.is_none() || trouble.writes_fail) {
            worst = found;
        }
    }
    worst
}

async fn look(folder: PathBuf) -> Option<Trouble> {
    let shown = folder.display().to_string();
    let looked = tokio::task::spawn_blocking(move || statvfs(&folder));
    let found = tokio::time::timeout(PATIENCE, looked).await.ok()?.ok()?.ok()?;
    let free = found.f_bavail.saturating_mul(found.f_frsize);
    if found.f_flag.contains(StatVfsMountFlags::RDONLY) {
        return Some(Trouble { text: format!("the filesystem of {shown} is read-only"), writes_fail: true });
    }
    let text = || format!("the filesystem of {shown} has {} KiB left", free / 1024);
    (free < LEAST).then(|| Trouble { text: text(), writes_fail: free < NOTHING })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_or_read_only_disk_is_told_from_other_refusals() {
        assert!(is_full(1021, "Disk full (/tmp); waiting for someone to free some space..."));
        assert!(is_full(1114, "The table 'probe' is full"));
        assert!(is_full(1030, "Got error 28 \"No space left on device\" from storage engine InnoDB"));
        assert!(is_full(1026, "Error writing file './a' (Errcode: 30 \"Read-only file system\")"));
        assert!(!is_full(
            1290,
            "The server is running with the --read-only option so it cannot execute this statement"
        ));
        assert!(!is_full(1205, "Lock wait timeout exceeded; try restarting transaction"));
    }

    #[tokio::test]
    async fn a_folder_with_space_is_no_trouble_and_one_that_is_gone_tells_nothing() {
        assert_eq!(trouble(vec![std::env::temp_dir(), PathBuf::from("/nowhere")]).await, None);
    }
}
