// What operators do: said, tried dry, then confirmed.

import { h, type Child } from '../dom';
import { asked, changed, closed } from '../operate';
import { state, type Dialog } from '../state';
import { sentence } from './text';

const LENGTHS: [number, string][] = [[900, '15 minutes'], [1800, '30 minutes'], [3600, '1 hour'], [7200, '2 hours'], [14_400, '4 hours'], [28_800, '8 hours']];

const TITLES: Record<Dialog['kind'], string> = { switchover: 'Switch over', 'cancel-switchover': 'Give up the planned switchover', pause: 'Pause failovers', resume: 'Resume failovers' };
const WHAT: Record<Dialog['kind'], string> = {
  switchover: 'What is being written ends first, for a second at most; then connections end and another server is the primary. Whatever goes wrong on the way is undone.',
  'cancel-switchover': 'It does not begin. The primary stays.',
  pause: 'Meanwhile everything is observed and told as before, but no failover begins. It expires by itself.',
  resume: 'Failovers go on, and earlier ones of the same server are forgotten.',
};

function fields(dialog: Dialog, redraw: () => void): Child {
  const record = state.clusters.get(dialog.cluster)?.snapshot?.record;
  const others = Object.keys(state.clusters.get(dialog.cluster)?.snapshot?.nodes ?? {}).filter((name) => {
    const node = state.clusters.get(dialog.cluster)?.snapshot?.nodes[name];
    return node?.server && name !== record?.primary;
  });
  const reason = [h('label', { for: 'reason' }, 'Why, for everybody who wonders'),
    h('input', { id: 'reason', name: 'reason', required: true, maxlength: 200, autocomplete: 'off',
      oninput: (event: Event) => changed(dialog, { reason: (event.target as HTMLInputElement).value }, redraw) })];
  if (dialog.kind === 'resume' || dialog.kind === 'cancel-switchover') return null;
  if (dialog.kind === 'pause') {
    return [h('label', { for: 'length' }, 'For'),
      h('select', { id: 'length', onchange: (event: Event) => changed(dialog, { for_s: Number((event.target as HTMLSelectElement).value) }, redraw) },
        LENGTHS.map(([seconds, text]) => h('option', { value: seconds, selected: seconds === dialog.for_s }, text))), reason];
  }
  return [h('label', { for: 'to' }, 'To'),
    h('select', { id: 'to', onchange: (event: Event) => changed(dialog, { to: (event.target as HTMLSelectElement).value }, redraw) },
      h('option', { value: '', selected: dialog.to === '' }, 'whoever would win a failover'),
      others.map((name) => h('option', { value: name, selected: dialog.to === name }, name))),
    h('label', { for: 'at' }, 'When, by this browser’s clock; empty is now'),
    h('input', { id: 'at', type: 'datetime-local', value: dialog.at,
      oninput: (event: Event) => changed(dialog, { at: (event.target as HTMLInputElement).value }, redraw) }), reason];
}

function goes(dialog: Dialog): string {
  switch (dialog.kind) {
    case 'switchover': return dialog.at ? 'Plan it' : 'Hand over now';
    case 'cancel-switchover': return 'Give it up';
    case 'pause': return 'Pause now';
    case 'resume': return 'Resume now';
  }
}

export function dialogView(dialog: Dialog, redraw: () => void): Child {
  // What gives up a plan can only be done or left.
  const tried = dialog.would.length > 0 || dialog.kind === 'cancel-switchover';
  const submit = (event: Event) => {
    event.preventDefault();
    asked(dialog, !tried, redraw);
  };
  const go = tried ? goes(dialog) : 'What would happen?';
  const finished = dialog.done.length > 0;
  return h('dialog', { key: `dialog-${dialog.opening}`, 'aria-labelledby': 'dialog-title', onclose: () => closed(dialog, redraw) },
    h('form', { onsubmit: submit },
      h('h2', { id: 'dialog-title' }, `${TITLES[dialog.kind]}: ${dialog.cluster}`),
      h('p', { class: 'muted' }, WHAT[dialog.kind]),
      finished ? null : fields(dialog, redraw),
      dialog.would.length > 0 && !finished ? h('p', { class: 'would', role: 'status' }, sentence(dialog.would.join(' '))) : null,
      finished ? h('p', { class: 'would', role: 'status' }, sentence(dialog.done.join(' '))) : null,
      dialog.error ? h('p', { class: 'error', role: 'alert' }, sentence(dialog.error)) : null,
      h('div', { class: 'dialog-acts' },
        h('button', { type: 'button', onclick: () => closed(dialog, redraw) }, finished ? 'Close' : 'Leave it'),
        finished ? null : h('button', { class: tried ? 'danger' : 'primary', disabled: dialog.busy }, dialog.busy ? 'Asked …' : go))));
}
