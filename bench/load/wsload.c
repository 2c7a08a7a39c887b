// wsload: load for a WebSocket server, and what it cost that server; prints one JSON object.
// Build: gcc -O2 -o wsload wsload.c client.c meter.c
//
//   --mode idle        open --members, run their scripts, tell the memory for each
//   --mode handshake   --concurrency clients connect, upgrade, hang up, again and again
//   --mode fan         the first of --members sends, all receive. Closed loop: --burst messages leave in one write as
//                      soon as at most --window minus --burst are not yet with everybody. Every text message that holds
//                      a marker, and begins with --delivered where that is given, is one delivery
//   --mode drop        --members send --rate messages a second between them that are for nobody
//   --mode talk        --senders, each with one reader of its own and --window messages unanswered. An answer begins with
//                      --answered and the number that {seq} was; one that holds --refused is a refusal.
//                      --probe RATE adds a pair beside them that speaks at a steady rate and is measured by itself
//
//   --mode audio       a broadcaster at --publish sends Ogg pages of 20 ms, 50 a second, to --members listeners at --path,
//                      by GET where --plain is 1; --stalled of them read nothing. Each page that one gets is a delivery
//
// Common: --host --port --path --header LINE --step STEP --tokens FILE --payload TEMPLATE --seconds --warm-up --pid PID
// (client.h says what templates and steps are). Latencies are from the moment a message was due to leave.
#define _GNU_SOURCE
#include "client.h"
#include "meter.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static role member, reader;
static const char *mode = "fan", *payload, *answered, *delivered, *refused = "\"error\":{";
static int members = 1, senders = 1, window = 1, burst = 1, concurrency = 64;
static const char *publish;
static int plain, put, stalled, page_bytes = 188;
static double seconds = 2, warm_up = 0.5, rate = 0, probe = 0;

static client *clients;
static int clients_n, ready_n, over_n, pongs_n, measuring;
static uint64_t sent, deliveries, other, refusals;
static histogram delivery, answer, probe_delivery, probe_answer;

static void add(const char **list, int *n, const char *value) {
  if (*n == 16) fprintf(stderr, "wsload: more than 16 of one option\n"), exit(2);
  list[(*n)++] = value;
}

static double since_s(uint64_t t) { return (double)(now_ns() - t) / 1e9; }

static void count_ready(client *c) { (void)c, ready_n++; }
static void count_over(client *c) { (void)c, over_n++; }
static void count_pong(client *c) { (void)c, pongs_n++; }
static void ignore_text(client *c, const char *data, size_t n) { (void)c, (void)data, (void)n, other++; }

static void open_all(int n, role *(*role_of)(int index), int pairs) {
  clients = calloc((size_t)n, sizeof *clients);
  clients_n = n;
  uint64_t begun = now_ns();
  for (int opened = 0; ready_n + over_n < n;) {
    while (opened < n && opened - ready_n - over_n < concurrency) {
      client_start(&clients[opened], opened, opened % pairs, role_of(opened));
      opened++;
    }
    pump(10000000);
    if (since_s(begun) > 60) break;
  }
  if (ready_n < n) {
    fprintf(stderr, "wsload: %d of %d clients are ready; the last refusal: %s\n", ready_n, n, last_refusal);
    exit(3);
  }
  for (uint64_t settled = now_ns(); since_s(settled) < 0.3;) pump(20000000);
}

static role *member_role(int index) { return (void)index, &member; }
static role *pair_role(int index) { return index < clients_n / 2 ? &member : &reader; }

// --- what is measured between two moments ---

static struct {
  uint64_t at_ns, cpu_ns, sent, deliveries, answers;
} from, to;
static uint64_t answers;

static void mark(typeof(from) *moment) {
  moment->cpu_ns = cpu_ns();
  moment->at_ns = now_ns();
  moment->sent = sent, moment->deliveries = deliveries, moment->answers = answers;
}

// Runs `work` through the warm-up and the measured seconds.
static void measure(void (*work)(uint64_t now)) {
  uint64_t begun = now_ns();
  for (;;) {
    uint64_t now = now_ns();
    if (!measuring && now - begun >= (uint64_t)(warm_up * 1e9)) {
      memset(&delivery, 0, sizeof delivery), memset(&answer, 0, sizeof answer);
      memset(&probe_delivery, 0, sizeof delivery), memset(&probe_answer, 0, sizeof answer);
      measuring = 1;
      mark(&from);
    }
    if (measuring && now >= from.at_ns + (uint64_t)(seconds * 1e9)) break;
    if (over_n && strcmp(mode, "handshake")) break; // a lost client spoils the count: the run says so and ends
    work(now);
  }
  mark(&to);
  measuring = 0;
}

