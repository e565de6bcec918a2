//go:build coffer_planted && bug_sessionkey

package planted

// Bug is the bug of this build.
const Bug = SessionKey
