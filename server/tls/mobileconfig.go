package tlscert

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/xml"
	"fmt"
	"strings"
)

// mobileConfig takes, in this order: certificate, display name, identifier,
// UUID of the payload, display name, identifier, UUID of the profile.
const mobileConfig = `<?xml version="1.0" encoding="UTF-8"?>
<!DOCTYPE plist PUBLIC "-//Apple//DTD PLIST 1.0//EN" "http://www.apple.com/DTDs/PropertyList-1.0.dtd">
<plist version="1.0">
<dict>
	<key>PayloadContent</key>
	<array>
		<dict>
			<key>PayloadCertificateFileName</key>
			<string>camwire-ca.cer</string>
			<key>PayloadContent</key>
			<data>%s</data>
			<key>PayloadDescription</key>
			<string>Lets this device open the pages of your Camwire securely.</string>
			<key>PayloadDisplayName</key>
			<string>%s</string>
			<key>PayloadIdentifier</key>
			<string>%s.root</string>
			<key>PayloadType</key>
			<string>com.apple.security.root</string>
			<key>PayloadUUID</key>
			<string>%s</string>
			<key>PayloadVersion</key>
			<integer>1</integer>
		</dict>
	</array>
	<key>PayloadDescription</key>
	<string>After the installation switch it on: Settings, General, About, Certificate Trust Settings.</string>
	<key>PayloadDisplayName</key>
	<string>%s</string>
	<key>PayloadIdentifier</key>
	<string>%s</string>
	<key>PayloadRemovalDisallowed</key>
	<false/>
	<key>PayloadType</key>
	<string>Configuration</string>
	<key>PayloadUUID</key>
	<string>%s</string>
	<key>PayloadVersion</key>
	<integer>1</integer>
</dict>
</plist>
`

// MobileConfig returns a configuration profile that installs the authority on
// iOS, iPadOS and macOS (Apple, "Configuration Profile Reference", payload type
// com.apple.security.root). Its identifiers follow from the authority, so that
// a second installation replaces the first.
func (a *Authority) MobileConfig() []byte {
	sum := sha256.Sum256(a.cert.Raw)
	name := escapeXML(a.Name())
	id := "camwire.ca." + hex.EncodeToString(sum[:8])
	return fmt.Appendf(nil, mobileConfig,
		base64.StdEncoding.EncodeToString(a.cert.Raw), name, id, uuid(sum[:], "root"),
		name, id, uuid(sum[:], "profile"))
}

// uuid derives a UUID of version 8 (RFC 9562 section 5.8).
func uuid(seed []byte, label string) string {
	h := sha256.New()
	h.Write(seed)
	h.Write([]byte(label))
	b := h.Sum(nil)[:16]
	b[6] = b[6]&0x0f | 0x80
	b[8] = b[8]&0x3f | 0x80
	return strings.ToUpper(fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:]))
}

func escapeXML(s string) string {
	var b bytes.Buffer
	// Writing to a buffer does not fail.
	_ = xml.EscapeText(&b, []byte(s))
	return b.String()
}
