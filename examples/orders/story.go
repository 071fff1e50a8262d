package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/leat-go/leat/dlq"
)

// story is the run without input: five short acts.
type story struct {
	*program
}

func (s story) run(ctx context.Context) error {
	s.console.print("The chain that every event passes, outermost first; then one for each handler:\n\n%s", indent(s.bus.Chain()))
	for _, act := range []func(context.Context) error{s.plain, s.retried, s.poisoned, s.replayed} {
		if err := act(ctx); err != nil {
			return err
		}
	}
	return nil
}

func (s story) plain(ctx context.Context) error {
	s.console.print("\n1. An order. Each command (>) loads it, saves it, and so publishes an event; the handlers react.\n\n")
	return s.do(ctx, firstOrder()...)
}

// firstOrder is plain.
func firstOrder() []command {
	return []command{
		{Command: "create", Order: "o-1", Customer: "Ann"},
		{Command: "add_item", Order: "o-1", SKU: "tea", Quantity: 2, PriceCents: 450},
		{Command: "pay", Order: "o-1", AmountCents: 900},
		{Command: "ship", Order: "o-1", Tracking: "T-1"},
	}
}

func (s story) retried(ctx context.Context) error {
	s.console.print("\n2. The bank is away when Bob pays: the ledger fails, and it alone is run again, with growing waits.\n\n")
	s.handlers.ledger.fail(2)
	return s.do(ctx, secondOrder()...)
}

// secondOrder is paid while the bank is away.
func secondOrder() []command {
	return []command{
		{Command: "create", Order: "o-2", Customer: "Bob"},
		{Command: "add_item", Order: "o-2", SKU: "cup", Quantity: 1, PriceCents: 1280},
		{Command: "pay", Order: "o-2", AmountCents: 1280},
	}
}

func (s story) poisoned(ctx context.Context) error {
	s.console.print("\n3. The warehouse knows no %s: it gives up on that event, which becomes a dead letter. All else goes on.\n\n", unknownSKU)
	err := s.do(ctx, thirdOrder()...)
	if err != nil {
		return err
	}
	_, err = s.letters(ctx, "The dead letters. A letter names the handler that failed:")
	return err
}

// thirdOrder has an article that the warehouse does not know.
func thirdOrder() []command {
	return []command{
		{Command: "create", Order: "o-3", Customer: "Cleo"},
		{Command: "add_item", Order: "o-3", SKU: unknownSKU, Quantity: 1, PriceCents: 99900},
		{Command: "cancel", Order: "o-3", Reason: "takes too long"},
	}
}

func (s story) replayed(ctx context.Context) error {
	s.console.print("\n4. The catalogue is mended and the letter replayed: it goes to the warehouse alone, and is gone.\n\n")
	s.handlers.warehouse.mend()
	mine, _, err := s.tally.bury(ctx, s.bus.DeadLetters())
	if err != nil {
		return err
	}
	for _, l := range mine {
		s.console.print("   > replay %s of %s for %s\n", l.EventType(), l.Key, strings.Join(l.Handlers, ", "))
		if err := s.bus.DeadLetters().Replay(ctx, l.ID); err != nil {
			return err
		}
		s.tally.replayed(l)
	}
	if err := s.settle(ctx); err != nil {
		return err
	}
	left, err := s.letters(ctx, "The dead letters now:")
	if err == nil && left > 0 {
		err = fmt.Errorf("%d letters are still there after their replay", left)
	}
	return err
}

// do carries out commands, each when the one before has been handled.
func (s story) do(ctx context.Context, commands ...command) error {
	for _, c := range commands {
		s.console.print("   > %s\n", c)
		if err := s.shop.do(ctx, c); err != nil {
			return err
		}
		if err := s.settle(ctx); err != nil {
			return err
		}
	}
	return nil
}

// letters lists those of this run, and tells of others.
func (s story) letters(ctx context.Context, title string) (int, error) {
	mine, others, err := s.tally.bury(ctx, s.bus.DeadLetters())
	if errors.Is(err, dlq.ErrUnavailable) {
		return 0, fmt.Errorf("the dead letters cannot be listed: %w", err)
	}
	if err != nil {
		return 0, err
	}
	s.console.print("\n   %s\n\n", title)
	if len(mine) == 0 {
		s.console.print("   none\n")
	} else {
		letterTable(s.console.out, mine)
	}
	if others > 0 {
		s.console.print("\n   (and %d of other runs)\n", others)
	}
	return len(mine), nil
}
