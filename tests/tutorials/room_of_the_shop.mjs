// Plays a page of the shop of "From socketio-jwt": node room_of_the_shop.mjs URL ROOM SECRET, beside copies of the examples.
// Standard output: {token} when one was made, {event}, {end}, {said}; standard input: {say} speaks, {expiresIn} for what follows.
import { createInterface } from "node:readline";
import { io } from "socket.io-client";
import { chatToken } from "./login_token.mjs";
import { enter } from "./room.mjs";

const [url, room, secret] = process.argv.slice(2);
const tell = (line) => process.stdout.write(JSON.stringify(line) + "\n");
let expiresIn = "20s"; // so that the server asks for another at once

const getToken = async () => {
  const token = chatToken({ id: 42, name: "Ada", roles: ["member", "admin"] }, secret, expiresIn);
  expiresIn = "15m";
  tell({ token: true });
  return token;
};
const say = enter(io, url, room, getToken, {
  onEvent: (event) => tell({ event }),
  onEnd: (reason) => tell({ end: reason }),
});
for await (const line of createInterface({ input: process.stdin })) tell({ said: await say(JSON.parse(line).say) });
process.exit(0);
