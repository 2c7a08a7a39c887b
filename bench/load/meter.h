// What a run is measured with: a clock, histograms of durations, and the CPU and memory of other processes.
// Knows no sockets.
#pragma once
#include <stdint.h>

uint64_t now_ns(void); // CLOCK_MONOTONIC

// 64 buckets for each power of two: a value is known to 1.6 %.
typedef struct {
  uint64_t buckets[64 * 64];
  uint64_t count, max_ns;
} histogram;

void note(histogram *h, uint64_t ns);
double quantile_us(const histogram *h, double q); // 0 where nothing was noted

// The processes of the server under test; their threads and descendants count too.
void watch_process(int pid);
uint64_t cpu_ns(void); // spent so far, from schedstat: nanoseconds on a core, the kernel's work for them included
long rss_kib(void);
