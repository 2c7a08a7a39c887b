// One WebSocket client among thousands (or one of plain HTTP), on one thread and one epoll: connect, upgrade, a script, messages in and out.
// Knows nothing of what a run measures: that hangs on the three hooks.
#pragma once
#include <stddef.h>
#include <stdint.h>

enum { CONNECTING, UPGRADING, SCRIPTED, READY, OVER };

// What a kind of client asks for and says first. Steps are "send:TEXT" and "expect:PART", in order.
// With a method it asks for no upgrade: it is READY once the answer begins, and what follows comes as it is.
typedef struct {
  const char *path, *method;
  const char *headers[16], *steps[16];
  int headers_n, steps_n;
} role;

typedef struct {
  char *data;
  size_t size, room;
} buffer;

typedef struct client {
  int fd, index, pair, state, step;
  int status; // of the answer to the upgrade, 0 before it
  uint64_t began_ns;
  const role *role;
  void *own; // the run's
  buffer in, out;
} client;

typedef struct {
  void (*ready)(client *);                            // the script is through
  void (*text)(client *, const char *data, size_t n); // a text message after that
  void (*pong)(client *);                             // the answer to client_ping
  void (*over)(client *);                             // refused, closed or lost; its descriptor is closed
} hooks;

extern hooks on;
extern const char *host;
extern int port;
extern uint64_t bytes_in;
extern char last_refusal[400]; // the head of the last answer that was no 101

void load_tokens(const char *file); // one for each line; client i shows line i, round and round

void client_start(client *c, int index, int pair, const role *role);
void client_send(client *c, const char *text, size_t n); // queued; leaves with client_flush
void client_send_bytes(client *c, const char *data, size_t n); // a binary message, or as it is with a method
void client_deafen(client *c);                           // read nothing any more
void client_ping(client *c);                             // likewise
void client_flush(client *c);
void client_reset(client *c); // hang up with a reset, so that no port waits in TIME_WAIT; no hook is called

int pump(int64_t wait_ns); // handle what is ready, waiting at most so long; how many sockets were

// TEXT with {i} {pair} {token} {seq} and {ts}, which becomes "~TS" and 16 hex digits. Returns the length.
size_t expand(char *to, size_t room, const char *text, const client *c, uint64_t ts, uint64_t seq);
const char *find_marker(const char *data, size_t n, uint64_t *ts); // the end of the first marker, NULL without one
