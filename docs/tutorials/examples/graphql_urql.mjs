// An urql client on one socket: its token is renewed there, and a subscription that is retried repeats nothing.
import { Client, subscriptionExchange } from "@urql/core";

export function connect(createClient, url, getToken) {
  const connectionParams = async () => ({ token: await getToken() }); // at each retry anew
  const socket = createClient({ url, connectionParams, retryAttempts: Infinity, shouldRetry: () => true });
  const forwardSubscription = ({ query, variables: asked }) => ({
    subscribe(sink) {
      const variables = { ...asked };
      const next = (result) => {
        if (result.data?.roomEvents) variables.after = result.data.roomEvents.seq; // a retry sends these again
        sink.next(result);
      };
      return { unsubscribe: socket.subscribe({ query, variables }, { ...sink, next }) };
    },
  });
  const exchanges = [subscriptionExchange({ forwardSubscription, enableAllOperations: true })];
  const urql = new Client({ url, exchanges });
  urql.subscription("subscription { sessionNotices { type } }", {}).subscribe(async ({ data }) => {
    if (data?.sessionNotices.type !== "expiring") return;
    const renew = "mutation ($token: String!) { refreshSession(token: $token) { expiresAt } }";
    await urql.mutation(renew, { token: await getToken() }).toPromise();
  });
  return urql;
}
