package users_test

import (
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	idp "github.com/aws/aws-sdk-go-v2/service/cognitoidentityprovider"
	"github.com/aws/aws-sdk-go-v2/service/cognitoidentityprovider/types"

	"github.com/healthmed/healthmed/pkg/auth"
	"github.com/healthmed/healthmed/services/users"
	"github.com/healthmed/healthmed/services/users/internal/userstest"
)

// The same against another's idea of Cognito: the npm package cognito-local 5.3, whose program COGNITO_LOCAL names
// (npm install cognito-local@5.3.0; COGNITO_LOCAL=node_modules/.bin/cognito-local). It doesn't know the exchange of refresh tokens
// with rotation, and keeps no client secrets.
func TestCognito_CognitoLocal(t *testing.T) {
	program := os.Getenv("COGNITO_LOCAL")
	if program == "" {
		t.Skip("SKIPPED: COGNITO_LOCAL does not name the program of the npm package cognito-local; the rest of the tests use cognitotest")
	}
	program, err := filepath.Abs(program)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	url := runCognitoLocal(t, program, dir)
	client := idp.New(idp.Options{
		BaseEndpoint: &url, Region: "local", Credentials: credentials.NewStaticCredentialsProvider("local", "local", ""),
	})
	poolID, clientID := makePool(t, client)
	issuer := url + "/" + poolID
	s := userstest.Start(t, func(c *users.Config) {
		c.Identity, c.KeysToken, c.AdminEmail, c.AdminPassword = "cognito", "", "", ""
		c.Auth = auth.Config{Issuer: issuer, ClientID: clientID, JWKSURL: issuer + "/.well-known/jwks.json"}
		c.CognitoUserPoolID, c.CognitoClientID, c.CognitoEndpoint = poolID, clientID, url
		c.AWSRegion, c.AWSAccessKeyID, c.AWSSecretAccessKey = "local", "local", "local"
	})
	code := func(field, id string) string {
		var pool struct {
			Users map[string]map[string]any
		}
		data, err := os.ReadFile(filepath.Join(dir, ".cognito", "db", poolID+".json"))
		if err == nil {
			err = json.Unmarshal(data, &pool)
		}
		if err != nil {
			t.Fatal(err)
		}
		return fmt.Sprint(pool.Users[id][field])
	}
	email := "patient1@example.com"
	id := s.Do("POST", "/v1/patients", "", patientBody(1, nil)).Want(201).Text("id")
	login(s, email, userstest.Password).Problem(403, "email-not-verified")
	verify := fields{"token": code("ConfirmationCode", id), "email": email}
	s.Do("POST", "/v1/auth/email/verify", "", fields{"token": "x00000", "email": email}).Want(401)
	s.Do("POST", "/v1/auth/email/verify", "", verify).Want(204)
	login(s, email, "Errada-1x").Problem(401, "invalid-credentials")
	session := login(s, email, userstest.Password).Want(200)
	if got := s.Do("GET", "/v1/me", session.Text("access_token"), nil).Want(200).Text("id"); got != id {
		t.Errorf("got id %s, want %s", got, id)
	}
	s.Do("POST", "/v1/auth/password/forgot", "", fields{"email": email}).Want(202)
	s.Do("POST", "/v1/auth/password/reset", "", fields{
		"token": code("ConfirmationCode", id), "email": email, "password": "Renovada-2y",
	}).Want(204)
	login(s, email, userstest.Password).Problem(401, "invalid-credentials")
	session = login(s, email, "Renovada-2y").Want(200)
	s.Do("POST", "/v1/auth/logout", "", fields{"refresh_token": session.Text("refresh_token")}).Want(204)
	s.Do("DELETE", "/v1/me", session.Text("access_token"), nil).Want(204)
	userstest.NextEvent(t, s, "healthmed.users.user.erased.v1."+id)
	login(s, email, "Renovada-2y").Problem(401, "invalid-credentials")
}

// runCognitoLocal starts the program with its data in dir, and stops it with the test.
func runCognitoLocal(t *testing.T, program, dir string) (url string) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_, port, err := net.SplitHostPort(ln.Addr().String())
	ln.Close()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), program)
	cmd.Dir, cmd.Env = dir, append(os.Environ(), "HOST=127.0.0.1", "PORT="+port)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Wait() })
	url = "http://127.0.0.1:" + port
	userstest.Eventually(t, "cognito-local answers", func() bool {
		res, err := http.Get(url + "/health")
		if err != nil {
			time.Sleep(100 * time.Millisecond)
			return false
		}
		res.Body.Close()
		return res.StatusCode == http.StatusOK
	})
	return url
}

// makePool makes a user pool with its groups and an app client.
func makePool(t *testing.T, client *idp.Client) (poolID, clientID string) {
	t.Helper()
	pool, err := client.CreateUserPool(t.Context(), &idp.CreateUserPoolInput{
		PoolName: aws.String("healthmed"), UsernameAttributes: []types.UsernameAttributeType{types.UsernameAttributeTypeEmail},
		AutoVerifiedAttributes: []types.VerifiedAttributeType{types.VerifiedAttributeTypeEmail},
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, group := range []string{"patients", "doctors", "admins"} {
		if _, err := client.CreateGroup(t.Context(), &idp.CreateGroupInput{UserPoolId: pool.UserPool.Id, GroupName: &group}); err != nil {
			t.Fatal(err)
		}
	}
	app, err := client.CreateUserPoolClient(t.Context(), &idp.CreateUserPoolClientInput{
		UserPoolId: pool.UserPool.Id, ClientName: aws.String("api"),
		ExplicitAuthFlows: []types.ExplicitAuthFlowsType{types.ExplicitAuthFlowsTypeAllowUserPasswordAuth},
	})
	if err != nil {
		t.Fatal(err)
	}
	return *pool.UserPool.Id, *app.UserPoolClient.ClientId
}
