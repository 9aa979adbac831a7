// Package worker runs everything that looks inside a picture or coded sound:
// decoding, scaling, JPEG and H.264 encoding. It does so in a process of its own, the
// same binary started again, so that a bitstream that breaks a decoder costs
// one camera its derived pictures for a second and not the server its life.
//
// The parent side ([Start], [Worker]) is pure Go and is in every build. The
// child side ([Main]) needs cgo; [Available] says what is missing.
//
// One worker serves one camera:
//
//	w, err := worker.Start(ctx, worker.Options{Log: log})
//	if err != nil { … }               // says why there can be no worker
//	defer w.Close()
//	go func() {
//		for r := range w.Results() { … }  // closed when the worker is gone
//	}()
//	w.SetInput(track)                 // again for each epoch
//	w.SetOutputs([]worker.Output{{ID: 1, Kind: worker.OutputJPEG, Width: 640}})
//	for each frame {
//		err := w.Feed(frame, true)    // worker.ErrBusy: two are in flight already
//	}
//
// Feed never waits: at most Options.InFlight frames are on their way, counted
// from Feed until the worker has answered and the answers are in the Results
// channel. A live reader that gets [ErrBusy] skips to its newest key frame; one
// that must not lose a frame (it replays a group of pictures to catch up) uses
// [Worker.FeedWait]. A consumer that does not read Results thus slows nothing
// but its own worker.
//
// A worker whose input is AAC needs no outputs: what it decodes comes back as
// [OutputPCM].
//
// Answers carry the frame's own PTS, Captured and Arrived; these times never
// leave the parent. Trouble that the worker survives comes as a Result with
// Err; trouble that it does not survive closes Results, and [Worker.Err] says
// what it was. Starting a new worker, and how soon, is the caller's business,
// as are streams, viewers and what becomes of the pictures.
package worker
