// If the primary died now.

import { h, type Child } from '../dom';
import { winners } from '../judge';
import type { Cluster, Forecast, Outlook } from '../model';
import { lasting } from '../words';
import { sentence } from './text';

/** What a cluster promises: a word, a sentence, how good it is. */
export function guarantee(promised: Forecast['guarantee']): [string, string, string] {
  switch (promised) {
    case 'lossless': return ['Lossless', 'Every acknowledged write is on a replica as well.', 'ok'];
    case 'leased': return ['Leased', 'A lost host is failed over; the last moments may be lost with it.', 'warn'];
    case 'manual': return ['Manual', 'What can be proved is failed over; the rest waits for people.', 'warn'];
  }
}

function outlook(title: string, it: Outlook): Child {
  const nobody = !it.winner;
  return h('div', { class: 'outlook', 'data-severity': nobody ? 'bad' : it.loss === 'nothing' ? 'ok' : 'warn' },
    h('h3', null, title),
    h('p', { class: 'winner' }, nobody ? 'nobody' : winners(it)),
    h('p', null, nobody ? 'waits for people' : [it.expected_ms == null ? 'takes over' : `takes over in about ${lasting(it.expected_ms)}`]),
    h('p', { class: 'loss' }, it.loss === 'nothing' ? 'loses nothing' : 'may lose the last moments'),
    it.blockers.length > 0 ? h('ul', { class: 'blockers' }, it.blockers.map((blocker) =>
      h('li', null, sentence(blocker.what), h('span', { class: 'fix' }, sentence(blocker.fix))))) : null);
}

function reasons(forecast: Forecast): Child {
  const same = forecast.crash.reasons.join('\n') === forecast.host_loss.reasons.join('\n');
  const list = (it: Outlook) => h('ul', null, it.reasons.map((reason) => h('li', null, sentence(reason))));
  return h('details', null, h('summary', null, 'Why, and why not the others'),
    same ? list(forecast.crash) : [h('h3', null, 'If its process dies'), list(forecast.crash), h('h3', null, 'If its host is lost'), list(forecast.host_loss)]);
}

export function forecastView(cluster: Cluster): Child {
  const forecast = cluster.snapshot?.forecast;
  if (!forecast) {
    return h('section', { key: 'forecast', class: 'card forecast', 'aria-labelledby': 'forecast' }, h('h2', { id: 'forecast' }, 'If the primary died now'),
      h('p', { class: 'muted' }, 'There is no forecast while no primary serves.'));
  }
  const [word, promise, severity] = guarantee(forecast.guarantee);
  return h('section', { key: 'forecast', class: 'card forecast', 'aria-labelledby': 'forecast' },
    h('div', { class: 'head' }, h('h2', { id: 'forecast' }, `If ${forecast.primary} died now`), h('span', { class: 'pill', 'data-severity': severity, title: promise }, word)),
    h('div', { class: 'outlooks' }, outlook('Its process dies', forecast.crash), outlook('Its host is lost', forecast.host_loss)),
    h('p', { class: 'muted' }, promise),
    forecast.lacking.length > 0 ? h('ul', { class: 'blockers' }, forecast.lacking.map((blocker) =>
      h('li', null, sentence(blocker.what), h('span', { class: 'fix' }, sentence(blocker.fix))))) : null,
    reasons(forecast));
}
