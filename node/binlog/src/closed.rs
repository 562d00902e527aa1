//! Whether a server that is gone was stopped or crashed: its last binlog file says so.

use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::mpsc::sync_channel;
use std::time::Duration;

use super::event::{HEADER, is_in_use, kind};
use super::history::files;

const MAGIC: &[u8; 4] = b"\xfebin";
/// The two short reads take microseconds from the page cache. A disk that keeps them longer must not hold up the news of
/// the server's end.
const PATIENCE: Duration = Duration::from_millis(20);

/// True if the newest file of the binlog was closed, which a server does as the last of its clean stop; false if it was
/// not, or if that cannot be read in time.
#[must_use]
pub fn was_closed(index: &Path) -> bool {
    let (tell, told) = sync_channel(1);
    let index: PathBuf = index.to_owned();
    let reading = std::thread::Builder::new().name("binlog-end".to_owned()).spawn(move || {
        // Nobody listens any more if it took too long.
        let _ = tell.send(read(&index) == Some(true));
    });
    reading.is_ok() && told.recv_timeout(PATIENCE).unwrap_or(false)
}

fn read(index: &Path) -> Option<bool> {
    let newest = files(index).ok()?.pop()?;
    let mut head = [0; MAGIC.len() + HEADER];
    File::open(newest).ok()?.read_exact(&mut head).ok()?;
    let (magic, format) = head.split_first_chunk()?;
    (magic == MAGIC && format.get(4) == Some(&kind::FORMAT_DESCRIPTION)).then(|| !is_in_use(format))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn closed(name: &str, head: &[u8]) -> bool {
        let folder = std::env::temp_dir().join(format!("tasuki-closed-{name}-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("bin.000002"), head).unwrap();
        fs::write(folder.join("bin.index"), "./bin.000001\n./bin.000002\n").unwrap();
        let closed = was_closed(&folder.join("bin.index"));
        fs::remove_dir_all(&folder).unwrap();
        closed
    }

    fn head(kind: u8, flags: u8) -> Vec<u8> {
        let mut head = b"\xfebin".to_vec();
        head.extend([0, 0, 0, 0, kind, 1, 0, 0, 0, 100, 0, 0, 0, 104, 0, 0, 0, flags, 0]);
        head
    }

    #[test]
    fn the_flag_of_the_newest_file_tells_and_nothing_else() {
        assert!(closed("clean", &head(15, 0)));
        assert!(!closed("in-use", &head(15, 1)));
        assert!(!closed("other-event", &head(2, 0)));
        assert!(!closed("short", &head(15, 0)[..20]));
        assert!(!closed("empty", b""));
        assert!(!was_closed(Path::new("/nowhere/bin.index")));
    }
}
