// The feed: the official client, and the snapshot again whenever something happened.

import { io, type Socket } from '/socket.io/socket.io.esm.min.js';
import { get } from './api';
import type { Happened, Snapshot } from './model';

/** A snapshot is asked for so long after something happened: by then it tells what came of it. */
const SETTLED = 400;
/** And as often as this anyhow. */
const ANYHOW = 15_000;

export interface Listener {
  snapshot(snapshot: Snapshot): void;
  event(event: Happened): void;
  connected(is: boolean, why: string): void;
}

const NAMES = ['health', 'position', 'diagnosis', 'stage', 'hold', 'would_have', 'repair', 'forecast', 'pause', 'fence', 'override',
  'switchover', 'voters', 'decided', 'leader', 'note', 'act'];

/** Connects, and stays connected. */
export function listen(listener: Listener): Socket {
  const socket = io({ transports: ['websocket', 'polling'], reconnectionDelay: 300, reconnectionDelayMax: 3000 });
  const due = new Map<string, ReturnType<typeof setTimeout>>();
  const again = (cluster: string, after: number) => {
    clearTimeout(due.get(cluster));
    due.set(cluster, setTimeout(() => {
      const told = get<Snapshot>(`/clusters/${cluster}`).then((snapshot) => listener.snapshot(snapshot));
      told.catch(() => {}).finally(() => again(cluster, ANYHOW));
    }, after));
  };
  socket.on('connect', () => listener.connected(true, ''));
  socket.on('disconnect', (reason) => listener.connected(false, reason));
  socket.on('connect_error', (error) => listener.connected(false, error.message));
  socket.on('snapshot', (snapshot: Snapshot) => {
    listener.snapshot(snapshot);
    again(snapshot.cluster, ANYHOW);
  });
  for (const name of NAMES) {
    socket.on(name, (event: Happened) => {
      listener.event(event);
      if (name !== 'health' && name !== 'position') again(event.cluster, SETTLED);
    });
  }
  return socket;
}
