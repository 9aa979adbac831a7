package codec

import (
	"cmp"
	"fmt"
	"math"
	"reflect"
	"testing"
)

// fail stops the test. why is a format and its arguments.
func fail(t testing.TB, why []any, what string, args ...any) {
	t.Helper()
	s := fmt.Sprintf(what, args...)
	if len(s) > 2000 {
		s = s[:2000] + " …"
	}
	if len(why) > 0 {
		s += ": " + fmt.Sprintf(why[0].(string), why[1:]...)
	}
	t.Fatal(s)
}

func requireNoError(t testing.TB, err error, why ...any) {
	t.Helper()
	if err != nil {
		fail(t, why, "error %v", err)
	}
}

func requireEqual(t testing.TB, want, got any, why ...any) {
	t.Helper()
	if !reflect.DeepEqual(want, got) {
		fail(t, why, "want %v, got %v", want, got)
	}
}

func requireTrue(t testing.TB, ok bool, why ...any) {
	t.Helper()
	if !ok {
		fail(t, why, "not so")
	}
}

func requireFalse(t testing.TB, not bool, why ...any) {
	t.Helper()
	requireTrue(t, !not, why...)
}

func requireLen[T any](t testing.TB, s []T, n int, why ...any) {
	t.Helper()
	if len(s) != n {
		fail(t, why, "%d elements instead of %d: %v", len(s), n, s)
	}
}

func requireAtMost[T cmp.Ordered](t testing.TB, got, limit T, why ...any) {
	t.Helper()
	if got > limit {
		fail(t, why, "%v is more than %v", got, limit)
	}
}

func requireNear(t testing.TB, want, got float64, why ...any) {
	t.Helper()
	if math.Abs(want-got) > 0.01 {
		fail(t, why, "want %v, got %v", want, got)
	}
}
