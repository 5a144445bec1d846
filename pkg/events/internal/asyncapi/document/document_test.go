package document_test

import (
	"bytes"
	"testing"

	"github.com/healthmed/healthmed/pkg/events"
	"github.com/healthmed/healthmed/pkg/events/internal/asyncapi/document"
)

func TestRender_IsTheCommittedDocument(t *testing.T) {
	want, err := document.Render()
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(events.AsyncAPI(), want) {
		t.Error("asyncapi.yaml is stale: run go generate in pkg/events")
	}
}
