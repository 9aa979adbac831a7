// Package openh264 encodes H.264 with the encoder that pion/mediadevices
// bundles, turned into a plain call: picture in, NAL units out. There are no
// goroutines, and nothing is registered with mediadevices.
//
// It needs cgo; without it the package is empty. It never decodes.
package openh264
