// Soak tortures a running Camwire: noise and broken copies of real exchanges at
// every port, viewers and publishers that come and go, sources and codec
// processes that are killed, a full disk, a kill and a restart. Meanwhile one
// viewer watches and must miss nothing, and afterwards memory, goroutines,
// files and sessions must be back to where they were. It prints what it saw and
// fails when something was not so.
//
//	go run ./cmd/camwire/soak -bin bin/camwire -for 10m
//
// What single inputs are answered with is tested elsewhere (cmd/camwire/e2e).
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"time"
)

func main() {
	if len(os.Args) > 1 && os.Args[1] == sourceCommand {
		source()
		return
	}
	bin := flag.String("bin", "bin/camwire", "program to torture")
	length := flag.Duration("for", 10*time.Minute, "how long in all")
	seed := flag.Uint64("seed", uint64(time.Now().UnixNano()), "of everything random")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	fmt.Printf("seed %d\n", *seed)
	err := soak(ctx, options{
		bin: *bin, length: *length, seed: *seed, round: min(*length/3, 90*time.Second),
		missed: 0.05, growth: 64 << 20, say: func(format string, a ...any) {
			fmt.Printf("%s  %s\n", time.Now().Format("15:04:05"), fmt.Sprintf(format, a...))
		},
	})
	if err != nil {
		fmt.Fprintln(os.Stderr, "soak:", err)
		os.Exit(1) //nolint:gocritic // the signal needs no more care
	}
}
