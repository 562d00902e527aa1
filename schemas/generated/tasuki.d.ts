// What a Tasuki coordinator says to viewers, made from its schemas. Types of the official client are needed beside it.
import type { ManagerOptions, Socket, SocketOptions } from 'socket.io-client';

/** Who accepts that something may be lost. */
export type Acceptance = ("policy" | "operator");

/** A record with the ballot at which a voter accepted it. */
export type Accepted = {
  /** The ballot of the Accept. */
  ballot: Ballot;
  /** Its value. */
  record: Record;
};

/** What an asker is acknowledged with. */
export type Answer = ({
  /** Where it is. */
  id: EventId;
  /** True. */
  ok: boolean;
} | {
  /** What was done, in lines for people. */
  lines: Array<string>;
  /** True. */
  ok: boolean;
} | {
  /** A code, what is wrong, and the fix. */
  error: string;
  /** False. */
  ok: boolean;
});

/** Everything answered to a coordinator at the highest ballot heard from it. Repeating a request repeats the answer. */
export type Answers = {
  /** True once the Accept of this ballot is durable. */
  accepted: boolean;
  /** The ballot that these answers belong to; `None` before the coordinator sent any. */
  ballot?: (Ballot | null);
  /** The outcome of each order given at this ballot. */
  outcomes: { [name: string]: Reported };
  /** The answer to the last Probe. */
  probe?: (ProbeAnswer | null);
  /** The answer to Prepare. */
  promise?: (Promise | null);
  /** Why the last request was refused, if it was. */
  refusal?: (Refusal | null);
};

/** The authority of one attempt of one coordinator, compared counter first.  The boot id is part of the order, so that a coordinator which was restarted, or cloned, never shares a ballot with its former self. A ballot carries at most one accepted record and names at most one candidate. */
export type Ballot = {
  /** The proposer's run. */
  boot: BootId;
  /** The proposer. */
  coordinator: CoordinatorId;
  /** Above every counter heard from the voters. */
  counter: number;
};

/** An offset in a binlog. */
export type BinlogCoordinates = {
  /** File name, e.g. `bin.000003`. */
  file: string;
  /** Byte offset of the end. */
  position: number;
};

/** One thing that stands in the way, with its fix. */
export type Blocker = {
  /** What to do about it. */
  fix: string;
  /** What. */
  what: string;
};

/** Random, drawn when a program starts. */
export type BootId = string;

/** Gives up the switchover that is planned. */
export type CancelSwitchoverWish = { [name: string]: unknown };

/** What a primary was replaced for. */
export type Cause = ("crashed" | "stopped" | "closed" | "hung" | "host_lost" | "isolated" | "disk_full" | "switchover" | "unfinished" | "other");

/** Why the feed closes a connection, told right before. */
export type Closing = {
  /** For programs: `revoked`, or something after which the viewer may connect again. */
  code: string;
  /** Where to go on, if the coordinator is about to stop and knows another one. */
  url?: (string | null);
  /** The sentence for people, with the fix. */
  why: string;
};

/** A cluster: the stem of its file in `clusters.d`. */
export type ClusterName = string;

/** How a server is. */
export type Condition = ("up" | "unanswering" | "down");

/** The node's own connection to its server. */
export type Connection = ({
  state: "answering";
} | {
  /** The server's error number, 0 if none was given. */
  code: number;
  state: "refused";
  /** The server's text. */
  text: string;
} | {
  state: "closed";
} | {
  /** Milliseconds since the last answer. */
  for_ms: number;
  state: "silent";
});

/** A coordinator. */
export type CoordinatorId = string;

/** How a node can cut its server off from clients. */
export type CutStrength = ("kernel" | "server");

/** Why a viewer is not let in: what `connect_error` is told. */
export type Denial = {
  /** The same in parts: the official clients show it as `error.data`. */
  data: Why;
  /** Code, sentence and fix in one line. */
  message: string;
};

