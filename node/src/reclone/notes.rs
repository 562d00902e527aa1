//! What a re-clone's node must know after a crash of its own: a small file in its state directory.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use tasuki_bus::clock;
use tasuki_schemas::id::NodeId;
use tasuki_schemas::reclone::{RecloneStage, Recloning};

use super::copy::Behind;
use super::places::Places;

/// Where the notes are.
pub(super) struct Notes(PathBuf);

/// How far it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "phase", rename_all = "snake_case")]
pub(super) enum Phase {
    /// Only the workshop has anything of it.
    Copying,
    /// The directories change places, or have: they themselves tell.
    Exchanging {
        /// Where MariaDB's copy goes on: state and position.
        behind: Option<(String, String)>,
        /// MySQL's former name.
        uuid: Option<String>,
    },
    /// The server runs on the copy.
    Done,
    /// It runs on its own data.
    Failed {
        /// Why.
        reason: String,
    },
}

/// What is noted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Note {
    pub(super) donor: NodeId,
    pub(super) places: Places,
    /// Milliseconds since 1970, for people: how long ago it ended is read from that after a restart.
    at_ms: u64,
    #[serde(flatten)]
    pub(super) phase: Phase,
}

impl Phase {
    pub(super) fn exchanging(behind: Option<&Behind>, uuid: Option<&String>) -> Self {
        let behind = behind.map(|behind| (behind.state.clone(), behind.position.clone()));
        Self::Exchanging { behind, uuid: uuid.cloned() }
    }
}

impl Note {
    pub(super) fn new(places: &Places, donor: &NodeId, phase: Phase) -> Self {
        Self { donor: donor.clone(), places: places.clone(), at_ms: clock::wall_ms(), phase }
    }

    /// What is told of one that has ended.
    pub(super) fn told(&self) -> Option<Recloning> {
        let ago_ms = clock::wall_ms().saturating_sub(self.at_ms);
        let stage = match &self.phase {
            Phase::Copying | Phase::Exchanging { .. } => return None,
            Phase::Done => RecloneStage::Done { aside: self.places.aside.display().to_string(), ago_ms },
            Phase::Failed { reason } => RecloneStage::Failed { reason: reason.clone(), ago_ms },
        };
        Some(Recloning { donor: self.donor.clone(), stage })
    }
}

impl Notes {
    pub(super) fn new(state_dir: &Path) -> Self {
        Self(state_dir.join("reclone.json"))
    }

    /// Durable when this returns.
    pub(super) fn write(&self, note: &Note) -> Result<(), String> {
        let written = || -> io::Result<()> {
            let partial = self.0.with_extension("partial");
            let mut file = File::create(&partial)?;
            file.write_all(&serde_json::to_vec(note)?)?;
            file.sync_all()?;
            fs::rename(&partial, &self.0)?;
            self.0.parent().map_or(Ok(()), |folder| File::open(folder)?.sync_all())
        };
        written().map_err(|error| format!("{}: {error}", self.0.display()))
    }

    pub(super) fn read(&self) -> Result<Option<Note>, String> {
        match fs::read(&self.0) {
            Ok(bytes) => serde_json::from_slice(&bytes).map(Some).map_err(|error| error.to_string()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error.to_string()),
        }
        .map_err(|error| format!("{}: {error}", self.0.display()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_noted_is_read_by_the_next_run() {
        let folder = std::env::temp_dir().join(format!("tasuki-notes-{}", std::process::id()));
        fs::create_dir_all(folder.join("mysql")).unwrap();
        let (notes, donor) = (Notes::new(&folder), "db2".parse().unwrap());
        assert_eq!(notes.read(), Ok(None));
        let places = Places::beside(&folder.join("mysql"), 7).unwrap();
        let behind = Behind { state: "0-1-4,0-2-9".to_owned(), position: "0-2-9".to_owned() };
        for phase in [Phase::Copying, Phase::exchanging(Some(&behind), None), Phase::Done] {
            let note = Note::new(&places, &donor, phase);
            notes.write(&note).unwrap();
            assert_eq!(notes.read(), Ok(Some(note)));
        }
        let told = notes.read().unwrap().unwrap().told().unwrap();
        assert!(matches!(told.stage, RecloneStage::Done { aside, .. } if aside.ends_with("mysql.before-reclone-7")));
        fs::write(folder.join("reclone.json"), "{").unwrap();
        assert!(notes.read().unwrap_err().contains("reclone.json"));
        fs::remove_dir_all(folder).unwrap();
    }
}
