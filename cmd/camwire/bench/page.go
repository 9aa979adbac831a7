package main

import "fmt"

// visit is how a page came up, in ms from the navigation.
type visit struct {
	Tile, Picture float64 // the first tile can be used; the first picture is in it
	Bytes         float64 // transferred until the tile could be used
	Requests      int
}

// page measures how soon somebody with a slow phone can use the grid, the first
// time and the next, and what has to be transferred for it. An empty page says
// how much of it is the network's.
func (b *bench) page() error {
	p, err := b.pair(2)
	if err != nil {
		return err
	}
	defer p.close()
	var ours, floor struct{ First, Next []visit }
	const times = 5
	for _, x := range []struct {
		job    map[string]any
		visits any
	}{
		{map[string]any{"url": p.camwire.http + "/", "tile": "a.tile", "picture": "[data-camera][data-state=live]"}, &ours},
		{map[string]any{"url": p.floorPage, "tile": "html"}, &floor},
	} {
		x.job["kind"], x.job["page"], x.job["times"] = "visit", p.page, times
		if err := b.ask(x.job, x.visits); err != nil {
			return err
		}
	}
	fmt.Println("\nthe grid on a slow phone (processor 4 times slower, 1.6 Mbit/s, 150 ms there and back), in ms from the navigation")
	fmt.Printf("  %-22s %8s %8s   %-24s %8s %9s\n", "", "median", "worst", "picture: median, worst", "kB", "requests")
	res := map[string]any{}
	for _, x := range []struct {
		name   string
		visits []visit
	}{{"first visit", ours.First}, {"next visit", ours.Next}, {"empty page", floor.First}} {
		var tile, picture, bytes, requests []float64
		for _, v := range x.visits {
			tile, bytes, requests = append(tile, v.Tile), append(bytes, v.Bytes), append(requests, float64(v.Requests))
			if v.Picture > 0 {
				picture = append(picture, v.Picture)
			}
		}
		t, s := spreadOf(tile), spreadOf(picture)
		seen := ""
		if s.N > 0 {
			seen = fmt.Sprintf("%.0f, %.0f", s.Median, s.Max)
		}
		fmt.Printf("  %-22s %8.0f %8.0f   %-24s %8.1f %9.0f\n", x.name, t.Median, t.Max, seen, spreadOf(bytes).Median/1000, spreadOf(requests).Median)
		res[x.name] = map[string]any{"tile": t, "picture": s, "bytes": spreadOf(bytes).Median, "requests": spreadOf(requests).Median}
	}
	fmt.Println("  (the first tile of the grid can be used; kB and requests until then)")
	b.results["page_ms"] = res
	return nil
}
