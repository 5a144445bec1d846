package cognitotest

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"slices"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/google/uuid"
)

// request has the fields of all requests.
type request struct {
	ClientID         string `json:"ClientId"`
	UserPoolID       string `json:"UserPoolId"`
	ClientSecret     string
	SecretHash       string
	Username         string
	Password         string
	UserAttributes   []attribute
	GroupName        string
	AuthFlow         string
	AuthParameters   map[string]string
	RefreshToken     string
	Token            string
	ConfirmationCode string
	AccessToken      string
	PreviousPassword string
	ProposedPassword string
}

type attribute struct{ Name, Value string }

type object = map[string]any

// operations by name.
func (p *Pool) operations() map[string]func(request) (any, error) {
	return map[string]func(request) (any, error){
		"SignUp": p.client(p.signUp), "ConfirmSignUp": p.client(p.confirmSignUp), "ResendConfirmationCode": p.client(p.resend),
		"InitiateAuth": p.initiateAuth, "GetTokensFromRefreshToken": p.exchange, "RevokeToken": p.revoke,
		"ForgotPassword": p.client(p.forgot), "ConfirmForgotPassword": p.client(p.confirmForgot), "ChangePassword": p.changePassword,
		"AdminGetUser": p.admin(get), "AdminDeleteUser": p.admin(p.drop), "AdminConfirmSignUp": p.admin(confirm),
		"AdminUpdateUserAttributes": p.admin(p.update), "AdminUserGlobalSignOut": p.admin(p.signOut),
		"AdminAddUserToGroup": p.admin(join), "AdminRemoveUserFromGroup": p.admin(leave),
	}
}

// client checks that a request comes from the app client.
func (p *Pool) client(handle func(request) (any, error)) func(request) (any, error) {
	return func(in request) (any, error) {
		if in.ClientID != ClientID || !secretHash(in.Username, in.SecretHash) {
			return nil, fail("NotAuthorizedException")
		}
		return handle(in)
	}
}

func secretHash(username, hash string) bool {
	mac := hmac.New(sha256.New, []byte(ClientSecret))
	mac.Write([]byte(username + ClientID))
	return hash == base64.StdEncoding.EncodeToString(mac.Sum(nil))
}

// admin finds the account that a request is about.
func (p *Pool) admin(handle func(*User, request) (any, error)) func(request) (any, error) {
	return func(in request) (any, error) {
		if in.UserPoolID != PoolID {
			return nil, fail("ResourceNotFoundException")
		}
		u := p.find(in.Username)
		if u == nil {
			return nil, fail("UserNotFoundException")
		}
		return handle(u, in)
	}
}

func (p *Pool) signUp(in request) (any, error) {
	if !strings.Contains(in.Username, "@") {
		return nil, fail("InvalidParameterException")
	}
	if !p.policy(in.Password) {
		return nil, fail("InvalidPasswordException")
	}
	if p.find(in.Username) != nil {
		return nil, fail("UsernameExistsException")
	}
	u := &User{Sub: newSub(), Email: in.Username, password: in.Password, code: digits()}
	p.users[u.Sub] = u
	return object{"UserConfirmed": false, "UserSub": u.Sub}, nil
}

func (p *Pool) confirmSignUp(in request) (any, error) {
	u := p.find(in.Username)
	switch {
	case u == nil, !u.Confirmed && u.code != in.ConfirmationCode:
		return nil, fail("CodeMismatchException")
	case u.Confirmed:
		return nil, fail("NotAuthorizedException")
	}
	u.Confirmed, u.Verified, u.code = true, true, ""
	return object{}, nil
}

func (p *Pool) resend(in request) (any, error) {
	if u := p.find(in.Username); u != nil {
		u.code = digits()
	}
	return object{}, nil
}

func (p *Pool) initiateAuth(in request) (any, error) {
	name := in.AuthParameters["USERNAME"]
	if in.ClientID != ClientID || in.AuthFlow != "USER_PASSWORD_AUTH" || !secretHash(name, in.AuthParameters["SECRET_HASH"]) {
		return nil, fail("NotAuthorizedException")
	}
	u := p.find(name)
	switch {
	case u == nil, u.password != in.AuthParameters["PASSWORD"]:
		return nil, fail("NotAuthorizedException")
	case !u.Confirmed:
		return nil, fail("UserNotConfirmedException")
	}
	return p.issue(u, rand.Text())
}

