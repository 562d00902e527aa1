// A stock Socket.IO client: prints what it gets, one JSON value a line, until it is ended.
// viewer.mjs URL CA-FILE '{"client": "socket.io-client-3", "transports": ["polling"], "auth": {…}, "pause": 1500, …}'
// A line on its standard input is a JSON array to be emitted; what is acknowledged is printed as "ack".
import { readFileSync } from 'node:fs';
import { createInterface } from 'node:readline';

const [url, ca, text] = process.argv.slice(2);
const { client = 'socket.io-client', pause, flood, ...options } = JSON.parse(text);
const module = await import(client);
const io = module.io ?? module.default;
const say = (name, value, data) => process.stdout.write(JSON.stringify({ name, value, data, transport: socket.io.engine?.transport?.name }) + '\n');
const socket = io(url, { ca: readFileSync(ca), reconnection: false, ...options });
const refused = (error) => { say('connect_error', error.message ?? error, error.data); process.exit(1); };
socket.on('connect', () => say('connect', null));
socket.on('connect_error', refused);
socket.on('error', refused); // 2.x calls it so
socket.on('disconnect', (reason) => say('disconnect', reason));
if (socket.onAny) socket.onAny((name, value) => say(name, value));
else {
  const emit = socket.onevent;
  socket.onevent = function (packet) { say(packet.data[0], packet.data[1]); emit.call(this, packet); };
}
createInterface({ input: process.stdin }).on('line', (line) => socket.emit(...JSON.parse(line), (answer) => say('ack', answer)));
if (flood) socket.on('connect', () => setInterval(() => { for (let at = 0; at < 500; at++) socket.emit('note', 'x'.repeat(200)); }, 5));
if (pause) setTimeout(() => { for (;;); }, pause);
