//! What can happen in a story.

use tasuki_schemas::ballot::Ballot;
use tasuki_schemas::gtid::Flavour;
use tasuki_schemas::id::{BootId, Incarnation, NodeId};
use tasuki_schemas::observation::{CutStrength, Leaving};
use tasuki_schemas::reclone::RecloneStage;

use crate::puppet::Puppet;
use crate::script::{Story, set};
use crate::server::{Life, Writes};

impl Story {
    /// Carries out one line after its time.
    pub(crate) fn act(&mut self, act: &str, now_ms: u64) {
        let words: Vec<&str> = act.split_whitespace().collect();
        if words[0] == "co1" {
            return self.operate(&words[1..], now_ms);
        }
        if words[0].starts_with("co") {
            self.act_of_coordinator(words[0], &words[1..]);
            return;
        }
        let name: NodeId = words[0].parse().unwrap();
        if self.hands.read(&name, &words[1..]) {
            return;
        }
        if !self.act_of_node(&name, &words[1..]) {
            self.act_of_server(words[0], &words[1..], now_ms);
        }
        self.changed.insert(name);
    }

    fn puppet(&mut self, name: &NodeId) -> &mut Puppet {
        self.puppets.get_mut(name).unwrap()
    }

    /// The other coordinator.
    fn act_of_coordinator(&mut self, name: &str, words: &[&str]) {
        let ballot = |counter: &str| Ballot {
            counter: counter.parse().unwrap(),
            coordinator: name.parse().unwrap(),
            boot: BootId(5),
        };
        match words {
            ["lives"] => self.other = Some((name.parse().unwrap(), None)),
            ["leads", "at", counter] => {
                self.other = Some((name.parse().unwrap(), Some(ballot(counter))));
                for puppet in self.puppets.values_mut() {
                    puppet.promised = Some(ballot(counter));
                    let record = puppet.accepted.as_ref().unwrap().record.clone();
                    puppet.accept(&ballot(counter), &record);
                }
            }
            ["is", "silent"] => self.other = None,
            ["prepares", "a", "failover", "at", counter, "on", nodes @ ..] => {
                for node in nodes {
                    let puppet = self.puppet(&node.parse().unwrap());
                    puppet.promised = Some(ballot(counter));
                    puppet.duty(&ballot(counter));
                    self.changed.insert(node.parse().unwrap());
                }
            }
            other => panic!("no coordinator does so: {other:?}"),
        }
    }

    /// True if it was an act of the node.
    fn act_of_node(&mut self, name: &NodeId, words: &[&str]) -> bool {
        let puppet = self.puppet(name);
        match words {
            ["host", "is", "lost"] => (puppet.reachable, puppet.walled_off) = (false, true),
            ["host", "is", "back"] => (puppet.reachable, puppet.walled_off) = (true, false),
            ["node", "is", "silent"] => puppet.reachable = false,
            ["node", "is", "back"] => puppet.reachable = true,
            ["is", "walled", "off"] => puppet.walled_off = true,
            ["is", "within", "reach"] => puppet.walled_off = false,
            ["is", "greeted"] => puppet.primary_greets = true,
            ["is", "not", "greeted"] => puppet.primary_greets = false,
            ["contradicts"] => puppet.contradicts = true,
            ["greets", "everybody"] => self.puppets.values_mut().for_each(|puppet| puppet.primary_greets = true),
            ["fails", "its", "duty:", reason @ ..] => puppet.idle = Some(reason.join(" ")),
            ["fails", order, reason @ ..] => {
                puppet.failing.insert(order.trim_end_matches(':').to_owned(), reason.join(" "));
            }
            ["succeeds", "with", order] => drop(puppet.failing.remove(*order)),
            ["has", left, "left", "to", "apply"] => puppet.left = left.parse().unwrap(),
            ["has", "applied", "everything"] => puppet.left = 0,
            ["granted", "a", "lease", "of", ms] => puppet.lease_rest_ms = ms.parse().unwrap(),
            ["has", "a", "new", "ledger"] => {
                let why = "its state directory held no ledger".to_owned();
                (puppet.incarnation, puppet.accepted, puppet.anew) = (Incarnation(99), None, Some(why));
                puppet.answers.clear();
            }
            ["ledger", "goes", "back"] => puppet.sequence -= 2,
            _ => return false,
        }
        true
    }

