package witness

import (
	"context"
	"encoding/base64"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"

	"github.com/cofferhq/coffer/internal/audit"
)

// Client asks one witness to cosign checkpoints of a log.
type Client struct {
	URL  string // without /add-checkpoint
	Key  audit.Cosigner
	HTTP *http.Client

	last uint64 // size that the witness has cosigned, as far as is known
}

// ParseClient reads "URL KEY", KEY as C2SP writes a cosigner's.
func ParseClient(s string) (*Client, error) {
	url, vkey, ok := strings.Cut(strings.TrimSpace(s), " ")
	if !ok || !strings.HasPrefix(url, "https://") && !strings.HasPrefix(url, "http://") {
		return nil, fmt.Errorf("witness %.100q: want its URL, a space and its key", s)
	}
	key, err := audit.ParseCosigner(strings.TrimSpace(vkey))
	if err != nil {
		return nil, err
	}
	return &Client{URL: strings.TrimSuffix(url, "/"), Key: key, HTTP: http.DefaultClient}, nil
}

// Cosign submits a checkpoint: its text, its signed note, its size, and what proves
// that it continues an older size. It returns the witness's cosignature, verified.
func (c *Client) Cosign(ctx context.Context, text, note string, size uint64, proof func(from, to uint64) ([][32]byte, error)) (*audit.Cosignature, error) {
	for range 2 { // the second time with the size that the witness names
		answer, status, err := c.post(ctx, note, size, proof)
		if err != nil {
			return nil, fmt.Errorf("witness %s: %w", c.Key.Name, err)
		}
		switch status {
		case http.StatusOK:
			good := audit.ParseCosignatures(answer, text, c.Key)
			if len(good) == 0 {
				return nil, fmt.Errorf("witness %s: its answer holds no cosignature of its key on this checkpoint", c.Key.Name)
			}
			c.last = size
			return &good[0], nil
		case http.StatusConflict:
			known, err := strconv.ParseUint(strings.TrimSuffix(answer, "\n"), 10, 63)
			if err != nil || known > size {
				return nil, fmt.Errorf("witness %s has cosigned a longer log than this one of %d entries: %.40q", c.Key.Name, size, answer)
			}
			if known == c.last {
				return nil, fmt.Errorf("witness %s has cosigned another log of %d entries", c.Key.Name, known)
			}
			c.last = known
		default:
			return nil, fmt.Errorf("witness %s: status %d: %.200q", c.Key.Name, status, answer)
		}
	}
	return nil, fmt.Errorf("witness %s names another size each time", c.Key.Name)
}

func (c *Client) post(ctx context.Context, note string, size uint64, prove func(from, to uint64) ([][32]byte, error)) (string, int, error) {
	old := min(c.last, size)
	proof, err := prove(old, size)
	if err != nil {
		return "", 0, err
	}
	var b strings.Builder
	fmt.Fprintf(&b, "old %d\n", old)
	if old > 0 && old < size {
		for i := range proof {
			b.WriteString(base64.StdEncoding.EncodeToString(proof[i][:]) + "\n")
		}
	}
	b.WriteString("\n" + note)
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.URL+"/add-checkpoint", strings.NewReader(b.String()))
	if err != nil {
		return "", 0, err
	}
	res, err := c.HTTP.Do(req)
	if err != nil {
		return "", 0, err
	}
	defer res.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(res.Body, audit.MaxNote))
	return string(answer), res.StatusCode, err
}
