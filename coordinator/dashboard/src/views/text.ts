// Sentences with commands in them.

import { h, type Child } from '../dom';
import { pieces } from '../words';

/** A command is copied by a click: nobody types it at night. */
function command(text: string): Child {
  const copy = (event: Event) => {
    const button = event.currentTarget as HTMLElement;
    navigator.clipboard.writeText(text).then(() => { button.title = 'Copied'; }, () => {});
  };
  return text.startsWith('tasuki-') ? h('button', { type: 'button', class: 'copy', title: 'Copy', onclick: copy }, text) : h('code', null, text);
}

export const sentence = (text: string): Child[] => pieces(text).map((piece) => (piece.code ? command(piece.text) : piece.text));
