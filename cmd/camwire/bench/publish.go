package main

import "fmt"

// publish measures what a server between two browsers adds: one sends its
// camera by WHIP and the other watches by WHEP, and the same two call each
// other directly.
func (b *bench) publish() error {
	cam, err := startCamwire(b.bin, b.dir, `  - { id: other, source: "test:", on_demand: true }`)
	if err != nil {
		return err
	}
	defer cam.kill()
	type result struct{ Ages, Joins []float64 }
	var ours, direct result
	times := 5
	page := cam.http + "/healthz"
	err = b.ask(map[string]any{
		"kind": "publish", "page": page, "whip": cam.http + "/whip/phone", "whep": cam.http + "/whep/phone",
		"seconds": b.seconds, "times": times,
	}, &ours)
	if err != nil {
		return err
	}
	if err := b.ask(map[string]any{"kind": "call", "page": page, "seconds": b.seconds, "times": times}, &direct); err != nil {
		return err
	}
	fmt.Println("\nfrom one browser to another, 720p30 H264, stamp in the picture to the frame callback (ms)")
	fmt.Printf("  %-22s %8s %8s %8s %8s   %s\n", "", "frames", "median", "p95", "max", "first picture: median, worst")
	res := map[string]any{}
	for _, x := range []struct {
		name string
		r    result
	}{{"through camwire", ours}, {"direct call", direct}} {
		a, j := spreadOf(x.r.Ages), spreadOf(x.r.Joins)
		fmt.Printf("  %-22s %8d %8.1f %8.1f %8.1f   %.0f, %.0f\n", x.name, a.N, a.Median, a.P95, a.Max, j.Median, j.Max)
		res[x.name] = map[string]spread{"delay": a, "first": j}
	}
	fmt.Printf("  %-22s %8s %+8.1f %+8.1f\n", "added by the server", "",
		spreadOf(ours.Ages).Median-spreadOf(direct.Ages).Median, spreadOf(ours.Ages).P95-spreadOf(direct.Ages).P95)
	fmt.Println("  (first picture: of somebody who joins what is being sent; of a direct call, which has to begin)")
	b.results["publish_ms"] = res
	return nil
}
