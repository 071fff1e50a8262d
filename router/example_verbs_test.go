package router_test

import (
	"context"
	"fmt"
	"log"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/ThreeDotsLabs/watermill/pubsub/gochannel"

	"github.com/leat-go/leat/router"
)

// audit is something that brings its own handler to a router; a bus of package
// eventbus is another.
type audit struct{ sub message.Subscriber }

func (a audit) Mount(r *message.Router) error {
	r.AddConsumerHandler("audit", "orders", a.sub, func(*message.Message) error { return nil })
	return nil
}

// A drain reports what it finished and what it handed back. Whoever shuts down
// first decides the deadline; Run returns when it is over.
func ExampleRouter_Shutdown() {
	pubSub := gochannel.NewGoChannel(gochannel.Config{}, watermill.NopLogger{})
	r, err := router.New(router.Config{})
	if err != nil {
		log.Fatal(err)
	}
	if err := r.Mount(audit{router.Decorate(pubSub, router.DrainConfig{})}); err != nil {
		log.Fatal(err)
	}
	ran := make(chan error)
	go func() { ran <- r.Run(context.Background()) }()
	<-r.Running()

	report, err := r.Shutdown(context.Background())
	fmt.Println(report.Finished, report.HandedBack, err)
	fmt.Println(<-ran)
	if err := pubSub.Close(); err != nil {
		log.Fatal(err)
	}
	// Output:
	// 0 0 <nil>
	// <nil>
}
