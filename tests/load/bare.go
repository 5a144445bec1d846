package main

import (
	"context"
	"errors"
	"os"
	"strings"
	"time"

	"github.com/gofiber/fiber/v2"
	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/healthmed/healthmed/tests/load/bench"
)

// serveBare is the HTTP limit: Fiber, pgx, and nothing of the system. It runs as a process of its own, as the services
// do, with as many database connections as they have.
func serveBare(ctx context.Context) error {
	cfg, err := pgxpool.ParseConfig(os.Getenv("BARE_DATABASE"))
	if err != nil {
		return errors.New("BARE_DATABASE is not a connection string")
	}
	cfg.MaxConns = 16
	pool, err := pgxpool.NewWithConfig(ctx, cfg)
	if err != nil {
		return err
	}
	defer pool.Close()
	app := fiber.New(fiber.Config{DisableStartupMessage: true, ReadTimeout: 5 * time.Second, IdleTimeout: time.Minute})
	app.Get("/readyz", func(c *fiber.Ctx) error { return c.SendStatus(fiber.StatusOK) })
	app.Get(bench.BareNothing, func(c *fiber.Ctx) error { return c.JSON(fiber.Map{"items": []string{}}) })
	app.Get(bench.BareRow+":id", func(c *fiber.Ctx) error {
		id, err := uuid.Parse(strings.Clone(c.Params("id")))
		if err != nil {
			return fiber.ErrNotFound
		}
		var u struct {
			ID      uuid.UUID `json:"id"`
			Role    string    `json:"role"`
			Name    string    `json:"name"`
			Email   string    `json:"email"`
			Created time.Time `json:"created_at"`
		}
		err = pool.QueryRow(c.UserContext(), `SELECT id, role, name, email, created_at FROM users WHERE id = $1`, id).
			Scan(&u.ID, &u.Role, &u.Name, &u.Email, &u.Created)
		if err != nil {
			return err
		}
		return c.JSON(u)
	})
	ended := make(chan error, 1)
	go func() { ended <- app.Listen(os.Getenv("BARE_ADDR")) }()
	select {
	case err := <-ended:
		return err
	case <-ctx.Done():
		return app.ShutdownWithTimeout(3 * time.Second)
	}
}
