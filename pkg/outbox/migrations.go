package outbox

import (
	"embed"
	"io/fs"

	"github.com/healthmed/healthmed/pkg/postgres"
)

//go:embed migrations/*.sql
var migrations embed.FS

// Migrations returns the outbox tables; apply them in the service's database before its own.
func Migrations() postgres.Migrations {
	sub, err := fs.Sub(migrations, "migrations")
	if err != nil {
		panic(err) // the folder is embedded above
	}
	return postgres.Migrations{Table: "migrations_outbox", FS: sub}
}
