// One room over Socket.IO, for as long as the page is open: it renews its token, comes back, and misses nothing.
export function enter(io, url, room, getToken, { onEvent, onEnd }) {
  const socket = io(url, { auth: async (give) => give({ token: await getToken() }) });
  let last = 0; // the newest event that we have
  let isLive = false;
  const hear = (event) => {
    if (event.seq > last) onEvent(event);
    last = Math.max(last, event.seq);
  };
  // By a callback: after an `await`, what was said right behind the answer would have overtaken what is in it.
  const follow = () =>
    socket.emit("room.subscribe", { room, after: last }, ({ result, error }) => {
      if (error) return error.status < 500 ? onEnd(error.code) : setTimeout(follow, 1000);
      result.events.forEach(hear);
      isLive = result.complete;
      if (!isLive) follow();
    });
  socket.on("event", (event) => isLive && hear(event));
  socket.on("connect", follow);
  socket.on("disconnect", () => (isLive = false));
  socket.on("session.expiring", async () => socket.emit("session.refresh", { token: await getToken() }));
  socket.on("session.closing", ({ reason, reconnect }) =>
    reconnect ? setTimeout(() => socket.connect(), 1000) : onEnd(reason));
  return (text) => socket.emitWithAck("message.send", { room, text, client_id: crypto.randomUUID() });
}
