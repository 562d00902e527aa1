//! Samples of wishes on their way between coordinators.

use tasuki_schemas::ballot::Epoch;
use tasuki_schemas::errand::{Errand, ErrandEnd, Reclone, Switchover, Wanted};
use tasuki_schemas::id::Nonce;
use tasuki_schemas::message::Message;

use crate::grounds::word;
use crate::samples::{ballot, node};

pub(crate) fn errands() -> Vec<(String, Message)> {
    let (by, reason) = (|| "ann".to_owned(), || "new kernel".to_owned());
    let wanted = [
        (
            "switchover",
            Wanted::Switchover(Switchover { to: Some(node("db2")), dry_run: false, by: by(), reason: reason() }),
        ),
        ("reclone", Wanted::Reclone(Reclone { node: node("db3"), dry_run: true, by: by(), reason: reason() })),
        ("override", Wanted::Override(word())),
        ("try_override", Wanted::TryOverride(word())),
    ];
    let errand = |(name, wanted): (&str, Wanted)| {
        (
            format!("errand_{name}"),
            Message::Errand(Box::new(Errand { id: Nonce(7), under: Some(Epoch(ballot(3))), wanted })),
        )
    };
    let end = ErrandEnd { id: Nonce(7), granted: true, lines: vec!["db2 took over from db1".to_owned()] };
    let end = ("errand_end".to_owned(), Message::ErrandEnd(Box::new(end)));
    wanted.into_iter().map(errand).chain([end]).collect()
}
