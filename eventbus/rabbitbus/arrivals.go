package rabbitbus

import amqp "github.com/rabbitmq/amqp091-go"

// arrivals are the deliveries of a session that were received and not taken in:
// while a suspect is handled alone, what comes behind it. They are received all
// the same, because of what the client keeps nobody knows that it was lost with
// the connection. They belong to the goroutine that consumes.
type arrivals struct {
	waiting []amqp.Delivery // in the order of their tags
	strays  []amqp.Delivery // likewise, of the consumer that comes and goes
	last    uint64          // the tag that was taken in last
}

func (a *arrivals) add(d amqp.Delivery) { a.waiting = append(a.waiting, d) }

// next returns what is to be taken in, if there is anything. A stray has its
// place among the others, by its tag: the broker counts deliveries by channel.
func (a *arrivals) next() (d amqp.Delivery, ok bool) {
	from := &a.waiting
	if len(a.strays) > 0 {
		if tag := a.strays[0].DeliveryTag; tag == a.last+1 || len(a.waiting) > 0 && tag < a.waiting[0].DeliveryTag {
			from = &a.strays
		}
	}
	if len(*from) == 0 {
		return d, false
	}
	d = (*from)[0]
	(*from)[0] = amqp.Delivery{}
	if *from = (*from)[1:]; len(*from) == 0 {
		*from = nil
	}
	a.last = d.DeliveryTag
	return d, true
}
