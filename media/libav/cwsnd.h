// Builds unchanged on FFmpeg 4.3 and later.
#ifndef CAMWIRE_CWSND_H
#define CAMWIRE_CWSND_H

#include <stdint.h>

typedef struct cwsnd cwsnd;

// cwsnd_block describes decoded sound: one plane of floats per channel; the
// memory is the decoder's.
typedef struct {
  const float *const *plane;
  int channels, rate, samples;
} cwsnd_block;

cwsnd *cwsnd_open(const char *name, const uint8_t *config, int size, int max_samples, int *err);
int cwsnd_send(cwsnd *d, const uint8_t *data, int size);
int cwsnd_recv(cwsnd *d, cwsnd_block *out);
void cwsnd_flush(cwsnd *d);
void cwsnd_close(cwsnd *d);

#endif
