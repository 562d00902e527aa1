// A token, shown once for a cookie.

import { login } from '../api';
import { h, type Child } from '../dom';
import { state } from '../state';

let busy = false;

export function loginView(redraw: () => void): Child {
  const submit = (event: Event) => {
    event.preventDefault();
    const field = (event.target as HTMLFormElement).elements.namedItem('token') as HTMLInputElement;
    busy = true;
    login(field.value.trim())
      .then((me) => {
        field.value = '';
        state.entered(me);
      })
      .catch((error: Error) => {
        state.trouble = error.message;
        field.select();
      })
      .finally(() => {
        busy = false;
        redraw();
      });
    redraw();
  };
  return h('main', { id: 'main', class: 'login' },
    h('form', { class: 'card', onsubmit: submit },
      h('h1', null, 'Who is there?'),
      h('p', { id: 'hint' }, 'Show a token of this coordinator. ', h('code', null, 'tasuki-coordinator token NAME'), ' makes one.'),
      h('label', { for: 'token' }, 'Token'),
      h('input', { id: 'token', name: 'token', type: 'password', required: true, autocomplete: 'current-password', 'aria-describedby': 'hint', autofocus: true }),
      state.trouble ? h('p', { class: 'error', role: 'alert' }, state.trouble) : null,
      h('button', { class: 'primary', disabled: busy }, 'Log in')));
}