/** The one thing that is wrong with a cluster, with the evidence it rests on. */
export type Diagnosis = ({
  diagnosis: "unborn";
} | {
  diagnosis: "coordinator_blind";
  /** Nodes heard. */
  heard: Array<NodeId>;
} | {
  diagnosis: "healthy";
} | {
  diagnosis: "primary_crashed";
  /** The primary. */
  primary: NodeId;
} | {
  diagnosis: "primary_stopped";
  /** The primary. */
  primary: NodeId;
} | {
  diagnosis: "primary_closed";
  /** The primary. */
  primary: NodeId;
} | {
  diagnosis: "primary_hung";
  /** Milliseconds for which it has not written. */
  for_ms: number;
  /** The primary. */
  primary: NodeId;
} | {
  diagnosis: "primary_host_lost";
  /** Replicas that lost it. */
  lost_by: Array<NodeId>;
  /** The primary. */
  primary: NodeId;
} | {
  diagnosis: "primary_unseen";
  /** The primary. */
  primary: NodeId;
  /** Who still receives from it. */
  still_heard_by: Array<NodeId>;
} | {
  diagnosis: "primary_isolated";
  /** Replicas that lost it. */
  lost_by: Array<NodeId>;
  /** The primary. */
  primary: NodeId;
} | {
  diagnosis: "primary_overloaded";
  /** Milliseconds that an answer or a write takes, or has taken so far. */
  for_ms: number;
  /** The primary. */
  primary: NodeId;
} | {
  /** The server's error number, 0 if none was given. */
  code?: number;
  diagnosis: "primary_refusing";
  /** The primary. */
  primary: NodeId;
  /** The server's words. */
  text: string;
} | {
  diagnosis: "replication_only_partition";
  /** Who lost it. */
  lost_by: Array<NodeId>;
  /** The primary. */
  primary: NodeId;
} | {
  diagnosis: "sidecar_lost";
  /** The primary. */
  primary: NodeId;
} | {
  /** The ballot of the attempt. */
  ballot: Ballot;
  diagnosis: "attempt_unfinished";
} | {
  diagnosis: "switchover";
  /** The primary. */
  primary: NodeId;
  /** Who takes over. */
  to: NodeId;
} | {
  diagnosis: "two_primaries";
  /** The servers that are writable. */
  writable: Array<NodeId>;
} | {
  /** Its required acknowledgements. */
  acks: number;
  diagnosis: "group_too_small";
  /** Its members. */
  members: Array<NodeId>;
} | {
  /** Acknowledgements required now. */
  acks: number;
  diagnosis: "degraded";
  /** The primary. */
  primary: NodeId;
  /** Acknowledgements wanted. */
  wanted: number;
} | {
  diagnosis: "disk_full";
  /** The server. */
  node: NodeId;
  /** What was found. */
  text: string;
  /** True if it is the primary, and writes fail: nobody can write. */
  writes_fail?: boolean;
} | {
  /** Transactions that it has not applied. */
  behind: number;
  diagnosis: "replica_lagging";
  /** The replica. */
  node: NodeId;
} | {
  diagnosis: "replica_broken";
  /** The server's words. */
  error: string;
  /** The replica. */
  node: NodeId;
} | {
  diagnosis: "unsupported";
  /** The server. */
  node: NodeId;
  /** Why, and the fix. */
  reason: string;
} | {
  diagnosis: "replica_stray";
  /** The replica. */
  node: NodeId;
  /** What it does instead. */
  reason: string;
} | {
  /** The folder on its host where that is archived; `None` as long as it is not. */
  archive?: (string | null);
  diagnosis: "errant_transactions";
  /** What it holds in excess. */
  extras: string;
  /** The replica. */
  node: NodeId;
});

/** Which diagnosis it is, without its evidence. */
export type DiagnosisKind = ("unborn" | "coordinator_blind" | "healthy" | "primary_crashed" | "primary_stopped" | "primary_closed" | "primary_hung" | "primary_host_lost" | "primary_unseen" | "primary_isolated" | "primary_overloaded" | "primary_refusing" | "replication_only_partition" | "sidecar_lost" | "attempt_unfinished" | "switchover" | "two_primaries" | "group_too_small" | "degraded" | "disk_full" | "replica_lagging" | "replica_broken" | "unsupported" | "replica_stray" | "errant_transactions");

/** What a promise made the node do first. */
export type Duty = ({
  state: "nothing";
} | {
  state: "receiver_stopped";
} | {
  state: "fenced";
} | {
  state: "process_exited";
} | {
  /** Why, for people. */
  reason: string;
  state: "failed";
});

/** A host and port in SQL. */
export type Endpoint = {
  /** Address or host name as the server has it. */
  host: string;
  /** TCP port. */
  port: number;
};

/** The ballot at which a primary was named: it marks a reign. */
export type Epoch = Ballot;

