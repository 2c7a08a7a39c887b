// Plays a page of the GraphQL tutorial: node graphql_page.mjs PROGRAM URL ROOM, beside copies of the examples.
// Standard output: {wants: "token"}, {event}, {end}, {said}; standard input: {token} answers the wish, {say} speaks.
import { createInterface } from "node:readline";
import { createClient } from "graphql-ws";
import WebSocket from "ws";

const [program, url, room] = process.argv.slice(2);
const tell = (line) => process.stdout.write(JSON.stringify(line) + "\n");
const wishes = [];
const getToken = () => {
  tell({ wants: "token" });
  return new Promise((resolve) => wishes.push(resolve));
};
// As a browser's, but for the waiting: nobody looks on here.
const soon = () => new Promise((resolve) => setTimeout(resolve, 20));
const create = (options) => createClient({ ...options, webSocketImpl: WebSocket, retryWait: soon });
const onEvent = (event) => tell({ event });
const onEnd = (wrong) => tell({ end: wrong.reason ?? wrong });

let say;
if (program === "graphql_room.mjs") {
  const { enter } = await import("./graphql_room.mjs");
  say = enter(create, url, room, getToken, { onEvent, onEnd });
} else {
  const { connect } = await import("./graphql_urql.mjs");
  const urql = connect(create, url, getToken);
  const events = "subscription ($room: ID!, $after: Int) { roomEvents(room: $room, after: $after) { seq message { text } } }";
  urql.subscription(events, { room, after: 0 }).subscribe(({ data, error }) => {
    if (error) onEnd(error.networkError ?? error.graphQLErrors);
    else onEvent(data.roomEvents);
  });
  const send = "mutation ($room: ID!, $text: String!) { sendMessage(room: $room, text: $text) { message { seq } } }";
  say = (text) => urql.mutation(send, { room, text }).toPromise();
}
for await (const line of createInterface({ input: process.stdin })) {
  const order = JSON.parse(line);
  if ("token" in order) wishes.shift()(order.token);
  else tell({ said: (await say(order.say)).data.sendMessage });
}
process.exit(0);
