// The page: who looks, at what, and whether it is live.

import { h, type Child } from '../dom';
import { changeTheme, may, state } from '../state';
import { clusterView } from './cluster';
import { dialogView } from './dialog';
import { loginView } from './login';
import { overview } from './overview';
import { publicView } from './public';

const THEMES = ['auto', 'light', 'dark'];

function themes(redraw: () => void): Child {
  const next = THEMES[(THEMES.indexOf(state.theme) + 1) % THEMES.length] ?? 'auto';
  return h('button', { type: 'button', class: 'quiet', 'aria-label': `Colours: ${state.theme}; change to ${next}`, onclick: () => (changeTheme(next), redraw()) }, `◐ ${state.theme}`);
}

function top(redraw: () => void): Child {
  const many = state.clusters.size > 1;
  return h('header', { class: 'top' },
    h('a', { class: 'mark', href: '#/' }, h('img', { src: '/sash.svg', alt: '', width: 24, height: 24 }), 'Tasuki'),
    state.route && many ? h('nav', { 'aria-label': 'Where you are' }, h('a', { href: '#/' }, 'Clusters')) : null,
    h('span', { class: 'grow' }),
    state.me ? h('span', { class: state.connected ? 'live' : 'live lost', role: 'status' },
      state.connected ? 'Live' : `Not live: ${state.trouble || 'connecting'}`) : null,
    themes(redraw),
    state.me ? h('button', { type: 'button', class: 'quiet', onclick: () => state.left() }, 'Log out') : null);
}

/** Everything below the body. */
export function page(redraw: () => void): Child[] {
  let body: Child;
  if (!state.asked) body = h('main', { id: 'main', class: 'wait' }, h('p', null, state.trouble || 'Loading …'));
  else if (!state.me) body = loginView(redraw);
  else if (!may('viewer')) body = publicView();
  else if (state.route || state.clusters.size === 1) {
    const only = state.route || [...state.clusters.keys()][0] || '';
    body = clusterView(only, redraw);
  } else body = overview();
  return [top(redraw), body, h('footer', { class: 'foot' }, state.me
    ? `${state.me.name} (${state.me.role}) at ${state.me.coordinator}, Tasuki ${state.me.version}` : 'High availability for MySQL and MariaDB',
  ' · ', h('a', { href: '/licences.txt' }, 'Licences'), ' · ', h('a', { href: '/api/v1/openapi.json' }, 'API')),
  state.dialog ? dialogView(state.dialog, redraw) : null];
}
