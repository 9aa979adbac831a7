package auth

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"slices"
	"strings"
)

// Bounds of a JSON Web Key Set.
const (
	maxKeySet  = 1 << 20 // bytes
	maxKeys    = 64
	minRSA     = 2048 // bits
	maxRSA     = 8192
	maxKeyName = 256
)

// verifyKey is a public key of a JSON Web Key Set (RFC 7517).
type verifyKey struct {
	id, alg string
	key     any // *rsa.PublicKey, *ecdsa.PublicKey or ed25519.PublicKey
	print   string
}

// jwk is a key as RFC 7517 and RFC 7518 section 6 write it.
type jwk struct {
	Kty string   `json:"kty"`
	Use string   `json:"use"`
	Ops []string `json:"key_ops"`
	Alg string   `json:"alg"`
	Kid string   `json:"kid"`
	Crv string   `json:"crv"`
	N   string   `json:"n"`
	E   string   `json:"e"`
	X   string   `json:"x"`
	Y   string   `json:"y"`
}

// parseKeySet reads the keys that a signature can be checked with. Others in
// the set, symmetric ones above all, are passed over: with a key that is not
// secret anybody could sign (RFC 8725 section 2.1). An error means that the set
// as a whole is none, or has no such key.
func parseKeySet(data []byte) ([]verifyKey, error) {
	var set struct {
		Keys []json.RawMessage `json:"keys"`
	}
	if err := json.Unmarshal(data, &set); err != nil {
		return nil, fmt.Errorf("is no JSON Web Key Set: %w", err)
	}
	if len(set.Keys) > maxKeys {
		return nil, fmt.Errorf("has %d keys, at most %d are taken", len(set.Keys), maxKeys)
	}
	var keys []verifyKey
	var why error
	for i, raw := range set.Keys {
		k, err := parseKey(raw)
		if err != nil {
			why = errors.Join(why, fmt.Errorf("key %d: %w", i+1, err))
			continue
		}
		keys = append(keys, k)
	}
	if len(keys) == 0 {
		return nil, errors.Join(errors.New("has no public key for RS256, ES256 or EdDSA"), why)
	}
	return keys, nil
}

func parseKey(raw []byte) (verifyKey, error) {
	var j jwk
	if err := json.Unmarshal(raw, &j); err != nil {
		return verifyKey{}, err
	}
	k := verifyKey{id: j.Kid}
	var err error
	switch {
	case len(j.Kid) > maxKeyName:
		return k, errors.New("its kid is too long")
	case j.Use != "" && j.Use != "sig":
		return k, fmt.Errorf("it is for %q", clip(j.Use, 20))
	case j.Ops != nil && !slices.Contains(j.Ops, "verify"):
		return k, errors.New("it is not for verifying")
	case j.Kty == "RSA":
		k.alg = "RS256"
		k.key, err = rsaKey(j)
	case j.Kty == "EC" && j.Crv == "P-256":
		k.alg = "ES256"
		k.key, err = ecKey(j)
	case j.Kty == "OKP" && j.Crv == "Ed25519":
		k.alg = "EdDSA"
		k.key, err = edKey(j)
	default:
		return k, fmt.Errorf("keys of the kind %q %q are not taken", clip(j.Kty, 20), clip(j.Crv, 20))
	}
	switch {
	case err != nil:
		return k, err
	case j.Alg != "" && j.Alg != k.alg && (k.alg != "EdDSA" || j.Alg != "Ed25519"): // RFC 9864
		return k, fmt.Errorf("it is for %q", clip(j.Alg, 20))
	}
	k.print = printOf(k.alg, j.N, j.E, j.X, j.Y)
	return k, nil
}

func rsaKey(j jwk) (*rsa.PublicKey, error) {
	n, err := octets(j.N, maxRSA/8)
	if err != nil {
		return nil, fmt.Errorf("n: %w", err)
	}
	e, err := octets(j.E, 4)
	if err != nil {
		return nil, fmt.Errorf("e: %w", err)
	}
	k := &rsa.PublicKey{N: new(big.Int).SetBytes(n), E: int(new(big.Int).SetBytes(e).Int64())}
	switch bits := k.N.BitLen(); {
	case bits < minRSA || bits > maxRSA:
		return nil, fmt.Errorf("it has %d bits, %d to %d are taken", bits, minRSA, maxRSA)
	case k.N.Bit(0) == 0, k.E < 3, k.E%2 == 0, k.E > 1<<31-1:
		return nil, errors.New("is no RSA key")
	}
	return k, nil
}

func ecKey(j jwk) (*ecdsa.PublicKey, error) {
	x, err1 := octets(j.X, 32)
	y, err2 := octets(j.Y, 32)
	if err := errors.Join(err1, err2); err != nil {
		return nil, err
	}
	if len(x) != 32 || len(y) != 32 {
		return nil, errors.New("a coordinate has not 32 bytes")
	}
	return ecdsa.ParseUncompressedPublicKey(elliptic.P256(), slices.Concat([]byte{4}, x, y))
}

func edKey(j jwk) (ed25519.PublicKey, error) {
	x, err := octets(j.X, ed25519.PublicKeySize)
	if err != nil {
		return nil, err
	}
	if len(x) != ed25519.PublicKeySize {
		return nil, fmt.Errorf("x has not %d bytes", ed25519.PublicKeySize)
	}
	return ed25519.PublicKey(x), nil
}

// octets decodes base64url without padding (RFC 7515 section 2).
func octets(s string, most int) ([]byte, error) {
	if len(s) > 2*most+8 {
		return nil, errors.New("is too long")
	}
	b, err := base64.RawURLEncoding.DecodeString(strings.TrimRight(s, "="))
	switch {
	case err != nil:
		return nil, err
	case len(b) == 0:
		return nil, errors.New("is missing")
	case len(b) > most:
		return nil, errors.New("is too long")
	}
	return b, nil
}
