// Package config is the configuration of Camwire: its structs, default values,
// strict loading from file, environment and flags, the comparison of two
// configurations and the watch over the file.
//
// It knows nothing of what the values are used for: it opens no camera and no
// listener and imports no other package of Camwire. Only the command wires the
// values to the packages that need them.
//
// The structs are the one description of the file. Their tags hold the key
// (json), the text for help and schema (help), and the accepted values (enum,
// min, max, check); the file, the environment, the flags, the list of keys and
// the JSON Schema are all derived from them.
package config

import (
	"encoding/json"
	"log/slog"
	"slices"
)

// Config is a whole configuration.
type Config struct {
	Cameras   []Camera  `json:"cameras" help:"The cameras, in the order in which pages show them."`
	HTTP      HTTP      `json:"http" help:"The HTTP listener: pages, API, MJPEG, WHEP, WHIP."`
	HTTPS     HTTPS     `json:"https" help:"The same over TLS; phones give their camera only to secure pages."`
	WebRTC    WebRTC    `json:"webrtc" help:"WebRTC transport."`
	RTSP      RTSP      `json:"rtsp" help:"The RTSP server."`
	WebSocket WebSocket `json:"websocket" help:"The stand-alone JSON listener."`
	DataDir   string    `json:"data_dir" help:"Folder for keys, certificates, database and recordings; relative to the working directory." check:"required" apply:"restart"`
	Auth      Auth      `json:"auth" help:"Who may do what." apply:"live"`
	Log       Log       `json:"log" help:"Logging." apply:"live"`
}

// Camera is one entry of cameras. Its zero value is no valid camera; start from
// DefaultCamera.
type Camera struct {
	// ID is the camera's name in URLs, 1 to 64 of A-Z a-z 0-9 _ -.
	ID string `json:"id" help:"Name in URLs: 1 to 64 letters, digits, _ or -." check:"id"`
	// Name is shown to people; empty means the ID.
	Name string `json:"name" help:"Name shown to people; the id if empty." max:"200"`
	// Source says where the pictures come from; ParseSource takes it apart.
	Source string `json:"source" help:"Where the pictures come from: number or path of a USB camera, usb:, rtsp://, http://, images:, watch:, exec:, whep: or test:." check:"source" secret:"true" apply:"restart"`
	// FPS, in frames per second, asks a USB camera for a mode, sets the pace of
	// polled and made pictures, and caps the JPEG outputs. 0 means as it comes.
	FPS float64 `json:"fps" help:"Frames per second asked of a USB camera, pace of polled pictures and cap of the JPEG outputs; 0 means as it comes." min:"0" max:"240"`
	// Width and Height, in pixels, ask a USB camera for a mode and cap the JPEG
	// outputs. 0 means as it comes.
	Width  int `json:"width" help:"Width in pixels asked of a USB camera and cap of the JPEG outputs; 0 means as it comes." min:"0" max:"16384"`
	Height int `json:"height" help:"Height in pixels asked of a USB camera and cap of the JPEG outputs; 0 means as it comes." min:"0" max:"16384"`
	// Quality is the JPEG quality, 0 to 100.
	Quality int `json:"quality" help:"JPEG quality, 0 to 100." min:"0" max:"100"`
	// Enabled is false for an entry that is kept without being started.
	Enabled bool `json:"enabled" help:"false keeps the entry without starting it." apply:"restart"`
	// OnDemand opens the source with its first viewer and closes it 10 s after
	// its last.
	OnDemand bool `json:"on_demand" help:"Open the source with its first viewer and close it 10 s after its last." apply:"restart"`
	// Transport carries the media of a pulled RTSP source: tcp, udp or multicast.
	Transport string `json:"transport" help:"Transport of a pulled RTSP source." enum:"tcp,udp,multicast" apply:"restart"`
	// Microphone gives a USB camera its sound: auto is its own, off none,
	// hw:C,D device D of ALSA's card C. Empty means auto.
	Microphone string `json:"microphone" help:"Sound of a USB camera: auto is its own microphone, off none, hw:1,0 device 0 of card 1 (see /proc/asound/cards)." check:"microphone" apply:"restart"`
	// Fingerprint is the SHA-256 of a certificate, or of its authority, that
	// the system does not trust: of an https:, rtsps: or whep: source.
	Fingerprint string `json:"fingerprint" help:"SHA-256 fingerprint of the source's certificate, or of the authority that signed it, where the system does not trust it." check:"fingerprint" apply:"restart"`
}

