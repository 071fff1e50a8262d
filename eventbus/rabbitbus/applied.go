package rabbitbus

import (
	"math"

	amqp "github.com/rabbitmq/amqp091-go"
)

// applied returns when the broker has carried out the acknowledgements that were
// sent on a channel, of a queue of this type. Without it some are forgotten when
// the channel closes, and their messages come again.
//
// A classic queue is told of them in the order in which they came: an answer to
// anything is enough. Before a quorum queue the channel keeps those beyond the
// 32nd to itself as long as the queue's log is behind, for which the returns
// count too of what was sent to a consumer that was cancelled, and takes them
// with it (rabbitmq-server#10327; read in 3.10.8 and 4.x). A consumer that comes
// and goes waits for the log, twice: by the end the channel has been told that
// everything before is applied, and has sent the rest.
//
// The strays are what the consumer was sent all the same: they are to be handled
// in their place, or go back with the channel.
func applied(ch *amqp.Channel, queue string, kind QueueType) (strays []amqp.Delivery, err error) {
	if kind == QueueQuorum {
		if strays, err = comeAndGo(ch, queue); err != nil {
			return strays, err
		}
	}
	_, err = ch.QueueDeclarePassive(queue, false, false, false, false, nil)
	return strays, err
}

// goneTag names the consumer that comes and goes.
const goneTag = "leat-applied"

// applied is that of the session's channel. A drain may ask while the answer for a
// suspect is still awaited.
func (s *session) applied() ([]amqp.Delivery, error) {
	s.asking.Lock()
	defer s.asking.Unlock()
	return applied(s.ch, s.sub.queue, s.sub.cfg.Topology.QueueType)
}

// comeAndGo consumes nothing: the consumer has no credit. A broker that has
// forgotten what that is (4.x has) may send it one message, unless anybody else
// consumes who has room.
func comeAndGo(ch *amqp.Channel, queue string) (strays []amqp.Delivery, err error) {
	if err := ch.Qos(1, 0, false); err != nil {
		return nil, err
	}
	deliveries, err := ch.Consume(queue, goneTag, false, false, false, false, amqp.Table{
		"x-credit":   amqp.Table{"credit": int64(0), "drain": false},
		"x-priority": int32(math.MinInt16),
	})
	if err != nil {
		return nil, err
	}
	err = ch.Cancel(goneTag, false)
	for d := range deliveries { // closed when it is cancelled, or with the channel
		strays = append(strays, d)
	}
	return strays, err
}
