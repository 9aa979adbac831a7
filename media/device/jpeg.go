package device

// wholeJPEG returns the picture in b without what a camera has put behind it
// to fill its last packet, and whether it is whole. A picture that was cut off
// on the USB, the usual damage, has no EOI.
func wholeJPEG(b []byte) ([]byte, bool) {
	n := len(b)
	for n > 0 && (b[n-1] == 0 || b[n-1] == 0xff) {
		n--
	}
	b = b[:n]
	return b, n >= 4 && b[0] == 0xff && b[1] == 0xd8 && b[n-2] == 0xff && b[n-1] == 0xd9
}

// withHuffmanTables returns b itself, or, if it is a baseline picture without
// Huffman tables, a copy with the standard ones of ITU-T T.81 section K.3.3.
// Many UVC cameras leave them out, as Motion JPEG in AVI files allows, and
// most decoders fail on that. The false result is for what is no JPEG.
func withHuffmanTables(b []byte) ([]byte, bool) {
	if len(b) < 4 || b[0] != 0xff || b[1] != 0xd8 {
		return b, false
	}
	baseline := false
	for i := 2; i+4 <= len(b); {
		if b[i] != 0xff {
			return b, false
		}
		m := b[i+1]
		switch {
		case m == 0xff: // fill byte
			i++
			continue
		case m == 0x01 || m >= 0xd0 && m <= 0xd7: // no length follows
			i += 2
			continue
		case m == 0 || m == 0xd8 || m == 0xd9:
			return b, false
		case m == 0xc4: // DHT
			return b, true
		case m == 0xc0 || m == 0xc1: // SOF with Huffman coding, not progressive
			baseline = true
		case m == 0xda: // SOS
			if !baseline {
				return b, true
			}
			return spliceTables(b, i), true
		}
		n := int(b[i+2])<<8 | int(b[i+3])
		if n < 2 {
			return b, false
		}
		i += 2 + n
	}
	return b, false
}

func spliceTables(b []byte, at int) []byte {
	out := make([]byte, 0, len(b)+4+4*17+2*12+2*162)
	out = append(out, b[:at]...)
	length := 2 + 4*17 + 2*12 + 2*162
	out = append(out, 0xff, 0xc4, byte(length>>8), byte(length))
	for _, t := range standardTables() {
		out = append(out, t.class)
		out = append(out, t.counts...)
		out = append(out, t.values...)
	}
	return append(out, b[at:]...)
}

// table is one Huffman table as a DHT segment holds it.
type table struct {
	class  byte // upper half: 0 for DC, 1 for AC; lower half: destination
	counts string
	values string
}

// standardTables are tables K.3 to K.6 of ITU-T T.81.
func standardTables() [4]table {
	const dc = "\x00\x01\x02\x03\x04\x05\x06\x07\x08\x09\x0a\x0b"
	return [4]table{
		{0x00, "\x00\x01\x05\x01\x01\x01\x01\x01\x01\x00\x00\x00\x00\x00\x00\x00", dc},
		{0x10, "\x00\x02\x01\x03\x03\x02\x04\x03\x05\x05\x04\x04\x00\x00\x01\x7d", "" +
			"\x01\x02\x03\x00\x04\x11\x05\x12\x21\x31\x41\x06\x13\x51\x61\x07" +
			"\x22\x71\x14\x32\x81\x91\xa1\x08\x23\x42\xb1\xc1\x15\x52\xd1\xf0" +
			"\x24\x33\x62\x72\x82\x09\x0a\x16\x17\x18\x19\x1a\x25\x26\x27\x28" +
			"\x29\x2a\x34\x35\x36\x37\x38\x39\x3a\x43\x44\x45\x46\x47\x48\x49" +
			"\x4a\x53\x54\x55\x56\x57\x58\x59\x5a\x63\x64\x65\x66\x67\x68\x69" +
			"\x6a\x73\x74\x75\x76\x77\x78\x79\x7a\x83\x84\x85\x86\x87\x88\x89" +
			"\x8a\x92\x93\x94\x95\x96\x97\x98\x99\x9a\xa2\xa3\xa4\xa5\xa6\xa7" +
			"\xa8\xa9\xaa\xb2\xb3\xb4\xb5\xb6\xb7\xb8\xb9\xba\xc2\xc3\xc4\xc5" +
			"\xc6\xc7\xc8\xc9\xca\xd2\xd3\xd4\xd5\xd6\xd7\xd8\xd9\xda\xe1\xe2" +
			"\xe3\xe4\xe5\xe6\xe7\xe8\xe9\xea\xf1\xf2\xf3\xf4\xf5\xf6\xf7\xf8" +
			"\xf9\xfa"},
		{0x01, "\x00\x03\x01\x01\x01\x01\x01\x01\x01\x01\x01\x00\x00\x00\x00\x00", dc},
		{0x11, "\x00\x02\x01\x02\x04\x04\x03\x04\x07\x05\x04\x04\x00\x01\x02\x77", "" +
			"\x00\x01\x02\x03\x11\x04\x05\x21\x31\x06\x12\x41\x51\x07\x61\x71" +
			"\x13\x22\x32\x81\x08\x14\x42\x91\xa1\xb1\xc1\x09\x23\x33\x52\xf0" +
			"\x15\x62\x72\xd1\x0a\x16\x24\x34\xe1\x25\xf1\x17\x18\x19\x1a\x26" +
			"\x27\x28\x29\x2a\x35\x36\x37\x38\x39\x3a\x43\x44\x45\x46\x47\x48" +
			"\x49\x4a\x53\x54\x55\x56\x57\x58\x59\x5a\x63\x64\x65\x66\x67\x68" +
			"\x69\x6a\x73\x74\x75\x76\x77\x78\x79\x7a\x82\x83\x84\x85\x86\x87" +
			"\x88\x89\x8a\x92\x93\x94\x95\x96\x97\x98\x99\x9a\xa2\xa3\xa4\xa5" +
			"\xa6\xa7\xa8\xa9\xaa\xb2\xb3\xb4\xb5\xb6\xb7\xb8\xb9\xba\xc2\xc3" +
			"\xc4\xc5\xc6\xc7\xc8\xc9\xca\xd2\xd3\xd4\xd5\xd6\xd7\xd8\xd9\xda" +
			"\xe2\xe3\xe4\xe5\xe6\xe7\xe8\xe9\xea\xf2\xf3\xf4\xf5\xf6\xf7\xf8" +
			"\xf9\xfa"},
	}
}
