/* play.c -- plays standard input through a model: raw 32-bit floats, one channel, in; as many out, time-aligned.
 *
 *   sox in.wav -t f32 -r 48000 -c 1 - | ./play ds1.safetensors 48000 256 | sox -t f32 -r 48000 -c 1 - out.wav
 */
#include <cafx_rt.h>
#include <stdio.h>
#include <stdlib.h>

enum { kBlock = 512 };

int main(int argc, char** argv) {
  char why[512];
  if (argc < 3) return fprintf(stderr, "usage: play MODEL RATE_HZ [HOP]\n"), 2;
  cafx_rt_model* model = cafx_rt_load(argv[1], why, sizeof why);
  if (!model) return fprintf(stderr, "%s\n", why), 2;

  cafx_rt_options options = CAFX_RT_OPTIONS_INIT;
  options.host_rate = atof(argv[2]);
  options.hop = argc > 3 ? atoi(argv[3]) : 0;
  cafx_rt_stream* stream = cafx_rt_prepare(model, &options, why, sizeof why);
  if (!stream) return fprintf(stderr, "%s\n", why), 2;
  cafx_rt_free_model(model); /* the stream keeps what it needs */

  float block[kBlock];
  size_t skip = cafx_rt_latency(stream), owed = 0; /* zeros at its beginning; samples that are still inside */
  for (size_t n; (n = fread(block, sizeof *block, kBlock, stdin)) > 0 || owed > 0;) {
    if (n > 0) {
      owed += n;
    } else {
      for (; n < kBlock; ++n) block[n] = 0.0f; /* the end: zeros push the rest out */
    }
    cafx_rt_process(stream, block, block, n);
    size_t from = skip < n ? skip : n;
    skip -= from;
    size_t m = n - from < owed ? n - from : owed;
    fwrite(block + from, sizeof *block, m, stdout);
    owed -= m;
  }
  cafx_rt_free(stream);
  return 0;
}
