//! The one loop of a node: one owner, one clock; whatever is slow comes back as an input.

use std::collections::BTreeMap;
use std::sync::Arc;

use tasuki_bus::{Arrived, Bus, boot, clock};
use tasuki_node_core::{EffectId, Guarding, Input, Memory, Node, Output};
use tasuki_schemas::ballot::Ballot;
use tasuki_schemas::channel::Channel;
use tasuki_schemas::command::{Fetch, Piece};
use tasuki_schemas::id::{CoordinatorId, Incarnation, NodeId};
use tasuki_schemas::message::Message;
use tasuki_schemas::observation::Observation;
use tokio::sync::mpsc::{Receiver, Sender};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::binlog::deliver;
use crate::execute::{Hands, execute};
use crate::health::Shown;
use crate::leave::Told;
use crate::probe::lock;
use crate::serving::Serving;

/// What the driver owns.
pub struct Driver {
    /// The decisions.
    pub core: Node,
    /// Both carriers.
    pub bus: Bus,
    /// What acts on the server; `None` on a witness.
    pub hands: Option<Arc<Hands>>,
    /// The ledger's own thread.
    pub ledger: std::sync::mpsc::SyncSender<Memory>,
    /// What the health port shows.
    pub shown: watch::Sender<Shown>,
    /// Follows the core's word on serving: VIP and write probe.
    pub serving: watch::Sender<Serving>,
    /// Where what runs aside comes back.
    pub inputs: Sender<Input>,
    /// Writes a rescued tail's pieces; `None` on a witness.
    pub spool: Option<std::sync::mpsc::SyncSender<(Ballot, Piece)>>,
    /// Asks the prober for a position.
    pub positions: Option<Sender<()>>,
    /// Asks the prober for a round at once.
    pub rounds: Option<Sender<()>>,
    /// Tells whoever wants to stop the server whether it may.
    pub may_stop: Sender<Told>,
    /// What the guard is to hold; `None` where the cluster has no lease.
    pub guard: Option<Sender<Option<Guarding>>>,
}

impl Driver {
    /// Runs until the bus or the inputs end.
    pub async fn run(mut self, mut arrived: Receiver<Arrived>, mut inputs: Receiver<Input>) {
        let mut running: BTreeMap<EffectId, CancellationToken> = BTreeMap::new();
        let mut armed = false;
        loop {
            let now = clock::now();
            let patience = self.core.next_wake(now).since(now);
            let input = tokio::select! {
                biased;
                next = inputs.recv() => match next {
                    Some(next) => next,
                    None => return,
                },
                next = arrived.recv() => match next.map(input) {
                    Some(Some(next)) => next,
                    Some(None) => continue,
                    None => return,
                },
                () = tokio::time::sleep(patience) => Input::Woke,
            };
            if let Input::Ended(id, _) = &input {
                running.remove(id);
                self.ask_round();
            }
            for output in self.core.handle(input, clock::now()) {
                self.perform(output, &mut running);
            }
            if self.core.is_armed() != armed {
                armed = !armed;
                if let Some(hands) = self.hands.as_ref().filter(|_| armed) {
                    tokio::spawn(lay_rules(Arc::clone(hands)));
                }
            }
        }
    }

    fn perform(&mut self, output: Output, running: &mut BTreeMap<EffectId, CancellationToken>) {
        match output {
            Output::Publish(observation) => self.publish(*observation),
            Output::PublishPosition(position) => {
                self.shown.send_modify(|shown| shown.position = Some((*position).clone()));
                said(self.bus.publish(&Channel::Position, &Message::Position(position)));
            }
            Output::ReadPosition => {
                if let Some(positions) = &self.positions {
                    // A full queue means that one is being read already.
                    let _ = positions.try_send(());
                }
            }
            Output::Persist(memory) => {
                if self.ledger.send(*memory).is_err() {
                    tracing::error!("the ledger's thread ended; this node stops, since it can promise nothing");
                    std::process::exit(1);
                }
            }
            Output::Draw => self.draw(),
            Output::Execute(id, effect) => {
                let Some(hands) = &self.hands else { return self.look_as_witness(id, effect) };
                let cancel = CancellationToken::new();
                running.insert(id, cancel.clone());
                tokio::spawn(execute(Arc::clone(hands), id, effect, cancel));
            }
            Output::Cancel(id) => {
                if let Some(cancel) = running.get(&id) {
                    cancel.cancel();
                }
            }
            Output::Deliver { to, fetch } => self.deliver(to, fetch),
            Output::Spool { ballot, piece } => {
                if let Some(spool) = &self.spool {
                    // More than can be under way fits: a full queue means that the disk stands still, which is waited for.
                    let _ = spool.try_send((ballot, piece));
                }
            }
            Output::AbandonReclone => {
                if let Some(hands) = &self.hands {
                    hands.reclone.abandon();
                }
            }
            Output::MayStop(told) => {
                tracing::info!(?told, "its server may be stopped");
                // A full queue means that whoever asked has gone.
                let _ = self.may_stop.try_send(told);
            }
            Output::Send(to, message) => said(self.bus.send(&to, &message)),
            Output::Guard(order) => {
                if let Some(guard) = &self.guard {
                    // A full queue means that the guard does not answer: the order is repeated.
                    let _ = guard.try_send(order);
                }
            }
            Output::Serving { on, armed } => {
                self.shown.send_modify(|shown| shown.serving = on);
                self.serving.send_modify(|word| *word = Serving { on, armed, turn: word.turn + 1 });
                tracing::info!(serving = on, armed, "serving as primary changed");
            }
        }
    }

