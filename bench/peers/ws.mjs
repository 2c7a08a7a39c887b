// npm `ws` as its users write it: the token checked before the upgrade (jsonwebtoken), one room, no store.
// node ws.mjs PORT     BENCH_ALGORITHM, BENCH_KEY (a secret, or a public key in PEM)
import { createServer } from 'node:http';
import jwt from 'jsonwebtoken';
import { WebSocketServer } from 'ws';

const { BENCH_ALGORITHM: algorithm, BENCH_KEY: key } = process.env;
const room = new Set();
const server = createServer((request, response) => response.end('ok'));
const sockets = new WebSocketServer({ noServer: true, perMessageDeflate: false });

server.on('upgrade', (request, socket, head) => {
  let claims;
  try {
    const token = request.headers.authorization?.replace(/^Bearer /, '');
    claims = jwt.verify(token, key, { algorithms: [algorithm], issuer: 'parley', audience: 'parley' });
  } catch {
    socket.end('HTTP/1.1 401 Unauthorized\r\nConnection: close\r\nContent-Length: 0\r\n\r\n');
    return;
  }
  sockets.handleUpgrade(request, socket, head, (ws) => {
    room.add(ws);
    ws.on('close', () => room.delete(ws));
    ws.on('error', () => room.delete(ws));
    ws.on('message', (data) => {
      const message = JSON.parse(data);
      if (message.type !== 'msg') return;
      const told = Buffer.from(JSON.stringify({ type: 'msg', from: claims.sub, room: message.room, body: message.body }));
      for (const peer of room) peer.send(told, { binary: false });
    });
  });
});
server.listen(Number(process.argv[2]), '127.0.0.1');
