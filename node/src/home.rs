//! Which memory a node starts with: its ledger's, or a new voter's where that is missing, damaged, or of another machine.

use std::fs;
use std::io;
use std::path::Path;

use anyhow::Context as _;
use tasuki_bus::boot;
use tasuki_node_core::Memory;
use tasuki_schemas::id::Incarnation;

use crate::ledger::{Ledger, LedgerError, Stored};

/// Opens the ledger of a state directory. One that cannot be read is moved aside: what it promised is lost, and the node
/// is a new voter.
///
/// # Errors
/// Whatever keeps the node from voting, with the fix.
pub fn open(state_dir: &Path) -> anyhow::Result<(Ledger, Memory)> {
    open_on(state_dir, machine())
}

fn open_on(state_dir: &Path, machine: Option<String>) -> anyhow::Result<(Ledger, Memory)> {
    let path = state_dir.join("ledger");
    let (mut ledger, stored, why) = match Ledger::open(&path) {
        Ok((ledger, stored)) => (ledger, stored, "its state directory held no ledger"),
        Err(LedgerError::Unreadable { path }) => {
            let aside = state_dir.join("ledger.unreadable");
            fs::rename(&path, &aside).with_context(|| format!("{} cannot be moved aside", path.display()))?;
            tracing::error!(moved_to = %aside.display(), "the ledger cannot be read; this node is a new voter");
            let (ledger, stored) = Ledger::open(&path)?;
            (ledger, stored, "its ledger could not be read")
        }
        Err(other) => return Err(other.into()),
    };
    let before = stored.as_ref().map_or(0, |stored| stored.sequence);
    let kept = match stored {
        Some(Stored { payload, .. }) => Some(serde_json::from_slice::<Memory>(&payload).with_context(|| {
            format!("{}: its payload is not understood; was it written by a newer version?", path.display())
        })?),
        None => None,
    };
    let memory = match kept {
        Some(memory) if memory.machine == machine || machine.is_none() => return Ok((ledger, memory)),
        // Written before machines were noted.
        Some(memory) if memory.machine.is_none() => Memory { machine, sequence: before + 1, ..memory },
        Some(memory) => {
            tracing::error!("the ledger was written on another machine; this node is a new voter");
            let anew = Some("its ledger was written on another machine".to_owned());
            let fresh = Memory::new(Incarnation(boot::random()?));
            Memory { machine, anew, promised: memory.promised, sequence: before + 1, ..fresh }
        }
        None => {
            let fresh = Memory::new(Incarnation(boot::random()?));
            Memory { machine, anew: Some(why.to_owned()), sequence: 1, ..fresh }
        }
    };
    ledger.write(memory.sequence, &serde_json::to_vec(&memory)?)?;
    Ok((ledger, memory))
}

/// The machine's id, if it has one: drawn when a system is installed, and again when it is cloned with care.
fn machine() -> Option<String> {
    let read = |path| match fs::read_to_string(path) {
        Ok(text) => Some(text.trim().to_owned()).filter(|text| !text.is_empty()),
        Err(error) => {
            if error.kind() != io::ErrorKind::NotFound {
                tracing::warn!(path, %error, "the machine's id cannot be read");
            }
            None
        }
    };
    read("/etc/machine-id")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(name: &str) -> std::path::PathBuf {
        let folder = std::env::temp_dir().join(format!("tasuki-home-{name}-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        folder
    }

    fn on(folder: &Path, machine: Option<&str>) -> Memory {
        open_on(folder, machine.map(str::to_owned)).unwrap().1
    }

    #[test]
    fn a_ledger_is_the_same_voter_on_its_own_machine_and_a_new_one_on_another() {
        let folder = folder("machine");
        let first = on(&folder, Some("a"));
        assert!(first.anew.is_some());
        assert_eq!(on(&folder, Some("a")), first);
        assert_eq!(on(&folder, None), first, "a machine without an id accuses nobody");
        let copied = on(&folder, Some("b"));
        assert!(copied.incarnation != first.incarnation && copied.sequence > first.sequence);
        assert!(copied.anew.as_ref().is_some_and(|why| why.contains("another machine")));
        assert_eq!(on(&folder, Some("b")), copied);
        fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn a_ledger_from_before_machines_were_noted_stays_a_voter() {
        let folder = folder("older");
        let older = on(&folder, None);
        let noted = on(&folder, Some("a"));
        assert_eq!((noted.incarnation, noted.machine.as_deref()), (older.incarnation, Some("a")));
        fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn an_unreadable_ledger_is_moved_aside() {
        let folder = folder("unreadable");
        let first = on(&folder, Some("a"));
        fs::write(folder.join("ledger"), [7; 1000]).unwrap();
        let second = on(&folder, Some("a"));
        assert!(second.incarnation != first.incarnation && folder.join("ledger.unreadable").exists());
        fs::remove_dir_all(folder).unwrap();
    }
}
