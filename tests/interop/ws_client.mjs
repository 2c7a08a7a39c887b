// A client such as people write with npm's `ws`: joins a room, sends each text of standard input, prints what it hears.
// Usage: node ws_client.mjs URL ROOM LAST_SEQ, the token in TOKEN, one JSON string a line on standard input.
import { createInterface } from "node:readline";
import WebSocket from "ws";

const [url, room, lastSeq] = process.argv.slice(2);
const socket = new WebSocket(url, ["parley.v1", `bearer.${process.env.TOKEN}`]);
let id = 0;
const answers = new Map();
const call = (method, params) =>
  new Promise((resolve, reject) => {
    answers.set(++id, { resolve, reject });
    socket.send(JSON.stringify({ jsonrpc: "2.0", id, method, params }));
  });

socket.on("message", (data, isBinary) => {
  if (isBinary) throw new Error("a binary message");
  const message = JSON.parse(data.toString());
  if (message.method === "event") {
    const { seq, type, data: told } = message.params;
    console.log(JSON.stringify({ seq, type, id: told.message?.id, text: told.message?.text }));
    if (seq === Number(lastSeq)) socket.close(1000);
  } else if (answers.has(message.id)) {
    const { resolve, reject } = answers.get(message.id);
    if (message.error) reject(new Error(message.error.data.code));
    else resolve(message.result);
  }
});
socket.on("close", (code) => {
  // Not process.exit: what was printed to a pipe may still be on its way.
  process.exitCode = code === 1000 ? 0 : 1;
  process.stdin.destroy();
});
socket.on("open", async () => {
  if (socket.protocol !== "parley.v1") throw new Error(`subprotocol ${socket.protocol}`);
  await call("room.subscribe", { room, after: 0 });
  console.log("ready");
  for await (const line of createInterface({ input: process.stdin })) {
    const { message } = await call("message.send", { room, text: JSON.parse(line) });
    console.log(JSON.stringify({ sent: message.seq, id: message.id, text: message.text }));
  }
});
