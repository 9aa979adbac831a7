package auth

import (
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// cheap makes hashes that cost next to nothing, for the tests in which they do
// not matter.
func cheap(t *testing.T) {
	t.Helper()
	was := cost
	cost = costs{memory: 8, time: 1, threads: 1}
	t.Cleanup(func() { cost = was })
}
