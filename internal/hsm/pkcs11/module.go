package pkcs11

import (
	"debug/elf"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"sync/atomic"
	"unsafe"

	p11 "github.com/miekg/pkcs11"

	"github.com/cofferhq/coffer/internal/hsm"
)

// envSoftHSM is named in hints only.
const envSoftHSM = "SOFTHSM2_CONF"

// module is a library, loaded once a process however many devices use it:
// C_Initialize and C_Finalize are of the process. It is never unloaded, since
// libraries leave threads and exit handlers behind.
type module struct {
	path string
	ctx  *p11.Ctx
	init string // the library's own argument, of those that take one

	knowsLess atomic.Int32 // how many of the levels of attributes it does not know

	// mu is held for reading around every call into the library, for writing to
	// initialise and finalise it. It guards gen.
	mu  sync.RWMutex
	gen uint64 // counts initialisations; sessions of an earlier one are dead

	users int // devices that are open; guarded by modules.mu
}

// modules are all that this process has loaded, by their path without links.
var modules = struct {
	mu     sync.Mutex
	byPath map[string]*module
}{byPath: make(map[string]*module)}

// load loads and initialises the library. The caller calls release.
func load(path, init string) (*module, error) {
	real, err := filepath.EvalSymlinks(path)
	if err != nil {
		return nil, hsm.Errorf(hsm.ErrConfig, "install the vendor's library, or correct module-path in the URI",
			"PKCS#11 module %s: %w", path, err)
	}
	modules.mu.Lock()
	defer modules.mu.Unlock()
	m := modules.byPath[real]
	if m == nil {
		if err := checkModule(real); err != nil {
			return nil, err
		}
		ctx := p11.New(real)
		if ctx == nil {
			return nil, hsm.Errorf(hsm.ErrConfig, "run ldd on it to see which library is missing",
				"couldn't load PKCS#11 module %s: it, or a library that it needs, does not load", real)
		}
		m = &module{path: real, ctx: ctx}
		modules.byPath[real] = m
	}
	if m.users != 0 && m.init != init {
		return nil, hsm.Errorf(hsm.ErrConfig, "serve it with a helper of its own", "PKCS#11 module %s is in use with other initialisation arguments", real)
	}
	m.init = init
	if m.users == 0 {
		if err := m.initialize(); err != nil {
			return nil, err
		}
	}
	m.users++
	return m, nil
}

func (m *module) initialize() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.initializeLocked()
}

func (m *module) initializeLocked() error {
	m.gen++
	var options []p11.InitializeOption
	if m.init != "" {
		// NSS takes its configuration as the text that CK_C_INITIALIZE_ARGS reserves.
		text := append([]byte(m.init), 0)
		options = append(options, p11.InitializeWithReserved(unsafe.Pointer(&text[0])))
		defer runtime.KeepAlive(text)
	}
	err := m.ctx.Initialize(options...)
	if err == nil || rv(err) == p11.CKR_CRYPTOKI_ALREADY_INITIALIZED {
		return nil
	}
	help := "check that the device is connected and its service runs; for SoftHSM, that the directory in " + os.Getenv(envSoftHSM) + " is there"
	if os.Getenv(envSoftHSM) == "" {
		help = "for SoftHSM, set " + envSoftHSM + " to the token's configuration file"
	}
	return hsm.Errorf(hsm.ErrUnavailable, help, "couldn't initialise PKCS#11 module %s: %w", m.path, err)
}

// release ends one device's use.
func (m *module) release() error {
	modules.mu.Lock()
	defer modules.mu.Unlock()
	if m.users--; m.users > 0 {
		return nil
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	err := m.ctx.Finalize()
	if rv(err) == p11.CKR_CRYPTOKI_NOT_INITIALIZED { // a restart failed before
		return nil
	}
	return failed("finalise the PKCS#11 module", err)
}

// restart initialises the library anew, unless somebody did since generation gen:
// libraries see tokens that came back only then. All sessions of all devices of
// the library end.
func (m *module) restart(gen uint64) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.gen != gen {
		return nil
	}
	// What is wrong with finalising a library that is in disorder is of no
	// interest; whether it initialises again is.
	_ = m.ctx.Finalize()
	return m.initializeLocked()
}

// checkModule refuses a file that is no PKCS#11 library before its code runs.
func checkModule(path string) error {
	fi, err := os.Stat(path)
	if err != nil {
		return hsm.Errorf(hsm.ErrConfig, "", "PKCS#11 module: %w", err)
	}
	if !fi.Mode().IsRegular() {
		return hsm.Errorf(hsm.ErrConfig, "", "PKCS#11 module %s is not a file", path)
	}
	if fi.Mode().Perm()&0o002 != 0 {
		return hsm.Errorf(hsm.ErrConfig, "chmod o-w "+path, "PKCS#11 module %s can be written by everybody", path)
	}
	if runtime.GOOS != "linux" {
		return nil
	}
	f, err := elf.Open(path)
	if errors.Is(err, fs.ErrPermission) {
		return hsm.Errorf(hsm.ErrConfig, "", "PKCS#11 module: %w", err)
	}
	if err != nil {
		return hsm.Errorf(hsm.ErrConfig, "name the vendor's .so by module-path", "%s is not a shared library: %w", path, err)
	}
	defer f.Close()
	symbols, err := f.DynamicSymbols()
	if err != nil {
		return hsm.Errorf(hsm.ErrConfig, "name the vendor's .so by module-path", "%s is not a shared library: %w", path, err)
	}
	for _, s := range symbols {
		if s.Name == "C_GetFunctionList" && s.Section != elf.SHN_UNDEF {
			return nil
		}
	}
	return hsm.Errorf(hsm.ErrConfig, "name the vendor's .so by module-path",
		"%s is a library, but not a PKCS#11 module: it has no C_GetFunctionList", path)
}
