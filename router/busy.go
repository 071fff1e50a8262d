package router

// Busy returns how many messages handlers have at this moment, over all
// subscriptions. It never blocks.
func (s *Subscriber) Busy() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := 0
	for sub := range s.subs {
		_, taken := sub.lanes.Len()
		n += taken
	}
	return n
}
