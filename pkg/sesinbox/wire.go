package sesinbox

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"regexp"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"
)

// Limits on one request. SES takes 40 MB; nothing that this system sends comes near 10.
const (
	maxSourceBytes  = 10 << 20
	maxRequestBytes = maxSourceBytes/3*4 + 1<<20 // base64, and room for the rest
	maxTrustedBytes = 1 << 20                    // room made for a body on the word of its Content-Length
	maxDiscardBytes = 40 << 20
	maxRecipients   = 50
	maxTagChars     = 256
)

// fault is an error in the shape of AWS: a status, a type, a message.
type fault struct {
	status  int
	code    string
	message string
}

func (f *fault) Error() string { return f.code + ": " + f.message }

// badRequest is how SES answers what it can't send.
func badRequest(format string, args ...any) *fault {
	return &fault{http.StatusBadRequest, "BadRequestException", fmt.Sprintf(format, args...)}
}

// sendRequest is the body of SendEmail; names this endpoint has no use for are ignored, as SES ignores unknown ones.
type sendRequest struct {
	FromEmailAddress     string
	Destination          *destination
	ReplyToAddresses     []string
	EmailTags            []messageTag
	ConfigurationSetName string
	Content              *struct {
		Raw      *struct{ Data []byte }
		Simple   *simpleContent
		Template *struct{ TemplateName string }
	}
}

type destination struct {
	ToAddresses, CcAddresses, BccAddresses []string
}

type messageTag struct{ Name, Value string }

// sendEmail is POST /v2/email/outbound-emails.
// https://docs.aws.amazon.com/ses/latest/APIReference-V2/API_SendEmail.html
func (s *Server) sendEmail(w http.ResponseWriter, r *http.Request) {
	id, err := s.accept(r)
	var refused *fault
	switch {
	case err == nil:
		writeAWS(w, http.StatusOK, map[string]string{"MessageId": id})
	case errors.As(err, &refused):
		writeFault(w, refused)
	default:
		s.log.ErrorContext(r.Context(), "message not stored", "error", err)
		writeFault(w, &fault{http.StatusInternalServerError, "InternalServiceErrorException", "The message could not be stored."})
	}
}

func (s *Server) accept(r *http.Request) (id string, err error) {
	if err := checkSigned(r); err != nil {
		return "", err
	}
	var req sendRequest
	if err := readJSON(r, &req); err != nil {
		return "", err
	}
	out, err := s.outgoing(&req)
	if err != nil {
		return "", err
	}
	rec := out.record()
	if err := s.store.add(rec); err != nil {
		return "", err
	}
	s.changes.announce()
	s.simulate(rec.Message)
	s.log.InfoContext(r.Context(), "message accepted", "message_id", out.id, "recipients", len(out.recipients), "bytes", len(out.source))
	return out.id, nil
}

// outgoing is a message as SES would hand it on.
type outgoing struct {
	id         string
	sentAt     time.Time
	recipients []string
	tags       map[string]string
	source     []byte
}

// outgoing validates a request as SES does, and makes the message of it.
func (s *Server) outgoing(req *sendRequest) (*outgoing, error) {
	if req.Content == nil {
		return nil, badRequest("1 validation error detected: Value null at 'content' failed to satisfy constraint: Member must not be null")
	}
	now := s.now().UTC().Truncate(time.Millisecond)
	out := &outgoing{id: newMessageID(now), sentAt: now}
	var err error
	if out.tags, err = checkTags(req.EmailTags); err != nil {
		return nil, err
	}
	content := req.Content
	switch {
	case content.Raw != nil && content.Simple == nil && content.Template == nil:
		err = out.fromRaw(req, content.Raw.Data)
	case content.Simple != nil && content.Raw == nil && content.Template == nil:
		err = out.fromSimple(req, content.Simple)
	case content.Template != nil && content.Raw == nil && content.Simple == nil:
		err = &fault{http.StatusNotFound, "NotFoundException", "Template " + content.Template.TemplateName + " does not exist."}
	default:
		err = badRequest("Exactly one of Raw, Simple and Template must be given.")
	}
	if err != nil {
		return nil, err
	}
	return out, nil
}

