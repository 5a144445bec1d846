package system

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// A program of its own, of which several find ports at once.
func TestMain(m *testing.M) {
	if os.Getenv("FIND_PORTS") == "" {
		os.Exit(m.Run())
	}
	addrs, err := FreeAddrs(context.Background(), 100)
	if err != nil {
		panic(err)
	}
	fmt.Println(strings.Join(addrs, " "))
	_, _ = os.Stdin.Read(make([]byte, 1)) // until the other has found its own
}

func TestFreeAddrs_AreNobodyElses(t *testing.T) {
	mine, err := FreeAddrs(t.Context(), 30)
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		again, err := FreeAddrs(t.Context(), 30)
		if err != nil {
			t.Fatal(err)
		}
		mine = append(mine, again...)
	}
	for range 3 {
		other := exec.CommandContext(t.Context(), os.Args[0])
		other.Env = append(os.Environ(), "FIND_PORTS=yes")
		in, err := other.StdinPipe()
		if err != nil {
			t.Fatal(err)
		}
		out, err := other.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := other.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { in.Close(); _ = other.Wait() })
		text := make([]byte, 4096)
		n, err := out.Read(text)
		if err != nil {
			t.Fatal(err)
		}
		mine = append(mine, strings.Fields(string(text[:n]))...)
	}
	slices.Sort(mine)
	if all := len(mine); all != 390 || len(slices.Compact(mine)) != all {
		t.Errorf("%d addresses, some of them twice", all)
	}
}

func TestFreeAddrs_ComeRoundAgain(t *testing.T) {
	for range 40 {
		if _, err := FreeAddrs(t.Context(), 50); err != nil {
			t.Fatal(err)
		}
	}
}
