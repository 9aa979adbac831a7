// Package e2e tests the program as it is shipped: the real binary as a child
// process, ffmpeg as camera and client, Chromium as viewer, all of it over the
// loopback interface. It holds tests only. What one package can prove by
// itself belongs into that package's own tests.
//
// Run it with "make e2e". CAMWIRE_BIN names a binary to test instead of
// building one, CHROMIUM the browser. Under -short nothing runs; where ffmpeg,
// node or a browser are missing the tests that need them are skipped, but fail
// when CI=true.
package e2e
