#include "meter.h"
#include <dirent.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

uint64_t now_ns(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (uint64_t)t.tv_sec * 1000000000ull + (uint64_t)t.tv_nsec;
}

static int bucket_of(uint64_t v) {
  if (v < 64) return (int)v;
  int exponent = 63 - __builtin_clzll(v);
  return (exponent - 5) * 64 + (int)((v >> (exponent - 6)) & 63);
}

static uint64_t value_of(int bucket) {
  if (bucket < 64) return (uint64_t)bucket;
  int exponent = bucket / 64 + 5;
  return (1ull << exponent) | ((uint64_t)(bucket % 64) << (exponent - 6));
}

void note(histogram *h, uint64_t ns) {
  h->buckets[bucket_of(ns)]++;
  h->count++;
  if (ns > h->max_ns) h->max_ns = ns;
}

double quantile_us(const histogram *h, double q) {
  uint64_t seen = 0;
  for (int i = 0; i < 64 * 64 && h->count; i++) {
    seen += h->buckets[i];
    if ((double)seen >= (double)h->count * q) return (double)value_of(i) / 1e3;
  }
  return 0;
}

static int roots[16], roots_n;
static int watched[4096], watched_n;

void watch_process(int pid) {
  if (roots_n < 16) roots[roots_n++] = pid;
}

static void add_tree(int pid) {
  for (int i = 0; i < watched_n; i++)
    if (watched[i] == pid) return;
  if (watched_n == 4096) return;
  watched[watched_n++] = pid;
  char path[320];
  snprintf(path, sizeof path, "/proc/%d/task", pid);
  DIR *tasks = opendir(path);
  if (!tasks) return;
  for (struct dirent *task; (task = readdir(tasks));) {
    if (task->d_name[0] == '.') continue;
    snprintf(path, sizeof path, "/proc/%d/task/%s/children", pid, task->d_name);
    FILE *file = fopen(path, "r");
    if (!file) continue;
    for (int child; fscanf(file, "%d", &child) == 1;) add_tree(child);
    fclose(file);
  }
  closedir(tasks);
}

static void find_all(void) {
  watched_n = 0;
  for (int i = 0; i < roots_n; i++) add_tree(roots[i]);
}

uint64_t cpu_ns(void) {
  find_all();
  uint64_t total = 0;
  for (int i = 0; i < watched_n; i++) {
    char path[320];
    snprintf(path, sizeof path, "/proc/%d/task", watched[i]);
    DIR *tasks = opendir(path);
    if (!tasks) continue;
    for (struct dirent *task; (task = readdir(tasks));) {
      if (task->d_name[0] == '.') continue;
      snprintf(path, sizeof path, "/proc/%d/task/%s/schedstat", watched[i], task->d_name);
      FILE *file = fopen(path, "r");
      if (!file) continue;
      unsigned long long ran;
      if (fscanf(file, "%llu", &ran) == 1) total += ran;
      fclose(file);
    }
    closedir(tasks);
  }
  return total;
}

long rss_kib(void) {
  find_all();
  long total = 0, page_kib = sysconf(_SC_PAGESIZE) / 1024;
  for (int i = 0; i < watched_n; i++) {
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/statm", watched[i]);
    FILE *file = fopen(path, "r");
    if (!file) continue;
    long size, resident;
    if (fscanf(file, "%ld %ld", &size, &resident) == 2) total += resident * page_kib;
    fclose(file);
  }
  return total;
}
