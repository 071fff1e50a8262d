// Gen writes the commands that the example orders reads: some thousand lines,
// always the same, with a few that cannot be carried out.
//
//	go run ./gen testdata/orders.jsonl
package main

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
)

const (
	seed   = 20260101
	orders = 1000 // one for each customer
	inHand = 25   // of them that are open at a time
)

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: gen FILE")
		os.Exit(2)
	}
	var out bytes.Buffer
	generate(&out)
	if err := os.WriteFile(os.Args[1], out.Bytes(), 0o644); err != nil {
		fmt.Fprintln(os.Stderr, "gen:", err)
		os.Exit(1)
	}
}

// order is one that has commands left.
type order struct {
	id       string
	commands []string
}

// generate writes the commands of many orders, those of each in their order,
// mixed with those of others.
func generate(out io.Writer) {
	rnd := rand.New(rand.NewPCG(seed, 1)) //nolint:gosec // the same at each run on purpose
	var open []order
	for next, line := 1, 1; next <= orders || len(open) > 0; line++ {
		for len(open) < inHand && next <= orders {
			open = append(open, newOrder(rnd, next))
			next++
		}
		if bad, ok := broken(line, open[0].id); ok {
			fmt.Fprintln(out, bad)
			continue
		}
		i := rnd.IntN(len(open))
		o := &open[i]
		fmt.Fprintln(out, o.commands[0])
		if o.commands = o.commands[1:]; len(o.commands) == 0 {
			open = append(open[:i], open[i+1:]...)
		}
	}
}

// newOrder makes up the life of one order.
func newOrder(rnd *rand.Rand, n int) order {
	names := [...]string{"Ann", "Bob", "Cleo", "Dörte", "Émile", "Fatima", "李雷"}
	goods := [...]struct {
		sku   string
		cents int
	}{{"tea", 450}, {"coffee", 899}, {"cup", 1280}, {"pot", 3490}, {"spoon", 199}, {"tray", 2150}}

	o := order{id: fmt.Sprintf("order-%04d", n)}
	add := func(format string, args ...any) {
		o.commands = append(o.commands, fmt.Sprintf(`{"command":%s}`, fmt.Sprintf(format, args...)))
	}
	add(`"create","order":%q,"customer":"%s %d"`, o.id, names[rnd.IntN(len(names))], n)
	total := 0
	for range 1 + rnd.IntN(4) {
		g, quantity := goods[rnd.IntN(len(goods))], 1+rnd.IntN(5)
		total += g.cents * quantity
		add(`"add_item","order":%q,"sku":%q,"quantity":%d,"price_cents":%d`, o.id, g.sku, quantity, g.cents)
	}
	switch rnd.IntN(10) {
	case 0:
		add(`"cancel","order":%q,"reason":"changed my mind"`, o.id)
	case 1: // still open
	default:
		add(`"pay","order":%q,"amount_cents":%d`, o.id, total)
		add(`"ship","order":%q,"tracking":"T-%05d"`, o.id, 10_000+n)
	}
	return o
}

// broken returns what stands on the few lines that cannot be carried out.
func broken(line int, someID string) (string, bool) {
	switch line {
	case 100:
		return `{"command":"create","order":"order-9`, true
	case 1000:
		return fmt.Sprintf(`{"command":"explode","order":%q}`, someID), true
	case 2000:
		return `{"command":"pay","order":"order-none","amount_cents":100}`, true
	case 3000:
		return fmt.Sprintf(`{"command":"create","order":%q,"customer":"once more"}`, "order-0001"), true
	case 4000:
		return fmt.Sprintf(`{"command":"add_item","order":%q,"sku":"tea","qantity":1,"price_cents":450}`, someID), true
	default:
		return "", false
	}
}
