//! Relay files are kept before anything could delete them: they may be the last copy of what they hold.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

/// Keeps every relay file of a server in a new folder under `archive`: as hard links where both lie on one file system,
/// as copies otherwise. Returns the folder, or `None` if there are no relay files. Blocks.
///
/// # Errors
/// The system's, with the file in its text. The server must then not be told anything that deletes relay files.
pub(crate) fn keep(basename: &Path, archive: &Path) -> io::Result<Option<PathBuf>> {
    let named = |what: &Path, error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", what.display()));
    let (Some(folder), Some(prefix)) = (basename.parent(), basename.file_name().and_then(|name| name.to_str())) else {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "the server does not tell where its relay files are"));
    };
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).map_err(|error| named(folder, error))? {
        let path = entry.map_err(|error| named(folder, error))?.path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if name.strip_prefix(prefix).is_some_and(|rest| rest.starts_with('.')) {
            files.push(path);
        }
    }
    if files.is_empty() {
        return Ok(None);
    }
    let stamp = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis());
    let kept = archive.join(format!("relay-{stamp}"));
    fs::create_dir_all(&kept).map_err(|error| named(&kept, error))?;
    for file in files {
        let target = kept.join(file.file_name().unwrap_or_default());
        if fs::hard_link(&file, &target).is_err() {
            fs::copy(&file, &target).map_err(|error| named(&file, error))?;
            fs::File::open(&target).and_then(|copy| copy.sync_all()).map_err(|error| named(&target, error))?;
        }
    }
    fs::File::open(&kept).and_then(|folder| folder.sync_all()).map_err(|error| named(&kept, error))?;
    Ok(Some(kept))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn relay_files_are_kept_whole_and_nothing_else() {
        let folder = std::env::temp_dir().join(format!("tasuki-archive-{}", std::process::id()));
        fs::create_dir_all(folder.join("data")).unwrap();
        for (name, text) in [("relay.000001", "one"), ("relay.index", "index"), ("binlog.000001", "other")] {
            fs::write(folder.join("data").join(name), text).unwrap();
        }
        let kept = keep(&folder.join("data/relay"), &folder.join("archive")).unwrap().unwrap();
        fs::remove_file(folder.join("data/relay.000001")).unwrap();
        assert_eq!(fs::read_to_string(kept.join("relay.000001")).unwrap(), "one");
        assert!(!kept.join("binlog.000001").exists());
        assert_eq!(keep(&folder.join("data/none"), &folder.join("archive")).unwrap(), None);
        assert!(keep(&folder.join("nowhere/relay"), &folder.join("archive")).is_err());
        fs::remove_dir_all(folder).unwrap();
    }
}
