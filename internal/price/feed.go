package price

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/cofferhq/coffer/internal/config"
)

const maxAnswer = 256 << 10 // bytes

type client struct{ http *http.Client }

func newClient(timeout time.Duration) *client {
	return &client{&http.Client{Timeout: timeout, CheckRedirect: func(*http.Request, []*http.Request) error {
		return errors.New("it redirects: name the final address")
	}}}
}

// field asks for JSON and takes the value at a path of names, "data.amount".
func (c *client) field(address, path string) func(context.Context) (string, error) {
	return func(ctx context.Context) (string, error) {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
		if err != nil {
			return "", err
		}
		req.Header.Set("Accept", "application/json")
		resp, err := c.http.Do(req)
		if err != nil {
			return "", fmt.Errorf("%s: %w", req.URL.Host, config.WithoutAddress(err))
		}
		defer resp.Body.Close()
		if resp.StatusCode != http.StatusOK {
			return "", fmt.Errorf("%s answers %s", req.URL.Host, resp.Status)
		}
		b, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
		if err != nil {
			return "", err
		}
		return lookup(b, path)
	}
}

// fromFile reads {"CAIP-19": "2500.25"}.
func fromFile(path, asset string) func(context.Context) (string, error) {
	return func(context.Context) (string, error) {
		b, err := os.ReadFile(path)
		if err != nil {
			return "", err
		}
		var m map[string]json.RawMessage
		if err := json.Unmarshal(b, &m); err != nil {
			return "", fmt.Errorf("%s: %w", path, err)
		}
		v, ok := m[asset]
		if !ok {
			return "", fmt.Errorf("%s: no field %q", path, asset)
		}
		return number(v)
	}
}

func lookup(b []byte, path string) (string, error) {
	if len(b) > maxAnswer {
		return "", fmt.Errorf("more than %d bytes", maxAnswer)
	}
	for _, name := range strings.Split(path, ".") {
		var m map[string]json.RawMessage
		if err := json.Unmarshal(b, &m); err != nil {
			return "", fmt.Errorf("no JSON object with the field %q: %w", name, err)
		}
		v, ok := m[name]
		if !ok {
			return "", fmt.Errorf("no field %q", name)
		}
		b = v
	}
	return number(b)
}

// number takes a JSON number or a string, digit by digit: no float in between.
func number(b json.RawMessage) (string, error) {
	d := json.NewDecoder(bytes.NewReader(b))
	d.UseNumber()
	var v any
	if err := d.Decode(&v); err != nil {
		return "", err
	}
	switch v := v.(type) {
	case json.Number:
		return v.String(), nil
	case string:
		return v, nil
	}
	return "", errors.New("the price is neither a number nor a string")
}