/** An event as viewers get it. */
export type Event = ({
  /** What it is now. */
  diagnosis: Diagnosis;
  event: "diagnosis";
  /** The sentence for operators. */
  sentence: string;
} | {
  /** Milliseconds since the failover began at this coordinator. */
  after_ms: number;
  /** Its ballot. */
  ballot: Ballot;
  /** The candidate, once elected. */
  candidate?: (NodeId | null);
  event: "stage";
  /** The server that is being replaced. */
  old: NodeId;
  /** Why, e.g. why each other server lost the election. */
  reasons: Array<string>;
  /** The stage. */
  stage: StageName;
} | {
  event: "hold";
  /** Reasons, each with its fix where there is one. */
  reasons: Array<string>;
} | {
  /** The diagnosis. */
  diagnosis: Diagnosis;
  event: "would_have";
  /** The decision. */
  sentence: string;
} | {
  event: "repair";
  /** The server. */
  node: NodeId;
  /** What was done, or found. */
  sentence: string;
} | {
  event: "forecast";
  /** It. */
  forecast: Forecast;
  /** The same in one sentence. */
  sentence: string;
} | {
  event: "pause";
  /** The pause; `None` if there is none any more. */
  pause?: (Pause | null);
  /** The sentence for operators. */
  sentence: string;
} | {
  /** The attempt that it is for: of another one's fences nothing is believed. */
  ballot: Ballot;
  event: "fence";
  /** How it is fenced. */
  how: FenceHow;
  /** The server. */
  node: NodeId;
  /** The sentence for operators. */
  sentence: string;
} | {
  event: "override";
  /** The sentence for operators. */
  sentence: string;
  /** What was said, and by whom. */
  word: Override;
} | {
  event: "switchover";
  /** The sentence for operators. */
  sentence: string;
  /** Who was to take over; `None` if nobody could be chosen. */
  to?: (NodeId | null);
} | {
  event: "voters";
  /** The node. */
  node: NodeId;
  /** The sentence for operators. */
  sentence: string;
} | {
  /** Whose token it was. */
  by: TokenName;
  event: "note";
  /** Drawn by the coordinator that took it: it may travel twice, and is one note. */
  nonce: Nonce;
  /** What, in plain text. */
  text: string;
} | {
  /** Where from, if that is known. */
  address?: (string | null);
  /** Whose token it was. */
  by: TokenName;
  event: "act";
  /** Drawn by the coordinator that took it: it may travel twice, and is one act. */
  nonce: Nonce;
  /** What was asked for. */
  what: string;
} | {
  /** Its ballot. */
  ballot: Ballot;
  event: "decided";
  /** The record. */
  record: Record;
} | {
  event: "leader";
  /** Who; `None` if nobody. */
  leader?: (CoordinatorId | null);
} | {
  event: "health";
  /** The report. */
  observation: Observation;
} | {
  event: "position";
  /** The position. */
  position: Position;
}) & {
  /** The incident before it, as its teller knew history. */
  after?: (EventId | null);
  /** Milliseconds since 1970 by the teller's wall clock: for people, never compared. */
  at_ms: number;
  /** The cluster. */
  cluster: ClusterName;
  /** Which coordinator tells. */
  coordinator: CoordinatorId;
  /** The incident's place in history, if its teller leads. */
  id?: (EventId | null);
  /** Counts the events of this coordinator's run. */
  number: number;
};

/** An incident's place in its cluster's history. Travels as text, `7.co1.00c0ffee00c0ffee-12`. */
export type EventId = string;

/** One probe round, typed: two dialects, one meaning. */
export type Facts = {
  /** Why its disk takes no more writes, if so: full, or read-only. */
  disk?: (string | null);
  /** Gates of the write group that the server fails now, each with its fix. */
  failing_gates: Array<FailingGate>;
  /** What it replicates; `None` if it is configured to follow nobody. */
  replication?: (Replication | null);
  /** Its semi-sync sides. */
  semi_sync: SemiSync;
  /** Why Tasuki must not manage this server (Galera, Group Replication, multi-source, …). */
  unsupported?: (string | null);
  /** True if ordinary clients may write (`read_only` is off). */
  writable: boolean;
  /** The write probe: a commit into a local table kept out of the binlog. `None` where none is due. */
  write_probe?: (WriteProbe | null);
};

/** A condition of the write group that does not hold. */
export type FailingGate = {
  /** What is needed, as the operator would write it. */
  fix: string;
  /** What is found. */
  found: string;
  /** The setting, e.g. `sync_binlog`. */
  setting: string;
};

/** Lets a failover begin that is called for, and that a pause or earlier failovers of the same server hold back. */
export type FailoverWish = {
  /** Only say whether it would begin. */
  dry_run?: boolean;
  /** Why, for everybody who wonders: 1 to 200 characters. */
  reason: string;
};

/** How it is known that a server acknowledges nothing any more. */
export type FenceHow = ("process_exited" | "self_fenced" | "lease_expired" | "ssh_killed" | "shut_down" | "operator");

/** The dialect of a server. */
export type Flavour = ("mariadb" | "mysql");

/** If the primary died now. */
export type Forecast = {
  /** Its server's process dies, and the node beside it lives and reads its files. */
  crash: Outlook;
  /** What the cluster promises. */
  guarantee: Guarantee;
  /** Its whole host is gone. */
  host_loss: Outlook;
  /** Why it does not promise more. */
  lacking: Array<Blocker>;
  /** The primary. */
  primary: NodeId;
};

/** What stands for a former primary that does not show what it holds. */
export type Grounds = {
  /** The server. */
  fenced: NodeId;
  /** How it is known to be mute. */
  how: FenceHow;
  /** What may be lost with it. */
  missing: Missing;
  /** The operator's word, if anything rests on it. */
  word?: (Override | null);
};

/** A set of transactions. */
export type GtidSet = {
  /** Whose syntax the text has. */
  flavour: Flavour;
  /** The set in the server's own syntax. */
  set: string;
};

/** What a cluster promises about acknowledged writes. */
export type Guarantee = ("lossless" | "leased" | "manual");

/** What a server holds, at the moment of a promise. */
export type Holdings = {
  /** Transactions executed, i.e. in its own binlog. */
  executed: GtidSet;
  /** Executed and received; for a server that is gone, read from its files to their end. */
  received: Received;
};

/** Who a server is. Read once per start of the server. */
export type Identity = {
  /** The list of its binlog's files, as a whole path on its host: for whoever reads them when it is dead. */
  binlog_index?: (string | null);
  /** MariaDB or MySQL. */
  flavour: Flavour;
  /** How its own transactions are told: server_uuid (MySQL), server_id (MariaDB). */
  origin: Origin;
  /** `server_id`, unique in a cluster on both flavours. */
  server_id: number;
  /** As the server prints it. */
  version: string;
};