static double elapsed_s(void) { return (double)(to.at_ns - from.at_ns) / 1e9; }
static double cpu_us(void) { return (double)(to.cpu_ns - from.cpu_ns) / 1e3; }
static double per(double what, uint64_t n) { return n ? what / (double)n : 0; }

// Waits in steps until the next message is due, sending what is due already.
static uint64_t due_ns;

static void keep_rate(double per_second, void (*send_due)(uint64_t due), uint64_t now) {
  uint64_t gap = (uint64_t)(1e9 / per_second);
  if (!due_ns) due_ns = now;
  for (int n = 0; due_ns <= now && n < 64; n++, due_ns += gap) send_due(due_ns);
}

static int64_t until_due(void) {
  int64_t left = (int64_t)(due_ns - now_ns());
  return left < 0 ? 0 : left > 20000000 ? 20000000 : left;
}

static void say(client *c, uint64_t ts, uint64_t seq) {
  char text[65536];
  client_send(c, text, expand(text, sizeof text, payload, c, ts, seq));
  sent++;
}

static int is_delivery(const char *data, size_t n) {
  return !delivered || (n > strlen(delivered) && !memcmp(data, delivered, strlen(delivered)));
}

// --- idle ---

static void run_idle(void) {
  long before = rss_kib();
  uint64_t cpu = cpu_ns(), begun = now_ns();
  open_all(members, member_role, members);
  double took_s = since_s(begun);
  long after = rss_kib();
  printf("{\"members\":%d,\"kib_per_connection\":%.2f,\"rss_mib\":%.1f,\"open_cpu_us\":%.1f,\"opened_in_s\":%.2f}\n", ready_n,
         (double)(after - before) / members, (double)after / 1024, (double)(cpu_ns() - cpu) / 1e3 / members, took_s);
}

// --- handshake ---

static uint64_t shaken, failed;
static int asked; // each attempt has an index of its own, and with it a token
static int statuses[1000];

static void shake(client *c) {
  statuses[c->status > 0 && c->status < 1000 ? c->status : 999]++;
  if (c->status) shaken++, note(&answer, now_ns() - c->began_ns);
  else failed++;
  client_reset(c);
}

static void keep_shaking(uint64_t now) {
  (void)now;
  pump(1000000);
  for (int i = 0; i < clients_n; i++)
    if (clients[i].state == OVER) client_start(&clients[i], asked++, 0, &member);
  sent = shaken;
}

static void run_handshake(void) {
  on.ready = shake, on.over = shake;
  clients = calloc((size_t)concurrency, sizeof *clients);
  clients_n = concurrency;
  for (int i = 0; i < clients_n; i++) client_start(&clients[i], asked++, 0, &member);
  measure(keep_shaking);
  uint64_t n = to.sent - from.sent;
  printf("{\"handshakes_per_s\":%.1f,\"cpu_us_per_handshake\":%.2f,\"p50_us\":%.1f,\"p99_us\":%.1f,\"failed\":%lu,\"statuses\":{",
         (double)n / elapsed_s(), per(cpu_us(), n), quantile_us(&answer, .5), quantile_us(&answer, .99), failed);
  const char *comma = "";
  for (int i = 0; i < 1000; i++)
    if (statuses[i]) printf("%s\"%d\":%d", comma, i, statuses[i]), comma = ",";
  printf("}}\n");
}

// --- fan ---

static void fan_text(client *c, const char *data, size_t n) {
  (void)c;
  uint64_t ts, now = now_ns();
  if (!is_delivery(data, n)) {
    other++;
    if (memmem(data, n, refused, strlen(refused))) refusals++;
    return;
  }
  const char *end = data + n, *at = data;
  while ((at = find_marker(at, (size_t)(end - at), &ts))) {
    deliveries++;
    if (measuring) note(&delivery, now > ts ? now - ts : 0);
  }
}

static void fan_due(uint64_t due) {
  for (int i = 0; i < burst; i++) say(&clients[0], due, sent);
  client_flush(&clients[0]);
}

static void fan_work(uint64_t now) {
  if (rate > 0) {
    keep_rate(rate / burst, fan_due, now);
    pump(until_due());
    return;
  }
  while (sent + (uint64_t)burst <= deliveries / (uint64_t)members + (uint64_t)window) fan_due(now_ns());
  pump(20000000);
}