// HTTP is the plain HTTP listener.
type HTTP struct {
	Address string `json:"address" help:"TCP address to listen on; \"\" switches it off." check:"address"`
	// Hosts are names under which browsers may reach Camwire, beside its
	// addresses, its own name and those that only exist in local networks.
	// Origins are those of other pages that may use the server from a browser.
	Origins []string `json:"origins" help:"Pages of other origins that may use Camwire from a browser, such as a dashboard: http://mainsail.local." check:"origin" apply:"live"`
	Hosts   []string `json:"hosts" help:"Further host names that Camwire is reached by, for example that of a reverse proxy." check:"host" apply:"live"`
}

// HTTPS is the TLS listener. Without Cert and Key Camwire's own CA issues the
// certificate.
type HTTPS struct {
	Address string `json:"address" help:"TCP address to listen on; \"\" switches it off." check:"address"`
	Cert    string `json:"cert" help:"PEM file with your own certificate chain; without it Camwire's own CA issues one."`
	Key     string `json:"key" help:"PEM file with the private key of cert."`
	ACME    ACME   `json:"acme" help:"Certificates for public names from Let's Encrypt or another ACME server."`
}

// ACME says for which names certificates come from an ACME server (RFC 8555).
// It proves them at port 443, which must lead to https.address.
type ACME struct {
	Domains   []string `json:"domains" help:"Public host names of this machine; port 443 of them must lead to https.address." check:"host"`
	Email     string   `json:"email" help:"Where the ACME server writes to." max:"254"`
	Directory string   `json:"directory" help:"URL of the ACME server's directory; \"\" is Let's Encrypt." check:"https"`
}

// WebRTC is the transport of WebRTC sessions.
type WebRTC struct {
	Address        string      `json:"address" help:"UDP and TCP address for media; \"\" switches WebRTC off." check:"address"`
	ExtraAddresses []string    `json:"extra_addresses" help:"Addresses or names offered as candidates beside those of the interfaces, for example that of a router." check:"host"`
	ICEServers     []ICEServer `json:"ice_servers" help:"STUN and TURN servers handed to browsers; none are needed on a LAN."`
	TURN           bool        `json:"turn" help:"Run the built-in TURN server."`
}

// ICEServer is a STUN or TURN server (RFC 7064, RFC 7065).
type ICEServer struct {
	URLs       []string `json:"urls" help:"URLs of one server: stun:, stuns:, turn: or turns:." check:"ice"`
	Username   string   `json:"username" help:"User name for TURN."`
	Credential string   `json:"credential" help:"Password for TURN." secret:"true"`
}

// RTSP is the RTSP server.
type RTSP struct {
	Address string `json:"address" help:"TCP address to listen on; \"\" switches it off." check:"address"`
}

// WebSocket is the stand-alone listener for JSON pictures.
type WebSocket struct {
	Address string `json:"address" help:"TCP address to listen on, for example \":8765\"; \"\" switches it off." check:"address"`
}

// Auth holds the rights of people who have not signed in, and whose tokens are
// taken. Users and tokens of Camwire itself are in the data directory.
type Auth struct {
	Anonymous []string `json:"anonymous" help:"What strangers may do." enum:"view,publish,control,playback,admin"`
	JWT       JWT      `json:"jwt" help:"JSON Web Tokens of an issuer of your own."`
}

