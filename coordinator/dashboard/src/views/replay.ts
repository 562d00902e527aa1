// The controls of a replay.

import { h, type Child } from '../dom';
import { ended, moments, moved, played } from '../replay';
import type { Replay } from '../state';
import { lasting, precise } from '../words';

export function replayBar(replay: Replay, redraw: () => void): Child {
  const { from, to } = moments(replay.incident);
  const step = (by: number) => () => {
    const times = replay.incident.events.map((event) => event.at_ms);
    const next = by > 0 ? times.find((time) => time > replay.at) : times.findLast((time) => time < replay.at);
    moved(replay, next ?? (by > 0 ? to : from), redraw);
  };
  return h('section', { class: 'replay', 'aria-label': 'Replay' },
    h('strong', null, 'Replay'),
    h('span', { class: 'mono' }, precise(replay.at)),
    h('button', { type: 'button', onclick: step(-1), 'aria-label': 'One event back' }, '◀'),
    h('button', { type: 'button', class: 'primary', onclick: () => played(replay, redraw) }, replay.playing ? 'Stop' : 'Play'),
    h('button', { type: 'button', onclick: step(1), 'aria-label': 'One event on' }, '▶'),
    h('input', { type: 'range', min: 0, max: 1000, value: Math.round((1000 * (replay.at - from)) / Math.max(1, to - from)), 'aria-label': 'Moment',
      'aria-valuetext': `${lasting(replay.at - from)} of ${lasting(to - from)}`,
      oninput: (event: Event) => moved(replay, from + (Number((event.target as HTMLInputElement).value) / 1000) * (to - from), redraw) }),
    h('span', { class: 'muted' }, `${lasting(Math.max(0, replay.at - from))} of ${lasting(to - from)}`),
    h('button', { type: 'button', class: 'quiet', onclick: () => ended(redraw) }, 'Back to now'));
}
