// The audit suite of GraphQL over HTTP (npm graphql-http) against one server: one line of JSON for each audit.
// node graphql_audits.mjs URL TOKEN
import { serverAudits } from "graphql-http";

const [url, token] = process.argv.slice(2);
const fetchFn = (to, { headers, ...init } = {}) =>
  fetch(to, { ...init, headers: { ...headers, authorization: `Bearer ${token}` } });

for (const audit of serverAudits({ url, fetchFn })) {
  const result = await audit.fn();
  console.log(JSON.stringify({ id: audit.id, name: audit.name, status: result.status, reason: result.reason }));
}
