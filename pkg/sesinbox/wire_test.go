package sesinbox_test

import (
	"encoding/json"
	"errors"
	"io"
	"mime"
	"mime/multipart"
	"mime/quotedprintable"
	"net/http"
	"net/mail"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sesv2"
	"github.com/aws/aws-sdk-go-v2/service/sesv2/types"
	"github.com/google/go-cmp/cmp"

	"github.com/healthmed/healthmed/pkg/sesinbox"
)

func TestSendEmail_RawArrivesAsSESWouldSendIt(t *testing.T) {
	e := start(t, sesinbox.Config{})
	id := e.send(t, rawInput(crlf(`
From: Health&Med <agenda@healthmed.example>
Message-ID: <mine@healthmed.example>
Date: Mon, 01 Jan 2001 00:00:00 +0000
To: Ana <ana@example.com>,
 Bia <bia@example.com>
Bcc: hidden@example.com
X-SES-CONFIGURATION-SET: feedback
X-Ses-Message-Tags: template=booked, delivery_id=from-header
Subject: Folded
	subject

Body keeps
  every byte: =C3=A9 caf`+"\xe9\n")))
	want := crlf(`
Date: Tue, 24 Nov 2026 12:00:00 +0000
Message-ID: <` + id + `@email.amazonses.com>
From: Health&Med <agenda@healthmed.example>
To: Ana <ana@example.com>,
 Bia <bia@example.com>
Subject: Folded
	subject

Body keeps
  every byte: =C3=A9 caf` + "\xe9\n")
	got, ok := e.Raw(id)
	if !ok {
		t.Fatal("no source")
	}
	if diff := cmp.Diff(want, string(got)); diff != "" {
		t.Errorf("source (-want +got):\n%s", diff)
	}
	wantMessages := []sesinbox.Message{{
		ID: id, To: []string{"ana@example.com", "bia@example.com", "hidden@example.com"}, SentAt: noon,
		From: "Health&Med <agenda@healthmed.example>", Subject: "Folded subject", Tags: map[string]string{"template": "booked", "delivery_id": "from-header"},
	}}
	if diff := cmp.Diff(wantMessages, e.Messages()); diff != "" {
		t.Errorf("messages (-want +got):\n%s", diff)
	}
}

func TestSendEmail_DestinationWinsOverHeader(t *testing.T) {
	e := start(t, sesinbox.Config{})
	in := rawInput("X-SES-MESSAGE-TAGS: delivery_id=from-header\r\n"+plainMail, "Bia <bia@example.com>")
	in.Destination.CcAddresses = []string{"caio@example.com"}
	in.Destination.BccAddresses = []string{"duda@example.com"}
	in.EmailTags = []types.MessageTag{{Name: aws.String("delivery_id"), Value: aws.String("d-1")}}
	e.send(t, in)
	got := e.Messages()[0]
	if diff := cmp.Diff([]string{"bia@example.com", "caio@example.com", "duda@example.com"}, got.To); diff != "" {
		t.Errorf("recipients (-want +got):\n%s", diff)
	}
	if got.Tags["delivery_id"] != "d-1" || got.Subject != "Olá" {
		t.Errorf("message = %+v", got)
	}
}

