//! What the demo is asked to do, by variables that make passes on.

use std::env;

use anyhow::{Result, bail};
use tasuki_schemas::gtid::Flavour;

/// The settings of a demo.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// `FLAVOUR`: mariadb (the default) or mysql.
    pub flavour: Flavour,
    /// `AUTO`: runs by itself, without a terminal.
    pub auto: bool,
    /// `RUNS`: how many failovers, when it runs by itself.
    pub runs: u32,
}

impl Settings {
    /// Reads the environment.
    ///
    /// # Errors
    /// Names the variable that is wrong, and what it may be.
    pub fn read() -> Result<Self> {
        let variable = |name: &str| env::var(name).unwrap_or_default();
        let flavour = match variable("FLAVOUR").as_str() {
            "" | "mariadb" => Flavour::Mariadb,
            "mysql" => Flavour::Mysql,
            other => bail!("FLAVOUR={other} is unknown: use mariadb or mysql"),
        };
        let auto = match variable("AUTO").as_str() {
            "" | "0" => false,
            "1" => true,
            other => bail!("AUTO={other} is unknown: use 1, or leave it out"),
        };
        let runs = match variable("RUNS").as_str() {
            "" => 1,
            text => match text.parse() {
                Ok(runs) if (1..=10_000).contains(&runs) => runs,
                _ => bail!("RUNS={text} is no number from 1 to 10000"),
            },
        };
        if runs > 1 && !auto {
            bail!("RUNS={runs} needs AUTO=1");
        }
        Ok(Self { flavour, auto, runs })
    }
}
