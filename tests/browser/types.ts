// How a page of others uses the types of the feed; compiled against the official client, and never run.
import { io, type Socket } from 'socket.io-client';
import type { Closing, Event, Feed, FromTasuki, RefusedError, Shown, Snapshot, ToTasuki, ToTasukiOps } from './tasuki.js';

// A stock client.
const auth: Shown = { token: 't', since: { main: '7.co1.00c0ffee00c0ffee-12' } };
const socket: Socket<FromTasuki, ToTasuki> = io('https://co1:3000', { auth });
socket.on('snapshot', (snapshot: Snapshot) => { const primary: string | undefined = snapshot.record?.primary; void primary; });
socket.on('stage', (event) => {
  const stage: 'recruiting' | 'catching_up' | 'promoting' | 'opened' | 'finished' | 'undone' | string = event.stage;
  const old: string = event.old;
  void [stage, old, event.cluster, event.at_ms];
});
socket.on('closing', ({ code, why }: Closing) => { void [code, why]; });
socket.on('connect_error', (error: RefusedError) => { const fix: string | undefined = error.data?.fix; void fix; });
socket.emit('note', { cluster: 'main', text: 'hello' }, (answer) => { if ('id' in answer) { const id: string = answer.id; void id; } });
// @ts-expect-error there is no such event
socket.on('nonsense', () => {});
// @ts-expect-error a note has a text
socket.emit('note', { cluster: 'main' }, () => {});

const ops: Socket<FromTasuki, ToTasukiOps> = io('https://co1:3000/ops', { auth });
ops.emit('pause', { cluster: 'main', for_s: 60, reason: 'disks' }, (answer) => { const ok: boolean = answer.ok; void ok; });

// The helper.
const feed: Feed = tasuki('https://co1:3000', { token: 't', options: { transports: ['websocket'] } })
  .on('snapshot', (snapshot) => { void snapshot.diagnosis; })
  .on('connect_error', (error) => { void error.data?.code; })
  .on('pause', (event) => { void event.pause?.owner; })
  .onAny((name, value) => { void [name, value]; });
void [feed.last.main, feed.closed?.code];

// Every event has a name and a place.
export function place(event: Event): string {
  return event.event === 'note' ? `${event.by}: ${event.text}` : event.id ?? event.event;
}