// The standard library reads what SES would have composed.
func TestSendEmail_SimpleBecomesMIME(t *testing.T) {
	e := start(t, sesinbox.Config{})
	id := e.send(t, &sesv2.SendEmailInput{
		FromEmailAddress: aws.String("Health&Med <agenda@healthmed.example>"),
		Destination:      &types.Destination{ToAddresses: []string{"José <jose@example.com>"}},
		ReplyToAddresses: []string{"central@healthmed.example"},
		Content: &types.EmailContent{Simple: &types.Message{
			Subject:     &types.Content{Data: aws.String("Olá, José")},
			Body:        &types.Body{Text: &types.Content{Data: aws.String("Até amanhã")}, Html: &types.Content{Data: aws.String("<p>Até amanhã</p>")}},
			Headers:     []types.MessageHeader{{Name: aws.String("Auto-Submitted"), Value: aws.String("auto-generated")}},
			Attachments: []types.Attachment{{FileName: aws.String("nota.txt"), RawContent: []byte("nota"), ContentType: aws.String("text/plain")}},
		}},
	})
	source, _ := e.Raw(id)
	msg, err := mail.ReadMessage(strings.NewReader(string(source)))
	if err != nil {
		t.Fatal(err)
	}
	subject, err := new(mime.WordDecoder).DecodeHeader(msg.Header.Get("Subject"))
	if err != nil {
		t.Fatal(err)
	}
	to, err := msg.Header.AddressList("To")
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]string{
		"subject": subject, "to": to[0].Name, "reply": msg.Header.Get("Reply-To"), "auto": msg.Header.Get("Auto-Submitted"),
		"id": msg.Header.Get("Message-Id"), "date": msg.Header.Get("Date"),
	}
	readParts(t, msg.Header.Get("Content-Type"), msg.Body, got)
	want := map[string]string{
		"subject": "Olá, José", "to": "José", "reply": "<central@healthmed.example>", "auto": "auto-generated",
		"id": "<" + id + "@email.amazonses.com>", "date": "Tue, 24 Nov 2026 12:00:00 +0000",
		"text/plain": "Até amanhã", "text/html": "<p>Até amanhã</p>", "nota.txt": "bm90YQ==",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// readParts puts every leaf into found, by file name or media type.
func readParts(t *testing.T, contentType string, body io.Reader, found map[string]string) {
	t.Helper()
	_, params, err := mime.ParseMediaType(contentType)
	if err != nil {
		t.Fatal(err)
	}
	for reader := multipart.NewReader(body, params["boundary"]); ; {
		part, err := reader.NextRawPart()
		if errors.Is(err, io.EOF) {
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		mediaType, _, err := mime.ParseMediaType(part.Header.Get("Content-Type"))
		if err != nil {
			t.Fatal(err)
		}
		if strings.HasPrefix(mediaType, "multipart/") {
			readParts(t, part.Header.Get("Content-Type"), part, found)
			continue
		}
		var content io.Reader = part
		if part.Header.Get("Content-Transfer-Encoding") == "quoted-printable" {
			content = quotedprintable.NewReader(part)
		}
		text, err := io.ReadAll(content)
		if err != nil {
			t.Fatal(err)
		}
		name := mediaType
		if part.FileName() != "" {
			name = part.FileName()
		}
		found[name] = strings.TrimSpace(string(text))
	}
}

func TestSendEmail_RefusesWhatSESRefuses(t *testing.T) {
	tag := func(name, value string) func(*sesv2.SendEmailInput) {
		return func(in *sesv2.SendEmailInput) { in.EmailTags = []types.MessageTag{{Name: &name, Value: &value}} }
	}
	to := func(addresses ...string) func(*sesv2.SendEmailInput) {
		return func(in *sesv2.SendEmailInput) { in.Destination = &types.Destination{ToAddresses: addresses} }
	}
	source := func(text string) func(*sesv2.SendEmailInput) {
		return func(in *sesv2.SendEmailInput) { in.Content.Raw.Data = []byte(crlf(text)) }
	}
	many := make([]string, 51)
	for i := range many {
		many[i] = "ana@example.com"
	}
	tests := []struct {
		name   string
		change func(*sesv2.SendEmailInput)
		want   string
	}{
		{"no domain", to("ana"), "Missing final '@domain'"},
		{"no local part", to("@example.com"), "Missing local name"},
		{"empty domain", to("ana@"), "Missing domain"},
		{"space inside", to("ana maria@example.com"), "Local address contains control or whitespace"},
		{"line break inside", to("ana@example.com\r\nBcc: x@example.com"), "Local address contains control or whitespace"},
		{"accent in the local part", to("joão@example.com"), "Local address contains control or whitespace"},
		{"accent in the domain", to("ana@saúde.example"), "Domain contains control or whitespace"},
		{"two dots", to("ana..b@example.com"), "Local address contains dot-dot"},
		{"leading dot in the domain", to("ana@.example.com"), "Domain starts with dot"},
		{"underscore in the domain", to("ana@ex_ample.com"), "Domain contains illegal character"},
		{"long local part", to(strings.Repeat("a", 65) + "@example.com"), "Illegal address"},
		{"two addresses in one", to("ana@example.com, bia@example.com"), "Local address contains control or whitespace"},
		{"no recipient at all", source("From: a@b.example\n\nx\n"), "no recipient"},
		{"51 recipients", to(many...), "Recipient count exceeds 50."},
		{"second recipient is wrong", to("ana@example.com", "b"), "Missing final '@domain'"},
		{"tag value with a colon", tag("delivery_id", "a:b"), "Message tag value"},
		{"tag name with a space", tag("delivery id", "ab"), "Message tag name"},
		{"tag without a value", tag("delivery_id", ""), "Message tag value"},
		{"tag of 257 characters", tag("delivery_id", strings.Repeat("a", 257)), "longer than 256"},
		{"empty message", func(in *sesv2.SendEmailInput) { in.Content.Raw.Data = []byte{} }, "must not be null"},
		{"no From", source("To: ana@example.com\nSubject: x\n\nbody\n"), "Missing required header 'From'."},
		{"two Subjects", source("From: a@b.example\nTo: ana@example.com\nSubject: x\nSubject: y\n\nbody\n"), "Duplicate header 'Subject'."},
		{"From is no address", source("From: nobody\nTo: ana@example.com\n\nbody\n"), "'From' is malformed"},
		{"header without end", source("From: a@b.example\nTo: ana@example.com\n"), "empty line between"},
		{"header line without colon", source("From: a@b.example\nnonsense\n\nbody\n"), "Header line 2 is malformed."},
		{"line of 999 characters", source("From: a@b.example\nTo: ana@example.com\n\n" + strings.Repeat("a", 999) + "\n"), "longer than 998"},
		{"10 MB and a byte", func(in *sesv2.SendEmailInput) { in.Content.Raw.Data = make([]byte, 10<<20+1) }, "Message length is more than 10485760 bytes long."},
		{"20 MB", func(in *sesv2.SendEmailInput) { in.Content.Raw.Data = make([]byte, 20<<20) }, "Message length is more than 10485760 bytes long."},
		{"raw and simple at once", func(in *sesv2.SendEmailInput) {
			in.Content.Simple = &types.Message{Subject: &types.Content{Data: aws.String("x")}, Body: &types.Body{}}
		}, "Exactly one of"},
		{"sender is wrong", func(in *sesv2.SendEmailInput) { in.FromEmailAddress = aws.String("agenda") }, "Missing final '@domain'"},
	}
	e := start(t, sesinbox.Config{})
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			in := rawInput(plainMail)
			tt.change(in)
			_, err := e.client.SendEmail(t.Context(), in)
			var refused *types.BadRequestException
			if !errors.As(err, &refused) {
				t.Fatalf("error = %v, want BadRequestException", err)
			}
			if !strings.Contains(refused.ErrorMessage(), tt.want) {
				t.Errorf("message = %q, want %q in it", refused.ErrorMessage(), tt.want)
			}
			if n := len(e.Messages()); n != 0 {
				t.Errorf("%d messages stored", n)
			}
		})
	}
}

