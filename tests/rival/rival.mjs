// The official Socket.IO server, doing what a coordinator's feed does: viewers show a token, get a snapshot and join a room,
// and each line of the standard input, a JSON array of name and value, is emitted to the room.
// rival.mjs PORT CERTIFICATE KEY TOKEN SNAPSHOT-FILE
import { readFileSync } from 'node:fs';
import { createServer } from 'node:https';
import { createInterface } from 'node:readline';
import { Server } from 'socket.io';

const [port, cert, key, token, file] = process.argv.slice(2);
const snapshot = JSON.parse(readFileSync(file, 'utf8'));
const https = createServer({ cert: readFileSync(cert), key: readFileSync(key) });
const io = new Server(https, { serveClient: false, pingInterval: 10_000, pingTimeout: 10_000 });
io.use((socket, next) => next(socket.handshake.auth.token === token ? undefined : new Error('unauthorized')));
io.on('connection', (socket) => {
  socket.emit('snapshot', snapshot);
  socket.join('cluster');
});
createInterface({ input: process.stdin }).on('line', (line) => io.to('cluster').emit(...JSON.parse(line)));
https.listen(Number(port), '127.0.0.1');
