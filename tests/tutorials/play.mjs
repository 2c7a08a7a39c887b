// Plays one line of a tutorial's chat with npm's `ws`: what happens goes to standard output, a line of JSON each.
// `node play.mjs CHAT URL MODULES` reads orders from standard input: {"token": …} answers getToken, {"say": …} speaks.

import { createInterface } from "node:readline";
import { createRequire } from "node:module";

const [chatFile, url, modules] = process.argv.slice(2);
const { WebSocket } = createRequire(modules + "/")("ws");
const { chat } = await import(chatFile);
const tell = (what) => console.log(JSON.stringify(what));

const waiting = [];
const getToken = () => {
  tell({ wants: "token" });
  return new Promise((resolve) => waiting.push(resolve));
};
const opening = chat(WebSocket, url, getToken, {
  onText: (text) => tell({ text }),
  onEnd: (code, reason) => { tell({ code, reason }); process.exit(0); },
});
createInterface({ input: process.stdin }).on("line", async (line) => {
  const order = JSON.parse(line);
  if (order.token !== undefined) waiting.shift()(order.token);
  if (order.say !== undefined) (await opening).send(order.say);
});
const socket = await opening;
socket.onopen = () => tell({ open: socket.protocol });
