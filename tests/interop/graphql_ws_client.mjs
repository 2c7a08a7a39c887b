// npm's graphql-ws, driven by lines of JSON: node graphql_ws_client.mjs URL
// In: {token} · {subscribe, query, variables, resumes} · {query: N, document, variables} · {stop: N} · {init} · {close}.
// Out: {on: "connected" | "closed", ...}, {next: N, payload}, {error: N, payload}, {complete: N}.
import { createInterface } from "node:readline";
import { createClient } from "graphql-ws";
import WebSocket from "ws";

let token = null;
let open = null;
const say = (line) => process.stdout.write(JSON.stringify(line) + "\n");
const stops = new Map();
const client = createClient({
  url: process.argv[2],
  webSocketImpl: WebSocket,
  connectionParams: () => (token === null ? {} : { token }),
  retryAttempts: 20,
  retryWait: () => new Promise((resolve) => setTimeout(resolve, 30)),
  on: {
    connected: (socket) => {
      open = socket;
      say({ on: "connected" });
    },
    closed: (event) => say({ on: "closed", code: event.code, reason: event.reason }),
  },
});

function begin(number, query, variables, resumes) {
  const stop = client.subscribe({ query, variables }, {
    next: (payload) => {
      // The client sends the very same variables again on a retry: what was told must not be asked for again.
      if (resumes && payload.data) variables.after = payload.data.roomEvents.seq;
      say({ next: number, payload });
    },
    error: (wrong) => say({ error: number, payload: Array.isArray(wrong) ? wrong : { code: wrong.code, reason: wrong.reason } }),
    complete: () => say({ complete: number }),
  });
  stops.set(number, stop);
}

for await (const line of createInterface({ input: process.stdin })) {
  const asked = JSON.parse(line);
  if ("token" in asked) token = asked.token;
  else if ("stop" in asked) stops.get(asked.stop)();
  else if (asked.init) open.send('{"type":"connection_init"}'); // which the client would never do
  else if (asked.close) break;
  else begin(asked.begin, asked.query, asked.variables, asked.resumes);
}
await client.dispose();
process.exit(0);
