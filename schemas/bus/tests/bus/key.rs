//! Key files are readable by their owner alone, and never overwritten.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

use tasuki_bus::key::{self, KeyError};

fn folder(name: &str) -> PathBuf {
    let folder = std::env::temp_dir().join(format!("tasuki-key-{name}-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    folder
}

#[test]
fn a_new_key_is_read_back_and_never_overwritten() {
    let folder = folder("new");
    let path = folder.join("key.pem");
    let made = key::create(&path).unwrap();
    assert_eq!(key::load(&path).unwrap(), made);
    assert!(matches!(key::create(&path), Err(KeyError::Unwritable { .. })));
    let public = key::public_base64(&made.verifying_key());
    assert_eq!(key::parse_public(&public).unwrap(), made.verifying_key());
    std::fs::remove_dir_all(folder).unwrap();
}

#[test]
fn a_key_that_others_may_read_is_refused_with_the_fix() {
    let folder = folder("mode");
    let path = folder.join("key.pem");
    key::create(&path).unwrap();
    for (mode, accepted) in [(0o400, true), (0o600, true), (0o640, false), (0o604, false), (0o700, false)] {
        std::fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
        let loaded = key::load(&path);
        assert_eq!(loaded.is_ok(), accepted, "{mode:o}");
        if let Err(error) = loaded {
            assert!(error.to_string().contains("chmod 0600"), "{error}");
        }
    }
    std::fs::remove_dir_all(folder).unwrap();
}

#[test]
fn what_is_no_key_is_refused() {
    let folder = folder("bad");
    let path = folder.join("key.pem");
    assert!(matches!(key::load(&path), Err(KeyError::Unreadable { .. })));
    std::fs::write(&path, "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n").unwrap();
    std::fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
    assert!(matches!(key::load(&path), Err(KeyError::Malformed { .. })));
    for text in ["", "AAAA", "not base64 at all", &"A".repeat(43)] {
        assert!(key::parse_public(text).is_err(), "{text}");
    }
    std::fs::remove_dir_all(folder).unwrap();
}
