#define _GNU_SOURCE
#include "client.h"
#include "meter.h"
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

hooks on;
const char *host = "127.0.0.1";
int port;
uint64_t bytes_in;
char last_refusal[400];

static int epoll_fd = -1;
static char **tokens;
static int tokens_n;

static void die(const char *what) {
  fprintf(stderr, "wsload: %s: %s\n", what, strerror(errno));
  exit(2);
}

// --- templates ---

void load_tokens(const char *file) {
  FILE *f = fopen(file, "r");
  if (!f) die(file);
  char line[16384];
  while (fgets(line, sizeof line, f)) {
    line[strcspn(line, "\n")] = 0;
    tokens = realloc(tokens, sizeof *tokens * (size_t)(tokens_n + 1));
    tokens[tokens_n++] = strdup(line);
  }
  fclose(f);
}

size_t expand(char *to, size_t room, const char *text, const client *c, uint64_t ts, uint64_t seq) {
  size_t n = 0;
  for (const char *p = text; *p && n + 32 < room;) {
    if (*p != '{') to[n++] = *p++;
    else if (!strncmp(p, "{i}", 3)) n += (size_t)sprintf(to + n, "%d", c->index), p += 3;
    else if (!strncmp(p, "{ts}", 4)) n += (size_t)sprintf(to + n, "~TS%016lx", ts), p += 4;
    else if (!strncmp(p, "{seq}", 5)) n += (size_t)sprintf(to + n, "%lu", seq), p += 5;
    else if (!strncmp(p, "{pair}", 6)) n += (size_t)sprintf(to + n, "%d", c->pair), p += 6;
    else if (!strncmp(p, "{token}", 7) && tokens_n) n += (size_t)snprintf(to + n, room - n, "%s", tokens[c->index % tokens_n]), p += 7;
    else to[n++] = *p++;
  }
  to[n] = 0;
  return n;
}

const char *find_marker(const char *data, size_t n, uint64_t *ts) {
  const char *end = data + n;
  while ((data = memmem(data, (size_t)(end - data), "~TS", 3)) && end - data >= 19) {
    uint64_t value = 0;
    int digits = 0;
    for (; digits < 16; digits++) {
      char ch = data[3 + digits];
      int d = ch >= '0' && ch <= '9' ? ch - '0' : ch >= 'a' && ch <= 'f' ? ch - 'a' + 10 : -1;
      if (d < 0) break;
      value = value << 4 | (uint64_t)d;
    }
    data += 3 + digits;
    if (digits == 16) {
      *ts = value;
      return data;
    }
  }
  return NULL;
}

// --- bytes out ---

static void append(buffer *b, const void *data, size_t n) {
  if (b->size + n > b->room) {
    b->room = (b->size + n) * 2;
    b->data = realloc(b->data, b->room);
  }
  memcpy(b->data + b->size, data, n);
  b->size += n;
}

static void watch(client *c, uint32_t events) {
  struct epoll_event e = {.events = events, .data.ptr = c};
  epoll_ctl(epoll_fd, EPOLL_CTL_MOD, c->fd, &e);
}

void client_flush(client *c) {
  if (c->state == OVER || !c->out.size) return;
  ssize_t sent = send(c->fd, c->out.data, c->out.size, MSG_NOSIGNAL);
  if (sent > 0) {
    c->out.size -= (size_t)sent;
    if (c->out.size) memmove(c->out.data, c->out.data + sent, c->out.size);
  }
  if (c->out.size) watch(c, EPOLLIN | EPOLLOUT);
}

static void send_frame(client *c, int opcode, const char *data, size_t n) { // RFC 6455 §5.2, masked
  static const unsigned char mask[4] = {0x37, 0xfa, 0x21, 0x3d};
  unsigned char head[14] = {(unsigned char)(0x80 | opcode)};
  size_t h = 2;
  if (n < 126) head[1] = (unsigned char)(0x80 | n);
  else if (n < 65536) head[1] = 0x80 | 126, head[2] = (unsigned char)(n >> 8), head[3] = (unsigned char)n, h = 4;
  else {
    head[1] = 0x80 | 127;
    for (int i = 0; i < 8; i++) head[2 + i] = (unsigned char)((uint64_t)n >> (56 - 8 * i));
    h = 10;
  }
  memcpy(head + h, mask, 4);
  append(&c->out, head, h + 4);
  append(&c->out, data, n);
  char *payload = c->out.data + c->out.size - n;
  for (size_t i = 0; i < n; i++) payload[i] ^= (char)mask[i & 3];
}

void client_send(client *c, const char *text, size_t n) {
  if (c->state != OVER) send_frame(c, 1, text, n);
}

void client_send_bytes(client *c, const char *data, size_t n) {
  if (c->state == OVER) return;
  if (c->role->method) append(&c->out, data, n);
  else send_frame(c, 2, data, n);
}

void client_deafen(client *c) { epoll_ctl(epoll_fd, EPOLL_CTL_DEL, c->fd, NULL); }

void client_ping(client *c) {
  if (c->state != OVER) send_frame(c, 9, "", 0);
}

// --- a life ---

void client_start(client *c, int index, int pair, const role *role) {
  if (epoll_fd < 0) epoll_fd = epoll_create1(0);
  c->index = index, c->pair = pair, c->role = role;
  c->state = CONNECTING, c->step = c->status = 0;
  c->in.size = c->out.size = 0;
  c->began_ns = now_ns();
  c->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
  if (c->fd < 0) die("socket");
  int one = 1;
  setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
  inet_pton(AF_INET, host, &address.sin_addr);
  if (connect(c->fd, (void *)&address, sizeof address) < 0 && errno != EINPROGRESS) die("connect");
  struct epoll_event e = {.events = EPOLLOUT, .data.ptr = c};
  if (epoll_ctl(epoll_fd, EPOLL_CTL_ADD, c->fd, &e)) die("epoll_ctl");
}

