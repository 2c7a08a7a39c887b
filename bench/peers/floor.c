// The floor: an epoll loop that hands what a WebSocket client says to all of them, one send() each.
// No token, no JSON, no memory of what was said: what one system call for each delivery costs on this machine.
// Build: gcc -O2 -o floor floor.c    Run: floor PORT
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#define DESCRIPTORS 65536
static int members[DESCRIPTORS], place[DESCRIPTORS], members_n;
static char upgraded[DESCRIPTORS];

static void leave(int fd) {
  if (upgraded[fd]) {
    int last = members[--members_n];
    members[place[fd]] = last;
    place[last] = place[fd];
    upgraded[fd] = 0;
  }
  close(fd);
}

static void join(int fd) { // the answer fits the one key that wsload sends
  static const char head[] = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                             "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";
  send(fd, head, sizeof head - 1, MSG_NOSIGNAL);
  upgraded[fd] = 1;
  place[fd] = members_n;
  members[members_n++] = fd;
}

static void tell_all(const unsigned char *payload, size_t size) {
  static unsigned char frame[1 << 16];
  size_t h = 0;
  frame[h++] = 0x81;
  if (size < 126) frame[h++] = (unsigned char)size;
  else frame[h++] = 126, frame[h++] = (unsigned char)(size >> 8), frame[h++] = (unsigned char)size;
  memcpy(frame + h, payload, size);
  for (int i = 0; i < members_n; i++) send(members[i], frame, h + size, MSG_NOSIGNAL | MSG_DONTWAIT);
}

static void hear(int fd) { // whole frames under 64 KiB only: that is what wsload sends
  static unsigned char chunk[1 << 16];
  ssize_t got = recv(fd, chunk, sizeof chunk, 0);
  if (got < 0 && errno == EAGAIN) return;
  if (got <= 0) {
    leave(fd);
    return;
  }
  if (!upgraded[fd]) {
    join(fd);
    return;
  }
  for (ssize_t at = 0; got - at >= 6;) {
    unsigned char *f = chunk + at;
    size_t size = f[1] & 127, h = 2;
    if (size == 126) size = (size_t)f[2] << 8 | f[3], h = 4;
    if (size == 127 || (size_t)(got - at) < h + 4 + size) return;
    unsigned char *mask = f + h, *payload = mask + 4;
    for (size_t i = 0; i < size; i++) payload[i] ^= mask[i & 3];
    at += (ssize_t)(h + 4 + size);
    if ((f[0] & 15) == 8) {
      leave(fd);
      return;
    }
    tell_all(payload, size);
  }
}

int main(int argc, char **argv) {
  int one = 1, listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0), ep = epoll_create1(0);
  setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
  struct sockaddr_in address = {
      .sin_family = AF_INET, .sin_port = htons((unsigned short)atoi(argv[argc - 1])), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  if (bind(listener, (void *)&address, sizeof address) || listen(listener, 4096)) {
    perror("floor");
    return 1;
  }
  struct epoll_event e = {.events = EPOLLIN, .data.fd = listener}, events[256];
  epoll_ctl(ep, EPOLL_CTL_ADD, listener, &e);
  for (;;) {
    int n = epoll_wait(ep, events, 256, -1);
    for (int i = 0; i < n; i++) {
      int fd = events[i].data.fd;
      if (fd != listener) {
        hear(fd);
        continue;
      }
      for (int peer; (peer = accept4(listener, 0, 0, SOCK_NONBLOCK)) >= 0;) {
        setsockopt(peer, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
        struct epoll_event in = {.events = EPOLLIN, .data.fd = peer};
        epoll_ctl(ep, EPOLL_CTL_ADD, peer, &in);
      }
    }
  }
}
