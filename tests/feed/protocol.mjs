// The protocols themselves, without a client: what the projects' own test suites for servers ask of one, case by case,
// in the versions 3 and 4 of Engine.IO, and how many packets this server takes.
// protocol.mjs URL CA-FILE TOKEN. Prints one JSON line for each case: { name: "case", value: { case, wrong } }.
import { readFileSync } from 'node:fs';
import { Agent, request } from 'node:https';
import WebSocket from 'ws';

const [url, ca, token] = process.argv.slice(2);
const agent = new Agent({ ca: readFileSync(ca), keepAlive: true });
const later = (ms) => new Promise((resolve) => { setTimeout(resolve, ms); });
const say = (name, value) => process.stdout.write(JSON.stringify({ name, value }) + '\n');
function holds(condition, what) { if (!condition) throw new Error(what); }

/** A request of polling. */
function http(query, { method = 'GET', body, headers = {} } = {}) {
  return new Promise((resolve, reject) => {
    const sent = request(`${url}/socket.io/?${query}`, { method, agent, headers, timeout: 40_000 }, (answer) => {
      let text = '';
      answer.setEncoding('utf8').on('data', (part) => { text += part; }).on('end', () => resolve({ code: answer.statusCode, text }));
    });
    sent.on('timeout', () => sent.destroy(new Error('no answer'))).on('error', reject).end(body);
  });
}

/** A websocket, and what came through it. */
class Line {
  constructor(query) {
    this.got = [];
    this.closed = false;
    this.socket = new WebSocket(`${url.replace('https', 'wss')}/socket.io/?${query}`, { ca: readFileSync(ca) });
    this.socket.binaryType = 'nodebuffer';
    this.socket.on('message', (data, binary) => { this.got.push(binary ? data : data.toString()); });
    this.socket.on('error', () => {}).on('close', () => { this.closed = true; });
  }
  send(...packets) { for (const packet of packets) this.socket.send(packet); }
  async until(what, look, ms = 8000) {
    for (const end = Date.now() + ms; Date.now() < end; await later(5)) {
      const at = this.got.findIndex(look);
      if (at >= 0) { const [found] = this.got.splice(0, at + 1).slice(-1); return found; }
    }
    throw new Error(`${what} did not come; ${this.closed ? 'closed' : 'open'}, got ${JSON.stringify(this.got).slice(0, 300)}`);
  }
  async closes(ms = 8000) {
    for (const end = Date.now() + ms; Date.now() < end && !this.closed; await later(5)) ;
    holds(this.closed, 'it stays open');
  }
  async opens() { await this.until('the handshake', () => true); return this; }
  end() { this.socket.close(); }
}

/** How packets of a body are written, and read, in each version. */
const forms = {
  3: {
    write: (packets) => packets.map((packet) => `${packet.length}:${packet}`).join(''),
    read(text) {
      const packets = [];
      for (let rest = text; rest; ) {
        const at = rest.indexOf(':');
        const length = Number(rest.slice(0, at));
        packets.push(rest.slice(at + 1, at + 1 + length));
        rest = rest.slice(at + 1 + length);
      }
      return packets;
    },
  },
  4: { write: (packets) => packets.join('\x1e'), read: (text) => text.split('\x1e') },
};

