package dlq

import "strings"

// Letters that others wrote. The Python library's Kafka letters use our own
// keys; these are the rest.
const (
	rabbitPrefix     = "x-dlq-" // Python on RabbitMQ
	rabbitReason     = "x-dlq-reason"
	rabbitErrorType  = "x-dlq-error-type"
	rabbitRetryCount = "x-dlq-retry-count"
	rabbitTimestamp  = "x-dlq-timestamp"

	redisOriginalID = "original_message_id" // Python on Redis
	redisRetryCount = "retry_count"

	brokerReason = "x-first-death-reason" // RabbitMQ itself: "expired", "rejected", "maxlen", "delivery_limit"
	brokerQueue  = "x-first-death-queue"
)

// foreign fills in what the Python library and the brokers tell under other
// names, and takes those keys out of the original's metadata. Facts under our
// own names win.
func (r *reader) foreign(l *Letter) {
	if _, ok := r.meta[rabbitReason]; ok {
		r.rabbit(l)
	}
	// The names are ordinary words that a user's metadata may hold, so all three
	// must be there, and no reason, which the Python library does not write here.
	if _, ok := r.meta[redisOriginalID]; ok && l.Reason == "" && !l.BuriedAt.IsZero() {
		r.redis(l)
	}
	if v := r.meta[brokerReason]; v != "" && l.Reason == "" {
		l.Reason = Reason(v)
		if l.Source.Topic == "" {
			l.Source.Topic = r.meta[brokerQueue]
		}
	}
}

// rabbit reads a letter of the Python library from RabbitMQ. What it calls the
// reason is the text of the error.
func (r *reader) rabbit(l *Letter) {
	for k := range l.Metadata {
		if strings.HasPrefix(k, rabbitPrefix) {
			delete(l.Metadata, k)
		}
	}
	attempts, at := r.retries(rabbitRetryCount), r.time(rabbitTimestamp)
	if l.Reason != "" {
		return
	}
	switch reason := Reason(r.meta[rabbitReason]); reason {
	case ReasonMaxRetries, ReasonUndecodable, "republish_failed":
		l.Reason = reason
	default:
		l.Reason = ReasonHandlerError
		l.ErrorMessage = string(reason)
	}
	l.ErrorType = r.meta[rabbitErrorType]
	l.Attempts = attempts
	l.BuriedAt = at
}

// redis reads a letter of the Python library from Redis, which tells neither
// an error nor a group.
func (r *reader) redis(l *Letter) {
	if _, ok := r.meta[redisRetryCount]; !ok {
		return
	}
	l.Reason = ReasonMaxRetries
	l.Source.ID = r.meta[redisOriginalID]
	l.Attempts = r.retries(redisRetryCount)
	delete(l.Metadata, redisOriginalID)
	delete(l.Metadata, redisRetryCount)
}
