//! The directories of a re-clone. The copy is made in a directory beside the server's own. When it is whole the two change
//! places, in one step where the file system can, and the old one is put aside under a name of its own. Each step can be
//! repeated: what was done is seen in the directories themselves, since a copy carries a mark.

use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, RenameFlags, renameat_with};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

/// The file that tells a copy from what was there before.
const MARK: &str = "tasuki-copy";

/// Where everything is. All lie in the same directory, and so on one file system.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Places {
    /// The server's data directory.
    pub(super) data: PathBuf,
    /// A directory for the copy alone, of the server's account: MySQL makes the copy's directory itself.
    pub(super) workshop: PathBuf,
    /// The copy.
    pub(super) fresh: PathBuf,
    /// Where the data from before is kept.
    pub(super) aside: PathBuf,
}

impl Places {
    /// Beside a data directory; `stamp` makes the old one's name its own.
    ///
    /// # Errors
    /// Why nothing can change places there, with the fix.
    pub(super) fn beside(datadir: &Path, stamp: u64) -> Result<Self, String> {
        use std::os::unix::fs::MetadataExt as _;
        let named = |path: &Path, error: io::Error| format!("{}: {error}", path.display());
        let data = fs::canonicalize(datadir).map_err(|error| named(datadir, error))?;
        let parent = data.parent().ok_or("its data directory is the root")?;
        let device = |path: &Path| fs::metadata(path).map(|found| found.dev()).map_err(|error| named(path, error));
        if device(&data)? != device(parent)? {
            return Err(format!(
                "its data directory {} is a file system of its own, beside which nothing can change places with it; let the data lie one directory below",
                data.display()
            ));
        }
        let beside = |what: String| {
            let mut name = data.clone().into_os_string();
            name.push(what);
            PathBuf::from(name)
        };
        let workshop = beside(".reclone".to_owned());
        let (fresh, aside) = (workshop.join("data"), beside(format!(".before-reclone-{stamp}")));
        Ok(Self { workshop, fresh, aside, data })
    }

    /// An empty workshop, with the owner of the data directory.
    pub(super) fn prepare(&self) -> io::Result<()> {
        self.clear()?;
        // A mark that an earlier re-clone could not remove would tell the old data from the new one no more.
        remove_if_there(&self.data.join(MARK))?;
        fs::create_dir(&self.workshop)?;
        own_as(&self.data, &self.workshop)
    }

    /// Removes a copy that is of no use. What was there before is never in the workshop, but for the moment in which it is
    /// on its way aside: then nothing is removed.
    pub(super) fn clear(&self) -> io::Result<()> {
        if is_copy(&self.data) && self.fresh.exists() && !is_copy(&self.fresh) {
            return Err(io::Error::new(ErrorKind::AlreadyExists, "the old data was not put aside yet"));
        }
        match fs::remove_dir_all(&self.workshop) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
            Ok(()) | Err(_) => Ok(()),
        }
    }

    /// The copy is whole: it gets its mark, and the owner and rights of the directory whose place it takes.
    pub(super) fn complete(&self) -> io::Result<()> {
        own_all_as(&self.data, &self.fresh)?;
        fs::set_permissions(&self.fresh, fs::metadata(&self.data)?.permissions())?;
        let mark = self.fresh.join(MARK);
        File::create(&mark)?.sync_all()?;
        own_as(&self.data, &mark)?;
        File::open(&self.fresh)?.sync_all()
    }

    /// Whether the copy has taken the server's place, or is in the midst of that.
    pub(super) fn have_changed(&self) -> bool {
        is_copy(&self.data) || !self.data.exists()
    }

    /// Lets the two change places, and puts the old one aside. The server must not run.
    pub(super) fn change(&self) -> io::Result<()> {
        if !is_copy(&self.data) {
            if !is_copy(&self.fresh) {
                return Err(io::Error::new(ErrorKind::NotFound, "there is no whole copy"));
            }
            trade(&self.data, &self.fresh, &self.aside)?;
        }
        if self.fresh.exists() {
            fs::rename(&self.fresh, &self.aside)?;
        }
        self.sync()
    }

    /// The same backwards: the server gets its own data again, and the copy is removed. The server must not run.
    pub(super) fn change_back(&self) -> io::Result<()> {
        if self.have_changed() {
            let old = if self.aside.exists() { &self.aside } else { &self.fresh };
            if is_copy(old) || !old.exists() {
                return Err(io::Error::new(ErrorKind::NotFound, format!("the old data is not in {}", old.display())));
            }
            if self.data.exists() {
                let discarded = self.workshop.join("discarded");
                fs::create_dir_all(&self.workshop)?;
                trade(&self.data, old, &discarded)?;
                if is_copy(old) {
                    fs::rename(old, &discarded)?;
                }
            } else {
                fs::rename(old, &self.data)?;
            }
            self.sync()?;
        }
        self.clear()
    }

    /// The server runs on the copy: nothing is left to be told apart.
    pub(super) fn settle(&self) -> io::Result<()> {
        remove_if_there(&self.data.join(MARK))?;
        self.clear()
    }

    fn sync(&self) -> io::Result<()> {
        self.data.parent().map_or(Ok(()), |parent| File::open(parent)?.sync_all())
    }
}

fn is_copy(folder: &Path) -> bool {
    folder.join(MARK).exists()
}

/// What is in `here` and `there` changes places at once. A file system that cannot do that does it in two steps, by way of
/// a third name: then what was `here` is in `third`.
fn trade(here: &Path, there: &Path, third: &Path) -> io::Result<()> {
    if here.exists() {
        match renameat_with(CWD, here, CWD, there, RenameFlags::EXCHANGE) {
            Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => fs::rename(here, third)?,
            other => return Ok(other?),
        }
    }
    fs::rename(there, here)
}

fn remove_if_there(file: &Path) -> io::Result<()> {
    match fs::remove_file(file) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
        Ok(()) | Err(_) => Ok(()),
    }
}

fn own_as(model: &Path, path: &Path) -> io::Result<()> {
    use std::os::unix::fs::MetadataExt as _;
    let (wanted, found) = (fs::metadata(model)?, fs::symlink_metadata(path)?);
    if (wanted.uid(), wanted.gid()) == (found.uid(), found.gid()) {
        return Ok(());
    }
    std::os::unix::fs::lchown(path, Some(wanted.uid()), Some(wanted.gid()))
}

fn own_all_as(model: &Path, root: &Path) -> io::Result<()> {
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        own_as(model, &folder)?;
        for entry in fs::read_dir(&folder)? {
            let entry = entry?;
            if entry.file_type()?.is_dir() {
                folders.push(entry.path());
            } else {
                own_as(model, &entry.path())?;
            }
        }
    }
    Ok(())
}

#[cfg(test)]
#[path = "places_tests.rs"]
mod tests;