    fn act_of_server(&mut self, name: &str, words: &[&str], now_ms: u64) {
        let server = self.server(name);
        match words {
            ["exits"] => server.life = Life::Gone { clean: false },
            ["loses", "its", "socket", "file"] => server.life = Life::Unfindable,
            ["closes", "its", "port"] => server.life = Life::Stopping,
            ["closes", "its", "port", "and", "keeps", "its", "replicas"] => server.life = Life::Lingers,
            ["is", "about", "to", "be", "stopped"] => server.leaving = Some(Leaving::HandsOver),
            ["is", "closed", "to", "be", "stopped"] => {
                (server.leaving, server.writable) = (Some(Leaving::Stops), false);
            }
            ["is", "stopped"] => server.life = Life::Gone { clean: true },
            ["returns", "closed"] => {
                server.leaving = None;
                (server.life, server.writes) = (Life::Runs, Writes::End);
                (server.writable, server.follows, server.semi_sync) = (false, None, false);
            }
            ["returns", "writable"] => {
                (server.life, server.writable, server.follows, server.semi_sync) = (Life::Runs, true, None, false);
            }
            ["is", "frozen"] => server.life = Life::Frozen { since_ms: now_ms },
            ["thaws" | "answers"] => (server.life, server.writes) = (Life::Runs, Writes::End),
            ["refuses", code, text @ ..] => {
                server.life = Life::Refuses { code: code.parse().unwrap(), text: text.join(" ") };
            }
            ["writes", "hang"] => server.writes = Writes::Hang { since_ms: now_ms },
            ["writes", "take", ms] => server.writes = Writes::Take { ms: ms.parse().unwrap() },
            ["writes", "end"] => (server.writes, server.disk) = (Writes::End, None),
            ["writes", "find", "no", "space"] => {
                (server.writes, server.disk) = (Writes::FindNoSpace, Some("The table 'probe' is full".to_owned()));
            }
            ["disk", "is", "full"] => server.disk = Some("the filesystem of /data has 0 KiB left".to_owned()),
            ["hears", "nothing"] => server.deaf = true,
            ["hears", "again"] => server.deaf = false,
            ["applier", "stops" | "stops:", error @ ..] => server.applier_error = Some(error.join(" ")),
            ["receiver", "stops:", error @ ..] => server.receiver_error = Some(error.join(" ")),
            ["receiver", "stops"] => server.receives = false,
            ["is", "writable"] => server.writable = true,
            ["is", "closed", "by", "its", "node"] => server.writable = false,
            ["waits", "with", commits, "commits"] => server.waiting = commits.parse().unwrap(),
            ["filters"] => server.filtered = true,
            ["lacks", setting] => server.lacks.push((*setting).to_owned()),
            ["follows", whom] => server.follows = (*whom != "nobody").then(|| whom.parse().unwrap()),
            ["forgets", "what", "it", "received"] => server.forgot_received = true,
            ["gate", "shows", found] => server.gate = Some((*found).to_owned()),
            ["is", "unsupported:", reason @ ..] => server.unsupported = Some(reason.join(" ")),
            ["is", "supported"] => server.unsupported = None,
            ["cuts", "off:", stranger @ ..] => server.strangers = vec![stranger.join(" ")],
            ["has", "no", "kernel", "rules"] => server.cut = CutStrength::Server,
            ["is", "mysql"] => server.flavour = Flavour::Mysql,
            ["has", "the", "server_id", id] => server.id = id.parse().unwrap(),
            ["has", "copied", megabytes] => {
                let bytes = megabytes.parse::<u64>().unwrap() << 20;
                server.copy_is(RecloneStage::Copying { bytes, expected: 9 << 20 });
            }
            ["has", "the", "whole", "copy"] => server.copy_is(RecloneStage::Copied),
            ["loses", "its", "copy:", reason @ ..] => {
                server.copy_is(RecloneStage::Failed { reason: reason.join(" "), ago_ms: 0 });
            }
            ["returns", "on", "the", "copy"] => {
                let aside = "/data.before-reclone-1".to_owned();
                server.copy_is(RecloneStage::Done { aside, ago_ms: 0 });
                (server.life, server.applier_error, server.receiver_error) = (Life::Runs, None, None);
                (server.writable, server.follows, server.semi_sync) = (false, None, false);
            }
            ["holds", sets] => {
                let (executed, received) = sets.split_once('/').unwrap_or((sets, sets));
                (server.executed, server.received) = (set(executed), set(received));
            }
            other => panic!("no such act: {other:?}"),
        }
    }
}
