// A stock Socket.IO client: prints what it gets, one JSON value a line, until it is ended.
// viewer.mjs URL CA-FILE TRANSPORT TOKEN [pause]
import { readFileSync } from 'node:fs';
import { io } from 'socket.io-client';

const [url, ca, transport, token, pause] = process.argv.slice(2);
const say = (name, value) => process.stdout.write(JSON.stringify({ name, value, transport: socket.io.engine?.transport?.name }) + '\n');
const socket = io(url, { ca: readFileSync(ca), transports: [transport], auth: token ? { token } : {}, reconnection: false });
socket.on('connect', () => say('connect', null));
socket.on('connect_error', (error) => { say('connect_error', error.message); process.exit(1); });
socket.on('disconnect', (reason) => say('disconnect', reason));
socket.onAny((name, value) => say(name, value));
if (pause) setTimeout(() => { for (;;); }, Number(pause));
