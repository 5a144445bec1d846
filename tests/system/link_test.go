package system

import (
	"errors"
	"io"
	"net"
	"os"
	"testing"
	"time"
)

// echo answers every byte with itself.
func echo(t *testing.T) string {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			go func() { _, _ = io.Copy(c, c); c.Close() }()
		}
	}()
	return ln.Addr().String()
}

func TestLink_MisbehavesAndHeals(t *testing.T) {
	link, err := NewLink(t.Context(), "a-b", echo(t))
	if err != nil {
		t.Fatal(err)
	}
	defer link.Close()
	dial := func() net.Conn {
		c, err := net.Dial("tcp", link.Addr)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		return c
	}
	ask := func(c net.Conn, limit time.Duration) error {
		if _, err := c.Write([]byte("x")); err != nil {
			return err
		}
		if err := c.SetReadDeadline(time.Now().Add(limit)); err != nil {
			return err
		}
		_, err := io.ReadFull(c, make([]byte, 1))
		return err
	}
	c := dial()
	if err := ask(c, 10*time.Second); err != nil {
		t.Fatalf("a healthy link: %v", err)
	}
	link.Set(LinkState{Delay: 100 * time.Millisecond})
	began := time.Now()
	if err := ask(c, 10*time.Second); err != nil || time.Since(began) < 200*time.Millisecond {
		t.Errorf("with a delay of 100 ms each way: %v after %s", err, time.Since(began))
	}
	link.Set(LinkState{Hush: true})
	if err := ask(c, 100*time.Millisecond); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("half-open: %v, want silence", err)
	}
	link.Set(LinkState{})
	if err := ask(c, 10*time.Second); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("a connection that lost bytes lives on: %v", err)
	}
	c = dial()
	link.Set(LinkState{Cut: true})
	if err := ask(c, 10*time.Second); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("cut: %v, want a reset", err)
	}
	link.Set(LinkState{})
	if err := ask(dial(), 10*time.Second); err != nil {
		t.Errorf("after healing: %v", err)
	}
}
