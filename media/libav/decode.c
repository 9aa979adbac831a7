//go:build cgo

#include "cwav.h"
#include <string.h>

struct cwav {
  AVCodecContext *ctx;
  AVPacket *pkt;
  AVFrame *frm;
  int64_t max_pixels;
};

// The struct layouts are those of the headers this was compiled with, so
// another major version of a library at run time would read wrong memory.
int cwav_check(unsigned *built, unsigned *found) {
  built[0] = LIBAVCODEC_VERSION_MAJOR, found[0] = avcodec_version() >> 16;
  built[1] = LIBAVUTIL_VERSION_MAJOR, found[1] = avutil_version() >> 16;
  built[2] = LIBSWSCALE_VERSION_MAJOR, found[2] = swscale_version() >> 16;
  return built[0] == found[0] && built[1] == found[1] && built[2] == found[2];
}

void cwav_setup(int64_t max_alloc) {
  av_log_set_level(AV_LOG_QUIET);
  av_max_alloc((size_t)max_alloc);
}

// cwav_plain_format replaces the deprecated "J" formats, which say "full
// range" in their name, by the plain ones.
int cwav_plain_format(int fmt, int *full) {
  switch (fmt) {
  case AV_PIX_FMT_YUVJ420P: *full = 1; return AV_PIX_FMT_YUV420P;
  case AV_PIX_FMT_YUVJ422P: *full = 1; return AV_PIX_FMT_YUV422P;
  case AV_PIX_FMT_YUVJ444P: *full = 1; return AV_PIX_FMT_YUV444P;
  case AV_PIX_FMT_YUVJ440P: *full = 1; return AV_PIX_FMT_YUV440P;
  }
  return fmt;
}

cwav *cwav_open(const char *names, int64_t max_pixels, int low_delay, int *err) {
  const AVCodec *c = NULL;
  char buf[128], *save = NULL;
  strncpy(buf, names, sizeof buf - 1);
  buf[sizeof buf - 1] = 0;
  for (char *n = strtok_r(buf, ",", &save); n && !c; n = strtok_r(NULL, ",", &save))
    c = avcodec_find_decoder_by_name(n);
  if (!c) {
    *err = AVERROR_DECODER_NOT_FOUND;
    return NULL;
  }
  cwav *d = av_mallocz(sizeof *d);
  if (!d) {
    *err = AVERROR(ENOMEM);
    return NULL;
  }
  d->max_pixels = max_pixels;
  d->ctx = avcodec_alloc_context3(c);
  d->pkt = av_packet_alloc();
  d->frm = av_frame_alloc();
  if (!d->ctx || !d->pkt || !d->frm) {
    cwav_close(d);
    *err = AVERROR(ENOMEM);
    return NULL;
  }
  // A frame thread more is a frame of delay more; slices are seldom there.
  d->ctx->thread_count = 1;
  d->ctx->thread_type = FF_THREAD_SLICE;
  if (low_delay) d->ctx->flags |= AV_CODEC_FLAG_LOW_DELAY;
  d->ctx->max_pixels = max_pixels;
  *err = avcodec_open2(d->ctx, c, NULL);
  if (*err < 0) {
    cwav_close(d);
    return NULL;
  }
  return d;
}

int cwav_send(cwav *d, const uint8_t *data, int size, int64_t id) {
  if (size <= 0) return AVERROR_INVALIDDATA;
  int r = av_new_packet(d->pkt, size); // adds the zeroed padding that the bit readers need
  if (r < 0) return r;
  memcpy(d->pkt->data, data, size);
  d->pkt->pts = id;
  r = avcodec_send_packet(d->ctx, d->pkt);
  av_packet_unref(d->pkt);
  return r;
}

// cwav_recv returns 1 for a picture, 0 when it needs more input, else an error.
int cwav_recv(cwav *d, cwav_pic *o) {
  av_frame_unref(d->frm);
  int r = avcodec_receive_frame(d->ctx, d->frm);
  if (r == AVERROR(EAGAIN) || r == AVERROR_EOF) return 0;
  if (r < 0) return r;
  AVFrame *f = d->frm;
  if (f->width <= 0 || f->height <= 0 || (int64_t)f->width * f->height > d->max_pixels) return AVERROR(ERANGE);
  const AVPixFmtDescriptor *desc = av_pix_fmt_desc_get(f->format);
  if (!desc || desc->flags & AV_PIX_FMT_FLAG_HWACCEL) return AVERROR(ENOSYS);
  memset(o, 0, sizeof *o);
  o->full = f->color_range == AVCOL_RANGE_JPEG;
  o->fmt = cwav_plain_format(f->format, &o->full);
  for (int i = 0; i < 4; i++) {
    o->p[i] = f->data[i];
    o->stride[i] = f->linesize[i];
  }
  o->w = f->width;
  o->h = f->height;
  o->id = f->pts;
  o->key = f->pict_type == AV_PICTURE_TYPE_I;
  o->corrupt = (f->flags & AV_FRAME_FLAG_CORRUPT) || f->decode_error_flags;
  return 1;
}

void cwav_flush(cwav *d) { avcodec_flush_buffers(d->ctx); }

void cwav_close(cwav *d) {
  if (!d) return;
  av_frame_free(&d->frm);
  av_packet_free(&d->pkt);
  avcodec_free_context(&d->ctx);
  av_free(d);
}
