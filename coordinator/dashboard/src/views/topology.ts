// Who follows whom, how far each is, and what keeps it from more.

import { isDown } from '../advice';
import { h, type Child } from '../dom';
import { runs, type Cluster, type Observation } from '../model';
import { count, lasting, short } from '../words';
import { sentence } from './text';

/** A node that was not heard for so long is said to be silent. */
export const SILENT = 4000;

type Server = NonNullable<Observation['server']>;

interface Found { severity: 'ok' | 'warn' | 'bad'; word: string; notes: string[] }

function connection(server: Server): [string, string] | null {
  if (server.process.state === 'exited') return ['down', server.process.clean ? 'It was stopped.' : 'Its process is gone.'];
  switch (server.connection?.state) {
    case 'closed': return ['down', 'Nobody listens at its port.'];
    case 'refused': return ['refuses', server.connection.text];
    case 'silent': return ['hangs', `It has not answered for ${lasting(server.connection.for_ms)}.`];
    default: return null;
  }
}

function replica(server: Server, inGroup: boolean): Found {
  const replication = server.facts?.replication;
  if (!replication) return { severity: 'warn', word: 'follows nobody', notes: [] };
  const notes = replication.error ? [replication.error] : [];
  if (replication.receiver !== 'running') return { severity: 'bad', word: `receiver ${replication.receiver}`, notes };
  if (replication.applier !== 'running') return { severity: 'bad', word: `applier ${replication.applier}`, notes };
  return { severity: 'ok', word: inGroup ? 'follows and acknowledges' : 'follows', notes };
}

function judged(cluster: Cluster, name: string): Found {
  const { snapshot } = cluster;
  const server = snapshot?.nodes?.[name]?.server;
  const heard = cluster.heard.get(name);
  if (!server || heard === undefined) return { severity: 'bad', word: 'not heard', notes: [] };
  const silent = Date.now() - heard;
  if (silent > SILENT) return { severity: 'bad', word: `silent for ${lasting(silent)}`, notes: [] };
  const record = snapshot.record;
  const out = connection(server);
  const extras = snapshot.quarantine?.[name];
  let found: Found;
  if (out) found = { severity: 'bad', word: out[0], notes: [out[1]] };
  else if (name === record?.primary) found = server.serving ? { severity: 'ok', word: 'open to clients', notes: [] } : { severity: 'bad', word: 'closed', notes: [] };
  else found = replica(server, record?.groups?.at(-1)?.members.includes(name) ?? false);
  if (extras) found = { severity: 'warn', word: 'quarantined', notes: [...found.notes, `It holds in excess: ${short(extras).replaceAll('\n', ' ')}.`] };
  if (name !== record?.primary && server.facts?.writable) found = { severity: 'bad', word: 'takes writes', notes: found.notes };
  const gates = (server.facts?.failing_gates ?? []).map((gate) => `${gate.setting} is ${gate.found}: set \`${gate.fix}\`.`);
  const notes = [...found.notes, ...gates, ...(server.strangers ?? []), ...(server.facts?.unsupported ? [server.facts.unsupported] : []),
    ...(server.facts?.disk ? [server.facts.disk] : []), ...recloning(server)];
  return { severity: notes.length > 0 && found.severity === 'ok' ? 'warn' : found.severity, word: found.word, notes };
}

function recloning(server: Server): string[] {
  const it = server.reclone;
  if (!it) return [];
  switch (it.stage) {
    case 'copying': return [`It is copied anew from ${it.donor}: ${Math.round((100 * it.bytes) / Math.max(1, it.expected))} %.`];
    case 'preparing':
    case 'copied': return [`Its copy of ${it.donor} is being made ready.`];
    case 'exchanging': return [`It changes to its copy of ${it.donor}: ${it.step}.`];
    case 'failed': return [`Its re-clone from ${it.donor} failed: ${it.reason}`];
    case 'done': return [];
  }
}

function lag(cluster: Cluster, name: string): Child {
  const { snapshot } = cluster;
  if (name === snapshot?.record?.primary || isDown(snapshot?.nodes?.[name])) return null;
  const lag = cluster.lags.get(name);
  if (!lag) return h('div', null, h('dt', null, 'Lag'), h('dd', null, '…'));
  return h('div', { class: lag.behind > 0 ? 'late' : '' }, h('dt', null, 'Lag'),
    h('dd', null, lag.behind === 0 ? 'none' : `${count(lag.behind)} behind, ${lag.ms < 2000 ? 'about a second' : lasting(lag.ms)}`));
}

function card(cluster: Cluster, name: string, replaying: boolean): Child {
  const { snapshot } = cluster;
  const primary = snapshot?.record?.primary === name;
  const replaced = cluster.snapshot?.stage ? runs(cluster.events).at(-1)?.old : undefined;
  const past = { severity: primary ? 'ok' : name === replaced ? 'bad' : '', word: name === replaced ? 'being replaced' : primary ? 'named by the record' : '', notes: [] };
  const found = replaying ? past : judged(cluster, name);
  const position = snapshot?.positions?.[name];
  const identity = snapshot?.nodes?.[name]?.server?.identity;
  const version = identity ? `${identity.flavour === 'mysql' ? 'MySQL' : 'MariaDB'} ${identity.version.split('-')[0]}` : '';
  return h(primary ? 'div' : 'li', { key: `server-${name}`, class: primary ? 'server is-primary' : 'server', 'data-severity': found.severity },
    h('div', { class: 'server-head' }, h('h3', null, name), h('span', { class: 'role' }, primary ? 'primary' : 'replica')),
    found.word ? h('p', { class: 'server-state' }, found.word) : null,
    replaying ? null : h('dl', { class: 'pairs' }, lag(cluster, name),
      position ? h('div', { class: 'gtid' }, h('dt', null, 'GTID'), h('dd', { title: position.executed.set }, short(position.executed.set) || 'none')) : null,
      version ? h('div', null, h('dt', null, 'Server'), h('dd', null, version)) : null),
    found.notes.map((note) => h('p', { class: 'note' }, sentence(note))));
}

export function topology(cluster: Cluster, replaying: boolean, acts: Child): Child {
  const { snapshot } = cluster;
  const nodes = snapshot?.nodes ?? {};
  const voters = Object.keys(snapshot?.record?.voters ?? {});
  const names = [...new Set([...Object.keys(nodes), ...voters])].sort();
  const witnesses = names.filter((name) => nodes[name] && !nodes[name].server);
  const servers = names.filter((name) => !witnesses.includes(name));
  const primary = snapshot?.record?.primary;
  return h('section', { class: 'card', 'aria-labelledby': 'topology' },
    h('div', { class: 'head' }, h('h2', { id: 'topology' }, 'Servers'), acts),
    h('div', { class: 'tree' },
      primary ? card(cluster, primary, replaying) : null,
      h('ul', { class: 'replicas', 'aria-label': 'Replicas' }, servers.filter((name) => name !== primary).map((name) => card(cluster, name, replaying)))),
    h('p', { class: 'muted small' }, snapshot?.leader ? `${snapshot.leader} leads` : 'Nobody leads',
      `, ${voters.length} voters`, witnesses.length > 0 ? ` (${witnesses.join(', ')} without a database)` : '',
      snapshot?.record?.mode === 'observe' ? ', observed only' : ''));
}