function suite(version) {
  const { write, read } = forms[version];
  const engine = (rest) => `EIO=${version}&${rest}`;
  const polling = engine('transport=polling');
  const websocket = engine('transport=websocket');
  // Clients of version 3 show their token in the query, and are in the main namespace at once.
  const shown = version === 3 ? `&token=${token}` : '';
  const auth = JSON.stringify({ token });
  const session = async () => {
    const [packet] = read((await http(polling + shown)).text);
    return JSON.parse(packet.slice(1)).sid;
  };
  const post = (sid, packets) => http(`${polling}&sid=${sid}`, { method: 'POST', body: write(packets) });
  const poll = (sid) => http(`${polling}&sid=${sid}`);
  const heard = async (sid, look) => {
    for (let tries = 0; tries < 200; tries += 1) {
      const { code, text } = await poll(sid);
      holds(code === 200, `a poll is answered ${code}`);
      const found = read(text).find(look);
      if (found !== undefined) return found;
    }
    throw new Error('it is not among 200 polls');
  };
  const handshake = (packet, upgrades) => {
    holds(packet.startsWith('0'), packet);
    const value = JSON.parse(packet.slice(1));
    const keys = ['maxPayload', 'pingInterval', 'pingTimeout', 'sid', 'upgrades'];
    holds(JSON.stringify(Object.keys(value).sort()) === JSON.stringify(keys), packet);
    holds(typeof value.sid === 'string' && JSON.stringify(value.upgrades) === JSON.stringify(upgrades), packet);
    holds(value.pingInterval === 10_000 && value.pingTimeout === 10_000 && value.maxPayload === 65_536, packet);
  };
  const connected = async () => {
    const line = await new Line(websocket + shown).opens();
    if (version === 4) line.send(`40${auth}`);
    await line.until('CONNECT', (it) => it.startsWith('40'));
    await line.until('a snapshot', (it) => it.startsWith('42["snapshot"'));
    return line;
  };
  const note = (text) => JSON.stringify(['note', { cluster: 'mariadb', text }]);
  const upgrading = async (sid) => {
    const line = new Line(`${websocket}&sid=${sid}`);
    await new Promise((resolve) => { line.socket.on('open', resolve); });
    line.send('2probe');
    holds(await line.until('the probe', () => true) === '3probe', 'another answer to the probe');
    return line;
  };
  const pings = async (line) => {
    for (let at = 0; at < 3; at += 1) {
      if (version === 3) { line.send('2'); await line.until('pong', (it) => it === '3'); }
    }
    if (version === 4) { await line.until('ping', (it) => it === '2', 12_000); line.send('3'); }
  };

  return {
    'engine, polling: opens a session': async () => {
      const { code, text } = await http(polling + shown);
      holds(code === 200, text);
      handshake(read(text)[0], ['websocket']);
    },
    'engine, polling: refuses an invalid EIO': async () => {
      for (const query of ['transport=polling', 'EIO=abc&transport=polling']) holds((await http(query)).code === 400, query);
    },
    'engine, polling: refuses an invalid transport': async () => {
      for (const query of [`EIO=${version}`, engine('transport=abc')]) holds((await http(query)).code === 400, query);
    },
    'engine, polling: refuses an invalid method': async () => {
      for (const method of ['POST', 'PUT']) holds((await http(polling, { method })).code === 400, method);
    },
    'engine, websocket: opens a session': async () => {
      const line = new Line(websocket + shown);
      handshake(await line.until('the handshake', () => true), []);
      line.end();
    },
    'engine, websocket: refuses an invalid EIO': async () => {
      for (const query of ['transport=websocket', 'EIO=abc&transport=websocket']) await new Line(query).closes();
    },
    'engine, websocket: refuses an invalid transport': async () => {
      for (const query of [`EIO=${version}`, engine('transport=abc')]) await new Line(query).closes();
    },
    'engine, polling: takes one packet, and several': async () => {
      const sid = await session();
      for (const packets of [['2'], ['2', '2', '2']]) {
        const { code, text } = await post(sid, version === 3 ? packets : packets.map(() => '3'));
        holds(code === 200 && text === 'ok', text);
      }
    },
    'engine, polling: ends a session upon a malformed body': async () => {
      const sid = await session();
      const { code } = await http(`${polling}&sid=${sid}`, { method: 'POST', body: 'abc' }).catch(() => ({ code: 400 }));
      holds(code === 400, `${code}`);
      holds((await poll(sid)).code === 400, 'the session lives');
    },
    'engine, polling: ends a session upon a second poll beside the first': async () => {
      // Without a token nothing comes that would end a poll, but for the refusal of version 3 and the first ping of version 4.
      const [packet] = read((await http(polling)).text);
      const { sid } = JSON.parse(packet.slice(1));
      await poll(sid);
      const answers = await Promise.all([poll(sid), later(1000).then(() => poll(sid))]);
      holds([400, 500].includes(answers[1].code), JSON.stringify(answers));
      holds((await poll(sid)).code === 400, 'the session lives');
    },
    'engine, websocket: ends a session upon a malformed packet': async () => {
      const line = await new Line(websocket + shown).opens();
      line.send('abc');
      await line.closes();
    },
    'engine, polling: sends pings and pongs': async () => {
      const sid = await session();
      if (version === 3) for (let at = 0; at < 3; at += 1) { await post(sid, ['2']); await heard(sid, (it) => it === '3'); }
      else { await heard(sid, (it) => it === '2'); holds((await post(sid, ['3'])).code === 200, 'no pong is taken'); }
    },
    'engine, websocket: sends pings and pongs': async () => {
      const line = await new Line(websocket + shown).opens();
      await pings(line);
      line.end();
    },
    'engine, polling: ends a session upon a missing pong': async () => {
      const sid = await session();
      await later(20_500);
      holds((await poll(sid)).code === 400, 'the session lives');
    },
    'engine, websocket: ends a session upon a missing pong': async () => {
      const line = await new Line(websocket + shown).opens();
      await line.closes(22_000);
    },
    'engine, polling: is closed by the client': async () => {
      const sid = await session();
      if (version === 3) await heard(sid, (it) => it.startsWith('42["snapshot"'));
      const [told] = await Promise.all([poll(sid), post(sid, ['1'])]);
      holds(told.code === 200, `${told.code}`);
      holds((await poll(sid)).code === 400, 'the session lives');
    },
    'engine, websocket: is closed by the client': async () => {
      const line = await new Line(websocket + shown).opens();
      line.send('1');
      await line.closes();
    },
    'engine, upgrade: from polling to websocket': async () => {
      const sid = await session();
      const line = await upgrading(sid);
      const { code, text } = await poll(sid);
      holds(code === 200 && read(text).includes('6'), text);
      line.send('5');
      if (version === 4) line.send(`40${auth}`);
      await line.until('a snapshot', (it) => it.startsWith('42["snapshot"'));
      line.end();
    },
    'engine, upgrade: polling of the session is refused then': async () => {
      const sid = await session();
      const line = await upgrading(sid);
      line.send('5');
      await later(100);
      holds((await poll(sid)).code === 400, 'it is polled still');
      line.end();
    },
    'engine, upgrade: a second websocket of the session is refused': async () => {
      const sid = await session();
      const line = await upgrading(sid);
      line.send('5');
      await later(100);
      await new Line(`${websocket}&sid=${sid}`).closes();
      await pings(line);
      line.end();
    },
    'socket: connects to the main namespace, with what is shown': async () => {
      const line = await connected();
      line.end();
    },
    'socket: refuses the main namespace without a token': async () => {
      const line = await new Line(websocket).opens();
      if (version === 4) line.send('40');
      const told = JSON.parse((await line.until('CONNECT_ERROR', (it) => it.startsWith('44'))).slice(2));
      holds(told.data.code === 'unauthorized' && told.message.startsWith('unauthorized: '), JSON.stringify(told));
      line.end();
    },
    'socket: connects to another namespace, or is refused there': async () => {
      const line = await connected();
      line.send(version === 4 ? `40/ops,${auth}` : '40/ops,');
      const told = await line.until('an answer', (it) => it.startsWith('44/ops,'));
      holds(JSON.parse(told.slice('44/ops,'.length)).data.code === 'forbidden', told);
      line.end();
    },
    'socket: refuses an unknown namespace': async () => {
      const line = await connected();
      line.send('40/random');
      holds(await line.until('CONNECT_ERROR', (it) => it.startsWith('44')) === '44/random,{"message":"Invalid namespace"}', 'other words');
      line.end();
    },
    'socket: ends upon an invalid packet': async () => {
      const line = await new Line(websocket + shown).opens();
      line.send('4abc');
      await line.closes();
    },
    'socket: disconnects from the main namespace': async () => {
      const line = await connected();
      line.send('41');
      await later(300);
      line.got = [];
      await later(1500);
      holds(line.got.every((it) => !it.startsWith('42')), 'events still come');
      line.end();
    },
    'socket: an event without an acknowledgement, then one with': async () => {
      const line = await connected();
      line.send(`42${note(`without ${version}`)}`);
      await line.until('the note', (it) => it.startsWith('42["note"') && it.includes(`without ${version}`));
      line.send(`42456${note(`with ${version}`)}`);
      const told = await line.until('the acknowledgement', (it) => it.startsWith('43456['));
      holds(JSON.parse(told.slice(5))[0].ok === true, told);
      line.end();
    },
    'socket: binary attachments, and an acknowledgement of them': async () => {
      const line = await connected();
      line.send('452-789["note",{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}]');
      const binary = (bytes) => Buffer.from(version === 3 ? [4, ...bytes] : bytes);
      line.send(binary([1, 2, 3]), binary([4, 5, 6]));
      const told = await line.until('the acknowledgement', (it) => String(it).startsWith('43789['));
      holds(JSON.parse(told.slice(5))[0].error.startsWith('bad_note: '), told);
      line.end();
    },
    'counts: a flood of small packets waits, and disturbs nobody': async () => {
      const flooding = await connected();
      const other = await connected();
      flooding.send(...Array.from({ length: 5000 }, (_, at) => `42${at}["note",{}]`));
      const before = flooding.got.length;
      await later(3000);
      const answered = flooding.got.slice(before).filter((it) => it.startsWith('43')).length;
      holds(answered >= 100 && answered <= 700, `${answered} of 5000 packets were taken in 3 s`);
      other.send('427["note",{}]');
      await other.until('the acknowledgement', (it) => it.startsWith('437['), 1000);
      flooding.socket.terminate();
      other.end();
    },
    'counts: a body of too many packets is refused, and one of many waits': async () => {
      const sid = await session();
      const packet = version === 3 ? '2' : '3';
      const { code, text } = await post(sid, Array(101).fill(packet));
      holds(code === 400 && /100 packets at most/.test(text), text);
      const begun = Date.now();
      holds((await post(sid, Array(100).fill(packet))).code === 200, 'a hundred are refused');
      holds(Date.now() - begun >= 900, `${Date.now() - begun} ms`);
    },
  };
}

const cases = [3, 4].flatMap((version) => Object.entries(suite(version)).map(([name, run]) => [`${name} (EIO ${version})`, run]));
// Some of them wait for a heartbeat, so all are tried beside each other.
await Promise.all(cases.map(async ([name, run]) => {
  let wrong = null;
  try { await run(); } catch (error) { wrong = error.message; }
  say('case', { case: name, wrong });
}));
say('done', cases.length);
process.exit(0);