/** Random, drawn once when a ledger is made: a copied or new ledger is another voter. */
export type Incarnation = string;

/** Random, drawn by a coordinator when a failover is called for: an operator's override names it. */
export type IncidentId = string;

/** What a promise is asked for. */
export type Kind = ("vote" | "failover");

/** A lease as its holder sees it. */
export type LeaseView = {
  /** The guard has confirmed that it ends the server then. */
  guarded: boolean;
  /** Milliseconds that are left of it; 0 if there is none. */
  rest_ms: number;
};

/** How far a server is that is about to be stopped. */
export type Leaving = ("hands_over" | "stops");

/** What a voter remembers on disk. */
export type LedgerView = {
  /** The record last accepted. */
  accepted?: (Accepted | null);
  /** Why this ledger does not go on from an earlier one, for people, until a record names it as a voter's. */
  anew?: (string | null);
  /** The highest failover promise whose duties have not ended. */
  failover?: (Ballot | null);
  /** Which ledger this is. */
  incarnation: Incarnation;
  /** The highest ballot ever promised. */
  promised?: (Ballot | null);
  /** Counts durable writes; heard going backwards, the ledger was rolled back. */
  sequence: number;
};

/** A direct look at a server from outside. An accepted connection without a greeting is no sign of life. */
export type Look = ("greeted" | "no_greeting");

/** What a failover may lose of what was acknowledged. */
export type Loss = ("nothing" | "last_moments");

/** What may be lost with a server: what it alone holds. */
export type Missing = {
  /** Who accepts it. */
  accepted_by: Acceptance;
  /** What the server held at its last report and nobody shows; `None` if it was never heard. */
  transactions?: (Ranges | null);
  /** How many milliseconds before the decision that report came: what was written since is not known. */
  unheard_ms?: (number | null);
  /** Who shows nothing either, of those that a write was acknowledged with: they may have it. */
  unseen?: Array<NodeId>;
};

/** Whether Tasuki acts on a cluster or only says what it would do. */
export type Mode = ("observe" | "armed");

/** A node: a database server with its sidecar, or a witness. */
export type NodeId = string;

/** Random, drawn by a coordinator for a heartbeat or a probe; an answer that echoes it is fresh. */
export type Nonce = string;

/** A note to everybody who watches. */
export type NoteAsked = {
  /** Of which cluster. */
  cluster: string;
  /** What, in plain text: 1 to 500 characters. */
  text: string;
};

/** A node's whole report. Whole means: a later one replaces an earlier one, so a lost one costs time and never truth. */
export type Observation = {
  /** The latest answers to each coordinator, sets included. */
  answers: { [name: string]: Answers };
  /** Each coordinator's last heartbeat nonce heard: an observation is fresh to a coordinator that finds a nonce of its own. */
  heard: { [name: string]: Nonce };
  /** The node's memory as a voter. */
  ledger: LedgerView;
  /** The node. */
  node: NodeId;
  /** Its server; `None` on a witness. */
  server?: (ServerView | null);
};

/** Who wrote a transaction. */
export type Origin = ({
  mysql: string;
} | {
  mariadb: number;
});

/** What came of an order. */
export type Outcome = ({
  /** What the server had received itself is still being applied: no patience with the order itself runs yet. */
  backlog?: boolean;
  state: "running";
  /** The step under way. */
  step: string;
} | {
  /** What the server holds now. */
  holdings?: (Holdings | null);
  /** Where something was kept, as a folder on the node's host. */
  place?: (string | null);
  state: "done";
  /** Milliseconds from admission to the end. */
  took_ms: number;
} | {
  /** Why, for people. */
  reason: string;
  state: "failed";
});

/** How one kind of death would end. */
export type Outlook = {
  /** Why nobody would be promoted. */
  blockers: Array<Blocker>;
  /** Milliseconds from the death until clients write again; `None` if it would wait for people. */
  expected_ms?: (number | null);
  /** What could be lost. */
  loss: Loss;
  /** Who equals the winner in all but what it will have received by then: it may win instead. */
  or: Array<NodeId>;
  /** Why the winner, and why not each other. */
  reasons: Array<string>;
  /** Who would win; `None` if nobody would be promoted. */
  winner?: (NodeId | null);
};

/** A failover that an operator answers for. It counts for one incident at one coordinator, and ends with it. */
export type Override = {
  /** What only the replaced server has may be lost. */
  accept_loss: boolean;
  /** Who says so. */
  by: string;
  /** The server that the operator has made unable to serve. */
  fenced?: (NodeId | null);
  /** Which incident. */
  incident: IncidentId;
  /** Why. */
  reason: string;
};

/** Lets a failover that is held go on, by the operator's word. It counts for this incident alone. */
export type OverrideWish = {
  /** What only the replaced server has may be lost. */
  accept_loss?: boolean;
  /** Only say whether it would count. */
  dry_run?: boolean;
  /** The server that somebody has made sure serves nobody, e.g. by switching its host off. */
  fenced?: (NodeId | null);
  /** The incident that is answered for, as the hold and the snapshot name it. */
  incident: IncidentId;
  /** Why, for everybody who wonders: 1 to 200 characters. */
  reason: string;
};

