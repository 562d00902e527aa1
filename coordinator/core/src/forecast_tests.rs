//! A forecast without blockers is one whose proof could be made, for every group, k and set of servers that answer.

use tasuki_schemas::lease::LeaseTerms;

use super::*;
use crate::fence::Fences;
use crate::fixtures::{NOW, node, promises, record, settings, view};
use crate::proof::Proof;

#[test]
fn nothing_blocks_exactly_when_the_proof_could_be_made_and_somebody_could_win() {
    let (mut free, mut blocked) = (0, 0);
    for servers in 2..=5_usize {
        let settings = settings(servers);
        for acks in 0..u32::try_from(servers).unwrap() {
            let record = record(&settings, acks);
            for replicas in 0..(1_usize << (servers - 1)) {
                let up = |number: &usize| *number == 0 || replicas & (1 << (number - 1)) != 0;
                let mut up: BTreeSet<NodeId> = (0..servers).filter(up).map(node).collect();
                up.insert("w1".parse().unwrap());
                let forecast = forecast(&settings, &view(&settings, &up), &record, &Standing::default(), NOW);
                for (outlook, with_primary) in [(&forecast.crash, true), (&forecast.host_loss, false)] {
                    let answering = up.iter().filter(|name| with_primary || **name != node(0)).cloned().collect();
                    let proved = {
                        let promises = promises(&settings, &record, &answering);
                        let fences = Fences::new(promises.ballot().clone());
                        Proof::from(&promises, &fences, &settings.policy, NOW).is_ok()
                    };
                    let expected = proved && replicas != 0;
                    let case = format!("{servers} servers, k = {acks}, up {up:?}: {outlook:?}");
                    assert_eq!(outlook.blockers.is_empty(), expected, "{case}");
                    assert_eq!(outlook.expected_ms.is_some(), expected, "{case}");
                    if expected { free += 1 } else { blocked += 1 }
                }
            }
        }
    }
    assert!(free > 50 && blocked > 50, "{free} free, {blocked} blocked");
}

#[test]
fn a_cluster_is_leased_only_with_a_lease_and_lossless_only_with_acknowledgements() {
    let mut settings = settings(3);
    let up: BTreeSet<NodeId> = settings.nodes().cloned().collect();
    let view = view(&settings, &up);
    let promised = |settings: &Settings, acks| {
        let made = forecast(settings, &view, &record(settings, acks), &Standing::default(), NOW);
        (made.guarantee, made.crash.loss, made.host_loss.loss, made.host_loss.blockers.is_empty())
    };
    assert_eq!(promised(&settings, 1), (Guarantee::Lossless, Loss::Nothing, Loss::Nothing, true));
    assert_eq!(promised(&settings, 0), (Guarantee::Manual, Loss::Nothing, Loss::LastMoments, false));
    settings.policy.lease = LeaseTerms::new(Duration::from_secs(3), Duration::from_millis(200)).ok();
    assert_eq!(promised(&settings, 0), (Guarantee::Leased, Loss::Nothing, Loss::LastMoments, true));
}
