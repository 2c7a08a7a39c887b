// npm `socket.io` as its users write it: the token checked in the connect packet (jsonwebtoken), one room, no store.
// node socketio.mjs PORT     BENCH_ALGORITHM, BENCH_KEY (a secret, or a public key in PEM)
import { createServer } from 'node:http';
import jwt from 'jsonwebtoken';
import { Server } from 'socket.io';

const { BENCH_ALGORITHM: algorithm, BENCH_KEY: key } = process.env;
const server = createServer((request, response) => response.end('ok'));
const io = new Server(server, { transports: ['websocket'], perMessageDeflate: false });

io.use((socket, next) => {
  try {
    const options = { algorithms: [algorithm], issuer: 'parley', audience: 'parley' };
    socket.data.subject = jwt.verify(socket.handshake.auth.token, key, options).sub;
    next();
  } catch {
    next(new Error('unauthorized'));
  }
});
io.on('connection', (socket) => {
  socket.join('r1');
  socket.on('msg', ({ room, body }) => {
    io.to('r1').emit('msg', { type: 'msg', from: socket.data.subject, room, body });
  });
});
server.listen(Number(process.argv[2]), '127.0.0.1');
