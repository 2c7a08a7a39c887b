// A client for a page, or for Node with `ws`: renews its token on the open socket, and says how it ended.

export function chat(WebSocket, url, getToken, { onText, onEnd }) {
  let ids = 0;
  const open = async () => {
    const socket = new WebSocket(url, ["chat.v1", "bearer." + (await getToken())]);
    socket.onmessage = async ({ data }) => {
      if (!data.startsWith('{"jsonrpc"')) return onText(data);
      if (JSON.parse(data).method !== "session.expiring") return;
      const params = { token: await getToken() };
      socket.send(JSON.stringify({ jsonrpc: "2.0", id: ++ids, method: "session.refresh", params }));
    };
    socket.onclose = ({ code, reason }) => onEnd(code, reason);
    return socket;
  };
  return open();
}