void client_reset(client *c) {
  if (c->state == OVER) return;
  struct linger at_once = {1, 0};
  setsockopt(c->fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
  close(c->fd);
  c->state = OVER;
}

static void end(client *c) {
  if (c->state == OVER) return;
  close(c->fd);
  c->state = OVER;
  on.over(c);
}

static void ask_upgrade(client *c) {
  int error = 0;
  socklen_t size = sizeof error;
  getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &error, &size);
  if (error) {
    end(c);
    return;
  }
  char head[32768], part[16384];
  expand(part, sizeof part, c->role->path, c, 0, 0);
  size_t n = (size_t)snprintf(head, sizeof head,
                              "%s %s HTTP/1.1\r\nHost: %s:%d\r\n%s",
                              c->role->method ? c->role->method : "GET", part, host, port,
                              c->role->method ? ""
                                              : "Upgrade: websocket\r\nConnection: Upgrade\r\n"
                                                "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n");
  for (int i = 0; i < c->role->headers_n; i++) {
    expand(part, sizeof part, c->role->headers[i], c, 0, 0);
    n += (size_t)snprintf(head + n, sizeof head - n, "%s\r\n", part);
  }
  n += (size_t)snprintf(head + n, sizeof head - n, "\r\n");
  c->state = UPGRADING;
  watch(c, EPOLLIN);
  append(&c->out, head, n);
  client_flush(c);
}

static void go_on(client *c) { // send steps until one expects something, or the script is through
  for (; c->step < c->role->steps_n; c->step++) {
    const char *step = c->role->steps[c->step];
    if (strncmp(step, "send:", 5)) return;
    char text[65536];
    client_send(c, text, expand(text, sizeof text, step + 5, c, 0, 0));
  }
  c->state = READY;
  on.ready(c);
}

static void take_text(client *c, const char *data, size_t n) {
  if (c->state == READY) {
    on.text(c, data, n);
    return;
  }
  const char *step = c->role->steps[c->step];
  if (!strncmp(step, "expect:", 7) && memmem(data, n, step + 7, strlen(step + 7))) {
    c->step++;
    go_on(c);
  }
}

static size_t take_head(client *c, const char *data, size_t n) {
  const char *head_end = memmem(data, n, "\r\n\r\n", 4);
  if (!head_end) return 0;
  c->status = atoi(data + 9);
  if (c->role->method ? c->status != 200 && c->status != 100 : c->status != 101) {
    snprintf(last_refusal, sizeof last_refusal, "%.*s", (int)n, data);
    end(c);
    return n;
  }
  c->state = SCRIPTED;
  go_on(c);
  return (size_t)(head_end + 4 - data);
}

static size_t take(client *c, const char *data, size_t n) { // whole frames; how many bytes they were
  size_t at = 0;
  if (c->state == UPGRADING) at = take_head(c, data, n);
  if (c->role->method && c->state == READY) {
    if (n > at) on.text(c, data + at, n - at);
    return n;
  }
  while (c->state >= SCRIPTED && c->state != OVER) {
    const unsigned char *f = (const unsigned char *)data + at;
    size_t left = n - at, h = 2;
    if (left < 2) break;
    uint64_t size = f[1] & 127;
    if (size == 126) {
      if (left < 4) break;
      size = (uint64_t)f[2] << 8 | f[3], h = 4;
    } else if (size == 127) {
      if (left < 10) break;
      size = 0, h = 10;
      for (int i = 2; i < 10; i++) size = size << 8 | f[i];
    }
    if (left < h + size) break;
    const char *payload = (const char *)f + h;
    at += h + size;
    int opcode = f[0] & 15;
    if (opcode == 8) {
      snprintf(last_refusal, sizeof last_refusal, "close %d %.*s", size >= 2 ? (unsigned char)payload[0] << 8 | (unsigned char)payload[1] : 0,
               size > 2 ? (int)size - 2 : 0, size > 2 ? payload + 2 : "");
      end(c);
    } else if (opcode == 9) send_frame(c, 10, payload, size);
    else if (opcode == 10) on.pong(c);
    else if (opcode <= 2) take_text(c, payload, size);
  }
  return c->state == OVER ? n : at;
}

static void read_some(client *c) {
  static char chunk[1 << 18];
  ssize_t got = recv(c->fd, chunk, sizeof chunk, 0);
  if (got < 0 && errno == EAGAIN) return;
  if (got <= 0) {
    end(c);
    return;
  }
  bytes_in += (uint64_t)got;
  if (c->in.size) {
    append(&c->in, chunk, (size_t)got);
    size_t used = take(c, c->in.data, c->in.size);
    c->in.size -= used;
    if (c->in.size) memmove(c->in.data, c->in.data + used, c->in.size);
  } else {
    size_t used = take(c, chunk, (size_t)got);
    if (used < (size_t)got) append(&c->in, chunk + used, (size_t)got - used);
  }
  client_flush(c);
}

int pump(int64_t wait_ns) {
  struct epoll_event events[512];
  struct timespec wait = {wait_ns / 1000000000, wait_ns % 1000000000};
  int n = epoll_pwait2(epoll_fd, events, 512, &wait, NULL);
  for (int i = 0; i < n; i++) {
    client *c = events[i].data.ptr;
    if (c->state == CONNECTING) {
      ask_upgrade(c);
      continue;
    }
    if (c->state != OVER && events[i].events & EPOLLOUT) {
      watch(c, EPOLLIN);
      client_flush(c);
    }
    if (c->state != OVER && events[i].events & (EPOLLIN | EPOLLHUP | EPOLLERR)) read_some(c);
  }
  return n;
}