static void run_fan(void) {
  on.text = fan_text;
  open_all(members, member_role, members);
  measure(fan_work);
  uint64_t drained = now_ns();
  while (deliveries < sent * (uint64_t)members && since_s(drained) < 2) pump(20000000);
  uint64_t n = to.deliveries - from.deliveries, m = to.sent - from.sent;
  printf("{\"members\":%d,\"messages_per_s\":%.1f,\"deliveries_per_s\":%.1f,\"cpu_us_per_delivery\":%.4f,"
         "\"cpu_us_per_message\":%.3f,\"p50_us\":%.1f,\"p99_us\":%.1f,\"busy\":%.3f,\"bytes_per_delivery\":%.1f,"
         "\"lost\":%ld,\"over\":%d,\"refused\":%lu}\n",
         members, (double)m / elapsed_s(), (double)n / elapsed_s(), per(cpu_us(), n), per(cpu_us(), m), quantile_us(&delivery, .5),
         quantile_us(&delivery, .99), cpu_us() / 1e6 / elapsed_s(), per((double)bytes_in, deliveries),
         (long)(sent * (uint64_t)members - deliveries), over_n, refusals);
}

// --- drop ---

static void drop_due(uint64_t due) {
  client *c = &clients[sent % (uint64_t)clients_n];
  say(c, due, sent);
  client_flush(c);
}

static void drop_work(uint64_t now) {
  keep_rate(rate, drop_due, now);
  pump(until_due());
}

// Returns once the server has read all that was sent: each client's ping comes behind what it said.
static void wait_until_read(void) {
  pongs_n = 0;
  for (int i = 0; i < clients_n; i++) client_ping(&clients[i]), client_flush(&clients[i]);
  for (uint64_t begun = now_ns(); pongs_n + over_n < clients_n && since_s(begun) < 10;) pump(20000000);
}

static void run_drop(void) {
  open_all(members, member_role, members);
  double measured_s = seconds;
  seconds = 0;
  measure(drop_work); // the warm-up alone
  wait_until_read();
  warm_up = 0, seconds = measured_s, due_ns = 0;
  measure(drop_work);
  wait_until_read();
  mark(&to);
  uint64_t n = to.sent - from.sent;
  printf("{\"messages_per_s\":%.1f,\"cpu_us_per_message\":%.3f,\"busy\":%.3f,\"received\":%lu,\"over\":%d}\n", (double)n / elapsed_s(),
         per(cpu_us(), n), cpu_us() / 1e6 / elapsed_s(), other, over_n);
}

// --- talk ---

#define RING 256 // more than any window: when each unanswered message left
typedef struct {
  uint64_t seq, left_ns[RING];
} talker;

static int pairs, stopping;
static uint64_t misnumbered;

static void talk_once(client *c, uint64_t due) {
  talker *t = c->own;
  t->seq++;
  t->left_ns[t->seq % RING] = due;
  say(c, due, t->seq);
}

static int is_probe(const client *c) { return c->pair == senders; }

static void talk_text(client *c, const char *data, size_t n) {
  uint64_t now = now_ns(), ts;
  size_t prefix = strlen(answered);
  if (c->index >= pairs) { // a reader
    if (!is_delivery(data, n) || !find_marker(data, n, &ts)) {
      other++;
      return;
    }
    deliveries++;
    if (measuring) note(is_probe(c) ? &probe_delivery : &delivery, now > ts ? now - ts : 0);
    return;
  }
  if (n <= prefix || memcmp(data, answered, prefix)) {
    other++; // its own events
    return;
  }
  talker *t = c->own;
  uint64_t seq = strtoull(data + prefix, NULL, 10);
  if (memmem(data, n, refused, strlen(refused))) {
    refusals++;
    if (refusals == 1) fprintf(stderr, "wsload: refused: %.*s\n", (int)(n < 300 ? n : 300), data);
  }
  if (seq > t->seq || t->seq - seq >= RING) {
    misnumbered++;
    return;
  }
  answers++;
  if (measuring) note(is_probe(c) ? &probe_answer : &answer, now - t->left_ns[seq % RING]);
  if (!is_probe(c) && !stopping) talk_once(c, now_ns());
}

static void probe_due(uint64_t due) {
  client *c = &clients[senders];
  talk_once(c, due);
  client_flush(c);
}

static void talk_work(uint64_t now) {
  if (probe > 0) keep_rate(probe, probe_due, now);
  pump(probe > 0 ? until_due() : 20000000);
}

