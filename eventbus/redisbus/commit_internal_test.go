package redisbus

import (
	"testing"

	"github.com/ThreeDotsLabs/watermill/message"
)

// A request waits in the pool for its next call: nothing of the last one may
// stay in memory for that.
func TestRequest_ResetLetsGoOfTheMetadata(t *testing.T) {
	large, small := message.NewMessage("1", nil), message.NewMessage("2", nil)
	large.Metadata = message.Metadata{"a": "1", "b": "2", "c": "3"}
	small.Metadata = message.Metadata{"d": "4"}
	for _, form := range []Form{FormWatermill, FormText} {
		t.Run(form.String(), func(t *testing.T) {
			req := newRequest(form)
			for _, m := range []*message.Message{large, small} {
				if _, err := req.encoder.append(nil, m); err != nil {
					t.Fatal(err)
				}
			}
			if !req.reset() {
				t.Fatal("a small request is not kept")
			}
			kept := req.encoder.sorted[:cap(req.encoder.sorted)]
			if len(kept) < len(large.Metadata) {
				t.Fatalf("the encoder has room for %d pairs, want that of the larger message", len(kept))
			}
			for _, p := range kept {
				if p != (pair{}) {
					t.Errorf("it still refers to %v", p)
				}
			}
		})
	}
}
