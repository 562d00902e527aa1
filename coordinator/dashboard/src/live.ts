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
  telemetry(events: Happened[]): void;
  past(cluster: string, events: Happened[]): void;
  connected(is: boolean, why: string): void;
}

const NAMES = ['diagnosis', 'stage', 'hold', 'would_have', 'repair', 'forecast', 'pause', 'fence', 'override',
  'switchover', 'voters', 'decided', 'leader', 'note', 'act'];

/** Connects, and stays connected. `whole`: who looks sees everything, history included. */
export function listen(listener: Listener, whole: boolean): Socket {
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
  const past = (cluster: string) => {
    get<Happened[]>(`/clusters/${cluster}/history?limit=1000`).then((events) => listener.past(cluster, events), () => {});
  };
  socket.on('disconnect', (reason) => {
    listener.connected(false, reason);
    // The client does not come back by itself where the server closed the connection.
    if (reason === 'io server disconnect') setTimeout(() => socket.connect(), 1000);
  });
  socket.on('connect_error', (error) => listener.connected(false, error.message));
  socket.on('snapshot', (snapshot: Snapshot) => {
    listener.snapshot(snapshot);
    // With each connection: what happened before it, and while there was none.
    if (whole) past(snapshot.cluster);
    again(snapshot.cluster, ANYHOW);
  });
  socket.on('telemetry', ({ events }: { events: Happened[] }) => listener.telemetry(events));
  for (const name of NAMES) {
    socket.on(name, (event: Happened) => {
      listener.event(event);
      again(event.cluster, SETTLED);
    });
  }
  return socket;
}
