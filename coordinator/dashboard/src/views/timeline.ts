// What happened, newest first, with everybody's notes; any incident can be seen again.

import { h, type Child } from '../dom';
import { incidents, isIncident, type Cluster, type Happened, type Incident } from '../model';
import { began } from '../replay';
import { may, state } from '../state';
import { dayOf, lasting, precise, timeOf } from '../words';
import { sentence } from './text';

/** Rows that are drawn at first. */
const SHOWN = 60;
let more = false;

/** The sentence of an event. */
export function tells(event: Happened): string {
  switch (event.event) {
    case 'diagnosis':
    case 'forecast':
    case 'pause':
    case 'fence':
    case 'override':
    case 'switchover':
    case 'would_have': return event.sentence;
    case 'repair':
    case 'voters': return `${event.node}: ${event.sentence}`;
    case 'hold': return `Waits: ${event.reasons.join('; ')}`;
    case 'stage': return `${event.stage.replace('_', ' ')}${event.candidate ? `: ${event.candidate}` : ''} after ${lasting(event.after_ms)}`;
    case 'decided': {
      const group = event.record.groups.at(-1);
      return `Recorded: ${event.record.primary} is the primary${event.record.opened ? '' : ', not confirmed yet'}; ${group?.members.join(' ')} with ${group?.acks ?? 0} acknowledgements`;
    }
    case 'leader': return event.leader ? `${event.leader} leads` : 'Nobody leads';
    case 'health':
    case 'position': return '';
    case 'note': return `${event.by}: ${event.text}`;
    case 'act': return `${event.by} asked for ${event.what}`;
  }
}

function item(event: Happened): Child {
  return h('li', { key: `e-${event.coordinator}-${event.at_ms}-${event.number}`, class: `event ${event.event}` },
    h('time', { datetime: new Date(event.at_ms).toISOString(), title: precise(event.at_ms) }, timeOf(event.at_ms)),
    event.event === 'note' ? h('p', { class: 'said' }, h('strong', null, event.by), ' ', event.text) : h('p', null, sentence(tells(event))));
}

function title(incident: Incident): string {
  const run = incident.runs.at(-1);
  if (run?.undone) return `${run.old}: an attempt was undone`;
  if (run?.candidate && run.candidate !== run.old) return `${run.planned ? 'Switchover' : 'Failover'} ${run.old} → ${run.candidate}`;
  const first = incident.events.find((event) => event.event === 'diagnosis');
  return first?.event === 'diagnosis' ? first.sentence : 'An incident';
}

function group(cluster: Cluster, incident: Incident, redraw: () => void): Child {
  const run = incident.runs.at(-1);
  const length = incident.to === null ? 'goes on' : `over after ${lasting(incident.to - incident.from)}`;
  const facts = run?.open_ms != null ? `writes again after ${lasting(run.open_ms)}, ${length}` : length;
  return h('li', { key: `i-${incident.from}`, class: incident.to !== null ? 'incident' : run?.ended ? 'incident lasting' : 'incident going' },
    h('div', { class: 'incident-head' },
      h('time', { datetime: new Date(incident.from).toISOString(), title: dayOf(incident.from) }, timeOf(incident.from)),
      h('p', null, h('strong', null, title(incident)), h('span', { class: 'muted' }, ` ${facts}`)),
      h('button', { type: 'button', class: 'quiet', onclick: () => began(cluster.name, incident, redraw) }, 'Replay')),
    h('details', null, h('summary', null, `${incident.events.length} events`),
      h('ol', { class: 'events' }, incident.events.map(item))),
    h('ol', { class: 'events' }, incident.events.filter((event) => event.event === 'note').map(item)));
}

let refused = '';

function writer(cluster: Cluster, redraw: () => void): Child {
  if (!may('viewer')) return null;
  const send = (event: Event) => {
    event.preventDefault();
    const field = (event.target as HTMLFormElement).elements.namedItem('note') as HTMLInputElement;
    const text = field.value.trim();
    if (!text || !state.socket) return;
    state.socket.timeout(5000).emit('note', { cluster: cluster.name, text }, (late: Error | null, answer?: { ok: boolean; error?: string }) => {
      refused = late ? 'The note was not taken in time; send it again.' : answer?.ok ? '' : (answer?.error ?? 'The note was refused.');
      if (!refused) field.value = '';
      redraw();
    });
  };
  return h('form', { class: 'writer', onsubmit: send },
    h('label', { for: 'note', class: 'hidden' }, 'A note to everybody who watches'),
    h('input', { id: 'note', name: 'note', maxlength: 500, autocomplete: 'off', placeholder: 'A note to everybody who watches' }),
    h('button', { class: 'primary' }, 'Send'),
    refused ? h('p', { class: 'error', role: 'alert' }, refused) : null);
}

/** Told for completeness: between incidents they are shown on demand. */
const QUIET = ['forecast', 'decided', 'leader', 'stage', 'diagnosis'];
let everything = false;

export function timeline(cluster: Cluster, redraw: () => void): Child {
  const all = incidents(cluster.events).reverse();
  const rows = everything ? all : all.filter((row) => isIncident(row) || !QUIET.includes(row.event));
  const shown = more ? rows : rows.slice(0, SHOWN);
  return h('section', { class: 'card timeline', 'aria-labelledby': 'timeline' },
    h('div', { class: 'head' }, h('h2', { id: 'timeline' }, 'What happened'),
      all.length > 0 ? h('button', { type: 'button', class: 'quiet small', 'aria-pressed': everything ? 'true' : 'false', onclick: () => ((everything = !everything), redraw()) },
        everything ? 'Show less' : 'Show everything') : null),
    writer(cluster, redraw),
    rows.length === 0 ? h('p', { class: 'muted' }, all.length > 0 ? 'Nothing was wrong.' : 'Nothing is in history yet.') : null,
    h('ol', { class: 'events' }, shown.map((row) => (isIncident(row) ? group(cluster, row, redraw) : item(row)))),
    rows.length > shown.length ? h('button', { type: 'button', class: 'quiet', onclick: () => ((more = true), redraw()) }, `${rows.length - shown.length} earlier`) : null);
}
