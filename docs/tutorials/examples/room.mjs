// One room over Socket.IO, for as long as the page is open: it renews its token, comes back, and misses nothing.
export function enter(io, url, room, getToken, { onEvent, onEnd }) {
  const socket = io(url, { auth: async (give) => give({ token: await getToken() }) });
  let last = 0; // the newest event that we have
  const hear = (event) => {
    if (event.seq > last) onEvent(event);
    last = Math.max(last, event.seq);
  };
  socket.on("event", hear);
  socket.on("connect", async () => {
    let page;
    do {
      page = (await socket.emitWithAck("room.subscribe", { room, after: last })).result;
      page?.events.forEach(hear);
    } while (page && !page.complete);
  });
  socket.on("session.expiring", async () => socket.emit("session.refresh", { token: await getToken() }));
  socket.on("session.closing", ({ reason, reconnect }) => {
    if (reconnect) setTimeout(() => socket.connect(), 1000);
    else onEnd(reason);
  });
  return (text) => socket.emitWithAck("message.send", { room, text, client_id: crypto.randomUUID() });
}
