package outbox

import (
	"embed"

	"github.com/healthmed/healthmed/pkg/postgres"
)

//go:embed migrations/*.sql
var migrations embed.FS

// Migrations returns the outbox tables; apply them in the service's database before its own.
func Migrations() postgres.Migrations {
	return postgres.Embedded("migrations_outbox", migrations)
}
