// How bad it is, since when, what is done about it, and what people must do.

import { advice } from './advice';
import type { Cluster, Happened, Snapshot } from './model';
import { lasting, timeOf } from './words';

export type Severity = 'bad' | 'act' | 'warn' | 'ok';
const ORDER: Severity[] = ['bad', 'act', 'warn', 'ok'];

type Kind = Snapshot['diagnosis']['diagnosis'];

const DOWN: Kind[] = ['primary_crashed', 'primary_stopped', 'primary_closed', 'primary_hung', 'primary_host_lost', 'primary_isolated',
  'two_primaries', 'attempt_unfinished'];

export interface Verdict {
  severity: Severity;
  /** One or two words. */
  word: string;
  sentence: string;
  /** Milliseconds since 1970, if it is known. */
  since: number | null;
  tasuki: string;
  /** What people must do; empty if nothing. */
  you: string[];
}

function graded(snapshot: Snapshot): [Severity, string] {
  const kind = snapshot.diagnosis.diagnosis;
  const writesFail = snapshot.diagnosis.diagnosis === 'disk_full' && snapshot.diagnosis.writes_fail === true;
  if (snapshot.stage) return ['act', snapshot.stage === 'draining' || kind === 'switchover' ? 'Switching over' : 'Failing over'];
  if (kind === 'switchover') return ['act', 'Switching over'];
  if (DOWN.includes(kind) || writesFail) return ['bad', (snapshot.holds ?? []).length > 0 ? 'Waits for you' : 'Down'];
  if (kind === 'coordinator_blind') return ['bad', 'Blind'];
  if ((snapshot.holds ?? []).length > 0) return ['bad', 'Waits for you'];
  if (kind === 'unborn') return ['warn', 'Not born'];
  if (kind !== 'healthy') return ['warn', 'Needs a look'];
  if (snapshot.record?.pause) return ['warn', 'Paused'];
  const forecast = snapshot.forecast;
  if (forecast && (!forecast.crash.winner || !forecast.host_loss.winner)) return ['warn', 'Exposed'];
  return ['ok', 'All is well'];
}

function since(events: Happened[]): number | null {
  const last = events.findLast((event) => event.event === 'diagnosis' || (event.event === 'stage' && event.stage === 'draining'));
  return last?.at_ms ?? null;
}

const STAGES: Record<NonNullable<Snapshot['stage']>, string> = {
  draining: 'It lets what is being written end, and closes the primary.',
  recruiting: 'It asks the voters, and makes sure that the old primary can acknowledge nothing any more.',
  catching_up: 'It gives the new primary what it still lacks.',
  promoting: 'It records the new primary, opens it, and lets the others follow.',
  opened: 'Clients write again; it waits for the first write to be on a replica too.',
  finished: 'It is done.',
  undone: 'It named the old primary again.',
};

function doing(snapshot: Snapshot): string {
  const { forecast, record } = snapshot;
  if (record?.mode === 'observe') return 'It only observes: it changes nothing on any server.';
  if (snapshot.stage) return STAGES[snapshot.stage];
  if (record?.pause) return `It begins no failover: ${record.pause.owner} paused it (${record.pause.reason}).`;
  if ((snapshot.holds ?? []).length > 0) return 'It waits, because it will not guess.';
  if (snapshot.diagnosis.diagnosis === 'unborn') return 'Nothing yet.';
  if (!snapshot.leader) return 'No coordinator leads right now; one of them takes over within a second or two.';
  if (!forecast) return 'It watches.';
  const { crash, primary } = forecast;
  if (!crash.winner) return `It watches; if ${primary} died now, nobody would take over by itself.`;
  const time = crash.expected_ms == null ? '' : ` in about ${lasting(crash.expected_ms)}`;
  const loss = crash.loss === 'nothing' ? 'nothing would be lost' : 'the last moments may be lost';
  return `It watches. If ${primary} died now, ${winners(crash)} would take over${time}, and ${loss}.`;
}

/** What people planned, with the day and the time of this browser. */
function planned(snapshot: Snapshot): string {
  const plan = snapshot.record?.planned;
  if (!plan) return '';
  return ` It hands over to ${plan.to ?? 'whoever is best then'} at ${timeOf(Date.parse(plan.at))}, as ${plan.by} planned (${plan.reason}).`;
}

export function winners(outlook: { winner?: string | null; or?: string[] }): string {
  return [outlook.winner, ...(outlook.or ?? [])].filter(Boolean).join(' or ');
}

/** While a primary is replaced, what it is replaced for is said, not what follows from that. */
function sentenceOf(cluster: Cluster, snapshot: Snapshot): string {
  const replaced = snapshot.stage && !DOWN.includes(snapshot.diagnosis.diagnosis) && snapshot.diagnosis.diagnosis !== 'switchover';
  const cause = replaced && cluster.events.findLast((event) => event.event === 'diagnosis'
    && (DOWN.includes(event.diagnosis.diagnosis) || event.diagnosis.diagnosis === 'switchover'));
  return (cause && cause.event === 'diagnosis' ? cause.sentence : snapshot.sentence) ?? '';
}

/** The picture in words. */
export function judge(cluster: Cluster): Verdict | null {
  const { snapshot } = cluster;
  if (!snapshot) return null;
  const [severity, word] = graded(snapshot);
  return {
    severity, word, sentence: sentenceOf(cluster, snapshot), since: since(cluster.events), tasuki: doing(snapshot) + planned(snapshot), you: advice(snapshot),
  };
}

/** Worst first, then by name. */
export function worstFirst(clusters: Cluster[]): Cluster[] {
  const rank = (cluster: Cluster) => {
    const verdict = judge(cluster);
    return verdict ? ORDER.indexOf(verdict.severity) : -1;
  };
  return [...clusters].sort((a, b) => rank(a) - rank(b) || a.name.localeCompare(b.name));
}
