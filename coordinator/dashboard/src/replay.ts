// A past incident, seen again: the picture at any of its moments is made of the events until then.

import { change, fresh, type Cluster, type Happened, type Incident, type Snapshot } from './model';
import { state, type Replay } from './state';

/** What is shown before the first and after the last event. */
const MARGIN = 500;
/** However long it was, it is played within about this. */
const PLAYED = 12_000;
const FRAME = 50;

export function moments(incident: Incident): { from: number; to: number } {
  const first = incident.events[0]?.at_ms ?? incident.from;
  const last = incident.events.at(-1)?.at_ms ?? first;
  return { from: first - MARGIN, to: last + MARGIN };
}

/** The last record before a moment: it names the primary of then. */
function recordBefore(events: Happened[], at: number): Snapshot['record'] {
  const decided = events.filter((event) => event.event === 'decided');
  const last = decided.findLast((event) => event.at_ms <= at);
  return last?.event === 'decided' ? last.record : null;
}

/** The cluster as it was told to be at the replay's moment. */
export function at(live: Cluster, replay: Replay): Cluster {
  const { incident } = replay;
  const past = fresh(live.name);
  const now = live.snapshot;
  if (!now) return past;
  const old = incident.runs[0]?.old;
  const before = recordBefore(live.events, incident.from) ?? (now.record && old ? { ...now.record, primary: old } : now.record);
  const picture: Snapshot = { ...now, record: before, diagnosis: { diagnosis: 'healthy' }, sentence: 'The primary serves and its replicas follow.', holds: [], stage: null, forecast: null, quarantine: {} };
  past.events = live.events.filter((event) => event.at_ms <= replay.at && event.at_ms >= moments(incident).from);
  for (const event of past.events) change(picture, structuredClone(event));
  past.snapshot = picture;
  return past;
}

export function began(cluster: string, incident: Incident, redraw: () => void): void {
  state.replay = { cluster, incident, at: moments(incident).from, playing: false };
  scrollTo({ top: 0 });
  played(state.replay, redraw);
}

export function moved(replay: Replay, to: number, redraw: () => void): void {
  replay.at = to;
  replay.playing = false;
  redraw();
}

export function played(replay: Replay, redraw: () => void): void {
  replay.playing = !replay.playing;
  const { from, to } = moments(replay.incident);
  if (replay.playing && replay.at >= to) replay.at = from;
  const step = ((to - from) * FRAME) / PLAYED;
  const tick = () => {
    if (state.replay !== replay || !replay.playing) return;
    replay.at = Math.min(to, replay.at + step);
    if (replay.at >= to) replay.playing = false;
    redraw();
    setTimeout(tick, FRAME);
  };
  tick();
  redraw();
}

export function ended(redraw: () => void): void {
  state.replay = null;
  redraw();
}
