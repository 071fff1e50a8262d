package brokers

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"github.com/leat-go/leat/integration/certs"
)

// folderName is where brokers live: a git-ignored folder beside go.mod.
const folderName = ".brokers"

var errNoModule = errors.New("no go.mod of github.com/leat-go/leat here or in a folder above: run it inside the checkout")

// home is the .brokers folder of a checkout:
//
//	lock               held by whoever starts or stops shared brokers
//	state.json         the shared set, see state
//	up/KIND            data and logs of the shared set
//	run-PID/KIND       the set of one "brokers run"
//	test-PID-N/KIND    a private instance of a test binary
//	certs              certificates, shared by all
//	cache              the jars of Apache Kafka
type home struct{ dir string }

// findHome looks for the module from the working directory upwards and makes
// the folder.
func findHome() (home, error) {
	dir, err := os.Getwd()
	if err != nil {
		return home{}, fmt.Errorf("brokers: find checkout: %w", err)
	}

	for at := dir; ; at = filepath.Dir(at) {
		if isModule(filepath.Join(at, "go.mod")) {
			return openHome(filepath.Join(at, folderName))
		}
		if at == filepath.Dir(at) {
			return home{}, fmt.Errorf("brokers: find checkout from %q: %w", dir, errNoModule)
		}
	}
}

func openHome(dir string) (home, error) {
	abs, err := filepath.Abs(dir)
	if err != nil {
		return home{}, fmt.Errorf("brokers: open folder: %w", err)
	}
	if err := os.MkdirAll(abs, 0o700); err != nil {
		return home{}, fmt.Errorf("brokers: open folder: %w", err)
	}

	return home{abs}, nil
}

func isModule(file string) bool {
	text, err := os.ReadFile(file)
	if err != nil {
		return false
	}
	lines := bufio.NewScanner(bytes.NewReader(text))
	for lines.Scan() {
		if strings.TrimSpace(lines.Text()) == "module github.com/leat-go/leat" {
			return true
		}
	}

	return false
}

func (h home) path(parts ...string) string {
	return filepath.Join(append([]string{h.dir}, parts...)...)
}

// lock waits for the folder's lock and returns what gives it back. The
// kernel gives it back too when this process dies.
func (h home) lock() (unlock func(), err error) { return h.lockNamed("lock") }

func (h home) lockNamed(name string) (unlock func(), err error) {
	file, err := os.OpenFile(h.path(name), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("brokers: lock folder: %w", err)
	}
	if err := lockFile(file, true); err != nil {
		return nil, errors.Join(fmt.Errorf("brokers: lock folder %q: %w", h.dir, err), file.Close())
	}

	return func() { _ = file.Close() }, nil
}

// certs returns the certificates, made when missing.
func (h home) certs() (*certs.Set, error) {
	unlock, err := h.lockNamed("certs.lock")
	if err != nil {
		return nil, err
	}
	defer unlock()

	return certs.Ensure(h.path("certs")) //nolint:wrapcheck // it names its package and folder
}

// ownFolder makes a folder that [home.sweep] removes once this process is
// gone. The name starts with prefix, the owner is written inside.
func (h home) ownFolder(prefix string) (string, error) {
	dir, err := os.MkdirTemp(h.dir, prefix+"-"+strconv.Itoa(os.Getpid())+"-")
	if err != nil {
		return "", fmt.Errorf("brokers: make folder: %w", err)
	}
	owner, err := json.Marshal(identify(os.Getpid()))
	if err != nil {
		return "", fmt.Errorf("brokers: make folder: %w", err)
	}
	if err := os.WriteFile(filepath.Join(dir, ownerFile), owner, 0o600); err != nil {
		return "", fmt.Errorf("brokers: make folder: %w", err)
	}

	return dir, nil
}

const ownerFile = "owner.json"

// sweep ends what killed runs and test binaries left behind: processes that
// carry our marker for a folder whose owner is gone, then the folders. It
// returns one line for each thing found. The caller holds the lock.
func (h home) sweep() []string {
	entries, err := os.ReadDir(h.dir)
	if err != nil {
		return nil
	}

	var found []string
	for _, entry := range entries {
		prefix, _, ok := strings.Cut(entry.Name(), "-")
		if !ok || !entry.IsDir() || (prefix != "run" && prefix != "test") {
			continue
		}
		dir := h.path(entry.Name())
		if h.owned(dir) {
			continue
		}
		for _, id := range marked(dir) {
			found = append(found, fmt.Sprintf("stopped process %d, left over in %s", id.PID, dir))
		}
		killMarked(dir)
		if err := os.RemoveAll(dir); err != nil {
			found = append(found, fmt.Sprintf("could not remove %s: %v", dir, err))
		}
	}

	return found
}

// owned reports whether the process that made a folder still runs. A folder
// without an owner is one that is just being made or was half removed: the
// process id in its name decides.
func (h home) owned(dir string) bool {
	text, err := os.ReadFile(filepath.Join(dir, ownerFile))
	if err == nil {
		var owner identity
		return json.Unmarshal(text, &owner) == nil && owner.alive()
	}

	parts := strings.Split(filepath.Base(dir), "-")
	pid, err := strconv.Atoi(parts[1])

	return err == nil && identify(pid).PID != 0
}

// killMarked ends every process that carries our marker for a folder at or
// under dir.
func killMarked(dir string) {
	for _, id := range marked(dir) {
		p := process{identity: id}
		_ = p.signal(syscall.SIGKILL)
	}
}

// CertsDir returns the folder of the certificates, made when missing.
func CertsDir(opts Options) (string, error) {
	h, err := opts.home()
	if err != nil {
		return "", err
	}
	set, err := h.certs()
	if err != nil {
		return "", err
	}

	return set.Dir(), nil
}
