package userstest

import (
	"fmt"
	"strconv"
	"sync/atomic"

	"github.com/healthmed/healthmed/services/users/internal/account"
)

// CPF makes the nth valid CPF.
func CPF(n int) string {
	for last := range 100 {
		s := fmt.Sprintf("%09d%02d", 100_000_000+n, last)
		if _, err := account.ParseCPF(s); err == nil {
			return s
		}
	}
	panic("every nine digits have check digits")
}

// Person is somebody registered and signed in.
type Person struct {
	ID, Email, CPF, Name string
	Token, Refresh       string
}

// numbers of the people made by this test process.
type numbers struct{ last atomic.Int64 }

func (n *numbers) next() int { return int(n.last.Add(1)) }

// Crowd registers people, each with data of their own.
type Crowd struct {
	Service *Service
	numbers numbers
}

// Patient registers and signs in a patient. extra adds or replaces fields.
func (c *Crowd) Patient(extra ...map[string]any) Person {
	c.Service.t.Helper()
	n := c.numbers.next()
	return c.register("/v1/patients", map[string]any{
		"name": "Paciente Teste", "cpf": CPF(n), "email": fmt.Sprintf("patient%d@example.com", n), "password": Password,
	}, extra)
}

// Doctor registers and signs in a doctor. extra adds or replaces fields.
func (c *Crowd) Doctor(extra ...map[string]any) Person {
	c.Service.t.Helper()
	n := c.numbers.next()
	return c.register("/v1/doctors", map[string]any{
		"name": "Doutora Teste", "cpf": CPF(n), "email": fmt.Sprintf("doctor%d@example.com", n), "password": Password,
		"crm": map[string]any{"number": strconv.Itoa(1000 + n), "state": "SP"}, "specialties": []string{"cardiology"},
	}, extra)
}

// Admin signs in as the first administrator.
func (c *Crowd) Admin() Person {
	c.Service.t.Helper()
	var p Person
	Eventually(c.Service.t, "the first administrator can sign in", func() bool {
		res := c.Service.Do("POST", "/v1/auth/login", "", map[string]any{"email": AdminEmail, "password": AdminPassword})
		if res.Status != 200 {
			return false
		}
		p = Person{ID: res.Text("user", "id"), Email: AdminEmail, Token: res.Text("access_token"), Refresh: res.Text("refresh_token")}
		return true
	})
	return p
}

func (c *Crowd) register(path string, body map[string]any, extra []map[string]any) Person {
	c.Service.t.Helper()
	for _, more := range extra {
		for k, v := range more {
			body[k] = v
		}
	}
	res := c.Service.Do("POST", path, "", body).Want(201)
	p := Person{
		ID: res.Text("id"), Email: fmt.Sprint(body["email"]), CPF: fmt.Sprint(body["cpf"]), Name: fmt.Sprint(body["name"]),
	}
	return c.SignIn(p, fmt.Sprint(body["password"]))
}

// SignIn gives the person fresh tokens.
func (c *Crowd) SignIn(p Person, password string) Person {
	c.Service.t.Helper()
	res := c.Service.Do("POST", "/v1/auth/login", "", map[string]any{"email": p.Email, "password": password}).Want(200)
	p.Token, p.Refresh = res.Text("access_token"), res.Text("refresh_token")
	return p
}