static void run_talk(void) {
  on.text = talk_text;
  pairs = senders + (probe > 0);
  clients_n = 2 * pairs;
  open_all(2 * pairs, pair_role, pairs);
  for (int i = 0; i < pairs; i++) clients[i].own = calloc(1, sizeof(talker));
  for (int i = 0; i < senders; i++) {
    for (int k = 0; k < window; k++) talk_once(&clients[i], now_ns());
    client_flush(&clients[i]);
  }
  measure(talk_work);
  stopping = 1;
  uint64_t drained = now_ns();
  while ((answers < sent || deliveries < sent) && since_s(drained) < 5) pump(20000000);
  uint64_t n = to.answers - from.answers;
  printf("{\"answers_per_s\":%.1f,\"cpu_us_per_message\":%.2f,\"busy\":%.3f,\"answer_p50_us\":%.1f,\"answer_p99_us\":%.1f,"
         "\"answer_max_us\":%.1f,\"delivery_p50_us\":%.1f,\"delivery_p99_us\":%.1f,\"unanswered\":%ld,\"lost\":%ld,\"refused\":%lu,\"over\":%d",
         (double)n / elapsed_s(), per(cpu_us(), n), cpu_us() / 1e6 / elapsed_s(), quantile_us(&answer, .5), quantile_us(&answer, .99),
         (double)answer.max_ns / 1e3, quantile_us(&delivery, .5), quantile_us(&delivery, .99), (long)(sent - answers),
         (long)(sent - deliveries), refusals + misnumbered, over_n);
  if (probe > 0)
    printf(",\"probe_messages\":%lu,\"probe_answer_p50_us\":%.1f,\"probe_answer_p99_us\":%.1f,\"probe_delivery_p50_us\":%.1f,"
           "\"probe_delivery_p99_us\":%.1f,\"probe_delivery_max_us\":%.1f",
           probe_delivery.count, quantile_us(&probe_answer, .5), quantile_us(&probe_answer, .99), quantile_us(&probe_delivery, .5),
           quantile_us(&probe_delivery, .99), (double)probe_delivery.max_ns / 1e3);
  printf("}\n");
}

// --- audio ---

static role broadcaster;
static client *sender;
static uint64_t pages;

static uint32_t ogg_crc(const unsigned char *data, size_t n) { // RFC 3533 §6: polynomial 04C11DB7, nothing inverted
  static uint32_t table[256];
  if (!table[1])
    for (uint32_t i = 0; i < 256; i++) {
      uint32_t r = i << 24;
      for (int bit = 0; bit < 8; bit++) r = r & 0x80000000u ? r << 1 ^ 0x04C11DB7u : r << 1;
      table[i] = r;
    }
  uint32_t crc = 0;
  for (size_t i = 0; i < n; i++) crc = crc << 8 ^ table[(crc >> 24 ^ data[i]) & 255];
  return crc;
}

static void little(unsigned char *to, uint64_t value, int bytes) {
  for (int i = 0; i < bytes; i++) to[i] = (unsigned char)(value >> 8 * i);
}

static void send_page(int flags, uint64_t granule, const char *packet, size_t n) { // one packet of under 255 bytes
  unsigned char page[512] = "OggS";
  page[5] = (unsigned char)flags;
  little(page + 6, granule, 8), little(page + 14, 7, 4), little(page + 18, pages++, 4);
  page[26] = 1, page[27] = (unsigned char)n;
  memcpy(page + 28, packet, n);
  little(page + 22, ogg_crc(page, 28 + n), 4);
  client_send_bytes(sender, (char *)page, 28 + n);
}

static void audio_due(uint64_t due) {
  char packet[256];
  memset(packet, 'a', sizeof packet);
  packet[0] = (char)0xF8; // RFC 6716 §3.1: one frame of 20 ms
  packet[1 + sprintf(packet + 1, "~TS%016lx", due)] = 'a';
  sent++;
  send_page(0, sent * 960, packet, (size_t)page_bytes - 28);
  client_flush(sender);
}

static void audio_text(client *c, const char *data, size_t n) {
  if (c == sender) return;
  fan_text(c, data, n);
}

static void audio_work(uint64_t now) {
  keep_rate(rate > 0 ? rate : 50, audio_due, now);
  pump(until_due());
}

static void audio_ready(client *c) {
  count_ready(c);
  if (c != sender) return;
  send_page(2, 0, "OpusHead\1\1\x38\1\x80\xBB\0\0\0\0\0", 19);
  send_page(0, 0, "OpusTags\0\0\0\0\0\0\0\0", 16);
  audio_due(now_ns());
}

