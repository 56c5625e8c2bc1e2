package real

import (
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// Store is a running ReductStore.
type Store struct {
	*Process
	URL   string
	Token string // sent with every call of the test's own; empty = none
	Dir   string // its data

	client *http.Client // for writers that work side by side
}

// StartStore starts a ReductStore 1.21.5 over dir (a temporary one if empty). With a token it asks for it, else it is open to all. settings
// are further variables of its environment.
func StartStore(t testing.TB, dir, token string, settings ...string) *Store {
	t.Helper()
	path := Need(t, ReductStore())
	if dir == "" {
		dir = t.TempDir()
	}
	port := Port(t)
	env := []string{"RS_DATA_PATH=" + dir, "RS_HOST=127.0.0.1", fmt.Sprintf("RS_PORT=%d", port), "RS_LOG_LEVEL=INFO"}
	if token == "" {
		env = append(env, "RS_DISABLE_AUTH=true")
	} else {
		env = append(env, "RS_API_TOKEN="+token)
	}
	s := &Store{Process: NewProcess(t, path, nil, append(env, settings...)), URL: fmt.Sprintf("http://127.0.0.1:%d", port), Token: token, Dir: dir,
		client: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 16}}}
	t.Cleanup(s.client.CloseIdleConnections)
	s.Up()
	return s
}

// Up starts the store and waits until it answers.
func (s *Store) Up() {
	s.t.Helper()
	s.Start()
	s.Answers(s.URL + "/api/v1/alive")
}

// Broker is a running Mosquitto.
type Broker struct {
	*Process
	Port int
	URL  string
}

// StartBroker starts a Mosquitto as Debian configures it (with persistence, in a temporary directory) but for max_queued_messages 0, so that a slow
// subscriber does not make the broker drop. Further lines of configuration come last and win.
func StartBroker(t testing.TB, lines ...string) *Broker {
	t.Helper()
	path := Need(t, Mosquitto())
	dir, port := t.TempDir(), Port(t)
	conf := append([]string{
		fmt.Sprintf("listener %d 127.0.0.1", port), "allow_anonymous true",
		"persistence true", "persistence_location " + dir + "/", "max_queued_messages 0",
	}, lines...)
	if os.Geteuid() == 0 {
		conf = append(conf, "user root") // else it would change to a user that may not write to the test's directory
	}
	file := filepath.Join(dir, "mosquitto.conf")
	if err := os.WriteFile(file, []byte(strings.Join(conf, "\n")+"\n"), 0o600); err != nil {
		t.Fatalf("write broker configuration: %v", err)
	}
	b := &Broker{Process: NewProcess(t, path, []string{"-c", file}, nil), Port: port, URL: fmt.Sprintf("mqtt://127.0.0.1:%d", port)}
	b.Up()
	return b
}

// Up starts the broker and waits until it listens.
func (b *Broker) Up() {
	b.t.Helper()
	b.Start()
	b.Listening(b.Port)
}

// Sluice is a running bridge.
type Sluice struct {
	*Process
	Admin  string // base URL of its status pages
	Target string // base URL of its replication target
}

var build struct {
	once sync.Once
	dir  string
	err  error
	out  []byte
}

// Binary builds the bridge and the Go guests once for a test run and returns the repository's root, whose bin/sluice and wasm-modules/dist are then fresh.
func Binary(t testing.TB) (root string) {
	t.Helper()
	build.once.Do(func() {
		build.dir, build.err = filepath.Abs("../..")
		if build.err != nil {
			return
		}
		cmd := exec.Command("make", "-s", "build", "modules")
		cmd.Dir = build.dir
		build.out, build.err = cmd.CombinedOutput()
	})
	if build.err != nil {
		t.Fatalf("make build modules: %v\n%s", build.err, build.out)
	}
	return build.dir
}

// NewSluice writes config into dir and describes a bridge that runs with it; {dir}, {root}, {target} and {admin} in the text are replaced: its
// directory, the repository, and two free loopback addresses.
func NewSluice(t testing.TB, dir, config string) *Sluice {
	t.Helper()
	root := Binary(t)
	target, admin := fmt.Sprintf("127.0.0.1:%d", Port(t)), fmt.Sprintf("127.0.0.1:%d", Port(t))
	config = strings.NewReplacer("{dir}", dir, "{root}", root, "{target}", target, "{admin}", admin).Replace(config)
	file := filepath.Join(dir, "config.toml")
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		t.Fatalf("write configuration: %v", err)
	}
	p := NewProcess(t, filepath.Join(root, "bin", "sluice"), []string{"run", "--config", file}, nil)
	return &Sluice{Process: p, Admin: "http://" + admin, Target: "http://" + target}
}

// Up starts the bridge and waits until it is ready.
func (s *Sluice) Up() {
	s.t.Helper()
	s.Start()
	s.Answers(s.Admin + "/readyz")
}
