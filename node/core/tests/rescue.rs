//! A dead server's tail: which pieces are asked for, taken and written, and what ends it.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

mod stage;

use stage::{Stage, ballot, db, holdings, set};
use tasuki_node_core::{Effect, Ended, Input, Output};
use tasuki_schemas::answer::Outcome;
use tasuki_schemas::command::{BATCH, CatchUpHow, Delivery, Fetch, Kind, Order, OrderName, Piece, Tail};
use tasuki_schemas::id::ProgramId;
use tasuki_schemas::message::Message;
use tasuki_schemas::record::Mode;

fn tail(pieces: u64) -> Tail {
    Tail { pieces, bytes: pieces * 100, checksum: 7, transactions: 10, set: set("0-1-110") }
}

fn piece(number: u64, of: u64) -> Input {
    let tail = (number == 0).then(|| tail(of));
    delivery(Some(Piece { number, content: "AAAA".to_owned(), packed: false, tail }), "")
}

fn delivery(piece: Option<Piece>, note: &str) -> Input {
    let delivery = Delivery {
        ballot: ballot(2),
        transactions: Vec::new(),
        complete: false,
        note: note.to_owned(),
        piece: piece.map(Box::new),
    };
    Input::Delivered { from: ProgramId::from(&db("db1")), delivery }
}

fn kept(number: u64) -> Input {
    Input::Spooled { ballot: ballot(2), piece: number, kept: Ok(()) }
}

/// A candidate that was told to fetch the tail.
fn candidate() -> Stage {
    let mut stage = Stage::replica(Mode::Armed);
    stage.prepare(2, Kind::Failover).persisted().end(Ended::Done(holdings("0-1-100")));
    order(&mut stage, 1);
    stage.persisted();
    stage
}

fn order(stage: &mut Stage, number: u64) {
    let order = Order::CatchUp { goal: set("0-1-110"), from: db("db1"), how: CatchUpHow::Tail, through: None };
    stage.order(2, number, order);
}

/// What comes of one input alone.
fn after(stage: &mut Stage, input: Input) -> &Stage {
    stage.outputs.clear();
    stage.hand(input)
}

const fn none() -> Vec<u64> {
    Vec::new()
}

/// The first pieces that were asked for by the last input.
fn asked(stage: &Stage) -> Vec<u64> {
    let fetch = |output: &Output| {
        let Output::Send(_, message) = output else { return None };
        if let Message::Fetch(fetch) = &**message { Some(fetch.piece) } else { None }
    };
    stage.outputs.iter().filter_map(fetch).collect()
}

fn spools(stage: &Stage) -> Vec<u64> {
    let spool = |output: &Output| if let Output::Spool { piece, .. } = output { Some(piece.number) } else { None };
    stage.outputs.iter().filter_map(spool).collect()
}

fn outcome(stage: &Stage) -> Outcome {
    stage.answers().outcomes[&OrderName::CatchUp].outcome.clone()
}

#[test]
fn the_first_question_names_what_it_has_and_what_it_wants() {
    let stage = candidate();
    let sent = stage.outputs.iter().find_map(|output| {
        if let Output::Send(to, message) = output { Some((to.clone(), (**message).clone())) } else { None }
    });
    let fetch =
        Fetch { ballot: ballot(2), have: set("0-1-100"), want: Some(Box::new(set("0-1-110"))), piece: 0, packed: true };
    assert_eq!(sent.unwrap(), ("db1".parse().unwrap(), Message::Fetch(fetch)));
}

/// A candidate far behind gets the most from a living replica first: the dead server is asked for the rest alone.
#[test]
fn after_another_server_delivered_only_what_is_still_missing_is_asked_for() {
    let mut stage = Stage::replica(Mode::Armed);
    stage.prepare(2, Kind::Failover).persisted().end(Ended::Done(holdings("0-1-50")));
    let replicate = Order::CatchUp { goal: set("0-1-100"), from: db("db3"), how: CatchUpHow::Replicate, through: None };
    stage.order(2, 1, replicate).persisted().end(Ended::Done(holdings("0-1-100")));
    order(&mut stage, 2);
    stage.persisted();
    let sent = stage
        .outputs
        .iter()
        .find_map(|output| if let Output::Send(_, message) = output { Some((**message).clone()) } else { None });
    let fetch =
        Fetch { ballot: ballot(2), have: set("0-1-100"), want: Some(Box::new(set("0-1-110"))), piece: 0, packed: true };
    assert_eq!(sent.unwrap(), Message::Fetch(fetch));
}

#[test]
fn pieces_are_written_in_their_order_and_applied_once_all_are_on_the_disk() {
    let mut stage = candidate();
    assert_eq!(spools(after(&mut stage, piece(1, 3))), none(), "the second comes again");
    assert_eq!(spools(after(&mut stage, piece(0, 3))), [0]);
    assert_eq!(spools(after(&mut stage, piece(0, 3))), none(), "once is enough");
    assert_eq!(spools(after(&mut stage, piece(1, 3))), [1]);
    assert_eq!(spools(after(&mut stage, piece(2, 3))), [2]);
    stage.hand(kept(0)).hand(kept(1)).hand(kept(1));
    assert!(stage.effect().is_none_or(|(_, effect)| !matches!(effect, Effect::Apply { .. })), "not all are kept");
    stage.hand(kept(2));
    let (_, effect) = stage.effect().unwrap();
    assert_eq!(effect, Effect::Apply { have: set("0-1-100"), tail: Box::new(tail(3)) });
    stage.end(Ended::Done(holdings("0-1-110")));
    assert!(matches!(outcome(&stage), Outcome::Done { .. }));
}

