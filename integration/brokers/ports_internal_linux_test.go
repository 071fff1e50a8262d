package brokers

import "testing"

func TestPort_IsHeldUntilReleased(t *testing.T) {
	t.Parallel()
	p, err := freePort()
	if err != nil {
		t.Fatal(err)
	}
	if p.number < firstPort || p.number > lastPort {
		t.Errorf("port %d is not between %d and %d", p.number, firstPort, lastPort)
	}
	if again, err := holdPort(p.number); err == nil {
		again.release()
		t.Error("a port that is held was handed out, though nobody listens")
	}
	p.release()
	again, err := holdPort(p.number)
	if err != nil {
		t.Fatal(err)
	}
	again.release()
}