/** What a node is there for. */
export type Part = ("primary" | "replica" | "witness");

/** A failover of late. While its record is not opened, it is the one under way. */
export type Past = {
  /** Why. */
  cause: Cause;
  /** The reign that began with it. */
  epoch: Epoch;
  /** What it rested on beyond what servers showed, and what may be lost. */
  grounds?: Array<Grounds>;
  /** The server that was replaced. */
  old: NodeId;
};

/** An operator asked that no failover begins for a while.  It ends after a duration that every coordinator counts on its own monotonic clock, from when it first saw this pause: wall clocks of two machines are never compared. A coordinator that was started meanwhile counts from its start, so a change of leader may prolong a pause, each time by its own length at most. */
export type Pause = {
  /** How long it lasts, in milliseconds. */
  for_ms: number;
  /** Who asked for it. */
  owner: string;
  /** Why. */
  reason: string;
  /** The ballot at which it was decided: tells two pauses apart. */
  set_at: Ballot;
};

/** Begins no failover for a while. */
export type PauseWish = {
  /** Only say what would be done. */
  dry_run?: boolean;
  /** For how many seconds, at most a day. */
  for_s: number;
  /** Why, for everybody who wonders: 1 to 200 characters. */
  reason: string;
};

/** An operator asked for a switchover at a stated time.  It begins when the wall clock of whoever leads then says so: that clock decides when, and nothing else rests on it. It belongs to the reign under which it was asked for, and is forgotten with it. */
export type Planned = {
  /** When, in UTC, as `2026-12-24T03:00:00Z`. */
  at: string;
  /** Who asked for it. */
  by: string;
  /** Why. */
  reason: string;
  /** The ballot at which it was decided: tells two of them apart. */
  set_at: Ballot;
  /** Who is to take over; `None`: whoever would win a failover then. */
  to?: (NodeId | null);
};

/** Where a server stands: a message of its own, sent every second and on demand, whole in itself. */
export type Position = {
  /** Its newest binlog file and offset; `None` if the server does not answer or writes no binlog. */
  binlog?: (BinlogCoordinates | null);
  /** Transactions in its own binlog. */
  executed: GtidSet;
  /** The node. */
  node: NodeId;
  /** Everything it holds: executed and received. */
  received: Received;
};

/** A voter's own evidence about the primary, asked for before a verdict from silence. */
export type ProbeAnswer = {
  /** The voter's own look. */
  look: Look;
  /** Echo of the Probe. */
  nonce: Nonce;
};

/** The server's process. */
export type Process = ({
  /** Process id. */
  pid: number;
  state: "running";
} | {
  /** Its last binlog file was closed before: it was stopped, and did not crash. */
  clean?: boolean;
  state: "exited";
} | {
  state: "unknown";
});

/** A voter's promise: nothing of a lower ballot will be obeyed, and every effect of lower ballots has ended. */
export type Promise = {
  /** The record that this voter accepted before. */
  accepted?: (Accepted | null);
  /** What the kind demanded of the server, done and verified. */
  duty: Duty;
  /** What the server holds, read after its duty was done. */
  holdings?: (Holdings | null);
  /** Which ledger promised. */
  incarnation: Incarnation;
  /** What was promised. */
  kind: Kind;
  /** Milliseconds that are left, when this is answered, of the last lease granted. A voter that restarted counts as if it had granted when it started. With a failover promise it grants no more. */
  lease_rest_ms?: number;
  /** The ledger's sequence after the promise. */
  sequence: number;
};

/** An event as the public sees it. */
export type PublicEvent = ({
  /** What it is now. */
  diagnosis: DiagnosisKind;
  event: "diagnosis";
} | {
  /** Milliseconds since the failover began. */
  after_ms: number;
  event: "stage";
  /** The stage. */
  stage: StageName;
} | {
  event: "hold";
} | {
  /** About what. */
  diagnosis: DiagnosisKind;
  event: "would_have";
} | {
  event: "repair";
} | {
  event: "forecast";
  /** It. */
  forecast: PublicForecast;
} | {
  event: "pause";
  /** For how many milliseconds; `None` if there is no pause any more. */
  for_ms?: (number | null);
} | {
  event: "fence";
} | {
  event: "override";
} | {
  event: "switchover";
} | {
  event: "voters";
} | {
  event: "note";
} | {
  event: "act";
} | {
  event: "decided";
  /** Whether its primary is open to clients. */
  opened: boolean;
} | {
  event: "leader";
  /** Whether anybody does. */
  led: boolean;
} | {
  event: "health";
  /** It. */
  server: PublicServer;
}) & {
  /** Milliseconds since 1970 by the teller's wall clock. */
  at_ms: number;
  /** The cluster. */
  cluster: ClusterName;
  /** The incident's place in history. */
  id?: (PublicId | null);
  /** Counts the events of the telling coordinator's run. */
  number: number;
};

