// The dashboard: one state, one picture of it.

import * as api from './api';
import { render } from './dom';
import { judge } from './judge';
import { listen } from './live';
import { apply, fresh, remember, take } from './model';
import { may, state } from './state';
import { page } from './views/page';
import type { PublicSnapshot } from './views/public';

const app = document.querySelector('#app');
const says = document.querySelector('#says');
let drawing = false;
let said = '';

function draw(): void {
  drawing = false;
  if (!app || !says) return;
  document.documentElement.dataset.theme = state.theme;
  document.documentElement.classList.toggle('moving', document.visibilityState === 'visible');
  render(app, page(redraw));
  const cluster = state.clusters.get(state.route);
  const verdict = cluster && judge(cluster);
  document.title = verdict ? `${verdict.word} · ${cluster.name} · Tasuki` : 'Tasuki';
  const sentence = verdict ? `${verdict.word}: ${verdict.sentence}` : '';
  if (sentence !== said) says.textContent = said = sentence;
}

/** Draws with the next frame; a page in the background is drawn as well, for its title. */
function redraw(): void {
  if (drawing) return;
  drawing = true;
  if (document.visibilityState === 'visible') requestAnimationFrame(draw);
  else setTimeout(draw, 100);
}

/** Numbers that go by are drawn this often, and no page is busy with them when something happens. */
const NUMBERS = 250;
let numbers: ReturnType<typeof setTimeout> | undefined;

function redrawSoon(): void {
  numbers ??= setTimeout(() => {
    numbers = undefined;
    redraw();
  }, NUMBERS);
}

function of(name: string) {
  const cluster = state.clusters.get(name) ?? fresh(name);
  state.clusters.set(name, cluster);
  return cluster;
}

let socket: ReturnType<typeof listen> | null = null;

function follow(): void {
  socket?.disconnect();
  socket = listen({
    snapshot(snapshot) {
      if (may('viewer')) take(of(snapshot.cluster), snapshot, Date.now());
      else state.public.set(snapshot.cluster, snapshot as unknown as PublicSnapshot);
      redraw();
    },
    event(event) {
      if (may('viewer')) apply(of(event.cluster), event, Date.now());
      redraw();
    },
    telemetry(events) {
      if (!may('viewer')) return;
      for (const event of events) apply(of(event.cluster), event, Date.now());
      redrawSoon();
    },
    past(cluster, events) {
      remember(of(cluster), events);
      redraw();
    },
    connected(is, why) {
      state.connected = is;
      state.trouble = why;
      if (!is && why.startsWith('unauthorized')) leave();
      redraw();
    },
  }, may('viewer'));
  state.socket = socket;
}

function leave(): void {
  socket?.disconnect();
  Object.assign(state, { me: null, socket: null, connected: false, clusters: new Map(), public: new Map() });
}

async function enter(): Promise<void> {
  try {
    state.me = await api.me();
    for (const name of state.me.clusters) of(name);
    follow();
  } catch (error) {
    const code = error instanceof api.Refused ? error.code : 0;
    state.trouble = code === 401 ? '' : String((error as Error).message);
    if (code !== 401) setTimeout(enter, 2000);
  }
  state.asked = true;
  redraw();
}

function route(): void {
  state.route = decodeURIComponent(location.hash.replace(/^#\/?/, ''));
  state.replay = null;
  redraw();
}

state.entered = (me) => {
  state.me = me;
  state.trouble = '';
  for (const name of me.clusters) of(name);
  follow();
  redraw();
};
state.left = () => {
  api.logout().catch(() => {});
  leave();
  redraw();
};
addEventListener('hashchange', route);
setInterval(redraw, 1000);
route();
void enter();
