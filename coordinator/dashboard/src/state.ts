// What the page is drawn from.

import type { Me } from './api';
import type { Socket } from '/socket.io/socket.io.esm.min.js';
import type { Cluster, Incident } from './model';
import type { PublicSnapshot } from './views/public';

export interface Replay {
  cluster: string;
  incident: Incident;
  /** The moment that is shown, on the incident's clock. */
  at: number;
  playing: boolean;
}

export interface Dialog {
  /** Counts what was opened: each has a box of its own. */
  opening: number;
  kind: 'switchover' | 'cancel-switchover' | 'pause' | 'resume';
  cluster: string;
  /** The server to switch to; empty: whoever would win. */
  to: string;
  /** When, as the browser's field has it; empty: now. */
  at: string;
  reason: string;
  for_s: number;
  /** What a dry run said. */
  would: string[];
  busy: boolean;
  done: string[];
  error: string;
}

const KEPT = 'tasuki-theme';

export const state = {
  me: null as Me | null,
  /** Whether it was asked once who looks. */
  asked: false,
  clusters: new Map<string, Cluster>(),
  /** Clusters as the public sees them, for whoever sees no more. */
  public: new Map<string, PublicSnapshot>(),
  /** The cluster that is looked at; empty: all. */
  route: '',
  connected: false,
  trouble: '',
  socket: null as Socket | null,
  theme: localStorage.getItem(KEPT) ?? 'auto',
  replay: null as Replay | null,
  dialog: null as Dialog | null,
  entered: (_me: Me) => {},
  left: () => {},
};

export function changeTheme(theme: string): void {
  state.theme = theme;
  localStorage.setItem(KEPT, theme);
}

const RANKS = ['public', 'viewer', 'operator', 'admin'];

/** Whether who looks may do what this role may. */
export const may = (role: string) => state.me !== null && RANKS.indexOf(state.me.role) >= RANKS.indexOf(role);
