// Package pcm does arithmetic on uncompressed sound: another sample rate
// (Resampler), fewer channels (Downmix), other sample formats.
//
// Samples are float32 between -1 and 1, channels interleaved. It is pure: no
// goroutines, no clocks, no devices and no codecs.
package pcm
