package api

import (
	"errors"
	"net/http"
	"testing"

	"github.com/healthmed/healthmed/services/scheduling/internal/postgres"
)

// What may succeed in a moment is to be tried again, also under the same Idempotency-Key.
func TestBusyIsToBeTriedAgain(t *testing.T) {
	t.Parallel()
	if _, remembered := refusal(postgres.ErrBusy); remembered {
		t.Error("the key remembers it")
	}
	for _, m := range Mappings() {
		if errors.Is(m.Err, postgres.ErrBusy) {
			if m.Problem.Status != http.StatusServiceUnavailable || m.Problem.RetryAfter == 0 {
				t.Errorf("%+v", m.Problem)
			}
			return
		}
	}
	t.Error("it is an internal error")
}
