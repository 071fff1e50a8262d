package eventbus

import (
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/leat-go/leat/codec"
	"github.com/leat-go/leat/internal/wire"
)

// Registry knows the event types of a program: which Go type has which name on
// the wire. Names are declared in code with [Register], once, and are never
// taken from Go's own names, so that a type can be renamed or moved without a
// trace on the wire. The zero value is empty and ready; it must not be copied.
//
// A program may have several registries; a bus has one. Reading is free of
// locks. Registering while buses run is allowed, and seen by the next event.
type Registry struct {
	mu    sync.Mutex
	state atomic.Pointer[registryState]
}

type registryState struct {
	byName map[string]*eventType // names and aliases
	byType map[reflect.Type]*eventType
}

// eventType is one registered type.
type eventType struct {
	name      string
	aliases   []string
	version   int
	aggregate string
	goType    reflect.Type     // the struct
	named     message.Metadata // read only: the name alone
	newEvent  func() Event
	clone     func(Event) Event
	upcast    Upcaster
}

// NewRegistry returns an empty registry.
func NewRegistry() *Registry {
	return &Registry{}
}

// now returns what is registered.
func (r *Registry) now() *registryState {
	if s := r.state.Load(); s != nil {
		return s
	}
	return &registryState{}
}

// EventPtr is satisfied by *T when T embeds [Base]; it is inferred and never
// written out by callers. When the compiler says that something does not satisfy
// it, T is not a struct that embeds Base, or is a pointer to one: a typed handler
// takes the struct itself.
type EventPtr[T any] interface {
	*T
	Event
}

// Register declares that T is called name on the wire:
//
//	err := eventbus.Register[OrderCreated](reg, "OrderCreated", eventbus.AggregateType("Order"))
//
// The name, and each alias, must be new to the registry, and so must T; both
// must be valid (see [ErrInvalidName]). T must embed [Base] as its first field
// and have no field and no method that stands in its way on the wire (see
// codec.Check). The error is a [*RegistrationError]; join several with
// errors.Join.
func Register[T any, P EventPtr[T]](r *Registry, name string, opts ...TypeOption) error {
	et := &eventType{
		name:     name,
		version:  1,
		goType:   reflect.TypeFor[T](),
		named:    message.Metadata{wire.EventType: name},
		newEvent: func() Event { return P(new(T)) },
		clone: func(e Event) Event {
			c := *e.(P)
			return P(&c)
		},
	}
	for _, o := range opts {
		if o != nil {
			o.applyType(et)
		}
	}
	if err := r.add(et); err != nil {
		return &RegistrationError{Name: name, GoType: et.goType.String(), Err: err}
	}
	return nil
}

var errNoRegistry = errors.New("the registry is nil: make one with NewRegistry")