    fn publish(&self, observation: Observation) {
        let follows = follows_primary(&self.core, &observation);
        self.shown.send_modify(|shown| {
            shown.observation = Some(observation.clone());
            shown.follows = follows;
        });
        said(self.bus.publish(&Channel::Health, &Message::Observation(Box::new(observation))));
    }

    /// Without randomness the ledger stays what it is, and its vote is not taken: the request is repeated.
    fn draw(&self) {
        let Ok(number) = boot::random() else { return tracing::error!("no random number for a new incarnation") };
        let inputs = self.inputs.clone();
        tokio::spawn(async move { inputs.send(Input::Drawn(Incarnation(number))).await });
    }

    fn ask_round(&self) {
        if let Some(rounds) = &self.rounds {
            let _ = rounds.try_send(());
        }
    }

    fn deliver(&self, to: NodeId, fetch: Fetch) {
        let Some(hands) = self.hands.clone() else { return };
        let (index, flavour) = (lock(&hands.shared).binlog_index.clone(), hands.dialect.0);
        let inputs = self.inputs.clone();
        tokio::spawn(async move {
            let deliveries = deliver(index, flavour, &hands.tail, fetch).await;
            let _ = inputs.send(Input::TailRead { to, deliveries }).await;
        });
    }

    /// A witness acts on no server, but looks at one.
    fn look_as_witness(&self, id: EffectId, effect: tasuki_node_core::Effect) {
        let tasuki_node_core::Effect::Look { address } = effect else {
            tracing::error!(?effect, "a witness was given an act on a server");
            return;
        };
        let inputs = self.inputs.clone();
        tokio::spawn(async move {
            let look = crate::dial::look(address).await;
            let _ = inputs.send(Input::Ended(id, tasuki_node_core::Ended::Looked(look))).await;
        });
    }
}

fn follows_primary(core: &Node, observation: &Observation) -> bool {
    let address = core.primary_address();
    let facts = observation.server.as_ref().and_then(|server| server.facts.as_ref());
    let source = facts.and_then(|facts| facts.replication.as_ref()).map(|replication| &replication.source);
    address.is_some_and(|address| source == Some(&address.into()))
}

/// A message that cannot be sealed is a fault of this program, and said.
fn said(sent: Result<(), tasuki_schemas::envelope::Rejected>) {
    if let Err(error) = sent {
        tracing::error!(%error, "a message was not sent");
    }
}

/// Turns what arrived into the core's input; `None` for what is none of its business.
fn input(arrived: Arrived) -> Option<Input> {
    let opened = match arrived {
        Arrived::Message(opened) => opened,
        Arrived::Resumed => return None,
    };
    let (sender, same_configuration) = (opened.sender, opened.same_configuration);
    match opened.message {
        Message::Request(request) => {
            Some(Input::Asked { from: CoordinatorId::from(&sender), same_configuration, request })
        }
        Message::Heartbeat(heartbeat) => Some(Input::Beaten(heartbeat)),
        Message::Fetch(fetch) => Some(Input::Fetched { from: NodeId::from(&sender), fetch }),
        Message::Delivery(delivery) => Some(Input::Delivered { from: sender, delivery }),
        Message::Renew(renew) => Some(Input::Renewed { from: NodeId::from(&sender), renew }),
        Message::Grant(grant) => Some(Input::Granted { from: NodeId::from(&sender), grant }),
        Message::Observation(_)
        | Message::Position(_)
        | Message::Event(_)
        | Message::Errand(_)
        | Message::ErrandEnd(_)
        | Message::Echo { .. } => None,
    }
}

/// Writes the kernel rules while there is time: with a first cut they would cost the failover some ten milliseconds.
async fn lay_rules(hands: Arc<Hands>) {
    if let Err(error) = hands.cut.lock().await.assert().await {
        tracing::error!(%error, "the kernel rules of an armed cluster could not be written; cuts will try again");
    }
}