/** If the primary died now. */
export type PublicForecast = {
  /** Its process dies. */
  crash: PublicOutlook;
  /** What the cluster promises. */
  guarantee: Guarantee;
  /** Its host is lost. */
  host_loss: PublicOutlook;
};

/** The same without the coordinator's name, as the public has it: `7.00c0ffee00c0ffee-12`. It finds an event; it does not order two of them. */
export type PublicId = string;

/** How one kind of death would end. */
export type PublicOutlook = {
  /** Milliseconds until clients write again; `None` if it would wait for people. */
  expected_ms?: (number | null);
  /** What could be lost. */
  loss: Loss;
};

/** A server, or a witness, without its name. */
export type PublicServer = {
  /** How it is. */
  condition: Condition;
  /** What it is there for. */
  part: Part;
};

/** A cluster as the public sees it. */
export type PublicSnapshot = {
  /** The cluster. */
  cluster: ClusterName;
  /** What is wrong. */
  diagnosis: DiagnosisKind;
  /** If the primary died now. */
  forecast?: (PublicForecast | null);
  /** Whether something keeps it from being mended. */
  held: boolean;
  /** The last incident that is contained in it. */
  id?: (PublicId | null);
  /** Whether anybody leads. */
  led: boolean;
  /** The number of the last event that is contained in it. */
  number: number;
  /** Whether the primary is open to clients, as far as the record says. */
  opened: boolean;
  /** Its servers and witnesses, in no meaningful order. */
  servers: Array<PublicServer>;
  /** The failover under way, if any. */
  stage?: (StageName | null);
};

/** The same as the public sees it. */
export type PublicTelemetry = {
  /** The cluster. */
  cluster: ClusterName;
  /** `health`, in the order in which they were told. */
  events: Array<PublicEvent>;
};

/** Successive transactions of one source. */
export type Range = {
  /** The first, as text: numbers are 64 bits wide. */
  first: string;
  /** The last. */
  last: string;
  /** `uuid[:tag]` on MySQL, `domain-server` on MariaDB. */
  source: string;
};

/** Any number of ranges. */
export type Ranges = Array<Range>;

/** A received set that can be believed, or the reason why not. */
export type Received = ({
  /** The set. */
  set: GtidSet;
  state: "known";
} | {
  /** Why, for people. */
  reason: string;
  state: "unknown";
});

/** Brings a server home on a copy of another's data. */
export type RecloneWish = {
  /** Only say whether it could be done, and from whom. */
  dry_run?: boolean;
  /** The server. */
  node: NodeId;
  /** Why, for everybody who wonders: 1 to 200 characters. */
  reason: string;
};

/** A copy of another server's data that takes the place of a server's own. */
export type Recloning = ({
  /** So many have arrived. */
  bytes: number;
  /** So many are expected, about. */
  expected: number;
  stage: "copying";
} | {
  stage: "preparing";
} | {
  stage: "copied";
} | {
  stage: "exchanging";
  /** The step under way, for people. */
  step: string;
} | {
  /** Milliseconds since then. */
  ago_ms: number;
  /** The directory with the data from before. */
  aside: string;
  stage: "done";
} | {
  /** Milliseconds since then. */
  ago_ms: number;
  /** Why, for people. */
  reason: string;
  stage: "failed";
}) & {
  /** Whose data is copied. */
  donor: NodeId;
};

/** The value of the register. */
export type Record = {
  /** The ballot at which `primary` was named. */
  epoch: Epoch;
  /** The last opened group and every one since, oldest first. Never empty. */
  groups: Array<WriteGroup>;
  /** Whether Tasuki acts. */
  mode: Mode;
  /** True once the epoch's barrier row was acknowledged by the group: older groups no longer count. */
  opened: boolean;
  /** No failover begins while it lasts. */
  pause?: (Pause | null);
  /** A switchover at a stated time. */
  planned?: (Planned | null);
  /** The server that clients write to. */
  primary: NodeId;
  /** Failovers since the last stable while, oldest first, at most [`REMEMBERED`](crate::past::REMEMBERED). */
  recent?: Array<Past>;
  /** The reigns that a voter or server may still need, oldest first. */
  reigns: Array<Reign>;
  /** Who votes, each with the incarnation of its ledger. */
  voters: { [name: string]: Incarnation };
  /** The voters before the last change of them, for as long as nobody knows that the record with that change was decided: until then a majority of these is needed as well. */
  voters_before?: ({ [name: string]: Incarnation } | null);
  /** The acknowledgements that the operator wants. A group that lost too many ackers has fewer, and gets them back. */
  wanted: number;
};

/** Why a node did not obey. */
export type Refusal = ({
  /** The ballot promised. */
  promised: Ballot;
  why: "promised";
} | {
  /** The failover promise. */
  promised: Ballot;
  why: "unfinished";
} | {
  why: "contradicted";
} | {
  why: "other_configuration";
} | {
  /** What does not fit. */
  reason: string;
  why: "unlawful";
} | {
  why: "observed";
} | {
  /** Why, and the fix. */
  reason: string;
  why: "no_ledger";
});

