package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"strconv"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

// startNATS runs a JetStream server in this process. Every acknowledged event is on disk (SyncAlways): on one
// machine there is no second copy to fall back on.
func startNATS(ctx context.Context, addr, dataDir string) (*server.Server, error) {
	// The server keeps its own listener and its reason for having none to itself: ask before it does.
	free, err := listen(ctx, "NATS_ADDR", addr)
	if err != nil {
		return nil, err
	}
	free.Close()
	host, portText, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, fmt.Errorf("NATS_ADDR: %w", err)
	}
	port, err := strconv.Atoi(portText)
	if err != nil {
		return nil, fmt.Errorf("NATS_ADDR: %w", err)
	}
	if port == 0 {
		port = server.RANDOM_PORT
	}
	ns, err := server.NewServer(&server.Options{
		ServerName: "healthmed-standalone",
		Host:       host,
		Port:       port,
		JetStream:  true,
		StoreDir:   filepath.Join(dataDir, "nats"),
		SyncAlways: true,
		NoSigs:     true,
		NoLog:      true,
	})
	if err != nil {
		return nil, fmt.Errorf("nats: %w", err)
	}
	ns.Start()
	if !ns.ReadyForConnections(10 * time.Second) {
		ns.Shutdown()
		return nil, errors.New("nats: not ready within 10 s")
	}
	return ns, nil
}
