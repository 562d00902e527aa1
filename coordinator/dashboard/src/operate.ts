// The acts of operators: a dry run first, wherever one could go wrong.

import { act } from './api';
import { state, type Dialog } from './state';

const shown = () => document.querySelector('dialog');

let openings = 0;

export function opened(kind: Dialog['kind'], cluster: string, redraw: () => void): void {
  openings += 1;
  state.dialog = { opening: openings, kind, cluster, to: '', at: '', reason: '', for_s: 1800, would: [], busy: false, done: [], error: '' };
  redraw();
  requestAnimationFrame(() => requestAnimationFrame(() => shown()?.showModal()));
}

/** A browser tells a moment later that a dialog was closed; another one may be open by then. */
export function closed(dialog: Dialog, redraw: () => void): void {
  if (state.dialog !== dialog) return;
  const box = shown();
  if (box?.open) box.close();
  state.dialog = null;
  redraw();
}

/** What was tried dry was another wish: it has to be tried again. */
export function changed(dialog: Dialog, what: Partial<Dialog>, redraw: () => void): void {
  Object.assign(dialog, what, { would: [], error: '' });
  redraw();
}

/** A time of this browser's zone in UTC. */
const stated = (local: string) => new Date(local).toISOString().replace(/\.\d+Z$/, 'Z');

function body(dialog: Dialog, dry_run: boolean): unknown {
  const { reason } = dialog;
  switch (dialog.kind) {
    case 'switchover': return { ...(dialog.to ? { to: dialog.to } : {}), ...(dialog.at ? { at: stated(dialog.at) } : {}), reason, dry_run };
    case 'cancel-switchover': return {};
    case 'pause': return { for_s: dialog.for_s, reason, dry_run };
    case 'resume': return { dry_run };
  }
}

export function asked(dialog: Dialog, dry: boolean, redraw: () => void): void {
  dialog.busy = true;
  dialog.error = '';
  act(dialog.cluster, dialog.kind, body(dialog, dry))
    .then(({ lines }) => (dry ? (dialog.would = lines) : (dialog.done = lines)))
    .catch((error: Error) => {
      dialog.error = error.message;
      dialog.would = [];
    })
    .finally(() => {
      dialog.busy = false;
      redraw();
    });
  redraw();
}