// newMessageID has the look of those of SES, and their use: time first, then what makes it unique.
func newMessageID(now time.Time) string {
	return fmt.Sprintf("0100%012x-%s-000000", now.UnixMilli(), uuid.New())
}

// getAccount is GET /v2/email/account: an account out of the sandbox, in good standing.
func (s *Server) getAccount(w http.ResponseWriter, r *http.Request) {
	var refused *fault
	if err := checkSigned(r); errors.As(err, &refused) {
		writeFault(w, refused)
		return
	}
	writeAWS(w, http.StatusOK, map[string]any{
		"DedicatedIpAutoWarmupEnabled": false,
		"EnforcementStatus":            "HEALTHY",
		"ProductionAccessEnabled":      true,
		"SendingEnabled":               true,
		"SendQuota": map[string]any{
			"Max24HourSend":   -1, // unlimited
			"MaxSendRate":     math.Float64frombits(s.rate.Load()),
			"SentLast24Hours": s.store.recipientsSince(s.now().Add(-24 * time.Hour)),
		},
	})
}

func unknownOperation(w http.ResponseWriter, _ *http.Request) {
	writeFault(w, &fault{http.StatusNotFound, "UnknownOperationException", "This endpoint knows SendEmail and GetAccount."})
}

// checkSigned wants a signature to be there, in the form of Signature Version 4; it isn't verified. No web page of
// another origin can send the header without being asked first.
func checkSigned(r *http.Request) error {
	value := r.Header.Get("Authorization")
	if value == "" {
		return &fault{http.StatusForbidden, "MissingAuthenticationTokenException", "Missing Authentication Token"}
	}
	for _, part := range []string{"AWS4-HMAC-SHA256 ", "Credential=", "SignedHeaders=", "Signature="} {
		if !strings.Contains(value, part) {
			return &fault{http.StatusForbidden, "IncompleteSignatureException", "Authorization header requires '" + strings.TrimSpace(part) + "'."}
		}
	}
	return nil
}

// bodies are used again: what is decoded of one is a copy.
var bodies = sync.Pool{New: func() any { return new(bytes.Buffer) }}

func readJSON(r *http.Request, into any) error {
	body := bodies.Get().(*bytes.Buffer)
	defer func() {
		if body.Cap() <= 2*maxTrustedBytes {
			bodies.Put(body)
		}
	}()
	body.Reset()
	body.Grow(int(min(max(r.ContentLength, 0), maxTrustedBytes)) + bytes.MinRead)
	if _, err := body.ReadFrom(io.LimitReader(r.Body, maxRequestBytes+1)); err != nil {
		return badRequest("The request body could not be read.")
	}
	if body.Len() > maxRequestBytes {
		// A client that is still writing seldom reads an answer: take what SES itself would take.
		_, _ = io.Copy(io.Discard, io.LimitReader(r.Body, maxDiscardBytes))
		return tooLong()
	}
	if err := json.Unmarshal(body.Bytes(), into); err != nil {
		return &fault{http.StatusBadRequest, "SerializationException", "The request body is not the JSON that this operation takes."}
	}
	return nil
}

func tooLong() *fault {
	return badRequest("Message length is more than %d bytes long.", maxSourceBytes)
}

var tagPattern = regexp.MustCompile(`^[A-Za-z0-9_-]+$`)

func checkTags(tags []messageTag) (map[string]string, error) {
	checked := make(map[string]string, len(tags))
	for _, tag := range tags {
		for kind, text := range map[string]string{"name": tag.Name, "value": tag.Value} {
			if len(text) > maxTagChars {
				return nil, badRequest("Message tag %s is longer than %d characters.", kind, maxTagChars)
			}
			if !tagPattern.MatchString(text) {
				return nil, badRequest("Message tag %s <%s> must hold only ASCII letters, digits, '_' and '-', at least one.", kind, text)
			}
		}
		checked[tag.Name] = tag.Value
	}
	return checked, nil
}

func writeAWS(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("X-Amzn-Requestid", uuid.NewString())
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body) // the client is gone if this fails
}

// writeFault answers as AWS does under restJson1, where the type travels in a header.
func writeFault(w http.ResponseWriter, f *fault) {
	w.Header().Set("X-Amzn-Errortype", f.code)
	writeAWS(w, f.status, map[string]string{"message": f.message})
}
