// One room over graphql-ws: its token is renewed on the open socket, and a retry repeats nothing.
const EVENTS = `subscription ($room: ID!, $after: Int, $epoch: String) {
  roomEvents(room: $room, after: $after, epoch: $epoch) { seq epoch type message { id text sender { name } } } }`;
const RENEW = "mutation ($token: String!) { refreshSession(token: $token) { expiresAt } }";
const SEND = `mutation ($room: ID!, $text: String!, $clientId: String) {
  sendMessage(room: $room, text: $text, clientId: $clientId) { message { id seq } duplicate } }`;

export function enter(createClient, url, room, getToken, { onEvent, onEnd }) {
  const connectionParams = async () => ({ token: await getToken() }); // at each retry anew
  const client = createClient({ url, connectionParams, retryAttempts: Infinity, shouldRetry: () => true });
  const variables = { room, after: 0 };
  const next = ({ data: { roomEvents: event } }) => {
    Object.assign(variables, { after: event.seq, epoch: event.epoch }); // a retry sends these variables again
    onEvent(event);
  };
  // 500 and more: its database restarts. `graphql-ws` retries lines that are lost, and no refusals.
  const error = (wrong) => (wrong[0]?.extensions.status >= 500 ? setTimeout(follow, 1000) : onEnd(wrong));
  const follow = () => client.subscribe({ query: EVENTS, variables }, { next, error, complete() {} });
  follow();
  const once = async (query, variables) => (await client.iterate({ query, variables }).next()).value;
  const notice = async ({ data }) =>
    data.sessionNotices.type === "expiring" && once(RENEW, { token: await getToken() });
  client.subscribe({ query: "subscription { sessionNotices { type } }" }, { next: notice, error() {}, complete() {} });
  return (text) => once(SEND, { room, text, clientId: crypto.randomUUID() });
}
