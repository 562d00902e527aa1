// What is known of a cluster: the snapshot, kept current by events, and the incidents' events since.

import type { Event as Happened } from './generated/event';
import type { Snapshot } from './generated/snapshot';
import { missing } from './gtid';

export type { Happened, Snapshot };
export type Named<N extends string> = Extract<Happened, { event: N }>;
export type Observation = Snapshot['nodes'][string];
export type Position = Snapshot['positions'][string];
export type Forecast = NonNullable<Snapshot['forecast']>;
export type Outlook = Forecast['crash'];

/** Incidents' events that are kept, oldest first. */
const MOST = 2000;
/** Positions of the primary that are kept: one a second. */
const POSITIONS = 90;

export interface Lag { behind: number; ms: number }

export interface Cluster {
  name: string;
  snapshot: Snapshot | null;
  events: Happened[];
  /** When each node was last heard here, by this browser's clock. */
  heard: Map<string, number>;
  /** Where the primary was, newest last. */
  trail: { at: number; executed: Position['executed'] }[];
  lags: Map<string, Lag>;
}

export const fresh = (name: string): Cluster => ({ name, snapshot: null, events: [], heard: new Map(), trail: [], lags: new Map() });

export const isTelemetry = (event: Happened) => event.event === 'health' || event.event === 'position';
const identity = (event: Happened) => event.id ?? `${event.coordinator}/${event.at_ms}/${event.number}`;

/** Takes a snapshot; what is newer than it comes as events. */
export function take(cluster: Cluster, snapshot: Snapshot, now: number): void {
  cluster.snapshot = snapshot;
  for (const node of Object.keys(snapshot.nodes ?? {})) if (!cluster.heard.has(node)) cluster.heard.set(node, now);
}

/** Keeps events that are told again, or come from the history, once and in order. */
export function remember(cluster: Cluster, events: Happened[]): void {
  const known = new Set(cluster.events.map(identity));
  const added = events.filter((event) => !isTelemetry(event) && !known.has(identity(event)) && known.add(identity(event)));
  if (added.length === 0) return;
  const last = cluster.events.at(-1)?.at_ms ?? 0;
  const sorted = added.every((event) => event.at_ms >= last);
  cluster.events.push(...added);
  if (!sorted) cluster.events.sort((a, b) => a.at_ms - b.at_ms);
  if (cluster.events.length > MOST) cluster.events.splice(0, cluster.events.length - MOST);
}

/** Takes a live event. */
export function apply(cluster: Cluster, event: Happened, now: number): void {
  const { snapshot } = cluster;
  remember(cluster, [event]);
  // An incident is handed out a moment after it was told: a snapshot may know it already.
  if (!snapshot || (event.coordinator === snapshot.coordinator && event.number <= snapshot.number)) return;
  if (event.event === 'health') {
    snapshot.nodes[event.observation.node] = event.observation;
    cluster.heard.set(event.observation.node, now);
  } else if (event.event === 'position') {
    place(cluster, event.position, now);
  } else {
    change(snapshot, event);
  }
}

/** What an event changes in the picture. */
export function change(snapshot: Snapshot, event: Happened): void {
  switch (event.event) {
    case 'diagnosis':
      snapshot.diagnosis = event.diagnosis;
      snapshot.sentence = event.sentence;
      snapshot.holds = [];
      break;
    case 'decided':
      snapshot.record = event.record;
      snapshot.epoch = event.record.epoch;
      break;
    case 'stage':
      snapshot.stage = event.stage === 'finished' || event.stage === 'undone' ? null : event.stage;
      snapshot.holds = [];
      break;
    case 'hold':
      snapshot.holds = event.reasons;
      break;
    case 'forecast':
      snapshot.forecast = event.forecast;
      break;
    case 'pause':
      if (snapshot.record) snapshot.record.pause = event.pause ?? null;
      break;
    case 'leader':
      snapshot.leader = event.leader ?? null;
      break;
  }
}

function place(cluster: Cluster, position: Position, now: number): void {
  const snapshot = cluster.snapshot;
  if (!snapshot) return;
  snapshot.positions[position.node] = position;
  cluster.heard.set(position.node, now);
  if (position.node === snapshot.record?.primary) {
    cluster.trail.push({ at: now, executed: position.executed });
    if (cluster.trail.length > POSITIONS) cluster.trail.shift();
    cluster.lags.delete(position.node);
    return;
  }
  // Two positions are never of the same moment: a replica is held against the primary's of a moment before.
  const newest = cluster.trail.at(-1);
  if (!newest || newest.executed.flavour !== position.executed.flavour) return;
  const behind = missing(newest.executed, position.executed);
  const had = behind === 0 ? newest : cluster.trail.findLast((point) => missing(point.executed, position.executed) === 0);
  cluster.lags.set(position.node, { behind, ms: behind === 0 ? 0 : now - (had ?? cluster.trail[0] ?? newest).at });
}

/** The stage events of one failover or switchover. */
export interface Run {
  old: string;
  candidate: string | null;
  planned: boolean;
  stages: Named<'stage'>[];
  /** Milliseconds from the beginning until clients could write; null if they never could by it. */
  open_ms: number | null;
  ended: boolean;
  undone: boolean;
}

/** Failovers among events, oldest first. */
export function runs(events: Happened[]): Run[] {
  const found: Run[] = [];
  for (const event of events) {
    if (event.event !== 'stage') continue;
    let run = found.at(-1);
    const last = run?.stages.at(-1);
    const begins = event.stage === 'draining' || (event.stage === 'recruiting' && last?.stage !== 'draining');
    if (!run || !last || run.ended || run.old !== event.old || (begins && event.after_ms < last.after_ms)) {
      run = { old: event.old, candidate: null, planned: false, stages: [], open_ms: null, ended: false, undone: false };
      found.push(run);
    }
    run.stages.push(event);
    run.candidate = event.candidate ?? run.candidate;
    run.planned ||= event.stage === 'draining';
    if (event.stage === 'opened') run.open_ms = event.after_ms;
    run.undone = event.stage === 'undone';
    run.ended = run.undone || event.stage === 'finished';
  }
  return found;
}

/** Something that was wrong for a while: events between two healthy diagnoses. */
export interface Incident { events: Happened[]; from: number; to: number | null; runs: Run[] }

/** Groups events: incidents, and single events between them, oldest first. */
export function incidents(events: Happened[]): (Incident | Happened)[] {
  const rows: (Incident | Happened)[] = [];
  let open: Incident | null = null;
  for (const event of events) {
    const wrong = event.event === 'diagnosis' && event.diagnosis.diagnosis !== 'healthy';
    if (!open && (wrong || (event.event === 'stage' && event.stage !== 'finished') || event.event === 'hold')) {
      open = { events: [], from: event.at_ms, to: null, runs: [] };
      rows.push(open);
    }
    if (!open) {
      rows.push(event);
      continue;
    }
    open.events.push(event);
    const under = runs(open.events).at(-1);
    if (event.event === 'diagnosis' && !wrong && (!under || under.ended)) {
      open.to = event.at_ms;
      open.runs = runs(open.events);
      open = null;
    }
  }
  if (open) open.runs = runs(open.events);
  return rows;
}

export const isIncident = (row: Incident | Happened): row is Incident => 'events' in row;
