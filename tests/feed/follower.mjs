// Follows a feed by way of tasuki.js, as a page would: prints what it gets, one JSON value a line, until it is ended.
// follower.mjs URL CA-FILE TOKEN SCRIPT-FILE
import { readFileSync } from 'node:fs';
import { io } from 'socket.io-client';

const [url, ca, token, script] = process.argv.slice(2);
globalThis.io = io;
new Function(readFileSync(script, 'utf8'))();
const options = { ca: readFileSync(ca), reconnectionDelay: 50, reconnectionDelayMax: 300, timeout: 2000 };
const feed = globalThis.tasuki(url, { token, options });
feed.onAny((name, value) => process.stdout.write(JSON.stringify({ name, value: value?.message ?? value }) + '\n'));
