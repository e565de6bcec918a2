package config

import (
	"errors"
	"net"
	"net/url"
)

// CheckService takes the address of a service that is asked over HTTP: https, or http
// on this machine, without a password in it.
func CheckService(address string) error {
	u, err := url.Parse(address)
	switch {
	case err != nil || u.Host == "" || u.User != nil:
		return errors.New("want https://HOST/PATH, without a password in it")
	case u.Scheme != "https" && !(u.Scheme == "http" && loopback(u.Hostname())):
		return errors.New("want https; http is for this machine only")
	}
	return nil
}

func loopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// WithoutAddress is an error of net/http without the address that was asked, which may
// hold a key.
func WithoutAddress(err error) error {
	var u *url.Error
	if errors.As(err, &u) {
		return u.Err
	}
	return err
}