func TestSendEmail_AcceptsTheUnusualButRight(t *testing.T) {
	e := start(t, sesinbox.Config{})
	for _, address := range []string{
		`"Prado, Helena" <helena@example.com>`, "o'neil+tag@sub.example.com", "ana@xn--sade-5oa.example", "<bare@example.com>", "ANA@EXAMPLE.COM",
	} {
		e.send(t, rawInput(plainMail, address))
	}
	e.send(t, rawInput("From: =?iso-8859-15?q?Jos=E9?= <j@example.com>\nTo: ana@example.com\n\nbare line feeds\n"))
	if from := e.Messages()[0].From; from != "José <j@example.com>" {
		t.Errorf("From = %q", from)
	}
}

func TestSendEmail_UnknownTemplateIsNotFound(t *testing.T) {
	e := start(t, sesinbox.Config{})
	_, err := e.client.SendEmail(t.Context(), &sesv2.SendEmailInput{Content: &types.EmailContent{Template: &types.Template{TemplateName: aws.String("hello")}}})
	var missing *types.NotFoundException
	if !errors.As(err, &missing) {
		t.Errorf("error = %v, want NotFoundException", err)
	}
}

func TestWire_ErrorsHaveTheShapeOfAWS(t *testing.T) {
	signed := http.Header{"Authorization": {"AWS4-HMAC-SHA256 Credential=a/20261124/sa-east-1/ses/aws4_request, SignedHeaders=host, Signature=0"}}
	tests := []struct {
		name, method, path string
		header             http.Header
		body               string
		status             int
		code               string
	}{
		{"unsigned", "POST", "/v2/email/outbound-emails", nil, `{}`, 403, "MissingAuthenticationTokenException"},
		{"unsigned account", "GET", "/v2/email/account", nil, ``, 403, "MissingAuthenticationTokenException"},
		{"half signed", "POST", "/v2/email/outbound-emails", http.Header{"Authorization": {"AWS4-HMAC-SHA256 Credential=x"}}, `{}`, 403, "IncompleteSignatureException"},
		{"no JSON", "POST", "/v2/email/outbound-emails", signed, `{"Content":`, 400, "SerializationException"},
		{"wrong type", "POST", "/v2/email/outbound-emails", signed, `{"EmailTags": "x"}`, 400, "SerializationException"},
		{"not base64", "POST", "/v2/email/outbound-emails", signed, `{"Content": {"Raw": {"Data": "%%%"}}}`, 400, "SerializationException"},
		{"nothing", "POST", "/v2/email/outbound-emails", signed, `{}`, 400, "BadRequestException"},
		{"empty content", "POST", "/v2/email/outbound-emails", signed, `{"Content": {}}`, 400, "BadRequestException"},
		{"unknown operation", "GET", "/v2/email/identities", signed, ``, 404, "UnknownOperationException"},
		{"wrong method", "DELETE", "/v2/email/outbound-emails", signed, ``, 404, "UnknownOperationException"},
	}
	e := start(t, sesinbox.Config{})
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			answer, body := e.request(t, tt.method, tt.path, tt.header, tt.body)
			var parsed struct{ Message string }
			if err := json.Unmarshal([]byte(body), &parsed); err != nil || parsed.Message == "" {
				t.Errorf("body %q has no message", body)
			}
			got := []any{answer.StatusCode, answer.Header.Get("X-Amzn-Errortype"), answer.Header.Get("X-Amzn-Requestid") != ""}
			if diff := cmp.Diff([]any{tt.status, tt.code, true}, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestGetAccount_TellsRateAndWhatWasSent(t *testing.T) {
	now := noon
	e := start(t, sesinbox.Config{MaxSendRate: 14, Now: func() time.Time { return now }})
	e.send(t, rawInput(plainMail, "old@example.com"))
	now = now.Add(25 * time.Hour)
	e.send(t, rawInput(plainMail, "ana@example.com", "bia@example.com"))
	account, err := e.client.GetAccount(t.Context(), &sesv2.GetAccountInput{})
	if err != nil {
		t.Fatal(err)
	}
	got := []any{account.SendQuota.MaxSendRate, account.SendQuota.Max24HourSend, account.SendQuota.SentLast24Hours,
		account.SendingEnabled, account.ProductionAccessEnabled, *account.EnforcementStatus}
	if diff := cmp.Diff([]any{14.0, -1.0, 2.0, true, true, "HEALTHY"}, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	e.SetMaxSendRate(50)
	if account, err = e.client.GetAccount(t.Context(), &sesv2.GetAccountInput{}); err != nil || account.SendQuota.MaxSendRate != 50 {
		t.Errorf("after SetMaxSendRate: %v, %v", account, err)
	}
}