// issue makes tokens.
func (p *Pool) issue(u *User, family string) (any, error) {
	now := time.Now()
	token := jwt.NewWithClaims(jwt.SigningMethodRS256, jwt.MapClaims{
		"iss": p.Issuer(), "client_id": ClientID, "token_use": "access", "sub": u.Sub, "username": u.Sub,
		"scope": "aws.cognito.signin.user.admin", "origin_jti": family, "jti": uuid.NewString(), "auth_time": now.Unix(),
		"cognito:groups": slices.Clone(u.Groups), "iat": now.Unix(), "exp": now.Add(p.AccessTTL).Unix(),
	})
	token.Header["kid"] = kid
	access, err := token.SignedString(p.key)
	if err != nil {
		return nil, fail("InternalErrorException")
	}
	next := rand.Text()
	p.tokens[next] = &refresh{sub: u.Sub, family: family}
	return object{"AuthenticationResult": object{
		"AccessToken": access, "RefreshToken": next, "ExpiresIn": int(p.AccessTTL.Seconds()), "TokenType": "Bearer",
	}}, nil
}

func (p *Pool) exchange(in request) (any, error) {
	t := p.tokens[in.RefreshToken]
	switch {
	case in.ClientID != ClientID, in.ClientSecret != ClientSecret, t == nil, p.users[t.sub] == nil:
		return nil, fail("NotAuthorizedException")
	case t.used:
		return nil, fail("RefreshTokenReuseException")
	}
	t.used = true
	return p.issue(p.users[t.sub], t.family)
}

func (p *Pool) revoke(in request) (any, error) {
	t := p.tokens[in.Token]
	if in.ClientID != ClientID || in.ClientSecret != ClientSecret {
		return nil, fail("UnauthorizedException")
	}
	if t == nil {
		return nil, fail("UnsupportedTokenTypeException")
	}
	p.end(func(other *refresh) bool { return other.family == t.family })
	return object{}, nil
}

// end forgets refresh tokens.
func (p *Pool) end(which func(*refresh) bool) {
	for token, t := range p.tokens {
		if which(t) {
			delete(p.tokens, token)
		}
	}
}

func (p *Pool) forgot(in request) (any, error) {
	u := p.find(in.Username)
	if u != nil && !u.Verified {
		return nil, fail("InvalidParameterException")
	}
	if u != nil {
		u.code, u.pending = digits(), true
	}
	return object{}, nil // an unknown user is answered alike
}

func (p *Pool) confirmForgot(in request) (any, error) {
	u := p.find(in.Username)
	if u == nil || !u.pending || u.code != in.ConfirmationCode {
		return nil, fail("CodeMismatchException")
	}
	if !p.policy(in.Password) {
		return nil, fail("InvalidPasswordException")
	}
	u.password, u.code, u.pending = in.Password, "", false
	return object{}, nil
}

func (p *Pool) changePassword(in request) (any, error) {
	var claims jwt.RegisteredClaims
	_, err := jwt.ParseWithClaims(in.AccessToken, &claims, func(*jwt.Token) (any, error) { return &p.key.PublicKey, nil })
	u := p.users[claims.Subject]
	if err != nil || u == nil || u.password != in.PreviousPassword {
		return nil, fail("NotAuthorizedException")
	}
	if !p.policy(in.ProposedPassword) {
		return nil, fail("InvalidPasswordException")
	}
	u.password = in.ProposedPassword
	return object{}, nil
}

func get(u *User, _ request) (any, error) {
	status, verified := "UNCONFIRMED", "false"
	if u.Confirmed {
		status = "CONFIRMED"
	}
	if u.Verified {
		verified = "true"
	}
	return object{"Username": u.Sub, "UserStatus": status, "Enabled": true, "UserAttributes": []attribute{
		{"sub", u.Sub}, {"email", u.Email}, {"email_verified", verified},
	}}, nil
}

func (p *Pool) drop(u *User, _ request) (any, error) {
	delete(p.users, u.Sub)
	p.end(func(t *refresh) bool { return t.sub == u.Sub })
	return object{}, nil
}

func confirm(u *User, _ request) (any, error) {
	if u.Confirmed {
		return nil, fail("NotAuthorizedException")
	}
	u.Confirmed = true
	return object{}, nil
}

func (p *Pool) update(u *User, in request) (any, error) {
	for _, a := range in.UserAttributes {
		switch a.Name {
		case "email":
			if other := p.find(a.Value); other != nil && other != u {
				return nil, fail("AliasExistsException")
			}
			u.Email = a.Value
		case "email_verified":
			u.Verified = a.Value == "true"
		default:
			return nil, fail("InvalidParameterException")
		}
	}
	return object{}, nil
}

func (p *Pool) signOut(u *User, _ request) (any, error) {
	p.end(func(t *refresh) bool { return t.sub == u.Sub })
	return object{}, nil
}

func join(u *User, in request) (any, error) {
	if !slices.Contains([]string{"patients", "doctors", "admins"}, in.GroupName) {
		return nil, fail("ResourceNotFoundException")
	}
	if !slices.Contains(u.Groups, in.GroupName) {
		u.Groups = append(u.Groups, in.GroupName)
	}
	return object{}, nil
}

func leave(u *User, in request) (any, error) {
	u.Groups = slices.DeleteFunc(u.Groups, func(g string) bool { return g == in.GroupName })
	return object{}, nil
}
