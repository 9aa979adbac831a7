package guesttest

import (
	"slices"
	"testing"
)

func TestResults(t *testing.T) {
	out := `=== RUN   TestGuest
    a_test.go:1: --- FAIL: not a result
--- FAIL: TestGuest (9.10s)
    --- PASS: TestGuest/one (1.00s)
        --- PASS: TestGuest/one/inner (0.50s)
    --- FAIL: TestGuest/two (2.05s)
    --- SKIP: TestOther/three (0.00s)
FAIL
`
	want := []result{{"PASS", "one", "1.00s"}, {"PASS", "one/inner", "0.50s"}, {"FAIL", "two", "2.05s"}}
	if got := results("TestGuest", out); !slices.Equal(got, want) {
		t.Errorf("got %v", got)
	}
	if got := results("TestGuest", "panic: no result\n"); got != nil {
		t.Errorf("got %v", got)
	}
}