func (r *Registry) add(et *eventType) error {
	var errs []error
	names := append([]string{et.name}, et.aliases...)
	for _, n := range names {
		if err := checkName("event type", n); err != nil {
			errs = append(errs, err)
		}
	}
	if et.aggregate != "" {
		if err := checkName("aggregate type", et.aggregate); err != nil {
			errs = append(errs, err)
		}
	}
	if et.version < 1 {
		errs = append(errs, fmt.Errorf("version %d: must be at least 1", et.version))
	}
	if err := codec.Check(et.goType); err != nil {
		errs = append(errs, err)
	}

	if r == nil {
		return errors.Join(append(errs, errNoRegistry)...)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	old := r.now()
	if other, ok := old.byType[et.goType]; ok {
		errs = append(errs, fmt.Errorf("%w: the Go type is registered as %q; old names are declared with Alias", ErrDuplicate, other.name))
	}
	for i, n := range names {
		if other, ok := old.byName[n]; ok {
			errs = append(errs, fmt.Errorf("%w: the name %q belongs to %s", ErrDuplicate, n, other.goType))
		} else if slices.Contains(names[:i], n) {
			errs = append(errs, fmt.Errorf("%w: the name %q is given twice", ErrDuplicate, n))
		}
	}
	if len(errs) > 0 {
		return errors.Join(errs...)
	}
	next := &registryState{byName: make(map[string]*eventType), byType: make(map[reflect.Type]*eventType)}
	maps.Copy(next.byName, old.byName)
	maps.Copy(next.byType, old.byType)
	next.byType[et.goType] = et
	for _, n := range names {
		next.byName[n] = et
	}
	r.state.Store(next)
	return nil
}

// Names returns the wire names of all registered types, sorted, without
// aliases.
func (r *Registry) Names() []string {
	var names []string
	for _, et := range r.now().byType {
		names = append(names, et.name)
	}
	slices.Sort(names)
	return names
}

// TypeInfo is what was declared of a registered type.
type TypeInfo struct {
	Type          Type   // the Go type
	Name          string // on the wire
	AggregateType string // empty when each event tells its own
	Version       int    // of the schema, as it is registered
}

// Types describes all registered types, sorted by name: for backends that route
// by type.
func (r *Registry) Types() []TypeInfo {
	var infos []TypeInfo
	for t, et := range r.now().byType {
		infos = append(infos, TypeInfo{Type: Type{t}, Name: et.name, AggregateType: et.aggregate, Version: et.version})
	}
	slices.SortFunc(infos, func(a, b TypeInfo) int { return strings.Compare(a.Name, b.Name) })
	return infos
}

// NameOf returns the wire name of the event's type, and false when the type is
// not registered.
func (r *Registry) NameOf(e Event) (string, bool) {
	et := r.of(e)
	if et == nil {
		return "", false
	}
	return et.name, true
}

// of returns the entry of an event's type: one look at the type's identity, no
// reflection on its fields. Nil when e is not a registered type's pointer.
func (r *Registry) of(e Event) *eventType {
	t := reflect.TypeOf(e)
	if t == nil || t.Kind() != reflect.Pointer {
		return nil
	}
	return r.now().byType[t.Elem()]
}

func (r *Registry) named(name string) *eventType { return r.now().byName[name] }

func (r *Registry) typed(t Type) *eventType { return r.now().byType[t.goType] }

// Type stands for an event type where a Go type parameter cannot: in the list
// of a subscriber's types, or to ask a bus for a count. The zero value is no
// type. Types are comparable.
type Type struct{ goType reflect.Type }

// TypeFor returns the Type of T, as in SubscribedTo:
//
//	return []eventbus.Type{eventbus.TypeFor[OrderCreated](), eventbus.TypeFor[OrderShipped]()}
func TypeFor[T any, P EventPtr[T]]() Type { return Type{reflect.TypeFor[T]()} }

// String returns the Go name of the type, for messages to people.
func (t Type) String() string {
	if t.goType == nil {
		return "no type"
	}
	return t.goType.String()
}

// Upcaster turns the payload of an older version of an event type into one
// that the present type can be decoded from. It gets the version that the
// message's metadata states, else the payload, and must not keep or change the
// slice it is given.
type Upcaster func(version int, payload []byte) ([]byte, error)

// TypeOption refines [Register].
type TypeOption interface{ applyType(*eventType) }

type typeOption func(*eventType)

func (o typeOption) applyType(et *eventType) { o(et) }

// AggregateType sets the kind of aggregate that the events of the type belong
// to, for events that do not say it themselves.
func AggregateType(name string) TypeOption {
	return typeOption(func(et *eventType) { et.aggregate = name })
}

// Version sets the version of the type's schema; 1 when not given. Newer
// versions than this are decoded as they are (unknown fields are ignored),
// older ones go through [Upcast] first.
func Version(v int) TypeOption { return typeOption(func(et *eventType) { et.version = v }) }

// Alias declares older names of the type: events with such a name are received
// as the present type, and published under the present name.
func Alias(names ...string) TypeOption {
	return typeOption(func(et *eventType) { et.aliases = append(et.aliases, names...) })
}

// Upcast sets the function that lifts payloads of older versions. Without it
// they are decoded as they are.
func Upcast(u Upcaster) TypeOption { return typeOption(func(et *eventType) { et.upcast = u }) }
