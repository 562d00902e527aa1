// One cluster: what is wrong, who is who, what would happen, what happened.

import { h, type Child } from '../dom';
import { judge, type Verdict } from '../judge';
import type { Cluster } from '../model';
import { runs } from '../model';
import { opened } from '../operate';
import { at } from '../replay';
import { may, state } from '../state';
import { lasting, timeOf } from '../words';
import { forecastView } from './forecast';
import { replayBar } from './replay';
import { sentence } from './text';
import { timeline } from './timeline';
import { SILENT, topology } from './topology';
import { waterfall } from './waterfall';

/** A failover is news for so long. */
const RECENT = 10 * 60_000;

function sinceWhen(verdict: Verdict, now: number): string {
  if (verdict.since === null) return 'since before this page was opened';
  return `since ${timeOf(verdict.since)}, for ${lasting(Math.max(0, now - verdict.since))}`;
}

function hero(cluster: Cluster, verdict: Verdict, now: number): Child {
  const record = cluster.snapshot?.record;
  const todo = verdict.you;
  return h('section', { class: 'hero', 'data-severity': verdict.severity, 'aria-labelledby': 'wrong' },
    h('div', { class: 'what' },
      h('p', { class: 'state' }, h('span', { class: 'pill' }, verdict.word), h('span', { class: 'muted' }, sinceWhen(verdict, now))),
      h('h1', { id: 'wrong' }, h('span', { class: 'hidden' }, `Cluster ${cluster.name}: `), sentence(verdict.sentence)),
      h('dl', { class: 'who' },
        h('div', null, h('dt', null, 'Tasuki'), h('dd', null, sentence(verdict.tasuki))),
        h('div', { class: todo.length > 0 ? 'todo' : '' }, h('dt', null, 'You'), h('dd', null,
          todo.length === 0 ? 'Nothing to do.' : todo.length === 1 ? sentence(todo[0] ?? '') : h('ul', null, todo.map((it) => h('li', null, sentence(it)))))))),
    h('div', { class: 'throne' }, h('p', { class: 'muted' }, 'Primary of ', h('strong', null, cluster.name)),
      h('p', { class: 'name', id: 'primary' }, record?.primary ?? 'none'),
      h('p', { class: 'muted' }, reign(cluster))));
}

function reign(cluster: Cluster): string {
  const { snapshot } = cluster;
  const record = snapshot?.record;
  if (!record) return 'no record yet';
  const server = snapshot.nodes?.[record.primary]?.server;
  const group = record.groups?.at(-1);
  const heard = cluster.heard.get(record.primary);
  if (!state.replay && heard !== undefined && Date.now() - heard > SILENT) return 'not heard any more';
  if (!server?.serving) return 'not open to clients';
  const replicas = (group?.members.length ?? 1) - 1;
  return group && group.acks > 0 ? `open; each write waits for ${group.acks} of ${replicas} replica${replicas === 1 ? '' : 's'}` : 'open; it acknowledges alone';
}

function acts(cluster: Cluster, redraw: () => void): Child {
  if (!may('operator') || state.replay) return null;
  const { pause: paused, planned } = cluster.snapshot?.record ?? {};
  return h('div', { class: 'acts', role: 'group', 'aria-label': 'Operate' },
    h('button', { type: 'button', onclick: () => opened('switchover', cluster.name, redraw) }, 'Switch over …'),
    planned ? h('button', { type: 'button', onclick: () => opened('cancel-switchover', cluster.name, redraw) }, 'Give up the planned switchover …') : null,
    paused ? h('button', { type: 'button', onclick: () => opened('resume', cluster.name, redraw) }, 'Resume failovers …')
      : h('button', { type: 'button', onclick: () => opened('pause', cluster.name, redraw) }, 'Pause failovers …'));
}

export function clusterView(name: string, redraw: () => void): Child {
  const live = state.clusters.get(name);
  if (!live) return h('main', { id: 'main', class: 'wait' }, h('h1', null, `No cluster ${name}`), h('p', null, 'This token does not open it here. ', h('a', { href: '#/' }, 'All clusters')));
  const replay = state.replay?.cluster === name ? state.replay : null;
  const shown = replay ? at(live, replay) : live;
  const verdict = judge(shown);
  if (!verdict) return h('main', { id: 'main', class: 'wait' }, h('p', null, 'Nothing was told of this cluster yet.'));
  const now = replay ? replay.at : Date.now();
  const run = runs(shown.events).at(-1) ?? null;
  const began = run?.stages[0]?.at_ms ?? 0;
  // What has just happened is looked at before what might.
  const late = !replay && now - began > RECENT;
  const [fall, outlook] = [waterfall(run, now), replay ? null : forecastView(shown)];
  return h('main', { id: 'main', class: replay ? 'cluster replaying' : 'cluster' },
    replay ? replayBar(replay, redraw) : null,
    hero(shown, verdict, now),
    h('div', { class: 'columns' },
      h('div', { class: 'column' }, topology(shown, replay !== null, acts(live, redraw))),
      h('div', { class: 'column' }, late ? [outlook, fall] : [fall, outlook]),
      h('div', { class: 'column last' }, timeline(live, redraw))));
}
