package eventbus

import (
	"sync"

	"github.com/ThreeDotsLabs/watermill/message"
)

// A handler may end the goroutine that it runs on (runtime.Goexit; a test's
// FailNow does). Nothing brings that goroutine back: only its deferred functions
// still run. So the message goes through its chain once more in one of those,
// and there the attempt that ended the goroutine counts as failed; the other
// handlers of the event keep what they came to. By then every Recover that was
// passed runs what is inside it on goroutines of its own.

// carry takes the message through the chain, and concludes. When a handler ends
// the goroutine nobody is there to be returned to: the outcome goes to exited.
func (b *Bus) carry(d *delivery, msg *message.Message, exited func(error)) error {
	returned := false
	defer func() {
		if !returned {
			msg.SetContext(d)
			exited(b.conclude(d, b.pass(d, msg)))
		}
	}()
	err := b.conclude(d, b.pass(d, msg))
	returned = true
	return err
}

// runAll runs the handlers of one event at the same time, the first one on this
// goroutine, unless that is how it ended another one.
func (d *delivery) runAll(msg *message.Message, subs []*subscription) []outcome {
	outcomes := make([]outcome, len(subs))
	again, kept := d.first.exit != nil, d.kept
	d.kept = nil
	var others sync.WaitGroup
	here := 0 // the one on this goroutine
	if again {
		here = -1
	}
	for i, s := range subs {
		o, done := kept[s]
		switch {
		case i == here:
		case done:
			outcomes[i] = o
		default:
			a := &attempts{}
			if again && s == d.first.sub {
				a = &d.first
			}
			others.Add(1)
			go d.runApart(a, s, msg, &outcomes[i], &others)
		}
	}
	if again || len(subs) == 0 {
		others.Wait()
		return outcomes
	}
	returned := false
	defer func() {
		if !returned {
			others.Wait() // nobody handles it a second time beside them
			d.kept = make(map[*subscription]outcome, len(subs))
			for i, s := range subs[1:] {
				d.kept[s] = outcomes[i+1]
			}
		}
	}()
	outcomes[0] = d.run(&d.first, subs[0], msg)
	returned = true
	others.Wait()
	return outcomes
}

// runApart runs a handler on a goroutine of its own, and on another one when it
// has ended that. What ends a goroutine again is not the handler, for which there
// is a Recover by then, but a hook or a filter: the handler has failed.
func (d *delivery) runApart(a *attempts, s *subscription, msg *message.Message, o *outcome, done *sync.WaitGroup) {
	returned := false
	defer func() {
		switch {
		case returned:
			done.Done()
		case a.exits == 1:
			go d.runApart(a, s, msg, o, done)
		default:
			*o = outcome{ran: true, err: a.exit}
			o.blame(a)
			a.exit = nil
			done.Done()
		}
	}()
	*o = d.run(a, s, msg)
	returned = true
}
