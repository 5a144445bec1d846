package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/healthmed/healthmed/tests/load/bench"
)

// hold keeps connections open to one service and uses each in its turn. It is a process of its own because the files
// that one process may open are limited. It reads a bench.Hold from its standard input, prints "open" when all
// connections are, waits for a line, sends the load, and prints a bench.Held.
func hold(ctx context.Context) error {
	in := bufio.NewReader(os.Stdin)
	line, err := in.ReadString('\n')
	if err != nil {
		return err
	}
	var h bench.Hold
	if err := json.Unmarshal([]byte(line), &h); err != nil {
		return err
	}
	// A connection that asks for nothing within five seconds is closed: each has its first request at once.
	conns := make([]*conn, h.Connections)
	if err := openAll(ctx, h, conns); err != nil {
		return err
	}
	fmt.Println("open")
	if _, err := in.ReadString('\n'); err != nil {
		return err
	}
	m := bench.Load{Workers: 64, Rate: h.Rate, For: h.For, Do: func(n int) error {
		return conns[n%len(conns)].get(h.Requests[n%len(h.Requests)])
	}}.Run(ctx)
	held := bench.Held{Done: m.Done, Errors: m.Errors, Took: m.During, Latency: m.Latency.Export()}
	for _, c := range conns {
		if c.alive {
			held.Alive++
		}
	}
	return json.NewEncoder(os.Stdout).Encode(held)
}

func openAll(ctx context.Context, h bench.Hold, conns []*conn) error {
	const dialers = 32
	var wait sync.WaitGroup
	faults := make([]error, dialers)
	for d := range dialers {
		wait.Go(func() {
			for i := d; i < len(conns) && faults[d] == nil; i += dialers {
				c, err := (&net.Dialer{Timeout: 10 * time.Second}).DialContext(ctx, "tcp", h.Addr)
				if err != nil {
					faults[d] = err
					return
				}
				conns[i] = &conn{Conn: c, alive: true}
				faults[d] = conns[i].get(h.Requests[i%len(h.Requests)])
			}
		})
	}
	wait.Wait()
	return errors.Join(faults...)
}

// conn is a kept connection. Buffers are had for each request alone, so that an idle one costs this side little.
type conn struct {
	net.Conn
	mu    sync.Mutex
	alive bool
}

func (c *conn) get(r bench.HeldRequest) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.alive {
		return errors.New("connection closed earlier")
	}
	err := c.exchange(r)
	if err != nil {
		c.alive = false
	}
	return err
}

func (c *conn) exchange(r bench.HeldRequest) error {
	if err := c.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		return err
	}
	var b strings.Builder
	b.WriteString("GET " + r.Path + " HTTP/1.1\r\nHost: healthmed.test\r\n")
	if r.Token != "" {
		b.WriteString("Authorization: Bearer " + r.Token + "\r\n")
	}
	b.WriteString("\r\n")
	if _, err := io.WriteString(c.Conn, b.String()); err != nil {
		return errors.New("connection closed by the service")
	}
	res, err := http.ReadResponse(bufio.NewReaderSize(c.Conn, 4096), nil)
	if err != nil {
		return errors.New("connection closed by the service")
	}
	defer res.Body.Close()
	if _, err := io.Copy(io.Discard, res.Body); err != nil {
		return errors.New("answer cut off")
	}
	if res.StatusCode != http.StatusOK {
		return errors.New("status " + strconv.Itoa(res.StatusCode))
	}
	return nil
}