/** One reign: from which epoch on which server wrote, and what existed before. */
export type Reign = {
  /** The ballot at which the server was named. */
  epoch: Epoch;
  /** The server. */
  node: NodeId;
  /** How its transactions are told from others': server_uuid, or server_id on MariaDB. */
  origin: Origin;
  /** Everything that the server held when it was named: what lies beyond is of this reign or later. */
  set_before: GtidSet;
};

/** A replica's channel. */
export type Replication = {
  /** The applier. */
  applier: Thread;
  /** The server's last replication error, empty if none. */
  error: string;
  /** Filters, a delay, or ignored ids are set: acknowledgements of this server mean nothing. */
  filtered: boolean;
  /** Milliseconds since the newest event or heartbeat arrived from the source. Advancing heartbeats, never `Slave_IO_Running`, tell that a source lives. */
  quiet_ms: number;
  /** The receiver thread. */
  receiver: Thread;
  /** Whom it follows, as configured in the server. */
  source: Endpoint;
};

/** The outcome of the newest act of one name. */
export type Reported = {
  /** The number of the order; a Barrier has its Promote's. */
  number: number;
  /** What came of it. */
  outcome: Outcome;
};

/** Lets failovers go on. */
export type ResumeWish = {
  /** Only say what would be done. */
  dry_run?: boolean;
  /** Why, if that is worth a word: at most 200 characters. */
  reason?: string;
};

/** Both sides of semi-sync on one server. */
export type SemiSync = {
  /** Connected semi-sync replicas. */
  clients: number;
  /** This server acknowledges as a replica. */
  replica_enabled: boolean;
  /** Commits wait for replicas. */
  source_enabled: boolean;
  /** Acknowledgements that a commit waits for. */
  wait_count: number;
  /** Commits waiting for an acknowledgement. */
  waiting: number;
};

/** A database server as its node sees it. */
export type ServerView = {
  /** Whether it answers its node. */
  connection: Connection;
  /** How strongly this node can cut the server off. */
  cut: CutStrength;
  /** The last facts read from it. Only as good as `connection` says. */
  facts?: (Facts | null);
  /** Milliseconds since the facts were read. */
  facts_age_ms: number;
  /** True while the node holds clients away from the server (a fence, or the closed port of a replica). */
  fenced: boolean;
  /** Who it is, once read. */
  identity?: (Identity | null);
  /** The lease under which it serves without acknowledgements, if it needs one. */
  lease?: (LeaseView | null);
  /** It is about to be stopped, with its host or for an upgrade. */
  leaving?: (Leaving | null);
  /** Whether the server's process lives. */
  process: Process;
  /** Its re-clone: the one under way, or what came of the last. */
  reclone?: (Recloning | null);
  /** Servers that the kernel keeps away from this one's port: they acknowledge nothing here. */
  refused?: Array<NodeId>;
  /** The node holds this server to be the primary and open to clients, at the epoch of the accepted record. */
  serving: boolean;
  /** Who acknowledged without being in the write group and was cut off lately: each a sentence with its fix. */
  strangers?: Array<string>;
};

/** What a viewer shows when it connects, as `auth`. Clients of 2.x show it in the query, `since` as `CLUSTER:ID,…`. */
export type Shown = {
  /** The one cluster that it wants to see; left out: all that the token opens. */
  cluster?: (string | null);
  /** The last incident that it got of each cluster: it is told what came after. */
  since?: { [name: string]: string };
  /** Its token, unless a header or a session shows it. */
  token?: (string | null);
};

/** Everything a viewer needs to draw a cluster. */
export type Snapshot = {
  /** The cluster. */
  cluster: ClusterName;
  /** Which coordinator tells. */
  coordinator: CoordinatorId;
  /** What is wrong. */
  diagnosis: Diagnosis;
  /** The reign's epoch, if there is a record. */
  epoch?: (Epoch | null);
  /** If the primary died now. */
  forecast?: (Forecast | null);
  /** Goal of the failover under way. */
  goal?: (GtidSet | null);
  /** Why nothing is done, if so. */
  holds: Array<string>;
  /** The last incident that is contained in it. */
  id?: (EventId | null);
  /** The failover that is called for: an operator's override names it. */
  incident?: (IncidentId | null);
  /** Who leads. */
  leader?: (CoordinatorId | null);
  /** The latest report of each node. */
  nodes: { [name: string]: Observation };
  /** The number of the last event that is contained in it. */
  number: number;
  /** The latest position of each server. */
  positions: { [name: string]: Position };
  /** Transactions that quarantined servers hold in excess. */
  quarantine: { [name: string]: string };
  /** The highest record known. */
  record?: (Record | null);
  /** The same in one sentence. */
  sentence: string;
  /** The failover under way, if any. */
  stage?: (StageName | null);
};

/** Where a failover stands. */
export type StageName = ("draining" | "recruiting" | "catching_up" | "promoting" | "opened" | "finished" | "undone");

/** Lets the primary hand over. */
export type SwitchoverWish = {
  /** When, as `2026-12-24T03:00:00Z`, at most 31 days ahead; left out: now. It is remembered by the cluster, and begins when the leader's clock says so, or within the ten minutes after that. */
  at?: (string | null);
  /** Only say what would be done. */
  dry_run?: boolean;
  /** Why, for everybody who wonders: 1 to 200 characters. */
  reason: string;
  /** Who takes over; left out: whoever would win a failover. */
  to?: (NodeId | null);
};