// JWT says whose JSON Web Tokens (RFC 7519) are taken.
type JWT struct {
	JWKS     string `json:"jwks" help:"File or https URL of the issuer's public keys (JSON Web Key Set; RS256, ES256, EdDSA); \"\" takes no JWTs." check:"jwks"`
	Issuer   string `json:"issuer" help:"What the claim iss has to be; \"\" takes any." max:"500"`
	Audience string `json:"audience" help:"What the claim aud has to name; \"\" takes any." max:"500"`
}

// Log says what is logged and how.
type Log struct {
	Level  string `json:"level" help:"Least level that is logged." enum:"debug,info,warn,error"`
	Format string `json:"format" help:"Form of the log; auto means text on a terminal and JSON elsewhere." enum:"auto,text,json"`
}

// Default returns the configuration of a program that nobody configured: all
// default values and one camera with the test picture.
func Default() Config {
	c := base()
	test := DefaultCamera()
	test.ID, test.Name, test.Source = "test", "Test picture", "test:"
	c.Cameras = []Camera{test}
	return c
}

// DefaultCamera returns the values of the keys that a camera's entry leaves out.
func DefaultCamera() Camera {
	return Camera{Quality: 75, Enabled: true, Transport: "tcp", Microphone: "auto"}
}

// base returns the default values without a camera.
func base() Config {
	return Config{
		HTTP:    HTTP{Address: ":8080"},
		HTTPS:   HTTPS{Address: ":8443"},
		WebRTC:  WebRTC{Address: ":8555"},
		RTSP:    RTSP{Address: ":8554"},
		DataDir: "./camwire-data",
		Log:     Log{Level: "info", Format: "auto"},
	}
}

// Redacted returns a deep copy in which secrets are masked.
func (c Config) Redacted() Config {
	c.Cameras = slices.Clone(c.Cameras)
	for i := range c.Cameras {
		c.Cameras[i] = c.Cameras[i].Redacted()
	}
	c.WebRTC.ExtraAddresses = slices.Clone(c.WebRTC.ExtraAddresses)
	c.WebRTC.ICEServers = slices.Clone(c.WebRTC.ICEServers)
	for i := range c.WebRTC.ICEServers {
		c.WebRTC.ICEServers[i] = c.WebRTC.ICEServers[i].Redacted()
	}
	c.Auth.Anonymous = slices.Clone(c.Auth.Anonymous)
	c.Auth.JWT.JWKS = Redact(c.Auth.JWT.JWKS)
	return c
}

// String returns the configuration as JSON with secrets masked.
func (c Config) String() string { return jsonText(c.Redacted()) }

// LogValue masks secrets in structured logs.
func (c Config) LogValue() slog.Value { return slog.StringValue(c.String()) }

// Redacted returns a copy in which secrets are masked.
func (c Camera) Redacted() Camera {
	c.Source = Redact(c.Source)
	return c
}

// String returns the entry as JSON with secrets masked.
func (c Camera) String() string { return jsonText(c.Redacted()) }

// LogValue masks secrets in structured logs.
func (c Camera) LogValue() slog.Value { return slog.StringValue(c.String()) }

// Redacted returns a copy in which secrets are masked.
func (s ICEServer) Redacted() ICEServer {
	s.URLs = slices.Clone(s.URLs)
	for i := range s.URLs {
		s.URLs[i] = Redact(s.URLs[i])
	}
	if s.Credential != "" {
		s.Credential = mask
	}
	return s
}

// String returns the entry as JSON with secrets masked.
func (s ICEServer) String() string { return jsonText(s.Redacted()) }

// LogValue masks secrets in structured logs.
func (s ICEServer) LogValue() slog.Value { return slog.StringValue(s.String()) }

// jsonText cannot fail for the structs of this package: they hold no channels,
// functions or cycles, and numbers are checked to be finite.
func jsonText(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		return "{}"
	}
	return string(b)
}
