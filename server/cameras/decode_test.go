package cameras

import (
	"context"
	"encoding/json"
	"errors"
	"reflect"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

func TestKeysAreThoseOfAnEntry(t *testing.T) {
	typ := reflect.TypeFor[Entry]()
	var names []string
	for i := range typ.NumField() {
		names = append(names, typ.Field(i).Tag.Get("json"))
	}
	if !reflect.DeepEqual(names, keys()) {
		t.Errorf("%v, want %v", keys(), names)
	}
}

func TestEveryKeyIsRead(t *testing.T) {
	want := Entry{ID: "a", Name: "A", Source: "test:", FPS: 1.5, Width: 2, Height: 3, Quality: 4, Enabled: true, OnDemand: true, Transport: "udp", Microphone: "off", Fingerprint: "ab"}
	text, err := json.Marshal(want)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := decode(text, Entry{}, Entry{}); err != nil || got != want {
		t.Errorf("%+v %v", got, err)
	}
	nulls := "{"
	for _, k := range keys() {
		nulls += `"` + k + `":null,`
	}
	if got, err := decode([]byte(strings.TrimSuffix(nulls, ",")+"}"), want, defaults); err != nil || got != defaults {
		t.Errorf("%+v %v", got, err)
	}
	if got, err := decode([]byte(" {} "), want, defaults); err != nil || got != want {
		t.Errorf("%+v %v", got, err)
	}
}

func TestMerge(t *testing.T) {
	e := func(id, name string) Entry { return Entry{ID: id, Name: name} }
	file, api := []Entry{e("b", "f"), e("a", "f"), e("b", "twice")}, []Entry{e("c", "p"), e("a", "p"), e("c", "twice")}
	all, hidden := merge(file, api)
	var got []string
	for _, i := range all {
		got = append(got, i.ID+"/"+i.Name+"/"+string(i.origin))
	}
	if s := strings.Join(got, " "); s != "b/f/file a/f/file c/p/api" {
		t.Error(s)
	}
	if strings.Join(hidden, " ") != "a c" {
		t.Error(hidden)
	}
	if all, hidden := merge(nil, nil); all != nil || hidden != nil {
		t.Error(all, hidden)
	}
}

func TestDidYouMean(t *testing.T) {
	for word, want := range map[string]string{
		"sorce": `"source"`, "ondemand": `"on_demand"`, "on-demand": `"on_demand"`, "FPS": `"fps"`, "widht": `"width"`, "x": "known are", "": "known are", "password": "known are",
	} {
		if got := didYouMean(word, keys()); !strings.Contains(got, want) {
			t.Errorf("%s: %s", word, got)
		}
	}
}

func TestInventory(t *testing.T) {
	l := newLab(t, t.TempDir())
	want := `[{"index":2,"source":"2","resolution":"1280x720","fps":30,"suggested_id":"usb_cam_2","path":"/dev/video2","name":"C920","formats":[],"in_use":false}]`
	if got := l.want(200, "GET", "/api/inventory/cameras/usb", ""); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	for _, list := range []func(context.Context) ([]USB, error){nil, func(context.Context) ([]USB, error) { return nil, nil }} {
		if all, err := newInventory(list).usb(t.Context()); err != nil || all == nil || len(all) != 0 {
			t.Errorf("%v %v", all, err)
		}
	}
}

func TestInventoryIsAskedOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var asked atomic.Int32
		answer := make(chan error)
		i := newInventory(func(ctx context.Context) ([]USB, error) {
			asked.Add(1)
			select {
			case err := <-answer:
				return []USB{{Index: int(asked.Load())}}, err
			case <-ctx.Done():
				return nil, ctx.Err()
			}
		})
		results := make(chan error, 10)
		for range 10 {
			go func() {
				_, err := i.usb(t.Context())
				results <- err
			}()
		}
		synctest.Wait()
		// Who does not want to wait does not have to.
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := i.usb(ctx); !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
		answer <- nil
		for range 10 {
			if err := <-results; err != nil {
				t.Error(err)
			}
		}
		if n := asked.Load(); n != 1 {
			t.Errorf("asked %d times", n)
		}
		// An error is not kept, and one that hangs is cut off.
		time.Sleep(inventoryFresh)
		if _, err := i.usb(t.Context()); !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
		go func() { answer <- nil }()
		if all, err := i.usb(t.Context()); err != nil || all[0].Index != 3 {
			t.Errorf("%v %v", all, err)
		}
	})
}

func FuzzDecode(f *testing.F) {
	for _, s := range []string{
		`{"id":"a","source":0}`, `{"id":"a","name":null,"fps":1e3}`, `{"source":{"exec":["x"]}}`, `{"a":[[[[]]]]}`, `{"id":"a","id":"b"}`, `[`, "{\"\xff\":1}", `{"ID":"x"}`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		got, err := decode(data, defaults, defaults)
		if err != nil {
			var r *refusal
			if !errors.As(err, &r) || len(r.problems) == 0 || len(r.problems) > maxProblems || r.status < 400 || r.status > 403 || r.Error() == "" || got != defaults {
				t.Fatalf("%q: %+v %v", data, got, err)
			}
			return
		}
		if isCommand(got.Source) {
			t.Errorf("%q is a command", data)
		}
		text, err := json.Marshal(got)
		if err != nil {
			t.Fatalf("%q: %v", data, err)
		}
		again, err := decode(text, Entry{}, Entry{})
		if err != nil || again != got {
			t.Errorf("%q: %+v became %+v: %v", data, got, again, err)
		}
	})
}
