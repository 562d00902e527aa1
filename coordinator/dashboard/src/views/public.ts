// What a token of role `public` sees: states and times.

import { h, type Child } from '../dom';
import { state } from '../state';
import { lasting } from '../words';
import { guarantee } from './forecast';

/** A cluster as the public sees it (`PublicSnapshot`). */
export interface PublicSnapshot {
  cluster: string;
  opened: boolean;
  held: boolean;
  diagnosis: string;
  stage: string | null;
  servers: { part: string; condition: string }[];
  forecast: { guarantee: 'lossless' | 'leased' | 'manual'; crash: { expected_ms: number | null } } | null;
}

function card(it: PublicSnapshot): Child {
  const well = it.diagnosis === 'healthy';
  const severity = it.stage ? 'act' : well ? 'ok' : it.held || !it.opened ? 'bad' : 'warn';
  const up = it.servers.filter((server) => server.condition === 'up').length;
  const expected = it.forecast?.crash.expected_ms;
  return h('li', { key: it.cluster, class: 'row', 'data-severity': severity }, h('div', { class: 'card' },
    h('div', { class: 'row-head' }, h('h2', null, it.cluster), h('span', { class: 'pill' }, it.stage ? 'Failing over' : well ? 'All is well' : it.opened ? 'Needs a look' : 'Down')),
    h('p', { class: 'row-sentence' }, `Diagnosis: ${it.diagnosis.replaceAll('_', ' ')}.`),
    h('dl', { class: 'pairs' },
      h('div', null, h('dt', null, 'Servers'), h('dd', null, `${up} of ${it.servers.length} up`)),
      h('div', null, h('dt', null, 'Guarantee'), h('dd', null, it.forecast ? guarantee(it.forecast.guarantee)[0] : 'not known yet')),
      h('div', null, h('dt', null, 'After a crash'), h('dd', null, expected == null ? 'waits for people' : `back in ${lasting(expected)}`)))));
}

export function publicView(): Child {
  const all = [...state.public.values()].sort((a, b) => a.cluster.localeCompare(b.cluster));
  return h('main', { id: 'main', class: 'overview' }, h('h1', null, 'Clusters'),
    all.length > 0 ? h('ul', { class: 'rows' }, all.map(card)) : h('p', null, 'Nothing was told yet.'));
}