static void run_audio(void) {
  on.ready = audio_ready, on.text = audio_text;
  broadcaster = member, broadcaster.path = publish, broadcaster.method = put ? "PUT" : NULL;
  member.method = plain ? "GET" : NULL;
  clients = calloc((size_t)members + 1, sizeof *clients);
  clients_n = members + 1;
  sender = &clients[members];
  client_start(sender, 0, 0, &broadcaster);
  for (uint64_t begun = now_ns(); !ready_n && !over_n && since_s(begun) < 10;) pump(10000000);
  for (uint64_t begun = now_ns(); since_s(begun) < 0.5 && ready_n;) audio_work(now_ns());
  long before = rss_kib();
  uint64_t begun = now_ns();
  for (int opened = 0; ready_n + over_n < members + 1 && since_s(begun) < 60;) {
    while (opened < members && opened - (ready_n + over_n - 1) < 16) client_start(&clients[opened], opened, 0, &member), opened++;
    audio_work(now_ns());
  }
  if (ready_n < members + 1 || over_n) {
    fprintf(stderr, "wsload: %d of %d are ready; the last refusal: %s\n", ready_n, members + 1, last_refusal);
    exit(3);
  }
  for (int i = 0; i < stalled; i++) client_deafen(&clients[i]);
  deliveries = 0;
  measure(audio_work);
  uint64_t drained = now_ns(), hearing = (uint64_t)(members - stalled);
  uint64_t n = to.deliveries - from.deliveries, m = to.sent - from.sent;
  while (since_s(drained) < 0.3) pump(20000000);
  long after = rss_kib();
  printf("{\"members\":%d,\"stalled\":%d,\"deliveries_per_s\":%.1f,\"cpu_us_per_delivery\":%.4f,\"p50_us\":%.1f,\"p99_us\":%.1f,"
         "\"max_us\":%.1f,\"busy\":%.3f,\"kib_per_connection\":%.2f,\"missed\":%.5f,\"over\":%d}\n",
         members, stalled, (double)n / elapsed_s(), per(cpu_us(), n), quantile_us(&delivery, .5), quantile_us(&delivery, .99),
         (double)delivery.max_ns / 1e3, cpu_us() / 1e6 / elapsed_s(), (double)(after - before) / members,
         1 - (double)n / (double)(m * hearing), over_n);
}

// --- options ---

int main(int argc, char **argv) {
  member.path = "/";
  const struct { const char *name; const char **text; int *whole; double *number; } options[] = {
      {"--mode", &mode, 0, 0},          {"--host", &host, 0, 0},           {"--port", 0, &port, 0},
      {"--path", &member.path, 0, 0},   {"--payload", &payload, 0, 0},     {"--answered", &answered, 0, 0},
      {"--delivered", &delivered, 0, 0},{"--refused", &refused, 0, 0},     {"--members", 0, &members, 0},
      {"--senders", 0, &senders, 0},    {"--window", 0, &window, 0},       {"--burst", 0, &burst, 0},
      {"--concurrency", 0, &concurrency, 0}, {"--seconds", 0, 0, &seconds},{"--warm-up", 0, 0, &warm_up},
      {"--rate", 0, 0, &rate},          {"--probe", 0, 0, &probe},         {"--publish", &publish, 0, 0},
      {"--plain", 0, &plain, 0},        {"--put", 0, &put, 0},             {"--stalled", 0, &stalled, 0},
      {"--page-bytes", 0, &page_bytes, 0},
  };
  for (int i = 1; i < argc; i += 2) {
    const char *name = argv[i], *value = i + 1 < argc ? argv[i + 1] : "";
    int known = 1;
    if (!strcmp(name, "--header")) add(member.headers, &member.headers_n, value);
    else if (!strcmp(name, "--step")) add(member.steps, &member.steps_n, value);
    else if (!strcmp(name, "--tokens")) load_tokens(value);
    else if (!strcmp(name, "--pid")) watch_process(atoi(value));
    else known = 0;
    for (size_t k = 0; k < sizeof options / sizeof *options && !known; k++) {
      if (strcmp(name, options[k].name)) continue;
      known = 1;
      if (options[k].text) *options[k].text = value;
      else if (options[k].whole) *options[k].whole = atoi(value);
      else *options[k].number = atof(value);
    }
    if (!known) {
      fprintf(stderr, "wsload: unknown option %s\n", name);
      return 2;
    }
  }
  reader = member;
  on = (hooks){.ready = count_ready, .text = ignore_text, .pong = count_pong, .over = count_over};
  const struct { const char *name; void (*run)(void); } modes[] = {
      {"idle", run_idle}, {"handshake", run_handshake}, {"fan", run_fan}, {"drop", run_drop}, {"talk", run_talk}, {"audio", run_audio}};
  for (size_t k = 0; k < sizeof modes / sizeof *modes; k++)
    if (!strcmp(mode, modes[k].name)) {
      modes[k].run();
      return 0;
    }
  fprintf(stderr, "wsload: unknown mode %s\n", mode);
  return 2;
}
