package signature

import "sync"

// goodKeys are Ed25519 keys that checkEd25519 let pass a while ago: in logs and in
// requests the same few come again and again, and the check costs two square roots. What
// it remembers changes no answer.
var goodKeys keySet

// keySet is a set of public keys that forgets all when it has maxGoodKeys.
type keySet struct {
	mu   sync.Mutex
	keys map[string]struct{}
}

// maxGoodKeys bounds the memory, 32 bytes a key and a map's overhead.
const maxGoodKeys = 1024

func (s *keySet) has(key string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, ok := s.keys[key]
	return ok
}

func (s *keySet) add(key string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.keys == nil || len(s.keys) >= maxGoodKeys {
		s.keys = map[string]struct{}{}
	}
	s.keys[key] = struct{}{}
}
