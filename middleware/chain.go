package middleware

import (
	"reflect"
	"runtime"
	"strings"

	"github.com/ThreeDotsLabs/watermill/message"
)

// Chain makes one middleware of several, the first outermost:
//
//	Chain(a, b)(h) is a(b(h))
//
// Nil ones are left out.
func Chain(mws ...message.HandlerMiddleware) message.HandlerMiddleware {
	return func(h message.HandlerFunc) message.HandlerFunc {
		for i := len(mws) - 1; i >= 0; i-- {
			if mws[i] != nil {
				h = mws[i](h)
			}
		}
		return h
	}
}

// Named gives a middleware a name for [Describe], which sees of a closure no
// more than the function that made it.
func Named(name string, mw message.HandlerMiddleware) message.HandlerMiddleware {
	return named{name: name, mw: mw}.wrap
}

type named struct {
	name string
	mw   message.HandlerMiddleware
}

// wrap is the middleware. Called without a handler, as only Describe does, it
// tells its name: a function value has no other place for it.
func (n named) wrap(h message.HandlerFunc) message.HandlerFunc {
	if h == nil {
		return func(*message.Message) ([]*message.Message, error) { return nil, nameError(n.name) }
	}
	if n.mw == nil {
		return h
	}
	return n.mw(h)
}

type nameError string

func (e nameError) Error() string { return string(e) }

// Describe names the middlewares of a chain, outermost first: those of this
// package by their type ("Retry"), those with a name by it ([Named]), others by
// their function and its package ("router/middleware.Recoverer" for Watermill's,
// "main.audit"). A closure appears under the name that the compiler gave it, which
// tells the function that made it, and sometimes that one's caller too.
func Describe(mws ...message.HandlerMiddleware) []string {
	names := make([]string, 0, len(mws))
	for _, mw := range mws {
		if mw != nil {
			names = append(names, describe(mw))
		}
	}
	return names
}

func describe(mw message.HandlerMiddleware) string {
	name := functionName(mw)
	if name == functionName(named{}.wrap) {
		_, err := mw(nil)(nil)
		if told, ok := err.(nameError); ok { //nolint:errorlint // it is a name, wrapped by nobody
			return string(told)
		}
	}
	name = strings.TrimSuffix(name, "-fm") // of a method value
	name = trimClosure(name)
	name = strings.NewReplacer("(*", "", ")", "").Replace(name)
	if own, ok := strings.CutPrefix(name, ownPackage()); ok {
		return strings.TrimSuffix(own, ".Middleware")
	}
	name = strings.TrimSuffix(name, ".Middleware")
	if i := strings.LastIndexByte(name, '/'); i > 0 {
		if j := strings.LastIndexByte(name[:i], '/'); j > 0 {
			return name[j+1:]
		}
	}
	return name
}

// trimClosure takes off how the compiler numbers closures: ".func1", ".func2.1".
func trimClosure(name string) string {
	for {
		i := strings.LastIndexByte(name, '.')
		if i < 0 || strings.Trim(strings.TrimPrefix(name[i+1:], "func"), "0123456789") != "" {
			return name
		}
		name = name[:i]
	}
}

func functionName(mw message.HandlerMiddleware) string {
	f := runtime.FuncForPC(reflect.ValueOf(mw).Pointer())
	if f == nil {
		return "unknown"
	}
	return f.Name()
}

// ownPackage is this package's path and a dot, as function names begin with it.
func ownPackage() string {
	name := functionName(Correlation)
	return name[:strings.LastIndexByte(name, '.')+1]
}
