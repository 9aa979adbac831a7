package live

import (
	"net/url"

	"camwire/server/wish"
)

// query is what a viewer asks for; zero: JSON, as the pictures come.
type query struct {
	wish.Wish
	binary bool
}

// parseQuery reads format and what all outputs in JPEG take. The error names
// the value and what it may be.
func parseQuery(v url.Values) (q query, err error) {
	switch v.Get("format") {
	case "", "json":
	case "jpeg":
		q.binary = true
	default:
		return query{}, wish.BadValue(v, "format", "use json, or jpeg for binary messages")
	}
	q.Wish, err = wish.Parse(v)
	return q, err
}
