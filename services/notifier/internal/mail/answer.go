package mail

import (
	"context"
	"errors"
	"net/http"

	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/smithy-go"

	"github.com/healthmed/healthmed/services/notifier/internal/notice"
)

// classify says what an error of SendEmail means. Of an answer the error code counts first, then the status; without
// one, how far the request got. A request that couldn't be signed, because there are no credentials to be had, would be
// none for every other message either, and what was answered in the search for them says nothing about this one.
func classify(err error, r *reach) notice.Outcome {
	if !r.signed.Load() {
		if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) {
			return notice.Outcome{Class: notice.Retryable, Reason: "not_signed"}
		}
		return notice.Outcome{Class: notice.CircuitOpen, Reason: "not_signed"}
	}
	wrote := r.wrote.Load()
	var api smithy.APIError
	code := ""
	if errors.As(err, &api) && api.ErrorCode() != "UnknownError" && knownText(api.ErrorCode()) { // the SDK's word for none
		code = api.ErrorCode()
	}
	if o, ok := byCode(code); ok {
		return o
	}
	var answer *awshttp.ResponseError
	if errors.As(err, &answer) && answer.HTTPStatusCode() >= 400 {
		if code == "" {
			code = "http_" + http.StatusText(answer.HTTPStatusCode())
		}
		return byStatus(answer.HTTPStatusCode(), code)
	}
	switch {
	case !wrote && errors.Is(err, context.DeadlineExceeded):
		return notice.Outcome{Class: notice.Retryable, Reason: "connect_timeout"}
	case !wrote:
		return notice.Outcome{Class: notice.Retryable, Reason: "not_connected"}
	case errors.Is(err, context.DeadlineExceeded):
		return notice.Outcome{Class: notice.InDoubt, Reason: "timeout"}
	}
	return notice.Outcome{Class: notice.InDoubt, Reason: "connection_lost"}
}

// byCode maps every error code of SendEmail's own
// (https://docs.aws.amazon.com/ses/latest/APIReference-V2/API_SendEmail.html), those common to all AWS services
// (https://docs.aws.amazon.com/ses/latest/APIReference-V2/CommonErrors.html), and the other spellings of these that
// gateways, older services and the SDK's own lists of retryable codes know. The status beside a code varies between
// services (NotAuthorized comes with 400 and 401, MissingAuthenticationToken with 400 and 403), so a known code decides alone.
func byCode(code string) (notice.Outcome, bool) {
	o := notice.Outcome{Reason: code}
	switch code {
	// Too fast for the moment.
	case "TooManyRequestsException", "ThrottlingException", "Throttling", "ThrottledException", "RequestThrottledException",
		"RequestThrottled", "RequestLimitExceeded", "BandwidthLimitExceeded", "SlowDown":
		o.Class, o.Throttled = notice.Retryable, true

	// Surely not sent, and another time it may be.
	case "LimitExceededException", // the day's quota: no second's matter
		"RequestTimeoutException", "RequestTimeout": // AWS waited in vain for the rest of the request, so it has no message
		o.Class = notice.Retryable

	// This message's own fault: the same again would be refused again, while others may go.
	case "MessageRejected", "BadRequestException", "MailFromDomainNotVerifiedException",
		"ValidationError", "ValidationException", "InvalidParameterValue", "InvalidParameterCombination", "InvalidParameter",
		"MissingParameter", "InvalidQueryParameter", "MalformedQueryString", "SerializationException",
		"MalformedHttpRequestException", "RequestEntityTooLarge", "RequestEntityTooLargeException":
		o.Class = notice.Rejected

	// Would meet every message alike: the account, its credentials, its rights, the clock that signatures are dated by,
	// the endpoint, the configuration set.
	case "AccountSuspendedException", "SendingPausedException",
		"NotFoundException", // the configuration set or the identity
		"AccessDenied", "AccessDeniedException", "NotAuthorized", "NotAuthorizedException", "UnauthorizedOperation", "AuthFailure",
		"OptInRequired", "SubscriptionRequiredException",
		"UnrecognizedClientException", "InvalidClientTokenId", "InvalidAccessKeyId", "InvalidToken",
		"MissingAuthenticationToken", "MissingAuthenticationTokenException",
		"IncompleteSignature", "IncompleteSignatureException", "InvalidSignatureException", "SignatureDoesNotMatch",
		"ExpiredToken", "ExpiredTokenException", "TokenRefreshRequired",
		"RequestExpired", "RequestTimeTooSkewed", "RequestInTheFuture",
		"InvalidAction", "MissingAction", "UnknownOperationException":
		o.Class = notice.CircuitOpen

	// Perhaps sent. An aborted request is one whose answer nobody could take any more: it may have been carried out.
	case "RequestAbortedException", "InternalServiceErrorException", "InternalServerException", "InternalServerError",
		"InternalFailure", "InternalError", "ServiceUnavailable", "ServiceUnavailableException":
		o.Class = notice.InDoubt

	default:
		return notice.Outcome{}, false
	}
	return o, true
}

// byStatus classes an answer without a code that is known: of a code that AWS has added since, or of a proxy between.
// A refusal (4xx) says that nothing was sent. It fails this message alone unless the status says otherwise: opening the
// circuit for what may be one message's fault would stop all others. A fault of the server (5xx) may have come after
// the message was taken.
func byStatus(status int, code string) notice.Outcome {
	o := notice.Outcome{Reason: code, Class: notice.InDoubt}
	switch status {
	case http.StatusTooManyRequests:
		o.Class, o.Throttled = notice.Retryable, true
	case http.StatusRequestTimeout, http.StatusMisdirectedRequest, http.StatusTooEarly: // not handled, by RFC 9110 and 8470
		o.Class = notice.Retryable
	case http.StatusUnauthorized, http.StatusForbidden, http.StatusProxyAuthRequired:
		o.Class = notice.CircuitOpen
	default:
		if status < http.StatusInternalServerError {
			o.Class = notice.Rejected
		}
	}
	return o
}

// knownText keeps free text out of what is stored: an error code is letters and digits.
func knownText(code string) bool {
	if code == "" || len(code) > 60 {
		return false
	}
	for _, r := range code {
		if (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') {
			return false
		}
	}
	return true
}
