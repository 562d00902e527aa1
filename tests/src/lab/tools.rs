//! Where the programs are. Each absence names the make target that mends it.

use std::env;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use tasuki_schemas::gtid::Flavour;

/// Folders that hold servers, but are missing in the PATH of ordinary users.
const FURTHER_FOLDERS: [&str; 4] = ["/usr/local/sbin", "/usr/sbin", "/sbin", "/usr/bin"];

/// The folder of what is fetched and built once per machine: the unpacked MySQL, the servers' templates.
///
/// # Errors
/// When neither `TASUKI_CACHE`, `XDG_CACHE_HOME` nor `HOME` is set.
pub fn cache() -> Result<PathBuf> {
    let set = |name: &str| env::var_os(name).filter(|text| !text.is_empty());
    if let Some(cache) = set("TASUKI_CACHE") {
        return Ok(cache.into());
    }
    if let Some(cache) = set("XDG_CACHE_HOME") {
        return Ok(Path::new(&cache).join("tasuki"));
    }
    let home = set("HOME").context("HOME is not set: set TASUKI_CACHE to a folder for downloads")?;
    Ok(Path::new(&home).join(".cache/tasuki"))
}

/// The path of an installed program.
///
/// # Errors
/// When it is not installed.
pub fn program(name: &str) -> Result<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let unpacked = cache()?.join("tools/usr/sbin");
    env::split_paths(&path)
        .chain(FURTHER_FOLDERS.iter().map(PathBuf::from))
        .chain([unpacked])
        .map(|folder| folder.join(name))
        .find(|file| file.is_file())
        .with_context(|| format!("{name} is not installed: run `make tools`"))
}

/// A program of this workspace, built beside the running one.
///
/// # Errors
/// When it is not built.
pub fn built(name: &str) -> Result<PathBuf> {
    let own = env::current_exe().context("the path of this program is unknown")?;
    own.ancestors()
        .skip(1)
        .take(3)
        .map(|folder| folder.join(name))
        .find(|file| file.is_file())
        .with_context(|| format!("{name} is not built beside {}: run `make build`", own.display()))
}

/// A database server's program and its own files.
#[derive(Clone, Debug)]
pub struct Daemon {
    /// MariaDB or MySQL.
    pub flavour: Flavour,
    /// The server.
    pub path: PathBuf,
    /// MySQL: the root of its tree; MariaDB finds its own.
    pub basedir: Option<PathBuf>,
}

impl Daemon {
    /// The installed MariaDB; the MySQL of `MYSQL_BASEDIR`, or else the one in the cache.
    ///
    /// # Errors
    /// When there is none.
    pub fn find(flavour: Flavour) -> Result<Self> {
        match flavour {
            Flavour::Mariadb => Ok(Self { flavour, path: program("mariadbd")?, basedir: None }),
            Flavour::Mysql => Self::find_mysql(),
        }
    }

    fn find_mysql() -> Result<Self> {
        let basedir = match env::var_os("MYSQL_BASEDIR").filter(|text| !text.is_empty()) {
            Some(basedir) => PathBuf::from(basedir),
            None => cache()?.join("mysql/usr"),
        };
        for folder in ["bin", "sbin"] {
            let path = basedir.join(folder).join("mysqld");
            if path.is_file() {
                return Ok(Self { flavour: Flavour::Mysql, path, basedir: Some(basedir) });
            }
        }
        bail!("there is no mysqld in {}: run `make tools`, or set MYSQL_BASEDIR", basedir.display())
    }

    /// The options that name the tree of a MySQL that lives outside the system's folders.
    #[must_use]
    pub fn tree_options(&self) -> Vec<String> {
        let Some(basedir) = &self.basedir else { return Vec::new() };
        let first = |candidates: [&str; 2]| {
            let [preferred, other] = candidates.map(|candidate| basedir.join(candidate));
            if preferred.exists() { preferred } else { other }
        };
        let share = first(["share/mysql", "share"]);
        vec![
            format!("--basedir={}", basedir.display()),
            format!("--lc-messages-dir={}", share.display()),
            format!("--character-sets-dir={}", share.join("charsets").display()),
            format!("--plugin-dir={}", first(["lib/mysql/plugin", "lib/plugin"]).display()),
        ]
    }
}

/// True for root: only then are there namespaces and kernel rules.
#[must_use]
pub fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}
