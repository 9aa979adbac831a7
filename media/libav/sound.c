//go:build cgo

#include "cwsnd.h"
#include <libavcodec/avcodec.h>
#include <libavutil/mem.h>
#include <string.h>

struct cwsnd {
  AVCodecContext *ctx;
  AVPacket *pkt;
  AVFrame *frm;
};

// FFmpeg 5.1 put the number of channels somewhere else, 7.0 took the old place away.
static int channels_of(const AVFrame *f) {
#if LIBAVUTIL_VERSION_INT >= AV_VERSION_INT(57, 28, 100)
  return f->ch_layout.nb_channels;
#else
  return f->channels;
#endif
}

cwsnd *cwsnd_open(const char *name, const uint8_t *config, int size, int max_samples, int *err) {
  const AVCodec *c = avcodec_find_decoder_by_name(name);
  if (!c) {
    *err = AVERROR_DECODER_NOT_FOUND;
    return NULL;
  }
  cwsnd *d = av_mallocz(sizeof *d);
  if (!d) {
    *err = AVERROR(ENOMEM);
    return NULL;
  }
  d->ctx = avcodec_alloc_context3(c);
  d->pkt = av_packet_alloc();
  d->frm = av_frame_alloc();
  if (d->ctx) d->ctx->extradata = av_mallocz(size + AV_INPUT_BUFFER_PADDING_SIZE);
  if (!d->ctx || !d->pkt || !d->frm || !d->ctx->extradata) {
    cwsnd_close(d);
    *err = AVERROR(ENOMEM);
    return NULL;
  }
  memcpy(d->ctx->extradata, config, size);
  d->ctx->extradata_size = size;
  d->ctx->thread_count = 1;
  d->ctx->max_samples = max_samples;
  *err = avcodec_open2(d->ctx, c, NULL);
  if (*err < 0) {
    cwsnd_close(d);
    return NULL;
  }
  return d;
}

int cwsnd_send(cwsnd *d, const uint8_t *data, int size) {
  if (size <= 0) return AVERROR_INVALIDDATA;
  int r = av_new_packet(d->pkt, size); // adds the zeroed padding that the bit readers need
  if (r < 0) return r;
  memcpy(d->pkt->data, data, size);
  r = avcodec_send_packet(d->ctx, d->pkt);
  av_packet_unref(d->pkt);
  return r;
}

// cwsnd_recv returns 1 for sound, 0 when it needs more input, else an error.
int cwsnd_recv(cwsnd *d, cwsnd_block *o) {
  av_frame_unref(d->frm);
  int r = avcodec_receive_frame(d->ctx, d->frm);
  if (r == AVERROR(EAGAIN) || r == AVERROR_EOF) return 0;
  if (r < 0) return r;
  AVFrame *f = d->frm;
  if (f->format != AV_SAMPLE_FMT_FLTP) return AVERROR(ENOSYS);
  if (f->nb_samples <= 0 || f->sample_rate <= 0 || channels_of(f) <= 0) return AVERROR_INVALIDDATA;
  o->plane = (const float *const *)f->extended_data;
  o->channels = channels_of(f);
  o->rate = f->sample_rate;
  o->samples = f->nb_samples;
  return 1;
}

void cwsnd_flush(cwsnd *d) { avcodec_flush_buffers(d->ctx); }

void cwsnd_close(cwsnd *d) {
  if (!d) return;
  av_frame_free(&d->frm);
  av_packet_free(&d->pkt);
  avcodec_free_context(&d->ctx); // frees the extradata too
  av_free(d);
}
