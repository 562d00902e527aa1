// Times, lengths and sets in words.

const clock = new Intl.DateTimeFormat(undefined, { hour: '2-digit', minute: '2-digit', second: '2-digit', hourCycle: 'h23' });
const date = new Intl.DateTimeFormat(undefined, { day: 'numeric', month: 'short' });

export const dayOf = (ms: number) => date.format(ms);
/** The time of day, with the day before it unless that is today. */
export const timeOf = (ms: number) => (dayOf(ms) === dayOf(Date.now()) ? clock.format(ms) : `${dayOf(ms)} ${clock.format(ms)}`);
export const precise = (ms: number) => `${clock.format(ms)}.${String(Math.floor(ms) % 1000).padStart(3, '0')}`;

/** A length of time, as exact as is of use. */
export function lasting(ms: number): string {
  if (ms < 10) return `${ms.toFixed(1)}\u00a0ms`;
  if (ms < 1000) return `${Math.round(ms)}\u00a0ms`;
  if (ms < 10_000) return `${(ms / 1000).toFixed(1)}\u00a0s`;
  const s = Math.floor(ms / 1000);
  if (s < 60) return `${s}\u00a0s`;
  if (s < 3600) return `${Math.floor(s / 60)}\u00a0min`;
  if (s < 48 * 3600) return `${Math.floor(s / 3600)}\u00a0h ${Math.floor((s % 3600) / 60)}\u00a0min`;
  return `${Math.floor(s / 86_400)}\u00a0days`;
}

export const count = (n: number) => n.toLocaleString('en').replaceAll(',', '\u2009');

/** The first digits of a UUID tell it apart from the others of a cluster. */
export function short(set: string): string {
  return set.replaceAll(/\s/g, '').split(',').map((part) => part.replace(/^([0-9a-f]{4})[0-9a-f]{4}-[0-9a-f-]{27}(?=:)/i, '$1…')).join('\n');
}

/** Pieces of a sentence: text, and commands between backticks. */
export function pieces(text: string): { code: boolean; text: string }[] {
  return text.split('`').map((text, index) => ({ code: index % 2 === 1, text })).filter((piece) => piece.text);
}