/// Four batches are under way at most; the next is asked for when the disk has the first of them.
#[test]
fn no_more_is_under_way_than_there_is_room_for() {
    let mut stage = candidate();
    let mut fetches = Vec::new();
    for number in 0..6 * BATCH {
        fetches.extend(asked(after(&mut stage, piece(number, 6 * BATCH))));
    }
    assert_eq!(fetches, [BATCH, 2 * BATCH, 3 * BATCH], "nothing was written yet");
    for number in 0..6 * BATCH {
        fetches.extend(asked(after(&mut stage, kept(number))));
    }
    assert_eq!(fetches, [BATCH, 2 * BATCH, 3 * BATCH], "all came, though it was not asked for");
    assert!(matches!(stage.effect().unwrap().1, Effect::Apply { .. }));
}

#[test]
fn what_is_lost_is_asked_for_again_from_where_it_stands() {
    let mut stage = candidate();
    assert_eq!(
        {
            stage.outputs.clear();
            asked(stage.wait(50))
        },
        [0]
    );
    stage.hand(piece(0, 20)).hand(kept(0));
    stage.hand(piece(1, 20)).hand(kept(1));
    assert_eq!(
        {
            stage.outputs.clear();
            asked(stage.wait(300))
        },
        [2, 10, 18]
    );
    assert_eq!(asked(after(&mut stage, Input::Woke)), none());
}

#[test]
fn what_another_or_an_earlier_attempt_delivers_is_no_piece() {
    let mut stage = candidate();
    let Input::Delivered { delivery, .. } = piece(0, 1) else { unreachable!() };
    let earlier = Delivery { ballot: ballot(1), ..delivery.clone() };
    assert_eq!(spools(after(&mut stage, Input::Delivered { from: ProgramId::from(&db("db3")), delivery })), none());
    assert_eq!(
        spools(after(&mut stage, Input::Delivered { from: ProgramId::from(&db("db1")), delivery: earlier })),
        none()
    );
}

/// Where the node beside the dead server is dead as well, the leader reads its files and delivers.
#[test]
fn a_tail_comes_through_the_leader_where_it_says_so() {
    let mut stage = Stage::replica(Mode::Armed);
    stage.prepare(2, Kind::Failover).persisted().end(Ended::Done(holdings("0-1-100")));
    let through = Some("co1".parse().unwrap());
    let order = Order::CatchUp { goal: set("0-1-110"), from: db("db1"), how: CatchUpHow::Tail, through };
    stage.outputs.clear();
    stage.order(2, 1, order).persisted();
    let leader: ProgramId = "co1".parse().unwrap();
    let sent = stage.outputs.iter();
    let mut asked = sent.filter_map(|output| if let Output::Send(to, _) = output { Some(to.clone()) } else { None });
    assert_eq!(asked.next(), Some(leader.clone()));
    let Input::Delivered { from: node, delivery } = piece(0, 1) else { unreachable!() };
    assert_eq!(spools(after(&mut stage, Input::Delivered { from: node, delivery: delivery.clone() })), none());
    assert_eq!(spools(after(&mut stage, Input::Delivered { from: leader, delivery })), [0]);
}

#[test]
fn a_tail_that_cannot_be_read_kept_or_waited_for_ends_with_the_reason() {
    let mut stage = candidate();
    stage.hand(delivery(None, "/data/bin.000003 is damaged at 4711"));
    assert!(matches!(outcome(&stage), Outcome::Failed { reason } if reason.contains("bin.000003 is damaged at 4711")));

    let mut stage = candidate();
    let full = Input::Spooled { ballot: ballot(2), piece: 0, kept: Err("no space left".to_owned()) };
    stage.hand(piece(0, 2)).hand(full);
    assert!(matches!(outcome(&stage), Outcome::Failed { reason } if reason.contains("no space left")));

    let mut stage = candidate();
    stage.hand(piece(0, 2)).hand(kept(0)).wait(5000);
    assert!(matches!(outcome(&stage), Outcome::Failed { reason } if reason.contains("1 of 2 pieces")));
}

/// What a restarted node's server holds was not told at this ballot: guessing it could apply a transaction twice.
#[test]
fn a_node_that_told_nothing_of_its_server_fetches_nothing() {
    let mut stage = Stage::replica(Mode::Armed);
    order(&mut stage, 1);
    stage.persisted();
    assert!(matches!(outcome(&stage), Outcome::Failed { .. }));
}

#[test]
fn questions_wait_for_each_other_and_a_repeated_one_waits_once() {
    let mut stage = Stage::primary();
    stage.hand(Input::Exited(stage::RUN));
    let fetch = |piece| {
        let fetch = Fetch { ballot: ballot(1), have: set(""), want: None, piece, packed: false };
        Input::Fetched { from: db("db2"), fetch }
    };
    let reads = |stage: &Stage| {
        let read = |output: &Output| if let Output::Deliver { fetch, .. } = output { Some(fetch.piece) } else { None };
        stage.outputs.iter().filter_map(read).collect::<Vec<_>>()
    };
    assert_eq!(reads(after(&mut stage, fetch(0))), [0]);
    for piece in [0, 8, 8, 16, 24, 32] {
        assert_eq!(reads(after(&mut stage, fetch(piece))), none());
    }
    let answered = || Input::TailRead { to: db("db2"), deliveries: Vec::new() };
    let read: Vec<u64> = (0..4).flat_map(|_| reads(after(&mut stage, answered()))).collect();
    assert_eq!(read, [16, 24, 32], "the oldest that waits gives way, and is asked for again");
}
