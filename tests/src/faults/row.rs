//! A row of the matrix: a fault, and what is expected of it. Written before it is run.

use std::pin::Pin;

use anyhow::Result;
use tasuki_schemas::gtid::Flavour;

use super::scene::Scene;
use crate::lab::Options;
use crate::lab::net::Kind;

/// What is done to a cluster. It marks the moment of the fault itself ([`Scene::strike`]) where something precedes it.
pub type Act = for<'a> fn(&'a mut Scene) -> Doing<'a>;

/// An act under way.
pub type Doing<'a> = Pin<Box<dyn Future<Output = Result<()>> + 'a>>;

/// What must come of a fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Another server is the primary. The gap is the longest time without an acknowledged write.
    FailsOver,
    /// The primary serves on, in the same epoch. The gap is as above.
    GoesOn,
    /// Nobody can write and nobody is promoted, which is told with these words. Healed, writing goes on by itself: the gap
    /// is from the end of healing to the first acknowledged write.
    Holds(&'static str),
    /// The same servers or others write again by themselves. The gap is from the fault's mark, which is when the last of
    /// the needed servers was up again.
    WritesAgain,
}

/// How long a gap may be, in milliseconds, by flavour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bound {
    /// Of five runs or more the middle one may be so long.
    pub median: Option<[u64; 2]>,
    /// Each may be so long.
    pub most: [u64; 2],
}

impl Bound {
    /// The figure of a flavour.
    #[must_use]
    pub const fn of([mariadb, mysql]: [u64; 2], flavour: Flavour) -> u64 {
        match flavour {
            Flavour::Mariadb => mariadb,
            Flavour::Mysql => mysql,
        }
    }
}

/// A fault and what is expected.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    /// Its name: `ROW=` picks by it.
    pub name: &'static str,
    /// Where it is run.
    pub kind: Kind,
    /// The fault.
    pub act: Act,
    /// What must come of it.
    pub outcome: Outcome,
    /// The diagnoses that must be told between the fault and the outcome.
    pub told: &'static [&'static str],
    /// Others of the grave ones that may be told beside them: seen on the way, or not, as the moment falls.
    pub may_tell: &'static [&'static str],
    /// How long the gap may be.
    pub bound: Bound,
    /// What the failover rests on.
    pub proof: &'static str,
    /// How the lab differs.
    pub options: fn() -> Options,
    /// One flavour alone.
    pub only: Option<Flavour>,
    /// The gap is that of writers on the primary's own host: others come through a proxy that the fault concerns.
    pub local: bool,
    /// The old primary may hold what was never acknowledged, and is then kept out and named.
    pub quarantines: bool,
    /// The new primary has a long tail to apply: the bound is on what the gap is besides.
    pub applies: bool,
    /// `make test` runs it as well.
    pub quick: bool,
}

/// Everything that a quorum of the write groups showed.
pub const SETS: &str = "sets";

impl Row {
    pub(super) const fn new(name: &'static str, kind: Kind, act: Act, outcome: Outcome, most: [u64; 2]) -> Self {
        Self {
            name,
            kind,
            act,
            outcome,
            told: &[],
            may_tell: &[],
            bound: Bound { median: None, most },
            proof: SETS,
            options: Options::default,
            only: None,
            local: false,
            quarantines: false,
            applies: false,
            quick: false,
        }
    }

    pub(super) const fn told(self, told: &'static [&'static str]) -> Self {
        Self { told, ..self }
    }

    pub(super) const fn may_tell(self, may_tell: &'static [&'static str]) -> Self {
        Self { may_tell, ..self }
    }

    pub(super) const fn median(self, median: [u64; 2]) -> Self {
        Self { bound: Bound { median: Some(median), ..self.bound }, ..self }
    }

    pub(super) const fn with(self, options: fn() -> Options) -> Self {
        Self { options, ..self }
    }

    pub(super) const fn only(self, flavour: Flavour) -> Self {
        Self { only: Some(flavour), ..self }
    }

    pub(super) const fn local(self) -> Self {
        Self { local: true, ..self }
    }

    pub(super) const fn quarantines(self) -> Self {
        Self { quarantines: true, ..self }
    }

    pub(super) const fn applies(self) -> Self {
        Self { applies: true, ..self }
    }

    pub(super) const fn quick(self) -> Self {
        Self { quick: true, ..self }
    }

    /// Whether the row is run with a flavour.
    #[must_use]
    pub fn speaks(&self, flavour: Flavour) -> bool {
        self.only.is_none_or(|only| only == flavour)
    }
}
