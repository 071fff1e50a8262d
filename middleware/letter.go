package middleware

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime/debug"
	"strings"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/leat-go/leat/dlq"
)

// letter tells of a message and its final error.
func (d *DeadLetter) letter(ctx context.Context, msg *message.Message, err error) dlq.Letter {
	l := dlq.NewLetter(msg)
	l.Group, l.Source.Topic = d.Group, d.Topic
	if delivery := DeliveryFrom(ctx); delivery != nil {
		l.Source = delivery.Source()
		if d.Topic != "" {
			l.Source.Topic = d.Topic
		}
		if l.Group == "" {
			l.Group = delivery.Group
		}
		if delivery.Key != "" {
			l.Key = delivery.Key
		}
	}
	if l.Source.Topic == "" {
		l.Source.Topic = topicOf(ctx)
	}
	l.Host, l.Build, l.BuriedAt = d.Host, d.Build, time.Now().UTC()
	blame(ctx, &l, err)
	if len(l.Handlers) == 0 {
		l.Handlers = stillMeant(msg, l.Group)
	}
	return l
}

// stillMeant are the handlers that a replay was for and did not reach: the next
// one is for them again, and not for those that succeeded long ago.
func stillMeant(msg *message.Message, group string) []string {
	if t, ok := dlq.ReplayTarget(msg); ok && (t.Group == "" || t.Group == group) {
		return t.Handlers
	}
	return nil
}

// blame fills in who failed, how often and why.
func blame(ctx context.Context, l *dlq.Letter, err error) {
	var several *HandlersError
	if !errors.As(err, &several) {
		f := NewHandlerFailure(HandlerName(ctx), err)
		l.Reason, l.Attempts, l.FirstFailedAt, l.LastFailedAt = reasonOf(err), f.Attempts, f.FirstAt, f.LastAt
		l.ErrorType, l.ErrorMessage = typeOf(err), textOf(err)
		switch {
		case l.Reason == dlq.ReasonUndecodable:
			l.Attempts = 0 // no handler ever ran
		case f.Handler != "":
			l.Handlers = []string{f.Handler}
		}
		return
	}
	var texts []string
	for _, f := range several.Failures {
		if classify(f.Err) == discarded {
			continue // its handler wants to forget the message; a replay is not for it
		}
		l.Handlers = append(l.Handlers, f.Handler)
		l.Attempts = max(l.Attempts, f.Attempts)
		if l.FirstFailedAt.IsZero() || (!f.FirstAt.IsZero() && f.FirstAt.Before(l.FirstFailedAt)) {
			l.FirstFailedAt = f.FirstAt
		}
		if f.LastAt.After(l.LastFailedAt) {
			l.LastFailedAt = f.LastAt
		}
		if l.Reason == "" {
			l.Reason, l.ErrorType = reasonOf(f.Err), typeOf(f.Err)
		}
		texts = append(texts, textOf(f.Err))
	}
	if len(texts) == 1 {
		l.ErrorMessage = texts[0]
		return
	}
	for i, text := range texts {
		texts[i] = l.Handlers[i] + ": " + text
	}
	l.ErrorMessage = strings.Join(texts, "; ")
}

// reasonOf names what ended the attempts, not what went wrong in them: an
// exhausted time-out is exhausted.
func reasonOf(err error) dlq.Reason {
	var exhausted *ExhaustedError
	var panicked *PanicError
	var late *TimeoutError
	switch {
	case classify(err) == undecodable:
		return dlq.ReasonUndecodable
	case errors.As(err, &exhausted):
		return dlq.ReasonMaxRetries
	case classify(err) == final:
		return dlq.ReasonPermanent
	case errors.As(err, &panicked):
		return dlq.ReasonPanic
	case errors.As(err, &late):
		return dlq.ReasonTimeout
	}
	return dlq.ReasonHandlerError
}

// textOf is the error's text without our "gave up after": the letter has that
// in fields. An error whose Error method panics must not keep the message from
// being buried.
func textOf(err error) (text string) {
	defer func() {
		if p := recover(); p != nil {
			text = fmt.Sprintf("its Error method panicked: %v", p)
		}
	}()
	var exhausted *ExhaustedError
	if errors.As(err, &exhausted) && exhausted.Err != nil {
		return exhausted.Err.Error()
	}
	return err.Error()
}

// typeOf is the type of the outermost error that says something: neither a mark
// of ours nor the wrapper that fmt or errors put around another error.
func typeOf(err error) string {
	for {
		name := fmt.Sprintf("%T", err)
		switch err.(type) { //nolint:errorlint // the chain is walked here, level by level
		case *ExhaustedError, *triedError, *steeredError, *retryAfterError, *undecodableError:
		default:
			switch name {
			case "*fmt.wrapError", "*fmt.wrapErrors", "*errors.joinError", "*backoff.PermanentError",
				"*errors.withStack", "*errors.withMessage": // the last two: github.com/pkg/errors
			default:
				return name
			}
		}
		var inner error
		switch e := err.(type) { //nolint:errorlint // the chain is walked here, level by level
		case interface{ Unwrap() error }:
			inner = e.Unwrap()
		case interface{ Unwrap() []error }:
			if all := e.Unwrap(); len(all) > 0 {
				inner = all[0]
			}
		}
		if inner == nil {
			return name
		}
		err = inner
	}
}

func hostname() string {
	name, err := os.Hostname()
	if err != nil {
		return ""
	}
	return name
}

// revision is what the Go tool knows of the binary: the commit, else the
// module's version.
func revision() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return ""
	}
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" {
			return s.Value
		}
	}
	if info.Main.Version == "(devel)" {
		return ""
	}
	return info.Main.Version
}
