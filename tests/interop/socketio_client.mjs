// npm's socket.io-client, driven by lines of JSON: node socketio_client.mjs PACKAGE URL '["polling"]' [MANAGER OPTIONS]
// In: {token} · {connect} · {call, name, params} · {close}. Out: {on, ...} for what the library tells, {answer, said}.
import { createInterface } from "node:readline";

const [, , name, url, transports, options = "{}"] = process.argv;
const library = await import(name);
const io = library.io ?? library.default; // version 3 is CommonJS
let token = null;
const socket = io(url, {
  autoConnect: false,
  transports: JSON.parse(transports),
  reconnectionDelay: 50,
  reconnectionDelayMax: 200,
  auth: (give) => give(token === null ? {} : { token }),
  ...JSON.parse(options),
});
const say = (line) => process.stdout.write(JSON.stringify(line) + "\n");

socket.on("connect", () => {
  const { engine } = socket.io;
  say({ on: "connect", id: socket.id, transport: engine.transport.name });
  engine.once("upgrade", (transport) => say({ on: "upgrade", transport: transport.name }));
});
socket.on("disconnect", (reason) => say({ on: "disconnect", reason }));
socket.on("connect_error", ({ message, data }) => say({ on: "connect_error", message, data, active: socket.active }));
socket.io.on("reconnect_attempt", (attempt) => say({ on: "reconnect_attempt", attempt }));
for (const heard of [
  "event", "signal", "session.expiring", "session.changed", "session.closing", "subscription.ended",
])
  socket.on(heard, (body) => say({ on: heard, body }));

for await (const line of createInterface({ input: process.stdin })) {
  const asked = JSON.parse(line);
  if ("token" in asked) token = asked.token;
  else if (asked.connect) socket.connect();
  else if (asked.close) socket.close();
  else socket.emit(asked.name, asked.params, (said) => say({ answer: asked.call, said }));
}
process.exit(0);
