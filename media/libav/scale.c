//go:build cgo

#include "cwav.h"
#include <string.h>

int cwav_buffer(int fmt, int w, int h, uint8_t *p[4], int stride[4]) {
  // 64 bytes are the widest vector that swscale stores in one go. The extra
  // columns are there because it may store a whole vector at the end of a row,
  // the extra rows because JPEG decoders store whole sampling blocks.
  int r = av_image_alloc(p, stride, w + 64, (h + 3) & ~3, fmt, 64);
  return r < 0 ? r : 0;
}

struct SwsContext *cwav_scaler(int sw, int sh, int sfmt, int sfull, int dw, int dh, int dfmt, int dfull, int flags, int *err) {
  struct SwsContext *c = sws_alloc_context();
  if (!c) {
    *err = AVERROR(ENOMEM);
    return NULL;
  }
  // The ranges must be known before init: it chooses the conversion by them.
  av_opt_set_int(c, "srcw", sw, 0);
  av_opt_set_int(c, "srch", sh, 0);
  av_opt_set_int(c, "src_format", sfmt, 0);
  av_opt_set_int(c, "src_range", sfull, 0);
  av_opt_set_int(c, "dstw", dw, 0);
  av_opt_set_int(c, "dsth", dh, 0);
  av_opt_set_int(c, "dst_format", dfmt, 0);
  av_opt_set_int(c, "dst_range", dfull, 0);
  av_opt_set_int(c, "sws_flags", flags, 0);
  *err = sws_init_context(c, NULL, NULL);
  if (*err < 0) {
    sws_freeContext(c);
    return NULL;
  }
  return c;
}

int cwav_scale(struct SwsContext *c, int sh,
               const uint8_t *s0, const uint8_t *s1, const uint8_t *s2, const uint8_t *s3, int ss0, int ss1, int ss2, int ss3,
               uint8_t *d0, uint8_t *d1, uint8_t *d2, int ds0, int ds1, int ds2) {
  const uint8_t *s[4] = {s0, s1, s2, s3};
  uint8_t *d[4] = {d0, d1, d2, NULL};
  int ss[4] = {ss0, ss1, ss2, ss3}, ds[4] = {ds0, ds1, ds2, 0};
  return sws_scale(c, s, ss, 0, sh, d, ds);
}

// The four range conversions of ITU-R BT.601 (luma 16..235, chroma 16..240
// against 0..255) in 16-bit arithmetic, which compilers turn into vectors;
// swscale in the usual versions does it in plain C for three times the time.
// They are off by less than one step.

void cwav_luma_full(uint8_t *d, int ds, const uint8_t *s, int ss, int w, int h) {
  for (int y = 0; y < h; y++, d += ds, s += ss)
    for (int x = 0; x < w; x++) {
      uint16_t v = s[x] > 16 ? s[x] - 16 : 0;
      v = (uint16_t)(v * 149 + 64) >> 7;
      d[x] = v > 255 ? 255 : v;
    }
}

void cwav_luma_limited(uint8_t *d, int ds, const uint8_t *s, int ss, int w, int h) {
  for (int y = 0; y < h; y++, d += ds, s += ss)
    for (int x = 0; x < w; x++) d[x] = (uint8_t)(((uint16_t)(s[x] * 220 + 128) >> 8) + 16);
}

void cwav_chroma_full(uint8_t *d, int ds, const uint8_t *s, int ss, int w, int h) {
  for (int y = 0; y < h; y++, d += ds, s += ss)
    for (int x = 0; x < w; x++) {
      int16_t v = (int16_t)((int16_t)(s[x] - 128) * 146 + 64) >> 7;
      v += 128;
      d[x] = v < 0 ? 0 : v > 255 ? 255 : v;
    }
}

void cwav_chroma_limited(uint8_t *d, int ds, const uint8_t *s, int ss, int w, int h) {
  for (int y = 0; y < h; y++, d += ds, s += ss)
    for (int x = 0; x < w; x++) d[x] = (uint8_t)(((int16_t)((int16_t)(s[x] - 128) * 225 + 128) >> 8) + 128);
}

void cwav_copy(uint8_t *d, int ds, const uint8_t *s, int ss, int w, int h) {
  for (int y = 0; y < h; y++, d += ds, s += ss) memcpy(d, s, w);
}
