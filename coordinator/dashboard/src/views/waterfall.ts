// Where the milliseconds of a failover go, live.

import { h, type Child } from '../dom';
import type { Run } from '../model';
import { lasting, timeOf } from '../words';

const WORDS: Record<string, [string, string]> = {
  draining: ['Drain', 'what is being written ends'],
  recruiting: ['Proof', 'voters promise, the old primary is mute'],
  catching_up: ['Catch up', 'the new primary receives what it lacks'],
  promoting: ['Promote', 'recorded, opened, followed'],
  opened: ['Confirm', 'clients write; the first write is on a replica'],
};

interface Bar { stage: string; from: number; to: number; open: boolean }

function bars(run: Run, now: number): Bar[] {
  const rows: Bar[] = [];
  run.stages.forEach((event, index) => {
    if (!(event.stage in WORDS)) return;
    const next = run.stages[index + 1];
    const first = run.stages[0];
    const to = next ? next.after_ms : first ? Math.max(event.after_ms, now - first.at_ms) : event.after_ms;
    rows.push({ stage: event.stage, from: event.after_ms, to, open: !next });
  });
  return rows;
}

function headline(run: Run): string {
  const whom = run.candidate && run.candidate !== run.old ? `${run.old} → ${run.candidate}` : run.old;
  if (run.undone) return `${whom}: undone, ${run.old} was named again`;
  if (run.open_ms !== null) return `${whom}: clients could write again after ${lasting(run.open_ms)}`;
  return `${whom}: under way`;
}

export function waterfall(run: Run | null, now: number): Child {
  const first = run?.stages[0];
  if (!run || !first) {
    return h('section', { key: 'waterfall', class: 'card', 'aria-labelledby': 'waterfall' }, h('h2', { id: 'waterfall' }, 'Last failover'),
      h('p', { class: 'muted' }, 'None is known. When one happens, its stages are drawn here while they happen.'));
  }
  const rows = bars(run, now);
  const total = Math.max(1, ...rows.map((row) => row.to));
  const percent = (ms: number) => `${((100 * ms) / total).toFixed(2)}%`;
  return h('section', { key: 'waterfall', class: 'card', 'aria-labelledby': 'waterfall', id: 'last-run' },
    h('div', { class: 'head' }, h('h2', { id: 'waterfall' }, run.planned ? 'Switchover' : 'Failover'), h('span', { class: 'muted' }, timeOf(first.at_ms))),
    h('p', { class: 'run' }, headline(run)),
    h('ol', { class: 'bars' }, rows.map((row, index) => {
      const [word, what] = WORDS[row.stage] ?? [row.stage, ''];
      return h('li', { key: `${row.stage}-${index}`, class: row.open ? 'open' : '', 'data-stage': row.stage },
        h('span', { class: 'bar-name' }, word, h('span', { class: 'muted' }, what)),
        h('span', { class: 'bar-track', 'aria-hidden': 'true' },
          h('span', { class: 'bar', style: { left: percent(row.from), width: percent(Math.max(total / 250, row.to - row.from)) } })),
        h('span', { class: 'bar-ms' }, lasting(row.to - row.from)));
    })),
    run.ended ? h('p', { class: 'muted small' }, run.undone ? 'undone' : 'finished', ` after ${lasting(run.stages.at(-1)?.after_ms ?? 0)}`) : null,
    reasonsOf(run));
}

function reasonsOf(run: Run): Child {
  const reasons = run.stages.flatMap((event) => (event.stage === 'promoting' || event.stage === 'catching_up' ? event.reasons : []));
  if (reasons.length === 0) return null;
  return h('details', null, h('summary', null, 'Why this one won'), h('ul', null, [...new Set(reasons)].map((reason) => h('li', null, reason))));
}
