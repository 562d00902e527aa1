//! Samples of what a failover rests on where no quorum shows everything.

use tasuki_schemas::ballot::Epoch;
use tasuki_schemas::grounds::{Acceptance, FenceHow, Grounds, Missing, Override};
use tasuki_schemas::id::IncidentId;
use tasuki_schemas::past::{Cause, Past};
use tasuki_schemas::record::Record;

use crate::samples::{ballot, mariadb, node, record};

pub(crate) fn word() -> Override {
    Override {
        incident: IncidentId(0xab),
        fenced: Some(node("db1")),
        accept_loss: true,
        by: "ann".to_owned(),
        reason: "its plug is out".to_owned(),
    }
}

/// A record whose failover rested on fences, of each kind and with what may be lost.
pub(crate) fn with_grounds() -> Record {
    let ways = [
        FenceHow::ProcessExited,
        FenceHow::SelfFenced,
        FenceHow::LeaseExpired,
        FenceHow::SshKilled,
        FenceHow::ShutDown,
        FenceHow::Operator,
    ];
    let grounds = ways.into_iter().map(|how| {
        let said = how == FenceHow::Operator;
        let transactions = mariadb("0-1-102").subtract(&mariadb("0-1-100")).ok().filter(|_| !said);
        let unseen = said.then(|| node("db3")).into_iter().collect();
        let accepted_by = if said { Acceptance::Operator } else { Acceptance::Policy };
        let missing = Missing { accepted_by, unheard_ms: transactions.as_ref().map(|_| 950), transactions, unseen };
        Grounds { fenced: node("db1"), how, missing, word: said.then(word) }
    });
    let past = Past { epoch: Epoch(ballot(3)), old: node("db1"), cause: Cause::HostLost, grounds: grounds.collect() };
    Record { recent: vec![past], ..record() }
}
