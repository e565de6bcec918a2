package cage

// Access is what may be done beneath a path.
type Access int

// The accesses, each with the ones above it.
const (
	Read    Access = iota // read files and directories
	Execute               // and run them, or map them as code
	Write                 // read, write, make, remove; not run
	Device                // read, write and control device files
	Sockets               // make and remove sockets; neither read nor write
)

// Path opens one path, and what is beneath it, in a Landlock domain.
type Path struct {
	Path   string
	Access Access
}
