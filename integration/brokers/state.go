package brokers

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"time"
)

// state is what state.json says about the shared set. It is read and written
// under the folder's lock, and replaced as a whole: a killed command leaves
// the old text or the new one.
type state struct {
	Brokers []record `json:"brokers"`
}

// record is one broker of the shared set.
type record struct {
	Kind      Kind       `json:"kind"`
	Folder    string     `json:"folder,omitempty"`  // native: data and logs
	Project   string     `json:"project,omitempty"` // Docker: the compose project
	Processes []identity `json:"processes,omitempty"`
	Vars      []Var      `json:"vars"`
	Started   time.Time  `json:"started"`
}

func (h home) readState() (state, error) {
	text, err := os.ReadFile(h.path("state.json"))
	if errors.Is(err, fs.ErrNotExist) {
		return state{}, nil
	}
	if err != nil {
		return state{}, fmt.Errorf("brokers: read state: %w", err)
	}

	var s state
	if err := json.Unmarshal(text, &s); err != nil {
		return state{}, nil //nolint:nilerr // damaged: as none; the markers of the processes still find them
	}

	return s, nil
}

func (h home) writeState(s state) error {
	text, err := json.MarshalIndent(s, "", "\t")
	if err != nil {
		return fmt.Errorf("brokers: write state: %w", err)
	}
	file := h.path("state.json")
	if err := os.WriteFile(file+".new", append(text, '\n'), 0o600); err != nil {
		return fmt.Errorf("brokers: write state: %w", err)
	}
	if err := os.Rename(file+".new", file); err != nil {
		return fmt.Errorf("brokers: write state: %w", err)
	}

	return nil
}

func (s state) find(kind Kind) (record, bool) {
	at := slices.IndexFunc(s.Brokers, func(r record) bool { return r.Kind == kind })
	if at < 0 {
		return record{}, false
	}

	return s.Brokers[at], true
}

// with returns the state with r in the place of its kind's older record.
func (s state) with(r record) state {
	rest := s.without(r.Kind)
	rest.Brokers = append(rest.Brokers, r)

	return rest
}

func (s state) without(kind Kind) state {
	return state{slices.DeleteFunc(slices.Clone(s.Brokers), func(r record) bool { return r.Kind == kind })}
}

// alive reports whether every process of the record still runs.
func (r record) alive() bool {
	return len(r.Processes) > 0 && !slices.ContainsFunc(r.Processes, func(id identity) bool { return !id.alive() })
}

// has reports whether the record's addresses begin with v. The record of a
// broker that was stopped keeps them.
func (r record) has(v Var) bool { return len(r.Vars) > 0 && r.Vars[0] == v }

// project returns the compose project of the shared set, "" when none of it
// runs in containers.
func (s state) project() string {
	for _, r := range s.Brokers {
		if r.Project != "" {
			return r.Project
		}
	}

	return ""
}
