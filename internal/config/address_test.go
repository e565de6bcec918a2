package config

import (
	"errors"
	"net/url"
	"strings"
	"testing"
)

func TestCheckService(t *testing.T) {
	for address, want := range map[string]string{
		"https://prices.example/v2?key=1": "", "https://prices.example": "", "http://127.0.0.1:8080/": "", "http://[::1]/": "", "http://localhost/": "",
		"http://prices.example/": "want https;", "http://10.0.0.1/": "want https;", "http://localhost.example/": "want https;", "ftp://localhost/": "want https;",
		"https://a:b@prices.example/": "without a password", "https://a@prices.example/": "without a password", "prices.example": "want https://HOST", "https:///": "want https://HOST",
		"": "want https://HOST", "https://prices.example:x/": "want https://HOST",
	} {
		err := CheckService(address)
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", address, err, want)
		}
	}
}

func TestWithoutAddress(t *testing.T) {
	why := errors.New("refused")
	if err := WithoutAddress(&url.Error{Op: "Get", URL: "https://x/?key=1", Err: why}); err != why {
		t.Error(err)
	}
	if err := WithoutAddress(why); err != why {
		t.Error(err)
	}
}
