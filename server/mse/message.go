package mse

import (
	"encoding/json"
	"errors"
	"time"

	"camwire/media/stream"
)

// message is every text message of both directions; unused fields are left out.
type message struct {
	Type     string   `json:"type"`
	Mime     string   `json:"mime,omitempty"`
	Media    *float64 `json:"media,omitempty"`    // s
	Captured float64  `json:"captured,omitempty"` // unix ms
	T        float64  `json:"t,omitempty"`
	Server   float64  `json:"server,omitempty"` // unix ms
	On       bool     `json:"on,omitempty"`
	State    string   `json:"state,omitempty"`
	Reason   string   `json:"reason,omitempty"`
	Error    string   `json:"error,omitempty"`
	Code     string   `json:"code,omitempty"`
}

// errBadMessage is said to a viewer, who may go on.
var errBadMessage = errors.New(`a JSON text message is expected: {"type":"ping","t":…} or {"type":"audio","on":true}`)

// parseMessage reads what a viewer says.
func parseMessage(b []byte) (message, error) {
	var m message
	if err := json.Unmarshal(b, &m); err != nil {
		return message{}, errBadMessage
	}
	switch m.Type {
	case "ping", "audio":
		return m, nil
	}
	return message{}, errBadMessage
}

func stateMessage(i stream.Info, problem error) message {
	m := message{Type: "state", State: string(i.State), Reason: i.Reason}
	if problem != nil && i.State == stream.Live {
		m.State, m.Reason = string(stream.Failed), problem.Error()
	}
	return m
}

func timeMessage(at time.Duration, captured time.Time) message {
	s := at.Seconds()
	return message{Type: "time", Media: &s, Captured: millis(captured)}
}

// millis is unix time in milliseconds, as Date.now() has it, with a fraction.
func millis(t time.Time) float64 { return float64(t.UnixMicro()) / 1000 }
