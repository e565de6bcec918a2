package remote

import "fmt"

func checkUID(peer, want int) error {
	if peer != want {
		return fmt.Errorf("the process at the other end runs as user %d, want %d", peer, want)
	}
	return nil
}
