// All clusters, worst first.

import { h, type Child } from '../dom';
import { judge, worstFirst } from '../judge';
import type { Cluster } from '../model';
import { state } from '../state';
import { lasting } from '../words';
import { guarantee } from './forecast';

function card(cluster: Cluster): Child {
  const verdict = judge(cluster);
  if (!verdict) return h('li', { key: cluster.name, class: 'card row' }, h('h2', null, cluster.name), h('p', null, 'Nothing was told yet.'));
  const { snapshot } = cluster;
  return h('li', { key: cluster.name, class: 'row', 'data-severity': verdict.severity },
    h('a', { class: 'card', href: `#/${cluster.name}` },
      h('div', { class: 'row-head' }, h('h2', null, cluster.name), h('span', { class: 'pill' }, verdict.word),
        verdict.since ? h('span', { class: 'muted' }, `for ${lasting(Math.max(0, Date.now() - verdict.since))}`) : null),
      h('p', { class: 'row-sentence' }, verdict.sentence),
      h('dl', { class: 'pairs' },
        h('div', null, h('dt', null, 'Primary'), h('dd', null, snapshot?.record?.primary ?? 'none')),
        h('div', null, h('dt', null, 'Guarantee'), h('dd', null, snapshot?.forecast ? guarantee(snapshot.forecast.guarantee)[0] : 'not known yet')),
        h('div', null, h('dt', null, 'You'), h('dd', null, verdict.you.length > 0 ? `${verdict.you.length} to do` : 'nothing to do')))));
}

export function overview(): Child {
  const all = worstFirst([...state.clusters.values()]);
  return h('main', { id: 'main', class: 'overview' }, h('h1', null, 'Clusters'),
    all.length > 0 ? h('ul', { class: 'rows' }, all.map(card)) : h('p', null, 'This token opens no cluster here.'));
}
