package cognito

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/cognitoidentityprovider/types"
	"github.com/aws/smithy-go"

	"github.com/healthmed/healthmed/services/users/internal/account"
	"github.com/healthmed/healthmed/services/users/internal/identity"
)

// failed turns what no caller of ours is to blame for into Busy, when trying again may help. The log gets error codes
// alone: messages may name somebody.
func (p *Provider) failed(ctx context.Context, operation string, err error) error {
	if err == nil {
		return nil
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	var weak *types.InvalidPasswordException
	if errors.As(err, &weak) {
		return account.ErrPassword // the pool's policy asks for more than ours
	}
	code := codeOf(err)
	switch code {
	case "TooManyRequestsException", "LimitExceededException", "TooManyFailedAttemptsException", "ConcurrentModificationException":
		p.Log.WarnContext(ctx, "Cognito refuses for now", "operation", operation, "code", code)
		return &identity.Busy{RetryAfter: 10 * time.Second}
	}
	var api smithy.APIError
	if errors.As(err, &api) && api.ErrorFault() != smithy.FaultServer {
		return fmt.Errorf("cognito: %s: %s", operation, code)
	}
	p.Log.ErrorContext(ctx, "Cognito cannot be asked", "operation", operation, "code", code)
	return &identity.Busy{RetryAfter: 2 * time.Second}
}

// codeOf is the code of an AWS error, or, without an answer, what stood in its way.
func codeOf(err error) string {
	var api smithy.APIError
	if errors.As(err, &api) {
		return api.ErrorCode()
	}
	return err.Error()
}

// unknown says that the pool has no such account.
func unknown(err error) bool {
	var notFound *types.UserNotFoundException
	return errors.As(err, &notFound)
}

// badCode says that a code from a mailbox is not, or no longer, good.
func badCode(err error) bool {
	var (
		mismatch *types.CodeMismatchException
		expired  *types.ExpiredCodeException
		done     *types.NotAuthorizedException // confirmed already
	)
	return errors.As(err, &mismatch) || errors.As(err, &expired) || errors.As(err, &done) || unknown(err)
}

// secretHash proves that we know the app client's secret; nil when it has none.
func (p *Provider) secretHash(username string) *string {
	if p.ClientSecret == "" {
		return nil
	}
	mac := hmac.New(sha256.New, []byte(p.ClientSecret))
	mac.Write([]byte(username + p.ClientID))
	hash := base64.StdEncoding.EncodeToString(mac.Sum(nil))
	return &hash
}
