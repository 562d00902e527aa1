//! Sockets by which programs of one host ask each other.

use std::fs;
use std::io;
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};
use std::os::unix::net::UnixListener;
use std::path::Path;

/// Listens at a path with these permissions, for a runtime to take over. A socket that an earlier run left there goes; a
/// file of another kind is left, and is an error.
///
/// # Errors
/// The system's.
pub fn listen(path: &Path, mode: u32) -> io::Result<UnixListener> {
    if fs::symlink_metadata(path).is_ok_and(|found| found.file_type().is_socket()) {
        fs::remove_file(path)?;
    }
    let listener = UnixListener::bind(path)?;
    fs::set_permissions(path, fs::Permissions::from_mode(mode))?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_earlier_run_left_goes_and_a_file_stays() {
        let folder = std::env::temp_dir().join(format!("tasuki-local-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let path = folder.join("a.sock");
        drop(listen(&path, 0o600).unwrap());
        assert!(listen(&path, 0o600).is_ok());
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        fs::write(folder.join("file"), "kept").unwrap();
        assert!(listen(&folder.join("file"), 0o600).is_err());
        assert_eq!(fs::read_to_string(folder.join("file")).unwrap(), "kept");
        fs::remove_dir_all(&folder).unwrap();
    }
}
