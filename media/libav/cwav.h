// Builds unchanged on FFmpeg 4.3 and later.
#ifndef CAMWIRE_CWAV_H
#define CAMWIRE_CWAV_H

#include <stdint.h>
#include <libavcodec/avcodec.h>
#include <libavutil/imgutils.h>
#include <libavutil/log.h>
#include <libavutil/mem.h>
#include <libavutil/opt.h>
#include <libavutil/pixdesc.h>
#include <libswscale/swscale.h>

typedef struct cwav cwav;

// cwav_pic describes one decoded picture; the memory is the decoder's.
typedef struct {
  uint8_t *p[4];
  int stride[4];
  int w, h, fmt, full, key, corrupt;
  int64_t id;
} cwav_pic;

int cwav_check(unsigned *built, unsigned *found);
void cwav_setup(int64_t max_alloc);
int cwav_plain_format(int fmt, int *full);

cwav *cwav_open(const char *names, int64_t max_pixels, int low_delay, int *err);
int cwav_send(cwav *d, const uint8_t *data, int size, int64_t id);
int cwav_recv(cwav *d, cwav_pic *out);
void cwav_flush(cwav *d);
void cwav_close(cwav *d);

int cwav_buffer(int fmt, int w, int h, uint8_t *p[4], int stride[4]);

struct SwsContext *cwav_scaler(int sw, int sh, int sfmt, int sfull, int dw, int dh, int dfmt, int dfull, int flags, int *err);
int cwav_scale(struct SwsContext *c, int sh,
               const uint8_t *s0, const uint8_t *s1, const uint8_t *s2, const uint8_t *s3, int ss0, int ss1, int ss2, int ss3,
               uint8_t *d0, uint8_t *d1, uint8_t *d2, int ds0, int ds1, int ds2);

void cwav_luma_full(uint8_t *d, int ds, const uint8_t *s, int ss, int w, int h);
void cwav_luma_limited(uint8_t *d, int ds, const uint8_t *s, int ss, int w, int h);
void cwav_chroma_full(uint8_t *d, int ds, const uint8_t *s, int ss, int w, int h);
void cwav_chroma_limited(uint8_t *d, int ds, const uint8_t *s, int ss, int w, int h);
void cwav_copy(uint8_t *d, int ds, const uint8_t *s, int ss, int w, int h);

#endif