/** Events of a cluster that are kept nowhere, at most one heartbeat old: the message `telemetry`. */
export type Telemetry = {
  /** The cluster. */
  cluster: ClusterName;
  /** `health` and `position`, in the order in which they were told. */
  events: Array<Event>;
};

/** A replication thread. */
export type Thread = ("running" | "connecting" | "stopped");

/** A token of the feed: whoever shows it goes by this name. */
export type TokenName = string;

/** A refusal in parts. */
export type Why = {
  /** For programs: `unauthorized`, `unknown_cluster`, `forbidden` or `bad_since`. */
  code: string;
  /** What to do about it. */
  fix: string;
  /** What is wrong, for people. */
  sentence: string;
};

/** Servers of which `acks` must have a transaction before the primary acknowledges it. */
export type WriteGroup = {
  /** k: acknowledgements that a commit waits for, besides the primary's own disk. 0: asynchronous. */
  acks: number;
  /** With k = 0: the primary acknowledges only under a lease with a guard, so that the lease's end ends its acknowledging. False for one that was adopted, until its lease is seen. */
  leased?: boolean;
  /** The group, the primary included. */
  members: Array<NodeId>;
  /** The server that serves writes with this group; a subject of every proof made while the group counts. */
  primary: NodeId;
};

/** The outcome of the write probe. */
export type WriteProbe = ({
  state: "written";
  /** Milliseconds it took. */
  took_ms: number;
} | {
  /** Milliseconds since it was begun. */
  for_ms: number;
  state: "hung";
} | {
  state: "failed";
  /** The server's text. */
  text: string;
});

/** The names of events. */
export type EventName = Event['event'];
/** An event by its name, for tokens that see everything. */
export type Named<N extends EventName> = Extract<Event, { event: N }>;
/** An event by its name, as a token of role `public` sees it. */
export type PublicNamed<N extends EventName> = Extract<PublicEvent, { event: N }>;

/** Events that come together, in `telemetry`. */
export type TelemetryName = 'health' | 'position';
/** What the coordinator emits: `Socket<FromTasuki, ToTasuki>` is a stock client's socket. */
export type FromTasuki = {
  snapshot: (snapshot: Snapshot) => void;
  telemetry: (telemetry: Telemetry) => void;
  closing: (closing: Closing) => void;
} & { [N in Exclude<EventName, TelemetryName>]: (event: Named<N>) => void };
/** The same for tokens of role `public`. */
export type FromTasukiToThePublic = {
  snapshot: (snapshot: PublicSnapshot) => void;
  telemetry: (telemetry: PublicTelemetry) => void;
  closing: (closing: Closing) => void;
} & { [N in Exclude<PublicEvent['event'], TelemetryName>]: (event: PublicNamed<N>) => void };
/** What viewers emit. */
export interface ToTasuki {
  note: (note: NoteAsked, answered: (answer: Answer) => void) => void;
}
/** What an operator asks for: the body of the HTTP API's act, and the cluster. */
export type Act<W> = (asked: W & { cluster: string }, answered: (answer: Answer) => void) => void;
/** What operators emit in the namespace `/ops`. */
export interface ToTasukiOps {
  switchover: Act<SwitchoverWish>;
  'cancel-switchover': Act<CancelSwitchoverWish>;
  failover: Act<FailoverWish>;
  override: Act<OverrideWish>;
  reclone: Act<RecloneWish>;
  pause: Act<PauseWish>;
  resume: Act<ResumeWish>;
}
/** What `connect_error` is told when the coordinator refuses: `error.data`. */
export type RefusedError = Error & { data?: Denial['data'] };

/** A feed that misses nothing. */
export interface Feed {
  /** The stock client's socket. */
  readonly socket: Socket<FromTasuki, ToTasuki>;
  /** The last incident of each cluster: `since` of a later visit. */
  readonly last: { [cluster: string]: string };
  /** Why the coordinator let go, if it did. */
  closed?: Closing;
  on<N extends Exclude<keyof FromTasuki, 'telemetry'>>(name: N, handler: FromTasuki[N]): Feed;
  /** Telemetry is handed out event by event. */
  on<N extends TelemetryName>(name: N, handler: (event: Named<N>) => void): Feed;
  on(name: 'connect', handler: () => void): Feed;
  on(name: 'disconnect', handler: (reason: string) => void): Feed;
  on(name: 'connect_error', handler: (error: RefusedError) => void): Feed;
  onAny(handler: (name: string, value: unknown) => void): Feed;
  close(): void;
}
/** What `tasuki` takes: what the viewer shows, and options of the stock client. */
export interface Options {
  token?: string;
  cluster?: string;
  since?: { [cluster: string]: string };
  options?: Partial<ManagerOptions & SocketOptions>;
}
declare global {
  /** Follows a feed by the official client, and misses no incident. */
  function tasuki(url: string, options?: Options): Feed;
}
